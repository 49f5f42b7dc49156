"""One optimizer step: from rows to an update of the weights, and the state that it changes."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from bench.data.batches import MULTIPLE, collate, round_up, to_device
from bench.data.task import Ints, Task
from bench.models.classifier import Classifier
from bench.models.residual_stream import in_precision
from bench.records.spec import RunSpec
from bench.rules import CLIP
from bench.system.meters import DeviceClock
from bench.training.budget import Ledger
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
        # Frozen methods have tens of small tensors: the fused kernel updates all of them in one call.
        self.optimizer = torch.optim.AdamW(self.trained, lr=0.0, weight_decay=0.0, fused=True)
        self.peak_rate = float(self.spec.hyperparameters["learning_rate"])  # type: ignore[arg-type]
        self.late = LateLosses(self.ledger, self.device)
        self.features: Tensor | None = None
        """[train texts, width]; what the head reads of each text, where a method encodes once."""
        self.known = np.zeros(len(self.task.train), dtype=bool)
        """[train texts]; which of them are in `features`."""

    def _dummy_pass(self, texts: int, width: int, padded: bool) -> None:
        """Forward and backward over the largest micro-batch of a batch of dummy texts."""
        ids = torch.full((texts, width), int(self.task.suffix[0]))[self._micro_batches(texts, width)[0]]
        mask = torch.ones_like(ids)
        mask[:, -1] = int(not padded)
        with in_precision(self.classifier, self.spec.precision):
            with torch.set_grad_enabled(not self.encodes_once):
                features = self.classifier.features(to_device(ids, self.device), to_device(mask, self.device), padded)
            loss = self.classifier.head(features).float().logsumexp(-1).mean()
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()

    def _collated(self, rows: Ints) -> tuple[Tensor, Tensor, Tensor]:
        spec = self.spec
        return collate(self.task, self.task.train, rows, spec.max_length, spec.truncation, self.multiple)

    def _optimize(self, rows: Ints) -> float:
        """Take one optimizer step; returns the loss before it, on CUDA one step late."""
        return self._head_step(rows) if self.encodes_once else self._step(rows, *self._collated(rows))

    def _step(self, rows: Ints, ids: Tensor, mask: Tensor, labels: Tensor) -> float:
        """Take one step on the gradient of a whole batch, added up over its micro-batches."""
        losses: list[Tensor] = []
        for micro_batch in self._micro_batches(*ids.shape):
            with in_precision(self.classifier, self.spec.precision):
                logits = self.classifier.head(self._features(rows, ids, mask, micro_batch))
                loss = cross_entropy(logits.float(), to_device(labels[micro_batch], self.device)) * (len(logits) / len(rows))
            loss.backward()  # type: ignore[no-untyped-call]
            losses.append(loss.detach())
        self._update()
        return self.late.read(losses)

    def _micro_batches(self, texts: int, longest: int) -> list[slice]:
        """Split a batch into parts of about `MICRO_BATCH` tokens, the largest first; on CUDA not at all."""
        size = texts if self.device == "cuda" else math.ceil(texts / math.ceil(texts * longest / MICRO_BATCH))
        return [slice(start, start + size) for start in range(0, texts, size)]

    def _head_step(self, rows: Ints) -> float:
        """Take one step of the head on cached features."""
        assert self.features is not None
        at = to_device(torch.from_numpy(rows), self.device)
        labels = to_device(torch.from_numpy(self.task.train.labels[rows]), self.device)
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
        """Encode a batch and cache the features that the head reads."""
        ids, mask, _ = self._collated(rows)
        for micro_batch in self._micro_batches(*ids.shape):
            with in_precision(self.classifier, self.spec.precision):
                fresh = self._features(rows, ids, mask, micro_batch).float()
            if self.features is None:
                self.features = torch.empty(len(self.task.train), fresh.shape[1], device=self.device)
            self.features[to_device(torch.from_numpy(rows[micro_batch]), self.device)] = fresh
        self.known[rows] = True

    def _features(self, rows: Ints, ids: Tensor, mask: Tensor, micro_batch: slice) -> Tensor:
        """Encode and count a micro-batch; return the features of the head, [texts, width]."""
        width = round_up(int(mask[micro_batch].sum(1).max()), self.multiple, ids.shape[1])
        ids, mask = ids[micro_batch, :width], mask[micro_batch, :width]
        self.ledger.count_encoded(rows[micro_batch].tolist(), int(mask.sum()), mask.numel())
        return self.classifier.features(to_device(ids, self.device), to_device(mask, self.device), not bool(mask.all()))

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
                self.optimizer.state[self.trainable[parameter]][key] = tensor.to(self.device, copy=True)
        if "features" in tensors:
            self.known = tensors["known"].numpy().copy()
            self.features = torch.empty(len(self.known), tensors["features"].shape[1], device=self.device)
            self.features[self._cached_rows()] = tensors["features"].to(self.device)
