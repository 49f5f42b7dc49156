"""The matrix products of training steps, alone: an estimate of what the machine needs for these batches at least.

The step is run once under a mode that sees every operator torch dispatches, forward and backward. Each product becomes its
shape; attention kernels become the products that they stand for, two forward and five backward (Dao et al. 2022, algorithm
4), one of them to compute the scores again.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

__all__ = ["Shape", "operations", "peak_of", "products_of", "seconds_of"]

Shape = tuple[int, int, int, int]
"""(batch, m, k, n): so many products of [m, k] with [k, n]."""


_PEAKS = {("H100", "bf16"): 989e12, ("H200", "bf16"): 989e12, ("A100", "bf16"): 312e12}
"""Operations a second by the makers' data sheets, dense: NVIDIA H100 and H200 SXM, A100."""


def peak_of(device: str, precision: str) -> float | None:
    """Operations a second that a device can do at most by its data sheet; None where the device is not in the table."""
    return next((peak for (name, kind), peak in _PEAKS.items() if name in device and kind == precision), None)


def operations(shapes: Counter[Shape]) -> int:
    """Floating-point operations of these products: two for each multiplication and addition."""
    return sum(2 * batch * m * k * n * count for (batch, m, k, n), count in shapes.items())


class _Recorder(TorchDispatchMode):
    def __init__(self) -> None:
        super().__init__()
        self.shapes: Counter[Shape] = Counter()

    def __torch_dispatch__(self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None) -> Any:
        name = func.overloadpacket.__name__
        tensors = [a for a in args if isinstance(a, Tensor)]
        if name in {"mm", "bmm"}:
            self._product(tensors[0], tensors[1])
        elif name in {"addmm", "baddbmm"}:
            self._product(tensors[1], tensors[2])
        elif name.startswith("_scaled_dot_product"):
            backward = "backward" in name
            query, key = tensors[1:3] if backward else tensors[:2]
            batch, heads, rows, width = query.shape
            columns = key.shape[2]
            # Scores and their product with the values; backward: scores again, dV, dP, dQ, dK.
            wide, narrow = (batch * heads, rows, width, columns), (batch * heads, rows, columns, width)
            self.shapes[wide] += 2 if backward else 1
            self.shapes[narrow] += 3 if backward else 1
        return func(*args, **(kwargs or {}))

    def _product(self, a: Tensor, b: Tensor) -> None:
        batch = a.shape[0] if a.ndim == 3 else 1
        self.shapes[(batch, a.shape[-2], a.shape[-1], b.shape[-1])] += 1


def products_of(step: Callable[[], object]) -> Counter[Shape]:
    """How often each shape of product occurs in one call of `step`, its backward pass included."""
    with _Recorder() as recorder:
        step()
    return recorder.shapes


def seconds_of(shapes: Counter[Shape], device: str = "cpu", dtype: torch.dtype = torch.float32) -> float:
    """Wall seconds of these products alone, one shape after another on torch's threads, operands in place beforehand."""
    total = 0.0
    for (batch, m, k, n), count in shapes.items():
        a, b = (torch.ones(batch, *size, device=device, dtype=dtype) for size in ((m, k), (k, n)))
        out = torch.empty(batch, m, n, device=device, dtype=dtype)
        if batch == 1:
            a, b, out = a[0], b[0], out[0]
        torch.matmul(a, b, out=out)
        total += _timed(lambda a=a, b=b, out=out, count=count: [torch.matmul(a, b, out=out) for _ in range(count)], device)
    return total


def _timed(work: Callable[[], object], device: str) -> float:
    """Seconds of a piece of work; on CUDA between events on its stream, without what the CPU takes to launch and to wait."""
    if device != "cuda":
        began = time.perf_counter()
        work()
        return time.perf_counter() - began
    start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
    torch.cuda.synchronize()
    start.record()
    work()
    end.record()
    end.synchronize()
    return start.elapsed_time(end) / 1000
