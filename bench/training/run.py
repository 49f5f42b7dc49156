"""One run, in a process of its own: set up, train, test, measure, record. Every end leaves a record."""

from __future__ import annotations

import tempfile
import time
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from safetensors import SafetensorError

from bench.data.task import sentences
from bench.data.tokenization import Split
from bench.inference.evaluation import evaluation_of, rows_to_test
from bench.inference.latency import measure_latency
from bench.inference.predict import predict
from bench.records.artifacts import write
from bench.records.schema import (
    SENTIMENT,
    Compute,
    Energy,
    Evaluation,
    Latency,
    Memory,
    MemorySplit,
    Parameters,
    Seconds,
    State,
    Timeline,
    Training,
)
from bench.records.store import logits_sha256
from bench.rules import FEW_TEXTS, SENTENCES
from bench.system.errors import BenchError
from bench.system.files import temporary_folder
from bench.system.meters import ENERGY_SOURCE, DeviceClock, MemoryMeter, energy_counter
from bench.system.text import without_paths
from bench.training.budget import Ledger
from bench.training.cancel import Cancelled, Stop
from bench.training.checkpointer import Checkpointer, owner_of
from bench.training.job import CHECKPOINT_WRITTEN, Job, Notify, Outcome, ignore_progress, record_of
from bench.training.late_losses import Diverged
from bench.training.setup import Setup, set_up
from bench.training.trainer import MemoryCapReached, Trainer
from bench.training.warm_up import AuditError

__all__ = ["ending", "execute"]

SHORT_SECONDS, SHORT_TEST = 60.0, 500
"""A run with less training, in device seconds, or fewer texts to test on has its latency measured in fewer calls."""
QUICK = 1.0
"""Seconds that the last checkpoint of a cancelled run may take."""


class Trained(NamedTuple):
    """The parts of a record that training leaves, also when it fails."""

    training: Training
    memory: Memory
    compute: Compute
    energy: Energy | None


class Tested(NamedTuple):
    """The parts of a record that only a complete run has."""

    test: Evaluation | None
    out_of_domain: Evaluation | None
    latency: list[Latency] | None
    timeline: Timeline
    seconds: Seconds


def execute(job: Job, notify: Notify = ignore_progress) -> Outcome:
    """Execute a job and return its record, in every case: an error ends in a state, not in a traceback.

    SIGTERM ends the run as `cancelled`. The process should hold this run alone.
    """
    run = _Run(job, notify)
    state: State = "complete"
    reason, tested = None, None
    try:
        run.stop.listen()
        try:
            tested = run.complete()
        except Exception as error:
            # Any error of a library becomes a failed record, not a lost run.
            state, reason = ending(error)
        run.stop.end()
    except Cancelled:
        run.stop.end()
        state, reason, tested = "cancelled", "stopped by a signal", None
    return run.record(state, reason, tested)  # no stop is raised any more


