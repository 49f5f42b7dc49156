"""Calibration (rules, section 1): time per token under each method, as a ratio to the reference.

It is measured once for a setting, kept as a record among the runs, and converts their budgets.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np

import methods as registry
from bench.data.task import prepare, splits_of
from bench.records.environment import environment
from bench.records.ratios import RULE, Ratio, calibration_id, qualifying_rounds, speed
from bench.records.schema import Calibration, CalibrationSetting, MethodSpeed
from bench.records.spec import Budget
from bench.records.store import prepare_folder, save
from bench.rules import RULES_VERSION, TUNING_SEED
from bench.runs.rounds import REFERENCE, ProcessWorker, Rounds, WorkerLost, slices_of
from bench.system.device import device_model
from bench.system.errors import MethodError
from bench.training.job import Job

__all__ = ["ALONE", "LONGER", "RESIDENT", "SECONDS", "Named", "Progress", "calibrate", "reference", "setting_of", "warnings"]

RESIDENT = 5
"""Methods that are resident at a time, the reference among them: the five compared; more would not fit beside each other."""
SECONDS = 60.0
"""Wall seconds of the rounds of a group of `RESIDENT` methods, by default."""
ALONE = 15.0
"""The same where there is one method beside the reference."""
LONGER = "calibrate it for longer, with calibrate --seconds"
WIDE = 0.10
"""An interval that reaches further than this share of its ratio is a warning: budgets differ by as much."""
RATE = 1e-5
"""Learning rate of the slices: weights move, as they do in a run, and stay near those of the pretrained encoder."""

Progress = Callable[[str], None]
Named = tuple[str, Mapping[str, Any]]
"""A method and its hyperparameters without the learning rate, which changes no time."""


def setting_of(job: Job) -> CalibrationSetting:
    """Return the setting whose calibration is valid for a run."""
    shared = job.spec.model_dump(include=set(CalibrationSetting.model_fields))
    return CalibrationSetting(encoder_sha256=job.pretrained.sha256, data_sha256=job.data.sha256, cut=job.data.cut, **shared)


def calibrate(
    job: Job,
    methods: Sequence[Named],
    out: Path,
    *,
    seconds: float | None = None,
    progress: Progress = lambda line: None,
    worker: Callable[[Job], ProcessWorker] = ProcessWorker,
    clock: Callable[[], float] = time.monotonic,
) -> Calibration:
    """Time these methods beside the reference with encoder, data and setting of a job, and save the record in `out`.

    `seconds` is for each group of at most `RESIDENT` methods; None: `SECONDS`, and `ALONE` where one method is timed.

    Raises:
        BenchError: if the folder cannot be written, or the reference cannot be trained.
    """
    prepare_folder(out)
    timed, spec = _with_reference(methods), job.spec
    limit = seconds if seconds is not None else ALONE if len(timed) <= 2 else SECONDS
    task = prepare(job.pretrained, job.data.sha256, lambda: splits_of(job.data_argument, job.data.sha256))
    lengths = task.lengths(task.train, spec.max_length)
    rounds = Rounds(
        lambda method: worker(_worker_job(job, timed[method])),
        # No method trains on another's batches, and no run has this seed's.
        lambda steps: slices_of(lengths, spec.batch_size, TUNING_SEED, steps),
        spec.device,
        np.random.default_rng(TUNING_SEED),
        clock,
        progress,
    )
    others = range(1, len(timed))
    waiting = [(others[i : i + RESIDENT - 1], limit) for i in range(0, max(1, len(others)), RESIDENT - 1)]
    budgeted = 0.0
    while waiting:
        group, group_seconds = waiting.pop(0)
        budgeted += group_seconds
        try:
            rounds.measure(group, group_seconds)
        except WorkerLost as error:
            raise MethodError(f"the reference {timed[REFERENCE][0]} cannot be calibrated: {error.reason}") from None
        # A method that did not fit beside others may fit alone, unless it reached its own cap.
        if len(group) > 1 and (spec.memory_cap is None or spec.device == "cuda"):
            for method in group:
                if method in rounds.failures and rounds.failures[method].state == "out-of-memory":
                    del rounds.failures[method]
                    rounds.slices.pop(method, None)
                    waiting.append((range(method, method + 1), min(limit, ALONE)))
    calibration = _record(job, timed, rounds, budgeted)
    save(out, calibration)
    return calibration


def reference() -> Named:
    """Return the reference at its default hyperparameters: its ratio is 1."""
    name = registry.names(core=True)[0]
    own = registry.get(name).hyperparameters()
    del own["learning_rate"]
    return name, own


def _with_reference(methods: Sequence[Named]) -> list[Named]:
    """List the reference, then the others."""
    timed = [reference()]
    for method in methods:
        if method not in timed:
            timed.append(method)
    return timed


def _worker_job(job: Job, method: Named) -> Job:
    """Make the job of a worker. Its budget is never spent: a slice is counted by its batches."""
    name, own = method
    fields = {
        "method": name, "hyperparameters": {**own, "learning_rate": RATE}, "budget": Budget(amount=1, unit="epochs"),
        "seed": TUNING_SEED, "train_limit": None,
    }  # fmt: skip
    return replace(job, spec=job.spec.model_copy(update=fields))


def _record(job: Job, timed: list[Named], rounds: Rounds, budgeted: float) -> Calibration:
    setting, slices = setting_of(job), rounds.slices[REFERENCE]
    model, finished = device_model(setting.device), datetime.now(UTC).isoformat(timespec="seconds")
    return Calibration(
        run_id=calibration_id(setting, timed, model, finished),
        rules_version=RULES_VERSION,
        finished=finished,
        encoder=job.pretrained.name,
        data=job.spec.data,
        setting=setting,
        environment=environment(device=model, threads=setting.threads),
        reference=timed[REFERENCE][0],
        seconds_asked=budgeted,
        seconds=rounds.seconds,
        rounds=rounds.count,
        rounds_rule=RULE,
        rounds_counted=len(qualifying_rounds(slices)),
        tokens_per_second=speed(slices),
        methods=[_speed(position, method, rounds) for position, method in enumerate(timed)],
    )


def _speed(position: int, method: Named, rounds: Rounds) -> MethodSpeed:
    failure, found = rounds.failures.get(position), rounds.ratio(position)
    about: dict[str, Any] = {"slices": rounds.slices.get(position, [])}
    if failure is not None:
        about |= {"state": failure.state, "reason": failure.reason}
    elif found is None:
        about |= {"state": "failed", "reason": "it was never timed"}
    else:
        about |= {"ratio": found.value, "low": found.low, "high": found.high}
    return MethodSpeed(method=method[0], hyperparameters=dict(method[1]), **about)


def warnings(calibration: Calibration, methods: Sequence[Named]) -> list[str]:
    """List reasons to doubt the ratios of these methods, a line each."""
    lines: list[str] = []
    if 2 * calibration.rounds_counted < calibration.rounds:
        lines.append(
            f"the machine was busy: {calibration.reference} was within 15 % of its speed on a free one in only "
            f"{calibration.rounds_counted} of {calibration.rounds} rounds; calibrate again when it is quiet"
        )
    for entry in calibration.methods:
        if (entry.method, entry.hyperparameters) not in methods:
            continue
        if entry.state != "complete":
            lines.append(f"{entry.method}: {entry.state}: {entry.reason}")
        elif entry.ratio is None or entry.low is None or entry.high is None:
            lines.append(f"{entry.method}: too few rounds for an interval; {LONGER}")
        elif Ratio(entry.ratio, entry.low, entry.high, 0).spread > WIDE:
            lines.append(
                f"{entry.method}: the interval {entry.low:.3f} to {entry.high:.3f} is wider than ±{WIDE:.0%}; {LONGER}"
            )
    return lines
