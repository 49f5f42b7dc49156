"""Whether the ratios of a calibration, their intervals and its speed follow from its slices."""

from __future__ import annotations

from bench.records.audit.check import Case, Checks, Mismatch, near, same
from bench.records.ratios import qualifying_rounds, ratio, speed

__all__ = ["CHECKS"]

CHECKS = Checks()


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
