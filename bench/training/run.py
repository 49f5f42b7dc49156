"""One run from spec to record, in a process of its own. Whatever ends it, there is a record."""

from __future__ import annotations

import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from safetensors import SafetensorError

import methods
from bench.data.out_of_domain import sentences
from bench.data.sources import read
from bench.data.task import Cut, Task, cut, prepare
from bench.data.tokenization import Split
from bench.inference.evaluation import evaluation_of, rows_to_test
from bench.inference.latency import latencies
from bench.inference.predict import predict
from bench.models.classifier import Classifier, load_classifier
from bench.records.artifacts import write
from bench.records.schema import Compute, Energy, Evaluation, Memory, MemorySplit, Parameters, Seconds, State, Timeline
from bench.records.store import logits_sha256
from bench.rules import SENTENCES
from bench.system.allocator import keep_freed
from bench.system.energy import SOURCE, energy_counter
from bench.system.errors import BenchError, DataError
from bench.system.files import temporary_folder
from bench.system.meters import DeviceClock, MemoryMeter
from bench.system.text import without_paths
from bench.training.budget import Ledger
from bench.training.cancel import Cancelled, Stop
from bench.training.checkpointer import Keeper, owner_of
from bench.training.failures import AuditError, Diverged, MemoryCapReached
from bench.training.job import CHECKPOINT_WRITTEN, Job, Notify, Outcome, ignore_progress, record_of
from bench.training.trainer import Trainer
from bench.training.warm_up import touch

__all__ = ["attached", "cap_cuda", "ending", "execute"]


SHORT_SECONDS, SHORT_TEST = 60.0, 500
"""A run with less training, in device seconds, or fewer reviews to test on has its latency measured in fewer calls."""
QUICK = 1.0
"""Seconds that a snapshot may take while someone waits for a cancelled run to end."""


def attached(job: Job) -> tuple[Classifier, methods.Method, Parameters]:
    """A fresh classifier on its device, in training mode, with the method of a job attached, and its parameters."""
    spec, pretrained = job.spec, job.pretrained
    classifier = load_classifier(pretrained, seed=spec.seed, dropout=spec.dropout, attention_dropout=spec.attention_dropout)
    method = methods.build(spec.method, spec.hyperparameters)
    torch.manual_seed(spec.seed)
    classifier.encoder = method.attach(classifier.encoder)
    classifier.head.requires_grad_(True)
    counts = Parameters(
        body=sum(p.numel() for p in classifier.encoder.parameters() if p.requires_grad),
        head=sum(p.numel() for p in classifier.head.parameters()),
        total=sum(p.numel() for p in classifier.parameters()),
        closed_form=method.trainable_parameters(pretrained.shape),
    )
    return classifier.to(spec.device).train(), method, counts


def cap_cuda(memory_cap: int | None) -> None:
    """Let CUDA's allocator refuse what the cap in bytes does not allow."""
    if memory_cap is not None:
        total = torch.cuda.get_device_properties(0).total_memory
        torch.cuda.set_per_process_memory_fraction(min(1.0, memory_cap / total))


