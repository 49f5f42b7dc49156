"""Conversion of a matrix's calibrated budgets into tokens of each method, before anything runs."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from bench.data.task import prepare
from bench.records.schema import Calibration
from bench.runs.calibration import Named, calibrated, setting_of, subject_of, warnings
from bench.runs.calibration_store import covering, find_calibrations
from bench.runs.convert import convert
from bench.runs.plan import Matrix, converted
from bench.system.device import device_model
from bench.system.errors import BenchError, SpecError
from bench.training.job import Job

__all__ = ["convert_budgets", "convert_if_calibrated"]


def convert_budgets(matrix: Matrix, out: Path, *, elsewhere: bool = False, say: Callable[[str], None]) -> Matrix:
    """Convert every calibrated budget; calibrate what lacks a calibration now, and save its record in `out`.

    With `elsewhere`, runs execute on other machines, whose speed this one cannot measure: the calibration must be named.

    Raises:
        BenchError: as `bench.runs.calibration.calibrated`; if a budget is too small for one batch of a method.
    """
    jobs = _calibrated_jobs(matrix)
    if not jobs:
        return matrix
    if elsewhere and matrix.calibration is None:
        raise SpecError("a budget in seconds or reference tokens needs --calibration FILE where runs execute on a cluster")
    calibrations = calibrated(subject_of(jobs[0]), _methods(jobs), out, file=matrix.calibration, progress=say)
    for calibration in calibrations:
        for line in warnings(calibration, _methods(jobs)):
            say(line)
    return _converted(matrix, calibrations)


def convert_if_calibrated(matrix: Matrix, out: Path) -> Matrix:
    """Convert where the calibration is there already; else return the matrix unchanged.

    Raises:
        RecordError: if the calibration that was named is not one for these jobs.
    """
    jobs = _calibrated_jobs(matrix)
    if not jobs:
        return matrix
    if matrix.calibration is not None:
        return _converted(matrix, calibrated(subject_of(jobs[0]), _methods(jobs), out, file=matrix.calibration))
    try:
        calibrations = find_calibrations(out, setting_of(jobs[0]), device_model(jobs[0].spec.device))
        if any(covering(calibrations, method) is None for method in _methods(jobs)):
            return matrix
        return _converted(matrix, calibrations)
    except BenchError:
        return matrix


def _calibrated_jobs(matrix: Matrix) -> list[Job]:
    return [job for job in (*matrix.trials, *matrix.jobs) if job.spec.budget.calibrated]


def _methods(jobs: Sequence[Job]) -> list[Named]:
    """List each method of these jobs with its setting, once."""
    return list({(job.spec.method, repr(sorted(job.setting.items()))): (job.spec.method, job.setting) for job in jobs}.values())


def _converted(matrix: Matrix, calibrations: Sequence[Calibration]) -> Matrix:
    spec = _calibrated_jobs(matrix)[0].spec
    task = prepare(matrix.pretrained, matrix.data.sha256, lambda: matrix.splits)
    batch_tokens = spec.batch_size * float(task.lengths(task.train, spec.max_length).mean())
    return converted(matrix, lambda job: convert(calibrations, job.spec.budget, job.spec.method, job.setting, batch_tokens))
