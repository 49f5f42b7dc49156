"""Work on batches as CUDA graphs: what a step launches is recorded once for each shape of a batch, and then launched as one.

With batches of 16 short texts a GPU computes a kernel in less time than the CPU takes to launch it. A graph repeats the same
kernels on the same tensors without the CPU (CUDA C++ programming guide, section "CUDA Graphs"), so the arithmetic is that of
plain kernels. All that changes between two steps, which texts they take and the learning rate, lies on the device.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping
from typing import NamedTuple

import torch
from torch import Tensor

from bench.data.task import Ints
from methods import MethodError

__all__ = ["Graphs", "Work"]


class Work(NamedTuple):
    """What is done with so many texts, given their numbers [texts]."""

    texts: int
    do: Callable[[Tensor], Tensor]


class Graphs:
    """CUDA graphs of work on texts that are given by their numbers, one for each key. They share their memory."""

    def __init__(self) -> None:
        self._pool = torch.cuda.graph_pool_handle()
        self._stream = torch.cuda.Stream()  # type: ignore[no-untyped-call]
        self._recorded: dict[Hashable, tuple[torch.cuda.CUDAGraph, Tensor, Tensor]] = {}
        """The graph, the numbers that it reads [texts], and what the work returned."""

    def record(self, works: Mapping[Hashable, Work]) -> None:
        """Do each work on numbers that are all 0, and then record each under its key, in the given order.

        What is allocated and chosen at first is so not recorded. Torch's allocator finds no room for one stream in what another
        has freed, and none for a graph in either: so what was freed is given back before, and again by each recording.

        Raises:
            MethodError: if a work waits for the device, or else cannot be recorded.
            torch.OutOfMemoryError: if one does not fit.
        """
        numbers = {key: torch.zeros(work.texts, dtype=torch.int64, device="cuda") for key, work in works.items()}
        torch.cuda.empty_cache()
        self._stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(self._stream):
            for key, work in works.items():
                work.do(numbers[key])
        torch.cuda.current_stream().wait_stream(self._stream)
        for key, work in works.items():
            self._recorded[key] = self._graph_of(work, numbers[key])

    def _graph_of(self, work: Work, at: Tensor) -> tuple[torch.cuda.CUDAGraph, Tensor, Tensor]:
        graph, stream = torch.cuda.CUDAGraph(), torch.cuda.current_stream()
        try:
            with torch.cuda.graph(graph, pool=self._pool, stream=self._stream, capture_error_mode="thread_local"):
                out = work.do(at)
        except RuntimeError as error:
            torch.cuda.set_stream(stream)
            # To end a recording that has failed is an error, too.
            first = error.__context__ if isinstance(error.__context__, RuntimeError) else error
            if isinstance(first, torch.OutOfMemoryError):
                raise first from None
            reason = str(first).splitlines()[0]
            raise MethodError(f"a step cannot be recorded as a CUDA graph ({reason}); use --kernels plain") from error
        return graph, at, out

    def run(self, key: Hashable, rows: Ints) -> Tensor:
        """Repeat the work of a key on other texts [texts]; what it returns is overwritten when it is repeated."""
        graph, at, out = self._recorded[key]
        at.copy_(torch.from_numpy(rows).pin_memory(), non_blocking=True)
        graph.replay()
        return out