@dataclass
class _Work:
    """What a run has so far, so that an error leaves a record of everything before it."""

    job: Job
    notify: Notify
    began: float = field(default_factory=time.monotonic)
    parts: dict[str, Any] = field(default_factory=dict)
    logits: npt.NDArray[np.float32] | None = None
    memory: MemoryMeter = field(init=False)
    stop: Stop = field(default_factory=Stop)
    keeper: Keeper | None = None
    answered: bool = True
    """Whether whoever copies snapshots has answered to the last."""

    def __post_init__(self) -> None:
        self.memory = MemoryMeter(self.job.spec.device)

    def tell(self, phase: str, share: float) -> None:
        self.stop.check()
        self.notify(phase, share)

    def since(self) -> float:
        return time.monotonic() - self.began

    def do(self) -> None:
        spec, pretrained = self.job.spec, self.job.pretrained
        torch.set_num_threads(spec.threads)
        torch.set_float32_matmul_precision("highest")  # no TF32: fp32 is fp32 on every device
        keep_freed()
        task = prepare(pretrained, self.job.data.sha256, self._cut).sampled(spec.train_limit, spec.seed)
        clock, memory = DeviceClock(spec.device, energy_counter(spec.device)), self.memory
        if spec.device == "cpu":
            touch(spec.precision)
        memory.start()
        if spec.device == "cuda":
            cap_cuda(spec.memory_cap)  # on a CPU the loop looks after each step
        classifier, method = self._attached()
        trainer = Trainer(classifier, task, spec, method.encodes_once, clock, memory, self._step_taken)
        trainer.warm_up()
        before_this = self._go_on(trainer)
        self.stop.busy = lambda: not (trainer.whole and self.answered)
        started = self.since()
        self.tell("training", trainer.ledger.progress)
        try:
            trainer.run()
        finally:
            ended = self.since()
            self.parts["training"] = trainer.summary()
            self._meter(trainer)
        self.parts["bytes_to_ship"] = self._bytes_to_ship(method, classifier)
        if self.job.keep is not None:
            write(method, classifier, self.job.keep)
        self.tell("test", 0.0)
        test_started = self.since()
        if spec.purpose == "run":
            rows = rows_to_test(task.test, spec.test_limit)
            self.logits = predict(classifier, task, task.test, spec, rows, lambda share: self.tell("test", share))
            predictions, name = self.logits.argmax(1).astype(np.int64), logits_sha256(self.logits)
            self.parts["test"] = evaluation_of(task.test, rows, predictions, leaked=task.leaked, logits_sha256=name)
        test_ended = self.since()
        if spec.purpose == "run" and self.job.side_tests:
            if spec.data != SENTENCES:
                self.parts["out_of_domain"] = self._tested_on(sentences(pretrained), classifier, task)
            self.parts["latency"] = latencies(
                classifier, method, pretrained, spec, filler=int(task.suffix[0]), short=self._short(clock)
            )
        self.parts["timeline"] = Timeline(
            training_started=started, training_ended=ended, test_started=test_started, test_ended=test_ended
        )
        self.parts["seconds"] = Seconds(
            setup=started, charged=clock.seconds, paused=clock.paused_seconds,
            test=test_ended - test_started, total=self.since(), before=before_this,
        )  # fmt: skip

    def _short(self, clock: DeviceClock) -> bool:
        """Whether the run is so short that side tests of full length would outlast it."""
        limit = self.job.spec.test_limit
        return clock.seconds < SHORT_SECONDS or (limit is not None and limit < SHORT_TEST)

    def _go_on(self, trainer: Trainer) -> float:
        """Go on from where an earlier process of this run was, if there was one. Returns the seconds of training, with their
        pauses, that passed there.
        """
        if self.job.checkpoint is None:
            return 0.0
        keeper = Keeper(
            self.job.checkpoint, owner_of(self.job), trainer,
            say=lambda line: self.notify("training", 0.0, line), kept=self._kept,
        )  # fmt: skip
        with self.memory.paused():
            keeper.try_disk()
            keeper.restore()
        self.keeper, self.parts["resumed"] = keeper, keeper.resumed
        return keeper.before

    def _kept(self) -> None:
        # No stop comes in between: the answer that nobody waited for would then be taken for the one to the next snapshot.
        self.answered = False
        self.notify(CHECKPOINT_WRITTEN, 1.0)
        self.answered = True

    def keep(self) -> None:
        """Keep what was trained so far, if it is of one piece and kept in a moment."""
        if self.keeper is not None and self.keeper.trainer.whole and self.keeper.cost < QUICK:
            self.keeper.write()

    def _tested_on(self, split: Split, classifier: Classifier, task: Task) -> Evaluation:
        """A test on reviews from elsewhere, with the same limit as the test."""
        spec = self.job.spec
        rows = rows_to_test(split, spec.test_limit)
        logits = predict(classifier, task, split, spec, rows, lambda share: self.tell("elsewhere", share))
        return evaluation_of(split, rows, logits.argmax(1).astype(np.int64))

    def _cut(self) -> Cut:
        """The reviews once more from their source, where no cache could keep them tokenised."""
        source = read(self.job.data_argument)
        if source.sha256 != self.job.data.sha256:
            raise DataError("the reviews changed after the run was asked for; ask again")
        return cut(source)

    def _attached(self) -> tuple[Classifier, methods.Method]:
        """The run's classifier, audited against the closed form."""
        classifier, method, counts = attached(self.job)
        self.parts["parameters"] = counts
        if counts.body != counts.closed_form:
            raise AuditError(
                f"{self.job.spec.method} trains {counts.body:,} parameters of the body, but its closed form says "
                f"{counts.closed_form:,}"
            )
        return classifier, method

    def _bytes_to_ship(self, method: methods.Method, classifier: Classifier) -> int:
        """Bytes that a user of the model needs beside the plain encoder: what the method saves, and the head."""
        body, elsewhere = 0, Path(tempfile.gettempdir())
        places = [elsewhere] if self.job.checkpoint is None else [self.job.checkpoint.parent, elsewhere]
        for place in places:
            try:
                with temporary_folder(place, "shipped") as folder:
                    method.save(classifier.encoder, folder / "method")
                    body = sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())
                break
            except (OSError, SafetensorError):  # a full disk
                if place is places[-1]:
                    raise
        return body + sum(p.numel() * p.element_size() for p in classifier.head.parameters())

    def _step_taken(self, ledger: Ledger) -> None:
        if self.keeper is not None:
            self.keeper.offer()
        self.tell("training", ledger.progress)

    def _meter(self, trainer: Trainer) -> None:
        """What training took of the machine, read at its end whatever ended it."""
        clock, peak = trainer.clock, self.memory.peak()
        weights, gradients, optimizer = trainer.tensors()
        taken = peak.above_baseline if peak.cuda_allocated is None else peak.cuda_allocated
        self.parts["memory"] = Memory(
            baseline=peak.baseline, peak=peak.peak, peak_above_baseline=peak.above_baseline,
            cuda_allocated=peak.cuda_allocated, cuda_reserved=peak.cuda_reserved,
            split=MemorySplit(
                weights=weights, gradients=gradients, optimizer=optimizer,
                activations=max(0, taken - weights - gradients - optimizer),
            ),
        )  # fmt: skip
        if clock.joules is not None:
            self.parts["energy"] = Energy(joules=clock.joules, source=SOURCE)
        self.parts["compute"] = Compute(cpu_seconds=clock.cpu_seconds)


