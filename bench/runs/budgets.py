"""Conversion of calibrated budgets, in seconds or reference tokens, into the tokens of each method, before anything runs."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from bench.data.task import prepare
from bench.records.schema import Calibration, Conversion
from bench.records.spec import Budget
from bench.runs.calibration import calibrated, warnings
from bench.runs.calibration_store import Named, speed_of
from bench.runs.plan import Matrix
from bench.system.errors import BenchError, RecordError, SpecError
from bench.training.job import Job

__all__ = ["convert", "convert_budgets", "convert_if_calibrated", "reference_tokens"]

ROUNDED = 1000
"""Tokens to which a budget in seconds is rounded: its last digits would be noise."""


def convert_budgets(matrix: Matrix, out: Path, *, elsewhere: bool = False, say: Callable[[str], None]) -> Matrix:
    """Convert every calibrated budget; calibrate what lacks a calibration now, and save its record in `out`.

    With `elsewhere`, runs execute on other machines, whose speed this one cannot measure: the calibration must be named.

    Raises:
        BenchError: as `bench.runs.calibration.calibrated`; if a budget is too small for one batch of a method.
    """
    jobs, methods = _calibrated_jobs(matrix)
    if not jobs:
        return matrix
    if elsewhere and matrix.calibration is None:
        raise SpecError("a budget in seconds or reference tokens needs --calibration FILE where runs execute on a cluster")
    calibrations = calibrated(jobs[0], methods, out, file=matrix.calibration, progress=say)
    for calibration in calibrations:
        for line in warnings(calibration, methods):
            say(line)
    return _converted(matrix, jobs[0], calibrations)


def convert_if_calibrated(matrix: Matrix, out: Path) -> Matrix:
    """Convert where the calibration is there already; else return the matrix unchanged.

    Raises:
        RecordError: if the calibration that was named is not one for these jobs.
    """
    jobs, methods = _calibrated_jobs(matrix)
    try:
        calibrations = calibrated(jobs[0], methods, out, file=matrix.calibration) if jobs else []
        whole = bool(jobs) and all(speed_of(calibrations, method) is not None for method in methods)
        return _converted(matrix, jobs[0], calibrations) if whole else matrix
    except BenchError:
        if matrix.calibration is not None:
            raise
        return matrix


def _calibrated_jobs(matrix: Matrix) -> tuple[list[Job], list[Named]]:
    """List the jobs with a calibrated budget, and each method of theirs with its setting, once."""
    jobs = [job for job in (*matrix.trials, *matrix.jobs) if job.spec.budget.calibrated]
    methods = {(job.spec.method, repr(sorted(job.setting.items()))): (job.spec.method, job.setting) for job in jobs}
    return jobs, list(methods.values())


def _converted(matrix: Matrix, job: Job, calibrations: Sequence[Calibration]) -> Matrix:
    task = prepare(matrix.pretrained, matrix.data.sha256, lambda: matrix.splits)
    batch_tokens = job.spec.batch_size * float(task.lengths(task.train, job.spec.max_length).mean())

    def share(job: Job) -> Job:
        budget = job.spec.budget
        if not budget.calibrated:
            return job
        return job.converted(*convert(calibrations, budget, job.spec.method, job.setting, batch_tokens))

    return replace(matrix, trials=[share(job) for job in matrix.trials], jobs=[share(job) for job in matrix.jobs])


def reference_tokens(budget: Budget, calibration: Calibration) -> int:
    """Compute the tokens, without padding, of the reference under a budget in seconds or reference tokens."""
    if budget.unit == "reference tokens":
        return int(budget.amount)
    return ROUNDED * round(budget.amount * calibration.tokens_per_second / ROUNDED)


def convert(
    calibrations: Sequence[Calibration], budget: Budget, method: str, hyperparameters: Mapping[str, Any], batch_tokens: float
) -> tuple[Budget, int, Conversion]:
    """Compute a method's share of a budget, the tokens of the reference divided by its ratio: its tokens, those of the
    reference, and the conversion.

    `calibrations` are what `calibrated` returned: the first says what a second is worth, and the first that holds the method
    its ratio. `batch_tokens` is the mean number of tokens of a batch.

    Raises:
        BenchError: if the method was not calibrated or did not fit, or if its tokens are fewer than those of one batch.
    """
    found = speed_of(calibrations, (method, hyperparameters))
    if found is None:
        raise RecordError(f"{method} was not calibrated; calibrate it with: python -m bench calibrate --method {method}")
    calibration, speed = found
    if speed.ratio is None or speed.low is None or speed.high is None:
        why = "too few rounds" if speed.reason is None else f"{speed.state}: {speed.reason}"
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
    return Budget(amount=tokens, unit="tokens"), whole, conversion
