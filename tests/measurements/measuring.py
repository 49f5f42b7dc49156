"""Times relative to a kernel that runs in between, so that a slow moment of the machine cancels out."""

from __future__ import annotations

import time
from collections.abc import Callable
from statistics import median
from typing import Any

import torch
from pytest_benchmark.fixture import BenchmarkFixture

Work = Callable[[], object]

_SIDE = torch.ones(768, 768)
_PRODUCT = torch.empty(768, 768)


def matrix_products() -> None:
    """The kernel for what torch does: fp32 products, on as many threads. Ten, so that a thread's late start is small."""
    for _ in range(10):
        torch.matmul(_SIDE, _SIDE, out=_PRODUCT)


def python_loop() -> int:
    """The kernel for what the interpreter does, on one thread: tens of milliseconds of integer arithmetic."""
    total = 0
    for i in range(500_000):
        total += i * i % 7
    return total


def seconds(work: Work) -> float:
    """Wall seconds of one call."""
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


def benchmark_against(
    benchmark: BenchmarkFixture, kernel: Work, work: Work, *, rounds: int, prepare: Work = lambda: None
) -> Any:
    """Measure `work` with pytest-benchmark, the kernel timed before each round and after the last; `prepare` is untimed.

    Puts the ratio of the medians into the results as `extra_info["relative"]`. Returns what `work` returned.
    """
    if benchmark.disabled:  # the plain test run: once, unmeasured
        prepare()
        return benchmark.pedantic(work)
    around: list[float] = []

    def before() -> None:
        prepare()
        around.append(seconds(kernel))

    result = benchmark.pedantic(work, setup=before, rounds=rounds, warmup_rounds=1)
    around.append(seconds(kernel))
    base = median(around[1:])  # the first belongs to the warm-up
    benchmark.extra_info["kernel"] = getattr(kernel, "__name__", "kernel")
    benchmark.extra_info["kernel_seconds"] = around[1:]
    benchmark.extra_info["relative"] = benchmark.stats["median"] / base
    return result
