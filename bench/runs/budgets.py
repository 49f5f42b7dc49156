"""Conversion of budgets in seconds or reference tokens into the tokens of each method by saved calibrations, before any run."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from bench.data.task import prepare
from bench.records.ratios import ROUNDED
from bench.records.schema import Baseline, Calibration, CalibrationSetting, Conversion, MethodSpeed
from bench.records.spec import Budget
from bench.records.store import Damaged, checksum_flaw, examine, path_of, read
from bench.rules import RULES_VERSION
from bench.runs.calibration import LONGER, Named, Progress, calibrate, reference, setting_of, warnings
from bench.runs.plan import Matrix
from bench.system.device import device_model
from bench.system.errors import BenchError, RecordError, SpecError
from bench.system.files import present
from bench.training.job import Job

__all__ = [
    "calibrated", "convert", "convert_budgets", "convert_if_calibrated", "find_calibrations", "load_calibration",
    "reference_tokens", "speed_of",
]  # fmt: skip

FASTEST = 0.1
"""A ratio that no method is below, since each encodes its texts; the least that was measured is 0.47, of a head alone."""
_OF_MACHINE = ("device", "threads")
"""Fields of the setting that a calibration which is named need not share."""
_WORDS = {"encoder_sha256": "encoder", "data_sha256": "data", "memory_cap": "memory"}
"""The option of a field, where that is not its name."""


def convert_budgets(matrix: Matrix, out: Path, *, elsewhere: bool = False, say: Callable[[str], None]) -> Matrix:
    """Convert every calibrated budget; calibrate what lacks a calibration now, and save its record in `out`.

    With `elsewhere`, runs execute on other machines, whose speed this one cannot measure: the calibration must be named.

    Raises:
        BenchError: as `calibrated`; if a budget is too small for one batch of a method.
    """
    jobs, methods = _calibrated_jobs(matrix)
    if not jobs:
        return matrix
    if elsewhere and matrix.calibration is None:
        raise SpecError("a budget in seconds or reference tokens needs --calibration FILE where runs execute on a cluster")
    if matrix.calibration is None:
        _refuse_too_small(matrix, jobs)
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


def _batch_tokens(matrix: Matrix, job: Job) -> float:
    """Compute the mean number of tokens of a batch."""
    task = prepare(matrix.pretrained, matrix.data.sha256, lambda: matrix.splits)
    return job.spec.batch_size * float(task.lengths(task.train, job.spec.max_length).mean())


def _refuse_too_small(matrix: Matrix, jobs: Sequence[Job]) -> None:
    """Refuse a budget in reference tokens that is too small for a method, whatever a calibration may measure.

    Raises:
        SpecError: if it is less than one batch.
    """
    asked = [job for job in jobs if job.spec.budget.unit == "reference tokens"]
    batch_tokens = _batch_tokens(matrix, asked[0]) if asked else 0.0
    for job in asked:
        budget, least = job.spec.budget, 1.0 if (job.spec.method, job.setting) == reference() else FASTEST
        if budget.amount / least < batch_tokens:
            raise SpecError(
                f"budget {budget} is too small for {job.spec.method}: one batch has {batch_tokens:,.0f} tokens; "
                "give a larger --budget"
            )


def _converted(matrix: Matrix, job: Job, calibrations: Sequence[Calibration]) -> Matrix:
    batch_tokens = _batch_tokens(matrix, job)

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
        why = f"{speed.state}: {speed.reason}"
        if speed.reason is None:
            why = f"too few rounds; {LONGER}"
        raise RecordError(f"{method} has no ratio in calibration {calibration.run_id}: {why}")
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


def calibrated(
    job: Job, methods: Sequence[Named], out: Path, *, file: Path | None = None, progress: Progress | None = None
) -> list[Calibration]:
    """Return calibrations of a job's setting that hold these methods between them, first the one that converts seconds.

    With `file` only that one, of any machine. Else those of the folder `out`; with `progress`, methods that none of them
    holds are calibrated now against the same reference, and the record is saved there.

    Raises:
        BenchError: if a file is no calibration, was changed, is of another setting or rules version, or lacks a method; if the
            folder has only calibrations of another kind of machine; if the reference cannot be trained.
    """
    setting = setting_of(job)
    if file is not None:
        return [load_calibration(file, setting, methods)]
    model = device_model(setting.device)
    calibrations = find_calibrations(out, setting, model)
    missing = [method for method in methods if speed_of(calibrations, method) is None]
    if not missing or progress is None:
        return calibrations
    calibrate(job, missing, out, progress=progress)
    return find_calibrations(out, setting, model)


def speed_of(calibrations: Sequence[Calibration], method: Named) -> tuple[Calibration, MethodSpeed] | None:
    """Find the first calibration that holds a method, and its speed there; one that failed may succeed when tried again."""
    for calibration in calibrations:
        for entry in calibration.methods:
            if (entry.method, entry.hyperparameters) == method and entry.state != "failed":
                return calibration, entry
    return None


def find_calibrations(folder: Path, setting: CalibrationSetting, model: str) -> list[Calibration]:
    """Find the calibrations of a folder that are valid for a setting on the processor or GPU `model`.

    Those with the most methods come first, and of these the newest, so that one for later methods does not replace the first.

    Raises:
        RecordError: if one of them was changed, or all are of another kind of machine.
    """
    valid, elsewhere = list[Calibration](), list[Calibration]()
    for path in sorted(present(folder, "calibration-*.json")):
        item = examine(path)
        if isinstance(item, Damaged):
            raise RecordError(f"{str(item.path)!r} is not a whole calibration ({item.reason}); move it away")
        if not isinstance(item, Calibration) or item.rules_version != RULES_VERSION:
            continue
        unlike = _unlike(item.setting, setting)
        if not unlike and item.environment.device == model:
            valid.append(item)
        elif not set(unlike) - set(_OF_MACHINE):
            elsewhere.append(item)
    if elsewhere and not valid:
        other = elsewhere[-1]
        raise RecordError(
            f"{str(path_of(folder, other))!r} was made on another kind of machine ({other.environment.device}, "
            f"{other.setting.threads} threads; this is {model}, {setting.threads} threads); name it with --calibration to use "
            "it, or choose another --out"
        )
    return sorted(valid, key=lambda item: (len(item.methods), item.finished, item.run_id), reverse=True)


def load_calibration(path: Path, setting: CalibrationSetting, methods: Sequence[Named]) -> Calibration:
    """Read the calibration in a file, which is valid on any machine for an equal setting.

    Raises:
        RecordError: if the file holds no calibration, was changed, or is of another setting or rules version; if it lacks one
            of the methods.
    """
    where = f"calibration {str(path)!r}"
    try:
        record = read(path)
    except RecordError as error:
        raise RecordError(f"--calibration: {error}; name a calibration-….json") from None
    if not isinstance(record, Calibration):
        kind = "baseline" if isinstance(record, Baseline) else "run"
        raise RecordError(f"{where} is the record of a {kind}; name a calibration-….json")
    if broken := checksum_flaw(path):
        raise RecordError(f"{where} cannot be trusted: {broken}")
    if record.rules_version != RULES_VERSION:
        raise RecordError(
            f"{where} is of rules version {record.rules_version}, and this is version {RULES_VERSION}; calibrate again"
        )
    unlike = [name for name in _unlike(record.setting, setting) if name not in _OF_MACHINE]
    if unlike:
        first = unlike[0]
        theirs, ours = (str(getattr(side, first))[:20] for side in (record.setting, setting))
        raise RecordError(
            f"{where} is of another setting: its {_WORDS.get(first, first)} is {theirs}, and here it is {ours}; "
            "calibrate this setting"
        )
    for name, own in methods:
        if speed_of([record], (name, own)) is None:
            settings = ", ".join(f"{field} {value}" for field, value in own.items())
            label = f"{name} ({settings})" if settings else name
            raise RecordError(f"{where} does not hold {label}; calibrate it, or leave --calibration out")
    return record


def _unlike(first: CalibrationSetting, second: CalibrationSetting) -> list[str]:
    """List the fields in which two settings differ."""
    return [name for name in CalibrationSetting.model_fields if getattr(first, name) != getattr(second, name)]