def execute(job: Job, notify: Notify = ignore_progress) -> Outcome:
    """Do a run and return its record, in every case: an error ends in a state, not in a traceback.

    SIGTERM ends the run as `cancelled`. The process should hold this run alone.
    """
    work = _Work(job, notify)
    try:
        work.stop.listen()
        state, reason = _ended(work)
    except Cancelled:  # in the very moment in which it ended
        state, reason = _CANCELLED
    work.stop.end()
    if state == "cancelled":
        work.keep()
    if "memory" in work.parts:
        work.memory.look()
        work.parts["memory"] = work.parts["memory"].model_copy(update={"ru_maxrss": work.memory.largest})
    if state == "complete":
        return Outcome(record_of(job, state, reason, **work.parts), work.logits)
    parts = {name: part for name, part in work.parts.items() if name not in _AFTER_TEST}
    return Outcome(record_of(job, state, reason, **parts))


_AFTER_TEST = ("test", "out_of_domain", "latency")
"""What only a complete run has: one that goes on is tested whole."""
_CANCELLED: tuple[State, str] = ("cancelled", "stopped by a signal")


def _ended(work: _Work) -> tuple[State, str | None]:
    """Do the work; how it ended, and why."""
    try:
        work.do()
        return "complete", None
    except Cancelled:
        return _CANCELLED
    except Exception as error:
        # The last line of defence: whatever a library raises becomes a row of the table and not a lost run.
        return ending(error)


def ending(error: Exception) -> tuple[State, str]:
    """The state in which an error ends training, and why."""
    if isinstance(error, MemoryError | torch.OutOfMemoryError | MemoryCapReached):
        return "out-of-memory", without_paths(str(error) or "the device has no more memory")
    if isinstance(error, Diverged):
        return "diverged", str(error)
    if isinstance(error, AuditError | BenchError):
        return "failed", without_paths(str(error))
    out_of_memory = isinstance(error, RuntimeError) and "can't allocate memory" in str(error)
    return "out-of-memory" if out_of_memory else "failed", without_paths(f"{type(error).__name__}: {error}")
