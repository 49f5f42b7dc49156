"""The matrix products of training steps, alone: an estimate of what the machine needs for these batches at least.

The steps are run once under a mode that sees every operator torch dispatches, forward and backward. Each product becomes its
shape; attention kernels become the products that they stand for, two forward and five backward (Dao et al. 2022, algorithm
4), one of them to compute the scores again.

The list is timed in two ways. Hot: each shape on one set of operands, without biases. Cold: with biases, and every product on
operands that no cache holds, since in a step each layer has its own weights and activations.
"""

from __future__ import annotations

import math
import time
from collections import Counter
from collections.abc import Callable
from itertools import cycle, islice
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

__all__ = ["COLD", "Product", "Recorder", "operands", "operations", "peak_of", "seconds_of"]

COLD = 2**28
"""Bytes between two uses of the same operands: more than last-level caches hold."""


class Product(NamedTuple):
    """`batch` products of [m, k] with [k, n]."""

    batch: int
    m: int
    k: int
    n: int
    bias: bool = False
    """Whether a bias [n] is added to each row."""


_PEAKS = {("H100", "bf16"): 989e12, ("H200", "bf16"): 989e12, ("A100", "bf16"): 312e12}
"""Operations a second by the makers' data sheets, dense: NVIDIA H100 and H200 SXM, A100."""


def peak_of(device: str, precision: str) -> float | None:
    """Operations a second that a device can do at most by its data sheet; None where the device is not in the table."""
    return next((peak for (name, kind), peak in _PEAKS.items() if name in device and kind == precision), None)


def operations(products: Counter[Product]) -> int:
    """Floating-point operations of these products: two for each multiplication and addition, none for biases."""
    return sum(2 * batch * m * k * n * count for (batch, m, k, n, _), count in products.items())


class Recorder(TorchDispatchMode):
    """Context that counts how often each product is computed, in backward passes too."""

    def __init__(self) -> None:
        super().__init__()
        self.products: Counter[Product] = Counter()

    def __torch_dispatch__(self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None) -> Any:
        name = func.overloadpacket.__name__
        tensors = [a for a in args if isinstance(a, Tensor)]
        if name in {"mm", "bmm"}:
            self._product(tensors[0], tensors[1])
        elif name in {"addmm", "baddbmm"}:
            self._product(tensors[1], tensors[2], bias=name == "addmm")
        elif name.startswith("_scaled_dot_product"):
            backward = "backward" in name
            query, key = tensors[1:3] if backward else tensors[:2]
            batch, heads, rows, width = query.shape
            columns = key.shape[2]
            # Scores and their product with the values; backward: scores again, dV, dP, dQ, dK.
            self.products[Product(batch * heads, rows, width, columns)] += 2 if backward else 1
            self.products[Product(batch * heads, rows, columns, width)] += 3 if backward else 1
        return func(*args, **(kwargs or {}))

    def _product(self, a: Tensor, b: Tensor, bias: bool = False) -> None:
        batch = a.shape[0] if a.ndim == 3 else 1
        self.products[Product(batch, a.shape[-2], a.shape[-1], b.shape[-1], bias)] += 1


def operands(product: Product, count: int, device: str, dtype: torch.dtype, *, cold: bool) -> list[tuple[Tensor, ...]]:
    """A, B, output and, cold, the bias: one set for all `count` products, or as many as are needed to take `COLD` bytes."""
    batch, m, k, n, bias = product
    sizes = [(m, k), (k, n), (m, n)] if batch == 1 else [(batch, m, k), (batch, k, n), (batch, m, n)]
    if cold and bias:
        sizes.append((n,))
    filling = COLD // (dtype.itemsize * sum(map(math.prod, sizes))) + 1
    sets = min(count, filling) if cold else 1
    return [tuple(torch.ones(size, device=device, dtype=dtype) for size in sizes) for _ in range(sets)]


def _multiply(a: Tensor, b: Tensor, out: Tensor, bias: Tensor | None = None) -> Tensor:
    return torch.matmul(a, b, out=out) if bias is None else torch.addmm(bias, a, b, out=out)


def seconds_of(
    products: Counter[Product], device: str = "cpu", dtype: torch.dtype = torch.float32, *, cold: bool = False
) -> float:
    """Wall seconds of these products alone, one shape after another on torch's threads, operands in place beforehand."""
    total, other = 0.0, torch.zeros(COLD if cold else 0, device=device, dtype=torch.uint8)
    for product, count in products.items():
        sets = operands(product, count, device, dtype, cold=cold)
        _multiply(*sets[-1])
        other += 1  # drives out of the caches what was just made
        total += _timed(lambda sets=sets, count=count: [_multiply(*one) for one in islice(cycle(sets), count)], device)
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
