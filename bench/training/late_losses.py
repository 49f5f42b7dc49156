"""Losses of training steps, read when the device has them: at once on a CPU, one step late on CUDA.

To read a number from a GPU is to wait until it has done all that it was given, and then it idles while the CPU prepares the
next step. So a loss is copied to the host behind its step, and read when the next step was launched.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from bench.training.budget import Ledger
from bench.training.failures import Diverged

__all__ = ["LateLosses"]


class LateLosses:
    """Reads losses into a ledger, to which the caller gives what `read` returns, one number a step."""

    def __init__(self, ledger: Ledger, device: str) -> None:
        self._ledger, self._device = ledger, device
        self._pending: tuple[Tensor, Any] | None = None
        """The last step's loss on its way to the host, and the event that says that it is there."""

    def read(self, parts: Sequence[Tensor]) -> float:
        """The sum of a step's losses, each a tensor of no dimension. On CUDA 0 stands for it until the next call or `settle`.

        Raises:
            Diverged: on CUDA, where the loss of the step before is no number.
        """
        if self._device != "cuda":
            total = 0.0
            for part in parts:
                total += float(part)
            return total
        sent = self._sent(torch.stack([*parts]).sum())
        self.settle()
        self._pending = sent
        return 0.0

    def _sent(self, loss: Tensor) -> tuple[Tensor, Any]:
        """A loss on its way to the host, and the event of its arrival."""
        host = torch.empty((), dtype=torch.float32, pin_memory=True)
        host.copy_(loss, non_blocking=True)
        event = torch.cuda.Event()  # type: ignore[no-untyped-call]
        event.record()
        return host, event

    def settle(self) -> None:
        """Put the last loss into its place, waiting for its step; nothing to do on a CPU.

        Raises:
            Diverged: if it is no number, which is then not in the list.
        """
        if self._pending is None:
            return
        (host, event), self._pending = self._pending, None
        event.synchronize()
        losses = self._ledger.losses
        losses[-1] = float(host)
        if not math.isfinite(losses[-1]):
            raise Diverged(f"the loss became {losses.pop()} at step {len(losses) + 1}")
