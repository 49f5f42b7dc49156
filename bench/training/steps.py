"""One optimizer step: from rows to an update of the weights, and the state that it changes."""

from __future__ import annotations

import math
from collections.abc import Hashable
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from bench.data.batches import MULTIPLE, Batch, collate, round_up, to_device
from bench.data.device_texts import DeviceTexts
from bench.data.task import Ints, Task
from bench.models.classifier import Classifier
from bench.models.residual_stream import in_precision
from bench.records.spec import RunSpec
from bench.rules import CLIP
from bench.system.meters import DeviceClock
from bench.training.budget import Ledger
from bench.training.graphs import Graphs, Work
from bench.training.late_losses import LateLosses

__all__ = ["MICRO_BATCH", "Steps"]

MICRO_BATCH = 3072
"""Tokens, padding included, of a micro-batch on a CPU. Whole batches of 32 texts of 256 tokens take up to twice the memory
and are no faster: `make ablations` measures it."""


@dataclass
class Steps:
    """Optimizer steps on a classifier. A method that encodes once keeps the features of texts, and steps train the head."""

    classifier: Classifier
    task: Task
    spec: RunSpec
    encodes_once: bool
    clock: DeviceClock
    multiple: int = field(default=MULTIPLE, kw_only=True)
    """Tokens of which the width of a micro-batch is a multiple."""

    def __post_init__(self) -> None:
        self.ledger = Ledger(self.spec.budget, self.clock, len(self.task.train), self.encodes_once)
        self.device = self.spec.device
        self.lengths = self.task.lengths(self.task.train, self.spec.max_length)
        self.trainable = {name: p for name, p in self.classifier.named_parameters() if p.requires_grad}
        self.trained = list(self.trainable.values())
        on_cuda = self.device == "cuda"
        # Frozen methods have tens of small tensors: the fused kernel updates all of them in one call. A rate that lies on the
        # device is read by a CUDA graph when it runs, not when it is recorded.
        rate = torch.zeros((), device="cuda") if on_cuda else 0.0
        self.optimizer = torch.optim.AdamW(self.trained, lr=rate, weight_decay=0.0, fused=True, capturable=on_cuda)
        self.peak_rate = float(self.spec.hyperparameters["learning_rate"])  # type: ignore[arg-type]
        self.late = LateLosses(self.ledger, self.device)
        self.texts: DeviceTexts | None = None
        """The train texts, where the device gathers its batches."""
        if on_cuda:
            self.texts = DeviceTexts(self.task, self.task.train, self.spec.max_length, self.spec.truncation, self.device)
        self._labels = torch.from_numpy(self.task.train.labels) if self.texts is None else self.texts.labels
        self.graphs = Graphs() if self.spec.kernels == "graphs" else None
        self.features: Tensor | None = None
        """[train texts, width]; what the head reads of each text, where a method encodes once."""
        self.known = np.zeros(len(self.task.train), dtype=bool)
        """[train texts]; which of them are in `features`."""

    def _dummy_pass(self, texts: int, width: int, padded: bool) -> None:
        """Forward and backward over the largest micro-batch of a batch of dummy texts."""
        ids = torch.full((texts, width), int(self.task.suffix[0]))[self._micro_batches(texts, width)[0]]
        mask = torch.ones_like(ids)
        mask[:, -1] = int(not padded)
        batch = Batch(to_device(ids, self.device), to_device(mask, self.device), torch.empty(0), padded)
        with in_precision(self.classifier, self.spec.precision):
            with torch.set_grad_enabled(not self.encodes_once):
                features = self._features(batch)
            loss = self.classifier.head(features).float().logsumexp(-1).mean()
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()

    def _works(self, texts: int, width: int, padded: bool) -> dict[Hashable, Work]:
        """Return what is done with batches of a shape, each under its key. Dummy steps leave moments behind."""
        assert self.texts is not None
        source = self.texts
        if self.encodes_once:
            return {
                ("encode", texts, width, padded): Work(texts, lambda at: self._encode_at(at, source.batch(at, width, padded))),
                ("head", texts): Work(texts, self._head_step_at),
            }
        return {("step", texts, width, padded): Work(texts, lambda at: self._step_on(source.batch(at, width, padded)))}

    def _shape(self, rows: Ints) -> tuple[int, int, bool]:
        """Return the number of texts, the width of their batch, and whether it is padded."""
        lengths = self.lengths[rows]
        width = round_up(int(lengths.max()), self.multiple, self.spec.max_length)
        return len(rows), width, bool(lengths.min() < width)

    def _count(self, rows: Ints) -> tuple[int, int, bool]:
        """Count texts as encoded; returns the shape of their batch."""
        shape = texts, width, _ = self._shape(rows)
        self.ledger.count_encoded(rows.tolist(), int(self.lengths[rows].sum()), texts * width)
        return shape

    def _batch(self, rows: Ints) -> Batch:
        """Count texts as encoded; returns their tensors, on the device."""
        _, width, padded = self._count(rows)
        if self.texts is not None:
            return self.texts.batch(self._sent(rows), width, padded)
        spec = self.spec
        ids, mask, labels = collate(self.task, self.task.train, rows, spec.max_length, spec.truncation, self.multiple)
        return Batch(ids, mask, labels, padded)

    def _sent(self, rows: Ints) -> Tensor:
        return to_device(torch.from_numpy(rows), self.device)

    def _micro_batches(self, texts: int, longest: int) -> list[slice]:
        """Split a batch into parts of about `MICRO_BATCH` tokens, the largest first; on CUDA not at all."""
        size = texts if self.device == "cuda" else math.ceil(texts / math.ceil(texts * longest / MICRO_BATCH))
        return [slice(start, start + size) for start in range(0, texts, size)]

    def _parts(self, rows: Ints) -> list[Ints]:
        """Split the rows of a batch into those of its micro-batches."""
        texts, longest, _ = self._shape(rows)
        return [rows[part] for part in self._micro_batches(texts, longest)]

    def _features(self, batch: Batch) -> Tensor:
        """Encode a batch; returns the features that the head reads, [texts, width]."""
        return self.classifier.features(batch.ids, batch.mask, batch.padded)

    def _optimize(self, rows: Ints) -> float:
        """Take one optimizer step; returns the loss before it, on CUDA one step late."""
        return self._head_step(rows) if self.encodes_once else self._step(rows)

    def _step(self, rows: Ints) -> float:
        """Take one step on the gradient of a whole batch, added up over its micro-batches."""
        if self.graphs is not None:
            return self.late.read([self.graphs.run(("step", *self._count(rows)), rows)])
        losses = [self._gradient(self._batch(part), len(part) / len(rows)) for part in self._parts(rows)]
        self._update()
        return self.late.read(losses)

    def _step_on(self, batch: Batch) -> Tensor:
        """Take one step on a whole batch; returns its loss."""
        loss = self._gradient(batch, 1.0)
        self._update()
        return loss

    def _gradient(self, batch: Batch, share: float) -> Tensor:
        """Add the gradient of a micro-batch, a share of the whole batch; returns its part of the loss."""
        with in_precision(self.classifier, self.spec.precision):
            loss = cross_entropy(self.classifier.head(self._features(batch)).float(), batch.labels) * share
        loss.backward()  # type: ignore[no-untyped-call]
        return loss.detach()

    def _head_step(self, rows: Ints) -> float:
        """Take one step of the head on cached features."""
        if self.graphs is not None:
            return self.late.read([self.graphs.run(("head", len(rows)), rows)])
        return self.late.read([self._head_step_at(self._sent(rows))])

    def _head_step_at(self, at: Tensor) -> Tensor:
        """Take one step of the head on the features numbered `at`; returns its loss."""
        assert self.features is not None
        loss = cross_entropy(self.classifier.head(self.features[at]).float(), self._labels[at])
        loss.backward()  # type: ignore[no-untyped-call]
        self._update()
        return loss.detach()

    def _update(self) -> None:
        nn.utils.clip_grad_norm_(self.trained, CLIP)
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)

    @torch.no_grad()
    def _keep_features(self, rows: Ints) -> None:
        """Encode a batch and cache the features that the head reads."""
        if self.graphs is not None:
            self.graphs.run(("encode", *self._count(rows)), rows)
        else:
            for part in self._parts(rows):
                self._encode_at(self._sent(part), self._batch(part))
        self.known[rows] = True

    @torch.no_grad()
    def _encode_at(self, at: Tensor, batch: Batch) -> Tensor:
        """Encode a batch of the texts numbered `at`, and put their features in their places."""
        with in_precision(self.classifier, self.spec.precision):
            fresh = self._features(batch).float()
        if self.features is None:
            self.features = torch.empty(len(self.task.train), fresh.shape[1], device=self.device)
        self.features[at] = fresh
        return fresh

    def _forget_moments(self) -> None:
        """Set the optimizer back to before its first step. CUDA graphs go on with the same tensors."""
        if self.graphs is None:
            self.optimizer.state.clear()
            return
        for moments in self.optimizer.state.values():
            for value in moments.values():
                value.zero_()

    def tensor_bytes(self) -> tuple[int, int, int]:
        """Return the bytes of weights with buffers, of the gradients of what trains, and of the optimizer's state."""
        weights = sum(t.nbytes for t in (*self.classifier.parameters(), *self.classifier.buffers()))
        state = [value for moments in self.optimizer.state.values() for value in moments.values()]
        return weights, sum(p.nbytes for p in self.trained), sum(t.nbytes for t in state if isinstance(t, Tensor))

    def _model_tensors(self) -> dict[str, Tensor]:
        """Return the trained weights, and all buffers, which do not change their shape."""
        weights = {f"weights/{name}": p.detach() for name, p in self.trainable.items()}
        return weights | {f"buffers/{name}": buffer for name, buffer in self.classifier.named_buffers()}

    def _cached_rows(self) -> Tensor:
        return torch.from_numpy(np.flatnonzero(self.known)).to(self.device)

    def tensors(self) -> dict[str, Tensor]:
        """Return all tensors that later steps depend on: weights, buffers, moments, generators, losses, features.

        They are not copied: write them before the next step.
        """
        # Of generators a run seeds torch's alone.
        tensors = self._model_tensors() | {"generator/cpu": torch.get_rng_state()}
        if self.device == "cuda":
            tensors["generator/cuda"] = torch.cuda.get_rng_state()
        for name, parameter in self.trainable.items():
            moments = self.optimizer.state.get(parameter, {})
            tensors |= {f"optimizer/{key}/{name}": value for key, value in moments.items()}
        tensors["losses"] = torch.tensor(self.ledger.losses, dtype=torch.float64)
        tensors["distinct"] = torch.tensor(sorted(self.ledger.distinct), dtype=torch.int64)
        if self.features is not None:
            tensors["known"], tensors["features"] = torch.from_numpy(self.known), self.features[self._cached_rows()]
        return tensors

    def load_tensors(self, tensors: dict[str, Tensor]) -> None:
        """Restore what `tensors` returned, all but losses and rows, which are the ledger's."""
        with torch.no_grad():
            for name, own in self._model_tensors().items():
                own.copy_(tensors[name])
        torch.set_rng_state(tensors["generator/cpu"].clone())
        if self.device == "cuda":
            torch.cuda.set_rng_state(tensors["generator/cuda"].clone())
        for name, tensor in tensors.items():
            if name.startswith("optimizer/"):
                _, key, parameter = name.split("/", 2)
                moments = self.optimizer.state[self.trainable[parameter]]
                if key in moments:
                    moments[key].copy_(tensor)
                else:
                    moments[key] = tensor.to(self.device, copy=True)
        if "features" in tensors:
            self.known = tensors["known"].numpy().copy()
            if self.features is None:
                self.features = torch.empty(len(self.known), tensors["features"].shape[1], device=self.device)
            self.features[self._cached_rows()] = tensors["features"].to(self.device)
        if self.graphs is not None:  # they read bf16 copies, which are made anew when the precision is entered
            with in_precision(self.classifier, self.spec.precision):
                pass
