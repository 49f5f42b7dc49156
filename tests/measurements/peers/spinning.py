"""`make ablations`: training with `GOMP_SPINCOUNT` and without, on a quiet machine and beside a process that keeps a core busy.

The OpenMP runtime reads the variable when it is loaded, so every turn is a fresh interpreter: it loads the encoder, trains a
step that is not timed, and then those that are. The turns of a round come in a random order. Start it on a machine that does
nothing else.

`python -m tests.measurements.peers.spinning [--rounds N] [--steps N] [--out FILE]`
"""

from __future__ import annotations

import argparse
import os
import random
import tempfile
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path
from typing import Any
from unittest.mock import patch

from bench.data.batches import POOL
from bench.runs.launchers.process import LocalEngine
from bench.system.device import usable_cores
from bench.system.errors import SpecError
from bench.system.openmp import SPIN_COUNT
from tests.measurements.calibration_load import burning
from tests.measurements.keeping import about, in_one_line, keep
from tests.measurements.peers.common import BATCH, batches_of, choose_device, encoder_folder, task_of
from tests.measurements.peers.recipes import OURS
from tests.measurements.peers.tables import spinning_table

__all__ = ["DEFAULT", "in_fresh_process", "measure", "train"]

METHOD, LENGTH, STEPS = "houlsby", 128, 40
ROUNDS = 6
"""As few as an interval of the median needs."""
OUT = Path("results/spinning.json")
DEFAULT = "300000"
"""Rounds that GNU OpenMP spins where no variable says otherwise."""
WAYS = {f"GOMP_SPINCOUNT={SPIN_COUNT}": SPIN_COUNT, "default": DEFAULT}
QUIET, BUSY = "quiet", "beside one busy process"


def train(folder: Path, steps: int, threads: int, notify: Callable[..., None]) -> float:
    """Reviews a second of so many steps of the suite, after one that is not timed."""
    import torch

    from bench.models.pretrained import find
    from bench.system.allocator import keep_freed
    from bench.system.meters import MemoryMeter
    from tests.measurements.peers.suite import SuitePeer

    torch.set_num_threads(threads)
    keep_freed()
    pretrained = find(str(folder))
    task = task_of(pretrained)
    memory = MemoryMeter("cpu")
    memory.start()
    peer = SuitePeer(METHOD, OURS, pretrained, task, LENGTH, BATCH, memory)
    return steps * BATCH / peer.turn(batches_of(OURS, task.lengths(task.train, LENGTH), steps, BATCH), 1)


def in_fresh_process(spin_count: str, work: str, *arguments: Any) -> Any:
    """Return what the work, "module:function", returns in a new interpreter, whose waiting threads spin so many rounds.

    It is started as on CUDA: a fork on a CPU has the runtime that its server loaded.
    """
    with patch.dict(os.environ, GOMP_SPINCOUNT=spin_count):
        return LocalEngine("cuda").run(work, *arguments).outcome


def measure(folder: Path, rounds: int, steps: int, threads: int) -> list[dict[str, Any]]:
    """Reviews a second of each way in each place, a value a round."""
    order = random.Random(0)
    rates: dict[tuple[str, str], list[float]] = {(place, way): [] for place in (QUIET, BUSY) for way in WAYS}
    for round_ in range(1, rounds + 1):
        for place, way in order.sample(list(rates), len(rates)):
            with burning(pause=0.0) if place == BUSY else nullcontext():
                rate = in_fresh_process(WAYS[way], "tests.measurements.peers.spinning:train", folder, steps, threads)
            rates[place, way].append(rate)
            print(f"round {round_}: {place}, {way}: {rate:.1f} reviews/s", flush=True)
    return [
        {"name": place, "ways": [{"name": way, "reviews_per_second": rates[place, way]} for way in WAYS]}
        for place in (QUIET, BUSY)
    ]


def main() -> None:
    """Measure, print, and write the file."""
    parser = argparse.ArgumentParser(prog="python -m tests.measurements.peers.spinning", description=__doc__.split("\n\n")[0])
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    parser.add_argument("--steps", type=int, default=STEPS, help="timed steps a turn")
    parser.add_argument("--out", type=Path, default=OUT)
    given = parser.parse_args()
    with in_one_line():
        if given.rounds < 1 or not 1 <= given.steps <= POOL:
            raise SpecError(f"--rounds must be at least 1, --steps between 1 and {POOL}")
        choose_device("cpu")
    threads = usable_cores()
    environment = about(threads)
    with tempfile.TemporaryDirectory() as name:
        places = measure(encoder_folder(Path(name)), given.rounds, given.steps, threads)
    found = {
        "environment": environment, "method": METHOD, "steps": given.steps, "batch_size": BATCH, "max_length": LENGTH,
        "precision": OURS.arithmetic("cpu"), "places": places,
    }  # fmt: skip
    print("\n" + spinning_table(found))
    keep(given.out, found)


if __name__ == "__main__":
    main()
