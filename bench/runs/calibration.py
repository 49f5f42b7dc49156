"""Calibration (rules, section 1): how long a token takes under each method, as a ratio to the reference.

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
from bench.data.sources import Asked
from bench.data.task import Ints, prepare, splits_of
from bench.models.pretrained import PretrainedModel
from bench.records.environment import environment
from bench.records.ratios import RULE, calibration_id, counted, speed
from bench.records.schema import Calibration, CalibrationSetting, DataCut, MethodSpeed
from bench.records.spec import Budget, RunSpec
from bench.records.store import prepare_folder, save
from bench.rules import RULES_VERSION, TUNING_SEED
from bench.runs.calibration_store import covering, find_calibrations, named, same_method
from bench.runs.rounds import REFERENCE, Group, Lost, Measured, Worker, measure, slices_of
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
    """What methods are attached to and trained on, where it is on this machine."""

    setting: CalibrationSetting
    pretrained: PretrainedModel
    data_argument: Asked
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
        return [named(file, subject.setting, methods)]
    model = device_model(subject.setting.device)
    found = find_calibrations(out, subject.setting, model)
    missing = [one for one in methods if covering(found, one) is None]
    if not missing:
        return found
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
    given = seconds if seconds is not None else ALONE if len(timed) <= 2 else SECONDS
    # No method trains on another's batches, and no run has this seed's.
    lengths, generator = _lengths(subject), np.random.default_rng(TUNING_SEED)
    measured, asked = Measured(), 0.0
    waiting = _groups(list(range(1, len(timed))), given)
    tried_again: set[int] = set()
    while waiting:
        group = waiting.pop(0)
        asked += group.seconds
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
        except Lost as lost:
            raise MethodError(f"the reference {timed[REFERENCE][0]} cannot be calibrated: {lost.reason}") from None
        # What did not fit beside others may fit alone, but not under a cap, which is of each process.
        if len(group.methods) > 1 and (subject.setting.memory_cap is None or subject.setting.device == "cuda"):
            again = [m for m in group.methods if m not in tried_again and _full(measured, m)]
            tried_again.update(again)
            waiting += [Group([method], min(given, ALONE)) for method in again]
            for method in again:
                del measured.lost[method]
                measured.slices.pop(method, None)
    made = _record(subject, timed, measured, asked)
    save(out, made)
    return made


def _full(measured: Measured, method: int) -> bool:
    return method in measured.lost and measured.lost[method].state == "out-of-memory"


def _with_reference(methods: Sequence[Named]) -> list[Named]:
    """List the reference at its default hyperparameters, then the others, all without learning rates."""
    name = registry.names(core=True)[0]
    found: list[Named] = []
    for method, own in [(name, registry.get(name).hyperparameters()), *methods]:
        one = method, {field: value for field, value in own.items() if field != "learning_rate"}
        if not any(same_method(one, other) for other in found):
            found.append(one)
    return found


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


def _record(subject: Subject, timed: list[Named], measured: Measured, asked: float) -> Calibration:
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
        seconds_asked=asked,
        seconds=measured.seconds,
        rounds=measured.rounds,
        rounds_rule=RULE,
        rounds_counted=len(counted(reference)),
        tokens_per_second=speed(reference),
        methods=list(_speeds(timed, measured)),
    )


def _speeds(timed: list[Named], measured: Measured) -> Iterator[MethodSpeed]:
    for position, (name, own) in enumerate(timed):
        lost, found = measured.lost.get(position), measured.ratio(position)
        slices = measured.slices.get(position, [])
        if lost is not None or found is None:
            state, reason = ("failed", "it was never timed") if lost is None else (lost.state, lost.reason)
            yield MethodSpeed(method=name, hyperparameters=dict(own), state=state, reason=reason, slices=slices)  # type: ignore[arg-type]
        else:
            yield MethodSpeed(
                method=name, hyperparameters=dict(own), slices=slices, ratio=found.value, low=found.low, high=found.high
            )


def warnings(made: Calibration, methods: Sequence[Named]) -> list[str]:
    """List reasons to doubt the ratios of these methods, a line each."""
    lines: list[str] = []
    if 2 * made.rounds_counted < made.rounds:
        lines.append(
            f"the machine was busy: in only {made.rounds_counted} of {made.rounds} rounds was {made.reference} within 15 % of "
            "its speed on a free one; calibrate again when it is quiet"
        )
    for one in made.methods:
        if not any(same_method((one.method, one.hyperparameters), method) for method in methods):
            continue
        if one.state != "complete":
            lines.append(f"{one.method}: {one.state}: {one.reason}")
        elif one.ratio is None or one.low is None or one.high is None:
            lines.append(f"{one.method}: too few rounds for an interval; give more --seconds")
        elif max(one.high - one.ratio, one.ratio - one.low) > WIDE * one.ratio:
            lines.append(
                f"{one.method}: the interval {one.low:.3f} to {one.high:.3f} is wider than ±{WIDE:.0%}; give more --seconds"
            )
    return lines
