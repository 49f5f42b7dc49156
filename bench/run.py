"""One run from spec to record, in a process of its own. Whatever ends it, there is a record."""

from __future__ import annotations

import resource
import signal
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

import methods
from bench.budget import Ledger
from bench.encoder import Classifier, load_classifier
from bench.errors import UserError
from bench.evaluation import evaluation_of, test_rows
from bench.jobs import Job, Outcome, record_of
from bench.meters import DeviceClock, MatmulRate, MemoryMeter, matmul_rate, quiet_rate
from bench.prediction import predict
from bench.provenance import cpu_model, without_paths
from bench.record import Compute, Memory, Parameters, Seconds, State, Timeline
from bench.reviews import read
from bench.store import logits_sha256
from bench.task import Cut, cut, prepare
from bench.training import AuditError, Diverged, Loop, MemoryCapReached

__all__ = ["execute"]


Notify = Callable[[str, float], None]
"""Called with a phase ("set-up", "training", "test") and the share of it that is done."""


class Cancelled(BaseException):
    """SIGTERM: the person who started the run wants it to end."""


def _cancel(number: int, frame: object) -> None:
    raise Cancelled


@dataclass
class _Work:
    """What a run has so far, so that an error leaves a record of everything before it."""

    job: Job
    notify: Notify
    began: float = field(default_factory=time.monotonic)
    parts: dict[str, Any] = field(default_factory=dict)
    logits: npt.NDArray[np.float32] | None = None

    def since(self) -> float:
        return time.monotonic() - self.began

    def do(self) -> None:
        spec, checkpoint = self.job.spec, self.job.checkpoint
        torch.set_num_threads(spec.threads)
        before = matmul_rate()
        task = prepare(checkpoint, self.job.data.sha256, self._cut)
        clock, memory = DeviceClock(spec.device), MemoryMeter(spec.device)
        memory.start()
        if spec.device == "cuda" and spec.memory_cap is not None:
            # The allocator itself refuses what the cap does not allow; on a CPU the loop looks after each step.
            total = torch.cuda.get_device_properties(0).total_memory
            torch.cuda.set_per_process_memory_fraction(min(1.0, spec.memory_cap / total))
        classifier, method = self._attached()
        loop = Loop(classifier, task, spec, method.encodes_once, clock, memory, self._step_taken)
        loop.rehearse()
        started = self.since()
        self.notify("training", 0.0)
        try:
            loop.run()
        finally:
            ended = self.since()
            self.parts["training"] = loop.summary()
            self._meter(memory, clock, before)
        self.parts["bytes_to_ship"] = _bytes_to_ship(method, classifier)
        self.notify("test", 0.0)
        test_started = self.since()
        if spec.purpose == "run":
            rows = test_rows(task, spec.test_limit)
            self.logits = predict(classifier, task, task.test, spec, rows, lambda share: self.notify("test", share))
            predictions = self.logits.argmax(1).astype(np.int64)
            self.parts["test"] = evaluation_of(task, rows, predictions, logits_sha256(self.logits))
        test_ended = self.since()
        self.parts["timeline"] = Timeline(
            training_started=started, training_ended=ended, test_started=test_started, test_ended=test_ended
        )
        self.parts["seconds"] = Seconds(
            setup=started, charged=clock.seconds, paused=clock.paused_seconds,
            test=test_ended - test_started, total=self.since(),
        )  # fmt: skip

    def _cut(self) -> Cut:
        """The reviews once more from their source, where no cache could keep them tokenised."""
        source = read(self.job.data_argument)
        if source.sha256 != self.job.data.sha256:
            raise UserError("the reviews changed after the run was asked for; ask again")
        return cut(source)

    def _attached(self) -> tuple[Classifier, methods.Method]:
        """A fresh classifier with the method attached, audited against the closed form and on its device."""
        spec, checkpoint = self.job.spec, self.job.checkpoint
        classifier = load_classifier(checkpoint, seed=spec.seed, dropout=spec.dropout, attention_dropout=spec.attention_dropout)
        method = type(methods.get(spec.method))(**spec.hyperparameters)
        torch.manual_seed(spec.seed)
        classifier.encoder = method.attach(classifier.encoder)
        classifier.head.requires_grad_(True)
        counts = Parameters(
            body=sum(p.numel() for p in classifier.encoder.parameters() if p.requires_grad),
            head=sum(p.numel() for p in classifier.head.parameters()),
            total=sum(p.numel() for p in classifier.parameters()),
            closed_form=method.trainable_parameters(checkpoint.shape),
        )
        self.parts["parameters"] = counts
        if counts.body != counts.closed_form:
            raise AuditError(
                f"{spec.method} trains {counts.body:,} parameters of the body, but its closed form says {counts.closed_form:,}"
            )
        return classifier.to(spec.device).train(), method

    def _step_taken(self, ledger: Ledger) -> None:
        self.notify("training", ledger.fraction)

    def _meter(self, memory: MemoryMeter, clock: DeviceClock, before: float) -> None:
        peak = memory.peak()
        self.parts["memory"] = Memory(
            baseline=peak.baseline, peak=peak.peak, peak_above_baseline=peak.above_baseline,
            cuda_allocated=peak.cuda_allocated, cuda_reserved=peak.cuda_reserved,
        )  # fmt: skip
        after = matmul_rate()
        rate = MatmulRate(before, after, quiet_rate(max(before, after), cpu_model()))
        self.parts["compute"] = Compute(
            cpu_seconds=clock.cpu_seconds, matmul_before=before, matmul_after=after, matmul_quiet=rate.quiet,
            contended=rate.contended,
        )  # fmt: skip


def _bytes_to_ship(method: methods.Method, classifier: Classifier) -> int:
    """Bytes that a user of the model needs beside the plain encoder: what the method saves, and the head."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name) / "method"
        method.save(classifier.encoder, folder)
        body = sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())
    return body + sum(p.numel() * p.element_size() for p in classifier.head.parameters())


def execute(job: Job, notify: Notify = lambda phase, share: None) -> Outcome:
    """Do a run and return its record, in every case: an error ends in a state, not in a traceback.

    SIGTERM ends the run as `cancelled`. The process should hold this run alone.
    """
    signal.signal(signal.SIGTERM, _cancel)
    work = _Work(job, notify)
    state: State = "complete"
    reason: str | None = None
    try:
        work.do()
    except Cancelled:
        state, reason = "cancelled", "stopped by a signal"
    except (MemoryError, torch.OutOfMemoryError, MemoryCapReached) as error:
        state, reason = "out-of-memory", without_paths(str(error) or "the device has no more memory")
    except Diverged as error:
        state, reason = "diverged", str(error)
    except (AuditError, UserError, methods.MethodError) as error:
        state, reason = "failed", without_paths(str(error))
    except Exception as error:
        # The last line of defence: whatever a library raises becomes a row of the table and not a lost run.
        out_of_memory = isinstance(error, RuntimeError) and "can't allocate memory" in str(error)
        state = "out-of-memory" if out_of_memory else "failed"
        reason = without_paths(f"{type(error).__name__}: {error}")
    finally:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
    if "memory" in work.parts:
        largest = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
        work.parts["memory"] = work.parts["memory"].model_copy(update={"ru_maxrss": largest})
    return Outcome(record_of(job, state, reason, **work.parts), work.logits if state == "complete" else None)
