"""Calibration (rules, section 1): time per token under each method, as a ratio to the reference.

It is measured once for a setting, kept as a record among the runs, and converts their budgets.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np

import methods as registry
from bench.data.sources import DataRequest
from bench.data.task import Ints, prepare, splits_of
from bench.models.pretrained import PretrainedModel
from bench.records.environment import environment
from bench.records.ratios import RULE, calibration_id, qualifying_rounds, speed
from bench.records.schema import Calibration, CalibrationSetting, DataCut, MethodSpeed
from bench.records.spec import Budget, RunSpec
from bench.records.store import prepare_folder, save
from bench.rules import RULES_VERSION, TUNING_SEED
from bench.runs.calibration_store import covering, find_calibrations, load_calibration, same_method
from bench.runs.rounds import REFERENCE, Group, Measured, Worker, WorkerLost, measure, slices_of
from bench.runs.workers import ProcessWorker
from bench.system.device import device_model
from bench.system.errors import MethodError
from bench.training.job import Job, job_of

__all__ = [
    "ALONE", "RESIDENT", "SECONDS", "Named", "Subject", "calibrate", "calibrated", "setting_of", "subject_of", "warnings",
]  # fmt: skip

RESIDENT = 5
"""Methods that are resident at a time, the reference among them: the five compared; more would not fit beside each other."""
SECONDS = 60.0
"""Wall seconds of the rounds of a group of `RESIDENT` methods, by default."""
ALONE = 15.0
"""The same where there is one method beside the reference."""
WIDE = 0.10
"""An interval that reaches further than this share of its ratio is a warning: budgets differ by as much."""
RATE = 1e-5
"""Learning rate of the slices: weights move, as they do in a run, and stay near those of the pretrained encoder."""

Named = tuple[str, Mapping[str, Any]]
"""A method and its hyperparameters. The learning rate, if it is there, is left out: it changes no time."""
Progress = Callable[[str], None]


@dataclass(frozen=True)
class Subject:
    """Encoder, data and setting of a calibration on this machine."""

    setting: CalibrationSetting
    pretrained: PretrainedModel
    data_argument: DataRequest
    data: DataCut
    data_name: str


def setting_of(job: Job) -> CalibrationSetting:
    """Return the setting whose calibration is valid for a run."""
    spec = job.spec
    return CalibrationSetting(
        encoder_sha256=job.pretrained.sha256, data_sha256=job.data.sha256, cut=job.data.cut, max_length=spec.max_length,
        truncation=spec.truncation, batch_size=spec.batch_size, dropout=spec.dropout,
        attention_dropout=spec.attention_dropout, precision=spec.precision, device=spec.device, threads=spec.threads,
        memory_cap=spec.memory_cap, kernels=spec.kernels,
    )  # fmt: skip


def subject_of(job: Job) -> Subject:
    """Return the subject of a run."""
    return Subject(setting_of(job), job.pretrained, job.data_argument, job.data, job.spec.data)


def calibrated(
    subject: Subject,
    methods: Sequence[Named],
    out: Path,
    *,
    file: Path | None = None,
    seconds: float | None = None,
    progress: Progress = lambda line: None,
) -> list[Calibration]:
    """Return calibrations that hold these methods between them, first the one that converts budgets in seconds.

    With `file` only that one, of any machine. Else those of the folder `out`; methods that none of them holds are calibrated
    now against the same reference, and the record is saved there.

    Raises:
        BenchError: if a file is no calibration, was changed, is of another setting or rules version, or lacks a method; if the
            folder has only calibrations of another kind of machine; if the reference cannot be trained.
    """
    if file is not None:
        return [load_calibration(file, subject.setting, methods)]
    model = device_model(subject.setting.device)
    calibrations = find_calibrations(out, subject.setting, model)
    missing = [method for method in methods if covering(calibrations, method) is None]
    if not missing:
        return calibrations
    calibrate(subject, missing, out, seconds=seconds, progress=progress)
    return find_calibrations(out, subject.setting, model)


def calibrate(
    subject: Subject,
    methods: Sequence[Named],
    out: Path,
    *,
    seconds: float | None = None,
    progress: Progress = lambda line: None,
    worker: Callable[[Job], Worker] = ProcessWorker,
    clock: Callable[[], float] = time.monotonic,
) -> Calibration:
    """Time these methods beside the reference, and save the record in the folder `out`.

    `seconds` is for each group of at most `RESIDENT` methods; None: `SECONDS`, and `ALONE` where one method is timed.

    Raises:
        BenchError: if the folder cannot be written, or the reference cannot be trained.
    """
    prepare_folder(out)
    timed = _with_reference(methods)
    limit = seconds if seconds is not None else ALONE if len(timed) <= 2 else SECONDS
    # No method trains on another's batches, and no run has this seed's.
    lengths, generator = _lengths(subject), np.random.default_rng(TUNING_SEED)
    measured, budgeted = Measured(), 0.0
    waiting = _groups(list(range(1, len(timed))), limit)
    tried_again: set[int] = set()
    while waiting:
        group = waiting.pop(0)
        budgeted += group.seconds
        try:
            measure(
                group,
                lambda method: worker(_job(subject, timed[method])),
                lambda steps: slices_of(lengths, subject.setting.batch_size, TUNING_SEED, steps),
                subject.setting.device,
                measured,
                generator=generator,
                clock=clock,
                progress=progress,
            )
        except WorkerLost as error:
            raise MethodError(f"the reference {timed[REFERENCE][0]} cannot be calibrated: {error.reason}") from None
        # A method that did not fit beside others may fit alone, unless it reached its own cap.
        if len(group.methods) > 1 and (subject.setting.memory_cap is None or subject.setting.device == "cuda"):
            retries = [m for m in group.methods if m not in tried_again and _full(measured, m)]
            tried_again.update(retries)
            waiting += [Group([method], min(limit, ALONE)) for method in retries]
            for method in retries:
                del measured.failures[method]
                measured.slices.pop(method, None)
    calibration = _record(subject, timed, measured, budgeted)
    save(out, calibration)
    return calibration


def _full(measured: Measured, method: int) -> bool:
    return method in measured.failures and measured.failures[method].state == "out-of-memory"


def _with_reference(methods: Sequence[Named]) -> list[Named]:
    """List the reference at its default hyperparameters, then the others, all without learning rates."""
    name = registry.names(core=True)[0]
    timed: list[Named] = []
    for method, own in [(name, registry.get(name).hyperparameters()), *methods]:
        candidate = method, {field: value for field, value in own.items() if field != "learning_rate"}
        if not any(same_method(candidate, other) for other in timed):
            timed.append(candidate)
    return timed


def _groups(others: list[int], seconds: float) -> list[Group]:
    size = RESIDENT - 1
    return [Group(others[i : i + size], seconds) for i in range(0, max(1, len(others)), size)]


def _lengths(subject: Subject) -> Ints:
    task = prepare(subject.pretrained, subject.data.sha256, lambda: splits_of(subject.data_argument, subject.data.sha256))
    return task.lengths(task.train, subject.setting.max_length)


def _job(subject: Subject, method: Named) -> Job:
    """Make the job of a worker. Its budget is never spent: a slice is counted by its batches."""
    setting, (name, own) = subject.setting, method
    spec = RunSpec(
        method=name, hyperparameters={**own, "learning_rate": RATE}, encoder=subject.pretrained.name, data=subject.data_name,
        budget=Budget(amount=1, unit="epochs"), seed=TUNING_SEED, max_length=setting.max_length,
        truncation=setting.truncation, batch_size=setting.batch_size, dropout=setting.dropout,
        attention_dropout=setting.attention_dropout, precision=setting.precision, device=setting.device,
        threads=setting.threads, memory_cap=setting.memory_cap, classes=len(subject.data.labels),
        kernels=setting.kernels,
    )  # fmt: skip
    return job_of(spec, subject.pretrained, subject.data_argument, subject.data, "")


def _record(subject: Subject, timed: list[Named], measured: Measured, budgeted: float) -> Calibration:
    setting, reference = subject.setting, measured.slices[REFERENCE]
    model, finished = device_model(setting.device), datetime.now(UTC).isoformat(timespec="seconds")
    return Calibration(
        run_id=calibration_id(setting, timed, model, finished),
        rules_version=RULES_VERSION,
        finished=finished,
        encoder=subject.pretrained.name,
        data=subject.data_name,
        setting=setting,
        environment=environment(device=model, threads=setting.threads),
        reference=timed[REFERENCE][0],
        seconds_asked=budgeted,
        seconds=measured.seconds,
        rounds=measured.rounds,
        rounds_rule=RULE,
        rounds_counted=len(qualifying_rounds(reference)),
        tokens_per_second=speed(reference),
        methods=list(_speeds(timed, measured)),
    )


def _speeds(timed: list[Named], measured: Measured) -> Iterator[MethodSpeed]:
    for position, (name, own) in enumerate(timed):
        failure, measured_ratio = measured.failures.get(position), measured.ratio(position)
        slices = measured.slices.get(position, [])
        if failure is not None or measured_ratio is None:
            state, reason = ("failed", "it was never timed") if failure is None else (failure.state, failure.reason)
            yield MethodSpeed(method=name, hyperparameters=dict(own), state=state, reason=reason, slices=slices)  # type: ignore[arg-type]
        else:
            yield MethodSpeed(
                method=name,
                hyperparameters=dict(own),
                slices=slices,
                ratio=measured_ratio.value,
                low=measured_ratio.low,
                high=measured_ratio.high,
            )


def warnings(calibration: Calibration, methods: Sequence[Named]) -> list[str]:
    """List reasons to doubt the ratios of these methods, a line each."""
    lines: list[str] = []
    if 2 * calibration.rounds_counted < calibration.rounds:
        lines.append(
            f"the machine was busy: {calibration.reference} was within 15 % of its speed on a free one in only "
            f"{calibration.rounds_counted} of {calibration.rounds} rounds; calibrate again when it is quiet"
        )
    for entry in calibration.methods:
        if not any(same_method((entry.method, entry.hyperparameters), method) for method in methods):
            continue
        if entry.state != "complete":
            lines.append(f"{entry.method}: {entry.state}: {entry.reason}")
        elif entry.ratio is None or entry.low is None or entry.high is None:
            lines.append(f"{entry.method}: too few rounds for an interval; give more --seconds")
        elif max(entry.high - entry.ratio, entry.ratio - entry.low) > WIDE * entry.ratio:
            lines.append(
                f"{entry.method}: the interval {entry.low:.3f} to {entry.high:.3f} is wider than ±{WIDE:.0%}; "
                "give more --seconds"
            )
    return lines
