"""A process that holds one recipe and trains when it is its turn; between turns it waits and takes no processor time."""

from __future__ import annotations

import gc
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

__all__ = ["serve"]


def serve(
    connection: Connection, name: str, recipe: Any, folder: Path, length: int, batch: int, count: int, epochs: int, threads: int
) -> None:
    """Take turns over the same batches, which the recipe makes of the embedded reviews.

    Sends that it is ready after one pass over them. Then answers "turn" with (seconds, reviews, bytes of the process's peak so
    far above its baseline), and, in the suite's own process, "limit" with (seconds hot, seconds cold, operations) of the
    same steps' products alone. On CUDA the peak is what torch's allocator reserved.
    """
    import torch

    from bench.models.pretrained import find
    from bench.system.allocator import keep_freed
    from bench.system.meters import MemoryMeter
    from bench.training.warm_up import warm_up_libraries
    from tests.measurements.peers.common import batches_of, device, task_of
    from tests.measurements.peers.products import operations, seconds_of
    from tests.measurements.peers.suite import SuitePeer
    from tests.measurements.peers.trainers import LibraryPeer

    torch.set_num_threads(threads)
    if recipe.by == "suite" and not recipe.gives_back:
        keep_freed()
    torch.manual_seed(0)
    torch.matmul(torch.ones(512, 512), torch.ones(512, 512))  # the thread pool belongs to the baseline
    where = device()
    if where == "cpu":
        warm_up_libraries(recipe.arithmetic(where))
    else:
        torch.cuda.init()  # a peak cannot be reset before
    pretrained = find(str(folder))
    task = task_of(pretrained)
    batches = batches_of(recipe, task.lengths(task.train, length), count, batch)
    memory = MemoryMeter(where)
    memory.start()
    peer: SuitePeer | LibraryPeer
    if recipe.by == "suite":
        peer = SuitePeer(name, recipe, pretrained, task, length, batch, memory)
    else:
        peer = LibraryPeer(name, recipe, folder, task, length, batch)

    def let_go() -> None:
        """Give back what torch holds of the GPU's memory, which all that take turns share; the next first step is not timed."""
        gc.collect()
        if where == "cuda":
            torch.cuda.empty_cache()

    peer.turn(batches, epochs=1)
    let_go()
    connection.send("ready")
    while (asked := connection.recv()) is not None:
        if asked == "turn":
            seconds = peer.turn(batches, epochs)
            connection.send((seconds, batch * (epochs * len(batches) - 1), memory.above_baseline()))
            let_go()
        else:
            assert isinstance(peer, SuitePeer)
            products = peer.products(batches, epochs)
            dtype = torch.bfloat16 if recipe.arithmetic(where) == "bf16" else torch.float32
            hot, cold = (seconds_of(products, where, dtype, cold=cold) for cold in (False, True))
            connection.send((hot, cold, operations(products)))
