"""Check that a run counts its calibrated share of the requested budget (rules, section 1)."""

from __future__ import annotations

from bench.records.attempts import folder_of
from bench.records.audit.check import Case, Checks, Mismatch, NotApplicable, near, same, within
from bench.records.schema import Calibration, Conversion
from bench.records.spec import Budget
from bench.records.store import load
from bench.system.errors import BenchError

__all__ = ["CHECKS"]

CHECKS = Checks()
_ROUNDED = 1000
"""Tokens to which a budget in seconds is rounded."""


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


@CHECKS("counted budget")
def _counted(case: Case) -> str:
    """Since rules 3 a run counts tokens, steps or epochs; neither seconds nor another method's tokens decide anything."""
    _since_rules_3(case)
    budget = case.run.spec.budget
    if budget.calibrated:
        raise Mismatch(f"a budget in {budget.unit}", "tokens, steps or epochs")
    return budget.unit


@CHECKS("conversion")
def _converted(case: Case) -> str:
    """Check that the tokens of a calibrated budget are the reference's over the ratio, which lies in its interval."""
    conversion, spec = _conversion(case), case.run.spec
    budget = _requested(conversion)
    if budget.unit == "reference tokens":
        same(spec.reference_tokens, int(budget.amount))
    within(conversion.ratio, max(conversion.low, 1e-9), conversion.high, "time a token over the reference's")
    same(spec.budget.unit, "tokens")
    return same(int(spec.budget.amount), round((spec.reference_tokens or 0) / conversion.ratio))


@CHECKS("calibration")
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
    speeds = [speed for speed in calibration.methods if speed.method == spec.method and speed.hyperparameters == setting]
    if not speeds:
        raise Mismatch(f"calibrated by {calibration.run_id}", f"no speed of {spec.method} there")
    for name in ("ratio", "low", "high"):
        near(getattr(conversion, name), getattr(speeds[0], name))
    budget = _requested(conversion)
    if budget.unit == "seconds":
        # Converted by the reference's speed in the first calibration of this setting: another, where the method came later.
        implied = (spec.reference_tokens or 0) / conversion.expected_seconds
        alike = [other.tokens_per_second for other in beside if other.setting == calibration.setting]
        speed = min(alike, key=lambda speed: abs(speed - implied))
        same(spec.reference_tokens, _ROUNDED * round(budget.amount * speed / _ROUNDED))
    return calibration.run_id
