"""`make peers`: each method by the suite and by what users would take instead, in turns on the same reviews.

`python -m tests.benchmarks.peers [--levers] [--method NAME] [--rounds N] [--batches N] [--out FILE]`
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import random
import shutil
import sys
import tempfile
from datetime import UTC, datetime
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from bench.checkpoint import find
from bench.device import device_model, usable_cores
from bench.engines.local import LocalEngine
from bench.files import atomic_write
from bench.provenance import environment
from tests.benchmarks.peers.evaluating import WAYS, evaluate
from tests.benchmarks.peers.recipes import METHODS, Recipe, recipes
from tests.benchmarks.peers.tables import evaluation_table, summary, table
from tests.benchmarks.peers.worker import serve

BATCH, LENGTH = 16, 256
WARM_UP = 2
"""Batches of the untimed first turn."""
EPOCHS = {"head-only": 3}
"""Passes over the reviews of a turn, where they are not one: a head alone is trained for several."""


def encoder_folder(folder: Path) -> Path:
    """MiniLM without its pooling instructions: then suite and libraries train the same head, BERT's own."""
    packaged = find("minilm").folder
    for name in ("config.json", "tokenizer.json", "model.safetensors"):
        shutil.copy(packaged / name, folder / name)
    return folder


class _Turns:
    """The processes of one method, of which one works at a time."""

    def __init__(self, name: str, chosen: tuple[Recipe, ...], folder: Path) -> None:
        context = multiprocessing.get_context("forkserver")
        context.set_forkserver_preload(["bench.engines.preload", "tests.benchmarks.peers.trainers"])
        self.chosen = chosen
        self.pipes: list[Connection] = []
        self.processes: list[Any] = []
        for recipe in chosen:
            ours, theirs = context.Pipe()
            process = context.Process(
                target=serve, args=(theirs, name, recipe, folder, LENGTH, BATCH, usable_cores()), daemon=True
            )
            process.start()
            theirs.close()
            ours.recv()
            self.pipes.append(ours)
            self.processes.append(process)

    def ask(self, which: int, question: Any) -> Any:
        self.pipes[which].send(question)
        return self.pipes[which].recv()

    def end(self) -> None:
        for pipe in self.pipes:
            pipe.send(None)
        for process in self.processes:
            process.join(30)
            process.kill()


def measure(name: str, chosen: tuple[Recipe, ...], folder: Path, rounds: int, batches: int) -> dict[str, Any]:
    """Reviews a second of each recipe in each round, peaks of memory, and the share of the products' time."""
    generator = random.Random(0)
    reviews = batches * BATCH
    rows = generator.sample(range(22_404), (rounds + 1) * reviews)
    epochs = EPOCHS.get(name, 1)
    turns = _Turns(name, chosen, folder)
    ours = next(i for i, recipe in enumerate(chosen) if recipe.name == "this suite")
    rates: list[list[float]] = [[] for _ in chosen]
    peaks = [0] * len(chosen)
    shares: list[float] = []
    try:
        for which in range(len(chosen)):
            turns.ask(which, (rows[: WARM_UP * BATCH], epochs, False))
        for round_ in range(1, rounds + 1):
            chunk = rows[round_ * reviews : (round_ + 1) * reviews]
            turns.ask(ours, (chunk, epochs, True))
            for which in generator.sample(range(len(chosen)), len(chosen)):
                seconds, peaks[which] = turns.ask(which, (chunk, epochs, False))
                rates[which].append(epochs * reviews / seconds)
                if which == ours:
                    shares.append(turns.ask(ours, "limit") / seconds)
                print(f"{name}, round {round_}: {chosen[which].name}: {rates[which][-1]:.1f} reviews/s", flush=True)
    finally:
        turns.end()
    return {
        "method": name, "epochs": epochs, "reviews_a_turn": reviews, "share_of_products": shares,
        "recipes": [
            {
                "name": recipe.name, "reviews_per_second": rate, "peak_bytes": peak,
                "times": [own / other for own, other in zip(rates[ours], rate, strict=True)],
            }
            for recipe, rate, peak in zip(chosen, rates, peaks, strict=True)
        ],
    }  # fmt: skip


def evaluation(method: str, folder: Path, rounds: int) -> dict[str, Any]:
    """Reviews a second of each way of evaluating."""
    work = f"{evaluate.__module__}:{evaluate.__name__}"
    rates, _ = LocalEngine("cpu").run(work, method, folder, LENGTH, usable_cores(), rounds)
    return {
        "method": method,
        "ways": [{"name": way[0], "reviews_per_second": rate} for way, rate in zip(WAYS, rates, strict=True)],
    }


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.peers", description=__doc__)
    parser.add_argument("--levers", action="store_true", help="the suite beside itself, one lever moved at a time")
    parser.add_argument("--method", action="append", choices=METHODS, help="repeatable; default: all five")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--batches", type=int, default=16, help="batches a turn")
    parser.add_argument("--out", type=Path)
    given = parser.parse_args()
    if given.rounds < 1 or not 1 <= given.batches <= 200:
        print("error: --rounds must be at least 1 and --batches between 1 and 200", file=sys.stderr)
        raise SystemExit(2)
    with tempfile.TemporaryDirectory() as name:
        folder = encoder_folder(Path(name))
        found = [
            measure(method, recipes(given.levers), folder, given.rounds, given.batches) for method in given.method or METHODS
        ]
        evaluated = [evaluation("houlsby", folder, given.rounds)] if given.levers else []
    print()
    totals = [] if given.levers else [summary(found)]
    print("\n\n".join([*totals, *map(table, found), *map(evaluation_table, evaluated)]))
    if given.out is not None:
        about = environment(device=device_model("cpu"), threads=usable_cores()).model_dump(mode="json")
        whole = {
            "finished": datetime.now(UTC).isoformat(timespec="seconds"), "environment": about, "batch_size": BATCH,
            "max_length": LENGTH, "methods": found, "evaluation": evaluated,
        }  # fmt: skip
        with atomic_write(given.out) as file:
            file.write(json.dumps(whole, indent=1).encode() + b"\n")


if __name__ == "__main__":
    main()
