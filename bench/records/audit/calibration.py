"""Whether a run counts its calibrated share of the requested budget, and the ratios and speed of a calibration follow from its
slices (rules, section 1).
"""

from __future__ import annotations

from bench.records.attempts import folder_of
from bench.records.audit.check import Case, Checks, Mismatch, NotApplicable, near, same, within
from bench.records.ratios import ROUNDED, qualifying_rounds, ratio, speed
from bench.records.schema import Calibration, Conversion
from bench.records.spec import Budget
from bench.records.store import load
from bench.system.errors import BenchError

__all__ = ["CHECKS", "CONVERSION"]

CONVERSION, CHECKS = Checks(), Checks()


def _since_rules_3(case: Case) -> None:
    if case.run.rules_version < 3:
        raise NotApplicable(f"rules {case.run.rules_version} counted budgets as requested")


def _conversion(case: Case) -> Conversion:
    _since_rules_3(case)
    spec, conversion = case.run.spec, case.run.conversion
    if spec.reference_tokens is None:
        if conversion is not None:
            raise Mismatch("a conversion", "no reference tokens")
        raise NotApplicable("the budget needs no calibration")
    if conversion is None:
        raise Mismatch(f"{spec.reference_tokens:,} reference tokens", "no conversion")
    return conversion


def _requested(conversion: Conversion) -> Budget:
    try:
        budget = Budget.parse(conversion.asked)
    except BenchError as error:
        raise Mismatch(conversion.asked, str(error)) from None
    if not budget.calibrated:
        raise Mismatch(conversion.asked, "a budget in seconds or reference tokens")
    return budget


@CONVERSION("counted budget")
def _counted(case: Case) -> str:
    """Since rules 3 a run counts tokens, steps or epochs; neither seconds nor another method's tokens decide anything."""
    _since_rules_3(case)
    budget = case.run.spec.budget
    if budget.calibrated:
        raise Mismatch(f"a budget in {budget.unit}", "tokens, steps or epochs")
    return budget.unit


@CONVERSION("conversion")
def _converted(case: Case) -> str:
    """Check that the tokens of a calibrated budget are the reference's over the ratio, which lies in its interval."""
    conversion, spec = _conversion(case), case.run.spec
    budget = _requested(conversion)
    if budget.unit == "reference tokens":
        same(spec.reference_tokens, int(budget.amount))
    within(conversion.ratio, max(conversion.low, 1e-9), conversion.high, "time a token over the reference's")
    same(spec.budget.unit, "tokens")
    return same(int(spec.budget.amount), round((spec.reference_tokens or 0) / conversion.ratio))


@CONVERSION("calibration")
def _calibration(case: Case) -> str:
    """Where the calibration lies in the same folder, it has the ratio, interval, device and threads that the run names, and its
    speed gives the reference tokens of a budget in seconds, to 1,000.
    """
    conversion, spec = _conversion(case), case.run.spec
    beside = [item for item in load(folder_of(case.path), "calibration-*.json") if isinstance(item, Calibration)]
    calibration = next((one for one in beside if one.run_id == conversion.calibration), None)
    if calibration is None:
        raise NotApplicable("the calibration does not lie in the folder")
    same(conversion.device, calibration.environment.device)
    same(conversion.threads, calibration.environment.threads)
    setting = {name: value for name, value in spec.hyperparameters.items() if name != "learning_rate"}
    entries = [entry for entry in calibration.methods if entry.method == spec.method and entry.hyperparameters == setting]
    if not entries:
        raise Mismatch(f"calibrated by {calibration.run_id}", f"no speed of {spec.method} there")
    for name in ("ratio", "low", "high"):
        near(getattr(conversion, name), getattr(entries[0], name))
    budget = _requested(conversion)
    if budget.unit == "seconds":
        # Converted by the reference's speed in the first calibration of this setting: another, where the method came later.
        implied = (spec.reference_tokens or 0) / conversion.expected_seconds
        alike = [other.tokens_per_second for other in beside if other.setting == calibration.setting]
        nearest = min(alike, key=lambda other: abs(other - implied))
        same(spec.reference_tokens, ROUNDED * round(budget.amount * nearest / ROUNDED))
    return calibration.run_id


@CHECKS("calibration threads")
def _threads(case: Case) -> str:
    """Torch's threads were as many as the setting says."""
    return same(case.calibration.environment.threads, case.calibration.setting.threads)


@CHECKS("calibration reference")
def _reference(case: Case) -> str:
    """Check that the reference comes first and was timed once in every round, on at least one token."""
    calibration = case.calibration
    first = calibration.methods[0] if calibration.methods else None
    if first is None or first.method != calibration.reference or first.state != "complete":
        raise Mismatch(first and f"{first.method}, {first.state}", f"{calibration.reference}, complete")
    for method in calibration.methods:
        if any(timed.seconds <= 0 or timed.tokens < 1 for timed in method.slices):
            raise Mismatch(f"a slice of {method.method} of no time or no tokens", "both above zero")
        numbers = [timed.round for timed in method.slices]
        if len(set(numbers)) < len(numbers) or not set(numbers) <= set(range(calibration.rounds)):
            raise Mismatch(f"{method.method} twice in a round, or in one that there is not", f"{calibration.rounds} rounds")
    return same(len(first.slices), calibration.rounds)


@CHECKS("calibration batches")
def _batches(case: Case) -> str:
    """In a round every method trained on as many tokens as the reference."""
    beside = {timed.round: timed.tokens for timed in case.calibration.methods[0].slices}
    for method in case.calibration.methods:
        for timed in method.slices:
            if beside.get(timed.round) != timed.tokens:
                raise Mismatch(
                    f"{timed.tokens:,} tokens of {method.method} in round {timed.round}", f"{beside.get(timed.round)}"
                )
    return f"{sum(beside.values()):,} tokens"


@CHECKS("calibration rounds")
def _rounds(case: Case) -> str:
    """Check that the rounds that count are those whose reference slice was within 15 % of a free machine's."""
    calibration = case.calibration
    return same(calibration.rounds_counted, len(qualifying_rounds(calibration.methods[0].slices, calibration.rounds_rule)))


@CHECKS("calibration ratios")
def _ratios(case: Case) -> str:
    """Check that a ratio is the median over the rounds that count, and its interval lies at the ranks for 95 %."""
    calibration, figures = case.calibration, []
    reference = calibration.methods[0].slices
    for method in calibration.methods:
        expected = ratio(method.slices, reference, calibration.rounds_rule) if method.state == "complete" else None
        derived = (None, None, None) if expected is None else expected[:3]
        for figure, gives in zip((method.ratio, method.low, method.high), derived, strict=True):
            near(figure, gives)
        if method.ratio is not None:
            figures.append(f"{method.method} {method.ratio:.4f}")
        elif not method.reason:
            raise Mismatch(f"{method.method} {method.state} without a reason", "a reason")
    return ", ".join(figures)


@CHECKS("calibration speed")
def _speed(case: Case) -> str:
    """Tokens a second are the 90th percentile of the reference's slices."""
    return near(case.calibration.tokens_per_second, speed(case.calibration.methods[0].slices))


@CHECKS("calibration clock")
def _clock(case: Case) -> str:
    """Check that the slices did not take longer than the rounds that they were in."""
    calibration = case.calibration
    inside = sum(timed.seconds for method in calibration.methods for timed in method.slices)
    if inside > calibration.seconds * 1.001 + 0.01:
        raise Mismatch(f"{calibration.seconds:.3f} s", f"at least {inside:.3f} s of slices")
    return f"{inside:.1f} of {calibration.seconds:.1f} s"
