"""The training loop, one for all methods.

A step: rows → tensors → logits → loss → gradients → clip → AdamW, at a learning rate that follows from the share of the
budget spent. Everything that differs between methods happened before, when the method was attached; the one exception is
a method that leaves the encoder untouched: the budget buys encoding, and the head is trained in passes over what was kept.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from bench.data.batches import MULTIPLE, collate, epoch_batches, first_balanced, moved, rounded, stream
from bench.data.task import Ints, Task
from bench.inference.predict import predict
from bench.models.classifier import Classifier, frozen_sha256
from bench.models.residual_stream import in_precision
from bench.records.metrics import confusion
from bench.records.schema import Training
from bench.records.spec import RunSpec
from bench.rules import CLIP, PASSES, VALIDATION_AT_MARKS
from bench.system.meters import DeviceClock, MemoryMeter
from bench.training.budget import Ledger, schedule
from bench.training.failures import AuditError, Diverged, MemoryCapReached
from bench.training.late_losses import LateLosses

__all__ = ["PIECE", "Trainer"]

PIECE = 3072
"""Tokens, padding included, that are trained on at once on a CPU. Whole batches of 32 reviews of 256 tokens take up to twice
the memory and are no faster: `make ablations` measures it."""


@dataclass
class Trainer:
    """Trains a classifier until its budget is spent: `rehearse`, then `run`. One object trains one run, once."""

    classifier: Classifier
    task: Task
    spec: RunSpec
    encodes_once: bool
    clock: DeviceClock
    memory: MemoryMeter
    on_step: Callable[[Ledger], None] = lambda ledger: None
    ledger: Ledger = field(init=False)
    frozen_before: str = ""
    multiple: int = MULTIPLE
    """Tokens of which the width of a batch or piece is a multiple."""
    whole: bool = True
    """Whether weights, optimizer and ledger are of one and the same step. They are not in the middle of one."""

    def __post_init__(self) -> None:
        self.ledger = Ledger(self.spec.budget, self.clock, len(self.task.train), self.encodes_once)
        self.device = self.spec.device
        self.lengths = self.task.lengths(self.task.train, self.spec.max_length)
        self.trained = [p for p in self.classifier.parameters() if p.requires_grad]
        # Frozen methods have tens of small tensors: the fused kernel updates all of them in one call.
        self.optimizer = torch.optim.AdamW(self.trained, lr=0.0, weight_decay=0.0, fused=True)
        self.peak_rate = float(self.spec.hyperparameters["learning_rate"])  # type: ignore[arg-type]
        self.late = LateLosses(self.ledger, self.device)
        self.features: Tensor | None = None
        self.known = np.zeros(len(self.task.train), dtype=bool)

    def warm_up(self) -> None:
        """One untimed step on dummy reviews of full length, to pay once-only costs (thread pools, kernels, allocations)
        and to audit gradients. At learning rate 0 weights stay what they are; counts, optimizer and generators are put
        back.

        Raises:
            AuditError: if what should train gets no gradient, or what should not gets one.
        """
        self.frozen_before = frozen_sha256(self.classifier)
        with torch.random.fork_rng(devices=[torch.cuda.current_device()] if self.device == "cuda" else []):
            for reviews, width, padded in self._shapes():
                self._dummy_pass(reviews, width, padded)
            self._dummy_pass(self.spec.batch_size, self.spec.max_length, padded=False)
        self._audit_gradients()
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)
        self.optimizer.state.clear()

    def _shapes(self) -> Iterator[tuple[int, int, bool]]:
        """Reviews, width and whether padded, of the batches that a GPU is shown beforehand: all that can come. Kernels are
        chosen and compiled by shape, and attention by whether there is a mask.
        """
        if self.device == "cuda":
            spec = self.spec
            for reviews in filter(None, {spec.batch_size, len(self.task.train) % spec.batch_size}):
                widths = {rounded(width, self.multiple, spec.max_length) for width in range(1, spec.max_length + 1)}
                yield from ((reviews, width, padded) for width in sorted(widths) for padded in (True, False))

    def _dummy_pass(self, reviews: int, width: int, padded: bool) -> None:
        """Forward and backward over the largest piece of a batch of dummy reviews."""
        ids = torch.full((reviews, width), int(self.task.suffix[0]))[self._micro_batches(reviews, width)[0]]
        mask = torch.ones_like(ids)
        mask[:, -1] = int(not padded)
        with in_precision(self.classifier, self.spec.precision):
            with torch.set_grad_enabled(not self.encodes_once):
                features = self.classifier.features(moved(ids, self.device), moved(mask, self.device), padded)
            loss = self.classifier.head(features).float().logsumexp(-1).mean()
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()

    def run(self) -> None:
        """Train from where the ledger stands. Evaluation at the marks of the budget is neither charged nor counted in the
        peak of memory.

        Raises:
            Diverged, MemoryCapReached: the ledger then tells how far it came.
        """
        self.clock.start()
        try:
            if self.encodes_once:
                self._encode()
            self._validate_at_mark()  # a run that goes on may have been stopped there
            batches = self._rows()
            while not self.ledger.done:
                self._train_on(next(batches))
                self._validate_at_mark()
                self.on_step(self.ledger)
            self.late.settle()
        finally:
            self.clock.stop()

    def train_steps(self, batches: Sequence[Ints]) -> int:
        """Take an optimizer step on each of these batches of rows at the peak rate, outside of budget and schedule; a method
        that encodes once encodes them first and then makes `PASSES` passes over their features.

        Returns the tokens that were encoded.

        Raises:
            Diverged, MemoryCapReached: as in a run.
        """
        for group in self.optimizer.param_groups:
            group["lr"] = self.peak_rate
        if self.encodes_once:
            for rows in batches:
                self._keep_features(rows)
        losses = self.ledger.losses
        for _ in range(PASSES if self.encodes_once else 1):
            for rows in batches:
                losses.append(self._head_step(rows) if self.encodes_once else self._step(rows, *self._collated(rows)))
        self.late.settle()
        if not all(math.isfinite(loss) for loss in losses):
            raise Diverged("the loss became no number")
        losses.clear()
        self._check_memory()
        return int(sum(self.lengths[rows].sum() for rows in batches))

    def _train_on(self, rows: Ints) -> None:
        for group in self.optimizer.param_groups:
            group["lr"] = self.peak_rate * schedule(self.ledger.fraction)
        self.whole = False
        if self.encodes_once:
            loss = self._head_step(rows)
        else:
            loss = self._step(rows, *self._collated(rows))
            self.ledger.charge(len(rows), int(self.lengths[rows].sum()))
        if not math.isfinite(loss):
            raise Diverged(f"the loss became {loss} at step {self.ledger.steps + 1}")
        self.ledger.step_taken(len(rows), loss)
        self.whole = True
        self._check_memory()

    def _encode(self) -> None:
        """Keep the encoder's output for the reviews that the budget buys, one epoch at most; then the passes have a length."""
        spec, ledger = self.spec, self.ledger
        if not ledger.encoding:  # a run that resumes in its passes
            return
        for rows in epoch_batches(self.lengths, spec.batch_size, spec.seed, 0)[ledger.batches :]:
            if ledger.spent >= spec.budget.amount:
                break
            self.whole = False
            self._keep_features(rows)
            ledger.charge(len(rows), int(self.lengths[rows].sum()))
            self.whole = True
            self._check_memory()
            self.on_step(ledger)
        ledger.pass_steps = PASSES * math.ceil(int(self.known.sum()) / spec.batch_size)

    def _collated(self, rows: Ints) -> tuple[Tensor, Tensor, Tensor]:
        spec = self.spec
        return collate(self.task, self.task.train, rows, spec.max_length, spec.truncation, self.multiple)

    def _validate_at_mark(self) -> None:
        if self.ledger.mark_reached:
            self.late.settle()
            with self.clock.paused(), self.memory.paused():
                self.ledger.validated(self._validation_accuracy())

    def summary(self) -> Training:
        """What the budget bought, also after an error."""
        with suppress(Diverged):  # said already, or overtaken by another end
            self.late.settle()
        return self.ledger.summary(self.frozen_before, frozen_sha256(self.classifier))

    def tensors(self) -> tuple[int, int, int]:
        """Bytes of weights with buffers, of the gradients of what trains, and of the optimizer's state."""
        weights = sum(t.nbytes for t in (*self.classifier.parameters(), *self.classifier.buffers()))
        state = [value for kept in self.optimizer.state.values() for value in kept.values()]
        return weights, sum(p.nbytes for p in self.trained), sum(t.nbytes for t in state if isinstance(t, Tensor))

    def _rows(self) -> Iterator[Ints]:
        """The batches to train on from the ledger's step on: the reviews in the seed's order, pass after pass; for a method
        that encodes once, those that were kept.
        """
        spec = self.spec
        if not self.encodes_once:
            yield from stream(self.lengths, spec.batch_size, spec.seed, skip=self.ledger.steps)
        kept = np.flatnonzero(self.known)
        for rows in stream(self.lengths[kept], spec.batch_size, spec.seed, first_epoch=1, skip=self.ledger.steps):
            yield kept[rows]

    def _step(self, rows: Ints, ids: Tensor, mask: Tensor, labels: Tensor) -> float:
        """One optimizer step on the gradient of the whole batch; returns the loss before it, or on CUDA what stands for it."""
        losses: list[Tensor] = []
        for micro_batch in self._micro_batches(*ids.shape):
            with in_precision(self.classifier, self.spec.precision):
                logits = self.classifier.head(self._features(rows, ids, mask, micro_batch))
                loss = cross_entropy(logits.float(), moved(labels[micro_batch], self.device)) * (len(logits) / len(rows))
            loss.backward()  # type: ignore[no-untyped-call]
            losses.append(loss.detach())
        self._update()
        return self.late.read(losses)

    def _micro_batches(self, reviews: int, longest: int) -> list[slice]:
        """Parts of a batch of about `PIECE` tokens, the largest first; on CUDA all of it."""
        size = reviews if self.device == "cuda" else math.ceil(reviews / math.ceil(reviews * longest / PIECE))
        return [slice(start, start + size) for start in range(0, reviews, size)]

    def _head_step(self, rows: Ints) -> float:
        """One optimizer step of the head on kept features; returns the loss before it, or on CUDA what stands for it."""
        assert self.features is not None
        at = moved(torch.from_numpy(rows), self.device)
        labels = moved(torch.from_numpy(self.task.train.labels[rows]), self.device)
        loss = cross_entropy(self.classifier.head(self.features[at]).float(), labels)
        loss.backward()  # type: ignore[no-untyped-call]
        self._update()
        return self.late.read([loss.detach()])

    def _update(self) -> None:
        nn.utils.clip_grad_norm_(self.trained, CLIP)
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)

    @torch.no_grad()
    def _keep_features(self, rows: Ints) -> None:
        """Encode a batch and keep what the head will read of it."""
        ids, mask, _ = self._collated(rows)
        for micro_batch in self._micro_batches(*ids.shape):
            with in_precision(self.classifier, self.spec.precision):
                fresh = self._features(rows, ids, mask, micro_batch).float()
            if self.features is None:
                self.features = torch.empty(len(self.task.train), fresh.shape[1], device=self.device)
            self.features[moved(torch.from_numpy(rows[micro_batch]), self.device)] = fresh
        self.known[rows] = True

    def _features(self, rows: Ints, ids: Tensor, mask: Tensor, micro_batch: slice) -> Tensor:
        """What the head reads of a part of a batch, [reviews, width]; counted as seen."""
        width = rounded(int(mask[micro_batch].sum(1).max()), self.multiple, ids.shape[1])
        ids, mask = ids[micro_batch, :width], mask[micro_batch, :width]
        self.ledger.encoded(rows[micro_batch].tolist(), int(mask.sum()), mask.numel())
        return self.classifier.features(moved(ids, self.device), moved(mask, self.device), not bool(mask.all()))

    def _audit_gradients(self) -> None:
        # A LoRA A matrix has an all-zero gradient at first (B is zero), so presence is what can be asked for.
        for name, parameter in self.classifier.named_parameters():
            if parameter.requires_grad and parameter.grad is None:
                raise AuditError(f"{name} should train but the loss gives it no gradient")
            if not parameter.requires_grad and parameter.grad is not None:
                raise AuditError(f"{name} should be frozen but has a gradient")

    def _check_memory(self) -> None:
        cap = self.spec.memory_cap
        if cap is not None and (used := self.memory.above_baseline()) > cap:
            raise MemoryCapReached(
                f"training took {used / 2**20:,.0f} MiB at step {self.ledger.steps}; the cap is {cap / 2**20:,.0f} MiB"
            )

    def _validation_accuracy(self) -> float:
        validation = self.task.validation
        # A mark costs time and serves a curve; the end of the budget, which tuning reads, deserves all there is.
        rows = first_balanced(validation.labels, len(validation) if self.ledger.done else VALIDATION_AT_MARKS)
        logits = predict(self.classifier, self.task, validation, self.spec, rows)
        if not np.isfinite(logits).all():  # the last step broke the weights, and no loss will tell
            raise Diverged(f"the logits on validation became no numbers at step {self.ledger.steps}")
        return confusion(validation.labels[rows], logits.argmax(1)).accuracy
