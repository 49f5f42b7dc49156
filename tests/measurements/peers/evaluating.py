"""The ablations of evaluation: how many reviews are a batch, and in which order they come."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from bench.data.tokenization import Ints

__all__ = ["WAYS", "evaluate"]

REVIEWS = 320
WAYS = (
    ("like lengths together, 16 a batch (this suite on a CPU)", 16, True),
    ("like lengths together, 64 a batch (this suite on CUDA)", 64, True),
    ("in their order, 64 a batch", 64, False),
    ("in their order, 16 a batch", 16, False),
)
"""Name, reviews a batch, and whether reviews are sorted by length."""


def _in_their_order(lengths: Ints, batch_size: int) -> Iterator[Ints]:
    for start in range(0, len(lengths), batch_size):
        yield np.arange(start, min(start + batch_size, len(lengths)))


def evaluate(
    method: str, folder: Path, length: int, threads: int, rounds: int, notify: Callable[..., None]
) -> list[list[float]]:
    """Reviews a second of each way in each round, on the same reviews, in turns."""
    import torch

    import bench.inference.predict
    from bench.data.batches import in_length_order
    from bench.models.pretrained import find
    from bench.system.allocator import keep_freed
    from bench.system.meters import MemoryMeter
    from tests.measurements.peers.common import BATCH, device, task_of
    from tests.measurements.peers.recipes import OURS
    from tests.measurements.peers.suite import SuitePeer

    prediction: Any = bench.inference.predict  # whose constants are the ablations
    torch.set_num_threads(threads)
    keep_freed()
    pretrained = find(str(folder))
    task = task_of(pretrained)
    peer = SuitePeer(method, OURS, pretrained, task, length, BATCH, MemoryMeter(device()))
    generator = random.Random(0)
    rows = np.array(generator.sample(range(len(task.test)), REVIEWS))
    rates: list[list[float]] = [[] for _ in WAYS]
    for round_ in range(rounds + 1):
        for which in generator.sample(range(len(WAYS)), len(WAYS)):
            _, size, in_order = WAYS[which]
            prediction.BATCH = {device(): size}
            order: Any = in_length_order if in_order else _in_their_order
            prediction.in_length_order = order
            began = time.perf_counter()
            prediction.predict(peer.classifier, task, task.test, peer.spec, rows)
            if round_:  # the first is the warm-up
                rates[which].append(REVIEWS / (time.perf_counter() - began))
    return rates
