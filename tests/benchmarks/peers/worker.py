"""A process that holds one recipe and trains when it is its turn; between turns it waits and takes no processor time."""

from __future__ import annotations

from collections.abc import Callable
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

__all__ = ["serve", "task_of"]


def task_of(checkpoint: Any) -> Any:
    """The embedded reviews, as an encoder's tokenizer cuts them."""
    from bench.reviews import read
    from bench.task import cut, prepare

    source = read("embedded")
    return prepare(checkpoint, source.sha256, lambda: cut(source))


def serve(connection: Connection, name: str, recipe: Any, folder: Path, length: int, batch: int, threads: int) -> None:
    """Answer (rows, epochs) with (seconds, bytes): the time of a turn, and the peak of memory above the baseline so far.

    The suite's own process also answers "limit" with the seconds of the last turn's matrix products alone.
    """
    import torch

    from bench.checkpoint import find
    from bench.meters import MemoryMeter
    from tests.benchmarks.peers.products import products_of, seconds_of
    from tests.benchmarks.peers.suite import SuitePeer

    torch.set_num_threads(threads)
    torch.manual_seed(0)
    torch.matmul(torch.ones(512, 512), torch.ones(512, 512))  # the thread pool belongs to the baseline
    checkpoint = find(str(folder))
    task = task_of(checkpoint)
    memory = MemoryMeter("cuda" if torch.cuda.is_available() else "cpu")
    memory.start()
    peer: Any
    if recipe.by == "suite":
        peer = SuitePeer(name, recipe, checkpoint, task, length, batch, memory)
    else:
        from tests.benchmarks.peers.trainers import LibraryPeer

        peer = LibraryPeer(name, recipe, folder, task, length, batch)
    shapes: Any = None
    connection.send("ready")
    while (asked := connection.recv()) is not None:
        if asked == "limit":
            connection.send(seconds_of(shapes))
            continue
        rows, epochs, record = asked
        if record:  # untimed: which products a pass over these reviews takes
            run: Callable[[], object] = peer.loop(rows, epochs).run
            shapes = products_of(run)
            connection.send(sum(shapes.values()))
            continue
        seconds = peer.turn(rows, epochs)
        connection.send((seconds, memory.above_baseline()))