class _Run:
    """The phases of one run, in order, and the parts of its record so far."""

    def __init__(self, job: Job, notify: Notify) -> None:
        self.job, self.spec, self.notify = job, job.spec, notify
        self.began = time.monotonic()
        self.stop = Stop()
        self.memory = MemoryMeter(job.spec.device, cap=job.spec.memory_cap)
        self.parameters: Parameters | None = None
        self.trainer: Trainer | None = None
        self.checkpointer: Checkpointer | None = None
        self.trained: Trained | None = None
        self.bytes_to_ship: int | None = None
        self.logits: npt.NDArray[np.float32] | None = None
        self.acknowledged = True
        """Whether the launcher has answered to the last checkpoint."""

    def complete(self) -> Tested:
        """Set up, train, test and measure."""
        clock = DeviceClock(self.spec.device, energy_counter(self.spec.device))
        setup = set_up(self.job, self.memory)
        self.parameters = setup.parameters
        trainer = self.prepare(setup, clock)
        training_started = self.since()
        self.tell("training", trainer.ledger.progress)
        trainer.run()
        training_ended = self.since()
        self.trained = self.training_part(trainer)
        self.bytes_to_ship = self.ship(setup)
        with self.memory.paused():  # the cap is training's
            self.tell("test", 0.0)
            test_started = self.since()
            test = self.test(setup)
            test_ended = self.since()
            out_of_domain, latency = self.measure(setup, clock)
        timeline = Timeline(
            training_started=training_started, training_ended=training_ended, test_started=test_started, test_ended=test_ended
        )
        seconds = Seconds(
            setup=training_started, charged=clock.seconds, paused=clock.paused_seconds, test=test_ended - test_started,
            total=self.since(), before=0.0 if self.checkpointer is None else self.checkpointer.seconds_before,
        )  # fmt: skip
        return Tested(test, out_of_domain, latency, timeline, seconds)

    def prepare(self, setup: Setup, clock: DeviceClock) -> Trainer:
        """Audit the attached model, warm up the trainer, and load the checkpoint, if there is one.

        Raises:
            AuditError: if the method trains other parameters than its closed form gives.
        """
        job, counts = self.job, setup.parameters
        if counts.body != counts.closed_form:
            raise AuditError(
                f"{self.spec.method} trains {counts.body:,} parameters of the body, but its closed form says "
                f"{counts.closed_form:,}"
            )
        trainer = Trainer(setup.classifier, setup.task, self.spec, setup.method.encodes_once, clock, self.memory, self.on_step)
        trainer.warm_up()
        checkpointer = None
        if job.checkpoint is not None:
            checkpointer = Checkpointer(
                job.checkpoint, owner_of(job), trainer,
                say=lambda line: self.notify("training", 0.0, line), on_write=self.on_checkpoint,
            )  # fmt: skip
            with self.memory.paused():
                checkpointer.probe_disk()
                checkpointer.load()
        self.stop.busy = lambda: not (trainer.between_steps and self.acknowledged)
        self.trainer, self.checkpointer = trainer, checkpointer
        return trainer

    def on_step(self, ledger: Ledger) -> None:
        if self.checkpointer is not None:
            self.checkpointer.save_if_due()
        self.tell("training", ledger.progress)

    def on_checkpoint(self) -> None:
        # No stop comes in between: the answer would then be taken for the one to the next checkpoint.
        self.acknowledged = False
        self.notify(CHECKPOINT_WRITTEN, 1.0)
        self.acknowledged = True

    def training_part(self, trainer: Trainer) -> Trained:
        """Return the counts and costs of training. It may be called again after an interruption."""
        clock = trainer.clock
        clock.stop()
        peak, (weights, gradients, optimizer) = self.memory.peak(), trainer.tensor_bytes()
        memory = Memory(**asdict(peak), peak_above_baseline=peak.above_baseline)
        split = MemorySplit(
            weights=weights, gradients=gradients, optimizer=optimizer,
            activations=max(0, memory.training_bytes - weights - gradients - optimizer),
        )  # fmt: skip
        memory = memory.model_copy(update={"split": split})
        energy = None if clock.joules is None else Energy(joules=clock.joules, source=ENERGY_SOURCE)
        return Trained(trainer.summary(), memory, Compute(cpu_seconds=clock.cpu_seconds), energy)

    def ship(self, setup: Setup) -> int:
        """Save the trained weights where they are kept. Returns the bytes that a user needs beside the plain encoder: what the
        method saves, and the head.
        """
        method, classifier, size = setup.method, setup.classifier, 0
        folders = [Path(tempfile.gettempdir())]
        if self.job.checkpoint is not None:
            folders.insert(0, self.job.checkpoint.parent)
        for folder in folders:
            try:
                with temporary_folder(folder, "shipped") as shipped:
                    method.save(classifier.encoder, shipped / "method")
                    size = sum(file.stat().st_size for file in shipped.rglob("*") if file.is_file())
                break
            except (OSError, SafetensorError):  # a full disk
                if folder is folders[-1]:
                    raise
        if self.job.keep is not None:
            write(method, classifier, self.job.keep)
        return size + sum(p.numel() * p.element_size() for p in classifier.head.parameters())

    def test(self, setup: Setup) -> Evaluation | None:
        """Test the last weights, once; a tuning trial is not tested."""
        if self.spec.purpose != "run":
            return None
        task = setup.task
        rows, self.logits = self.predict(setup, task.test, "test", self.spec.test_limit)
        predictions, name = self.logits.argmax(1).astype(np.int64), logits_sha256(self.logits)
        return evaluation_of(task.test, rows, predictions, classes=self.spec.classes, leaked=task.leaked, logits_sha256=name)

    def measure(self, setup: Setup, clock: DeviceClock) -> tuple[Evaluation | None, list[Latency] | None]:
        """Test a classifier of reviews on sentences of another source, with the limit of the test at most; measure latency.

        Both are measured only if the job asks for it, and less of either after little training.
        """
        if self.spec.purpose != "run" or not self.job.side_tests:
            return None, None
        out_of_domain, limit = None, self.spec.test_limit
        if self.spec.data != SENTENCES and self.job.data.labels == list(SENTIMENT):
            split = sentences(self.job.pretrained)
            assert self.trained is not None
            few = FEW_TEXTS if self.trained.training.reviews_seen < FEW_TEXTS else len(split)
            rows, logits = self.predict(setup, split, "elsewhere", few if limit is None else min(limit, few))
            out_of_domain = evaluation_of(split, rows, logits.argmax(1).astype(np.int64))
        latency = measure_latency(
            setup.classifier, setup.method, self.job.pretrained, self.spec, filler=int(setup.task.suffix[0]),
            short=clock.seconds < SHORT_SECONDS or (limit is not None and limit < SHORT_TEST),
        )  # fmt: skip
        return out_of_domain, latency

    def predict(
        self, setup: Setup, split: Split, phase: str, limit: int | None
    ) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.float32]]:
        """Return the rows [n] of a split that are tested, at most `limit`, and their logits [n, classes]."""
        rows = rows_to_test(split, limit)
        return rows, predict(setup.classifier, setup.task, split, self.spec, rows, lambda share: self.tell(phase, share))

    def record(self, state: State, reason: str | None, tested: Tested | None) -> Outcome:
        """Return the record of all measured parts; after a stop the training part is measured now."""
        trained = self.trained
        if trained is None and self.trainer is not None:
            with suppress(Exception):  # a device that has failed may not answer any more
                trained = self.training_part(self.trainer)
        parts: dict[str, Any] = {"parameters": self.parameters, "bytes_to_ship": self.bytes_to_ship}
        if self.checkpointer is not None:
            parts["resumed"] = self.checkpointer.resumed
            if state == "cancelled" and self.checkpointer.trainer.between_steps and self.checkpointer.cost < QUICK:
                self.checkpointer.save()
        if trained is not None:
            self.memory.look()
            memory = trained.memory.model_copy(update={"ru_maxrss": self.memory.largest})
            parts |= trained._replace(memory=memory)._asdict()
        if tested is not None:
            parts |= tested._asdict()
        return Outcome(record_of(self.job, state, reason, **parts), None if tested is None else self.logits)

    def tell(self, phase: str, share: float) -> None:
        self.stop.check()
        self.notify(phase, share)

    def since(self) -> float:
        return time.monotonic() - self.began


def ending(error: Exception) -> tuple[State, str]:
    """Return the state in which an error ends a run, and why."""
    if isinstance(error, MemoryError | torch.OutOfMemoryError | MemoryCapReached):
        return "out-of-memory", without_paths(str(error) or "the device has no more memory")
    if isinstance(error, Diverged):
        return "diverged", str(error)
    if isinstance(error, AuditError | BenchError):
        return "failed", without_paths(str(error))
    out_of_memory = isinstance(error, RuntimeError) and "can't allocate memory" in str(error)
    return "out-of-memory" if out_of_memory else "failed", without_paths(f"{type(error).__name__}: {error}")
