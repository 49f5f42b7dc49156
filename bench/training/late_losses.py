"""Losses of training steps, read when the device has them: at once on a CPU, one step late on CUDA.

Reading a number from a GPU waits for all of its queue, and then it idles while the CPU prepares the next step. So a loss is
copied to the host behind its step, and read once the next step is launched.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from bench.training.budget import Ledger

__all__ = ["Diverged", "LateLosses"]


class Diverged(RuntimeError):
    """The loss is not finite."""


class LateLosses:
    """Reads losses for a ledger, to which the caller adds what `read` returns, one number a step."""

    def __init__(self, ledger: Ledger, device: str) -> None:
        self._ledger, self._device = ledger, device
        self._pending: tuple[int, Tensor, Any] | None = None
        """Index of the last step, its loss on the way to the host, and the event of its arrival."""

    def read(self, parts: Sequence[Tensor]) -> float:
        """Return the sum of a step's losses, each a scalar tensor; on CUDA 0 until the next call of this or `settle`.

        Raises:
            Diverged: on CUDA, if the loss of the previous step is not finite.
        """
        if self._device != "cuda":
            total = 0.0
            for part in parts:
                total += float(part)
            return total
        host, event = self._send(torch.stack([*parts]).sum())
        self.settle()
        self._pending = len(self._ledger.losses), host, event
        return 0.0

    def _send(self, loss: Tensor) -> tuple[Tensor, Any]:
        """Start the copy of a loss to the host; return it and the event of its arrival."""
        host = torch.empty((), dtype=torch.float32, pin_memory=True)
        host.copy_(loss, non_blocking=True)
        event = torch.cuda.Event()  # type: ignore[no-untyped-call]
        event.record()
        return host, event

    def settle(self) -> None:
        """Wait for the last step and put its loss into the ledger; nothing to do on a CPU. It may be called again.

        Raises:
            Diverged: if the loss is not finite; it is then not in the ledger.
        """
        if self._pending is None:
            return
        step, host, event = self._pending
        event.synchronize()
        losses, loss = self._ledger.losses, float(host)
        if step < len(losses):  # else a stop came between a step and its count
            losses[step:] = [loss] if math.isfinite(loss) else []
        self._pending = None
        if not math.isfinite(loss):
            raise Diverged(f"the loss became {loss} at step {step + 1}")
