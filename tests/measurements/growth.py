"""`make growth`: what a token costs, and how much memory training takes, as the training reviews grow in number.

One pass over 1,000, over 5,000 and over all reviews, each in a fresh process. The cost of a token is taken along the way,
beside a kernel that is timed while the clock is paused, since a shared machine is not equally fast for a quarter of an hour.

`python -m tests.measurements.growth [--method NAME] [--data DATA] [--out FILE]`
"""

from __future__ import annotations

import argparse
import os
import tempfile
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median

from tabulate import tabulate

import methods
from bench.data.sources import read
from bench.rules import Precision
from bench.runs.launchers.process import LocalEngine
from bench.system.device import resolve_precision, usable_cores
from tests.measurements.keeping import about, in_one_line, keep
from tests.measurements.peers.common import BATCH, untested

__all__ = ["Grown", "train"]

COUNTS = (1000, 5000, None)
"""Training reviews; None: all there are."""
STRETCH = 10
"""Steps between two looks at the cost."""
LENGTH = 128
OUT = Path("results/growth.json")
_CACHE = "ADAPTER_BENCH_CACHE"


@dataclass(frozen=True)
class Grown:
    """One pass over so many reviews."""

    reviews: int
    tokens: int
    seconds: float
    """Of training alone."""
    cost: list[float]
    """Time of a thousand tokens over that of the kernel, which is one of fp32 products; one a stretch of the pass."""
    peak_bytes: list[int]
    """Above the process's baseline, at the end of each stretch."""
    tokenised_cold: float
    """Seconds to split and tokenise all reviews with an empty cache."""
    tokenised_warm: float
    """Seconds to have them from the cache."""


def train(
    method: str, data: str, reviews: int | None, threads: int, precision: Precision, notify: Callable[..., None]
) -> Grown:
    """One pass over the first so many reviews of a shuffle, with the suite's loop."""
    import numpy as np
    import torch

    from bench.data.task import prepare, split
    from bench.models.pretrained import find
    from bench.records.spec import Budget
    from bench.system.allocator import keep_freed
    from bench.system.meters import DeviceClock, MemoryMeter
    from bench.training.budget import Ledger
    from bench.training.trainer import Trainer
    from bench.training.warm_up import warm_up_libraries
    from tests.classifiers import attached
    from tests.conftest import make_spec
    from tests.measurements.measuring import matrix_products, seconds

    torch.set_num_threads(threads)
    keep_freed()
    pretrained, source, took = find("minilm"), read(data), list[float]()
    with tempfile.TemporaryDirectory() as empty:
        os.environ[_CACHE] = empty
        for _ in ("cold", "warm"):
            began = time.perf_counter()
            task = prepare(pretrained, source.sha256, lambda: split(source))
            took.append(time.perf_counter() - began)
    rows = np.random.default_rng(0).permutation(len(task.train))[:reviews].tolist()
    task = untested(task, rows)
    matrix_products()
    warm_up_libraries(precision)
    memory = MemoryMeter("cpu")
    memory.start()
    pass_ = Budget(amount=1, unit="epochs")
    spec = make_spec(method, budget=pass_, max_length=LENGTH, batch_size=BATCH, precision=precision, threads=threads)
    classifier = attached(pretrained, method)
    classifier.head.requires_grad_(True)
    clock, cost, peaks = DeviceClock("cpu"), list[float](), list[int]()
    reached = (0, 0.0)

    def look(ledger: Ledger) -> None:
        nonlocal reached
        if ledger.steps % STRETCH:
            return
        charged = clock.seconds
        with clock.paused():
            peaks.append(memory.above_baseline())
            kernel = median(seconds(matrix_products) for _ in range(3))
        cost.append((charged - reached[1]) / (ledger.tokens_spent - reached[0]) * 1000 / kernel)
        reached = (ledger.tokens_spent, charged)
        notify("training", ledger.fraction)

    trainer = Trainer(classifier, task, spec, methods.get(method).encodes_once, clock, memory, look)
    trainer.warm_up()
    trainer.run()
    return Grown(len(rows), trainer.ledger.tokens_spent, clock.seconds, cost, peaks, took[0], took[1])


def table(found: list[Grown]) -> str:
    """A row for each number of reviews; the cost of a token is over that of the fewest reviews."""
    base = median(found[0].cost)
    rows = [
        [
            f"{one.reviews:,}",
            f"{median(one.cost) / base:.2f}",
            f"{median(one.cost[: len(one.cost) // 2 or 1]) / base:.2f}",
            f"{median(one.cost[len(one.cost) // 2 :]) / base:.2f}",
            f"{one.peak_bytes[0] / 2**20:,.0f}",
            f"{one.peak_bytes[-1] / 2**20:,.0f}",
            f"{one.reviews / one.seconds:.1f}",
            f"{one.tokenised_cold:.1f} s",
            f"{one.tokenised_warm:.2f} s",
        ]
        for one in found
    ]
    headers = [
        "training reviews", "cost of a token", "first half", "second half", "peak MiB at first", "at last", "reviews/s",
        "all reviews tokenised", "from the cache",
    ]  # fmt: skip
    return tabulate(rows, headers=headers, tablefmt="pipe", disable_numparse=True)


def main() -> None:
    """Measure, print, and write the JSON."""
    parser = argparse.ArgumentParser(prog="python -m tests.measurements.growth", description=__doc__)
    parser.add_argument("--method", default="houlsby", choices=methods.names())
    parser.add_argument("--data", default="embedded")
    parser.add_argument("--out", type=Path, default=OUT)
    given = parser.parse_args()
    engine, threads, found = LocalEngine("cpu"), usable_cores(), list[Grown]()
    precision = resolve_precision("auto", "cpu")
    with in_one_line():
        read(given.data)
    environment = about(threads)
    for count in COUNTS:
        grown = engine.run(f"{__spec__.name}:train", given.method, given.data, count, threads, precision).outcome
        found.append(grown)
        print(f"{grown.reviews:,} reviews: {grown.seconds:.0f} s", flush=True)
    print("\n" + table(found))
    content = {
        "method": given.method, "data": given.data, "batch_size": BATCH, "max_length": LENGTH, "steps_a_stretch": STRETCH,
        "precision": precision, "environment": environment,
        "passes": [asdict(one) for one in found],
    }  # fmt: skip
    keep(given.out, content)


if __name__ == "__main__":
    main()
