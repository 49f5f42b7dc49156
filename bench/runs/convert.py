"""From a budget in seconds or reference tokens to the tokens of each method."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from bench.records.schema import Calibration, Conversion
from bench.records.spec import Budget
from bench.runs.calibration_store import covering, speed_of
from bench.system.errors import RecordError, SpecError

__all__ = ["Converted", "convert", "reference_tokens"]

ROUNDED = 1000
"""Tokens to which a budget in seconds is rounded: its last digits would be noise."""


class Converted(NamedTuple):
    """The share of a method in a calibrated budget."""

    budget: Budget
    """Its tokens."""
    reference_tokens: int
    """Those of the reference."""
    conversion: Conversion


def reference_tokens(budget: Budget, calibration: Calibration) -> int:
    """Compute the tokens, without padding, of the reference under a budget in seconds or reference tokens.

    Raises:
        SpecError: if the seconds are too few for `ROUNDED` / 2 tokens.
    """
    if budget.unit == "reference tokens":
        return int(budget.amount)
    if budget.unit != "seconds":
        raise ValueError(f"a budget of {budget} needs no calibration")
    tokens = ROUNDED * round(budget.amount * calibration.tokens_per_second / ROUNDED)
    if tokens < 1:
        raise SpecError(f"budget {budget} is too small: at {calibration.tokens_per_second:,.0f} tokens a second it is no step")
    return tokens


def convert(
    calibrations: Sequence[Calibration], budget: Budget, method: str, hyperparameters: Mapping[str, Any], batch_tokens: float
) -> Converted:
    """Compute a method's share of a budget: the tokens of the reference divided by its ratio.

    `calibrations` are what `calibrated` returned: the first says what a second is worth, and the first that holds the method
    its ratio. `batch_tokens` is the mean number of tokens of a batch.

    Raises:
        BenchError: if the method was not calibrated or did not fit, or if its tokens are fewer than those of one batch.
    """
    calibration = covering(calibrations, (method, hyperparameters))
    if calibration is None:
        raise RecordError(f"{method} was not calibrated; calibrate it with: python -m bench calibrate --method {method}")
    speed = speed_of(calibration, (method, hyperparameters))
    if speed is None or speed.ratio is None or speed.low is None or speed.high is None:
        why = "too few rounds" if speed is None or speed.reason is None else f"{speed.state}: {speed.reason}"
        raise RecordError(f"{method} has no ratio in calibration {calibration.run_id} ({why})")
    first = calibrations[0]
    whole = reference_tokens(budget, first)
    tokens = round(whole / speed.ratio)
    if tokens < batch_tokens:
        raise SpecError(
            f"budget {budget} is too small for {method}: {tokens:,} tokens are fewer than one batch has "
            f"({batch_tokens:,.0f}); give a larger --budget"
        )
    conversion = Conversion(
        calibration=calibration.run_id, device=calibration.environment.device, threads=calibration.setting.threads,
        asked=str(budget), ratio=speed.ratio, low=speed.low, high=speed.high, expected_seconds=whole / first.tokens_per_second,
    )  # fmt: skip
    return Converted(Budget(amount=tokens, unit="tokens"), whole, conversion)
