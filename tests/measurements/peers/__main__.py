"""`make peers`: each method by the suite and by what users would take instead, in turns on the same reviews.

On CUDA a turn has at least 200 steps, by passes over its batches: a step is short, and its first ones are slower. MFU, the
share of the device's peak that the suite's products reach, is given where the data sheet's peak is known.

With `--alone` the suite has no peers: for the share of a step that its matrix products take, which every run tells. With
`--grouped` it has one, the library's trainer without dropout and with like lengths together. `--base` takes a BERT-base instead
of MiniLM. Methods that are finished are in the output file, and the same command goes on.

`python -m tests.measurements.peers [--ablations | --alone | --grouped] [--method NAME] [--base] [--rounds N]
[--max-length N] [--batch-size N] [--batches N] [--steps N] [--device NAME] [--out FILE]`
"""

from __future__ import annotations

import argparse
import math
import multiprocessing
import random
import tempfile
from contextlib import closing, suppress
from datetime import UTC, datetime
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from bench.data.batches import POOL
from bench.runs.launchers.process import LocalEngine
from bench.system.allocator import keep_freed
from bench.system.device import device_model, usable_cores
from bench.system.errors import SpecError
from tests.measurements.keeping import about, in_one_line, keep, resumed
from tests.measurements.peers.common import choose_device, device, encoder_folder
from tests.measurements.peers.evaluating import WAYS, evaluate
from tests.measurements.peers.products import peak_of
from tests.measurements.peers.recipes import GRAPHS, METHODS, OURS, Recipe, recipes
from tests.measurements.peers.tables import evaluation_table, limits, summaries, table, times
from tests.measurements.peers.worker import serve

LENGTH = 256
EPOCHS = {"head-only": 3}
"""Passes over the reviews of a turn, where they are not one: a head alone is trained for several."""


STEPS = 200
"""Timed steps of a turn on CUDA, at least."""


class _Turns:
    """The processes of one round of a method, of which one works at a time."""

    def __init__(
        self, name: str, chosen: tuple[Recipe, ...], folder: Path, length: int, batch: int, count: int, epochs: int
    ) -> None:
        context = multiprocessing.get_context("spawn" if device() == "cuda" else "forkserver")
        if device() == "cpu":
            context.set_forkserver_preload(["bench.runs.launchers.preload", "tests.measurements.peers.trainers"])
        self.pipes: list[Connection] = []
        self.processes: list[Any] = []
        for recipe in chosen:
            ours, theirs = context.Pipe()
            process = context.Process(
                target=serve, args=(theirs, name, recipe, folder, length, batch, count, epochs, usable_cores()), daemon=True
            )
            process.start()
            theirs.close()
            self.pipes.append(ours)
            self.processes.append(process)
            if device() == "cpu":  # one after the other: they would share its cores
                ours.recv()
        if device() == "cuda":
            for ours in self.pipes:
                ours.recv()

    def ask(self, which: int, question: str) -> Any:
        self.pipes[which].send(question)
        return self.pipes[which].recv()

    def close(self) -> None:
        for pipe in self.pipes:
            with suppress(BrokenPipeError):
                pipe.send(None)
        for process in self.processes:
            process.join(30)
            process.kill()


def measure(
    name: str, chosen: tuple[Recipe, ...], folder: Path, length: int, rounds: int, batch: int, count: int, steps: int = 1
) -> dict[str, Any]:
    """Reviews a second and peak of memory of each recipe in each round, the products' shares of the suite's time, and MFU, that
    of a CUDA graph too, since its products are the same.

    A turn makes as many passes over its `count` batches as give `steps` timed steps at least.

    Every round has processes of its own: how memory happens to lie in one stays so, and shows in its peak and its speed.
    """
    order = random.Random(0)
    epochs = max(EPOCHS.get(name, 1), math.ceil((steps + 1) / (count + 1)))
    ours = chosen.index(OURS)
    rates: list[list[float]] = [[] for _ in chosen]
    peaks: list[list[int]] = [[] for _ in chosen]
    shares: list[float] = []
    cold_shares: list[float] = []
    per_review: list[float] = []
    """Operations of the suite's products for a review, in each round."""
    peak_rate = peak_of(device_model(device()), OURS.arithmetic(device()))
    for round_ in range(1, rounds + 1):
        with closing(_Turns(name, chosen, folder, length, batch, count, epochs)) as turns:
            for which in order.sample(range(len(chosen)), len(chosen)):
                seconds, reviews, peak = turns.ask(which, "turn")
                rates[which].append(reviews / seconds)
                peaks[which].append(peak)
                if which == ours:
                    hot, cold, operations = turns.ask(ours, "limit")
                    shares.append(hot / seconds)
                    cold_shares.append(cold / seconds)
                    per_review.append(operations / reviews)
                done = f"{rates[which][-1]:.1f} reviews/s, {peak / 2**20:,.0f} MiB"
                print(f"{name}, round {round_}: {chosen[which].name}: {done}", flush=True)

    def mfu(recipe: Recipe, rate: list[float]) -> list[float]:
        if peak_rate is None or recipe not in (OURS, GRAPHS):
            return []
        return [each * reviews / peak_rate for each, reviews in zip(per_review, rate, strict=True)]

    return {
        "method": name, "epochs": epochs, "batches_a_turn": count, "share_of_products": shares,
        "share_of_cold_products": cold_shares, "peak_operations_per_second": peak_rate,
        "recipes": [
            {
                "name": recipe.name, "reviews_per_second": rate, "peak_bytes": peak,
                "times": times(rates[ours], rate), "mfu": mfu(recipe, rate),
            }
            for recipe, rate, peak in zip(chosen, rates, peaks, strict=True)
        ],
    }  # fmt: skip


def evaluation(method: str, folder: Path, rounds: int) -> dict[str, Any]:
    """Reviews a second of each way of evaluating."""
    work = f"{evaluate.__module__}:{evaluate.__name__}"
    rates = LocalEngine(device()).run(work, method, folder, LENGTH, usable_cores(), rounds).outcome
    return {
        "method": method,
        "ways": [{"name": way[0], "reviews_per_second": rate} for way, rate in zip(WAYS, rates, strict=True)],
    }


def _check(given: argparse.Namespace) -> None:
    """
    Raises:
        SpecError: if what is asked for cannot be measured, or not here.
    """
    if given.steps is not None and not 1 <= given.steps <= 10_000:
        raise SpecError("--steps must be between 1 and 10000")
    if not 8 <= given.max_length <= 512:
        raise SpecError("--max-length must be between 8 and 512")
    if given.rounds < 1 or not 1 <= given.batches <= POOL or not 1 <= given.batch_size <= 400:
        raise SpecError(f"--rounds must be at least 1, --batches between 1 and {POOL}, --batch-size between 1 and 400")
    if not keep_freed():  # nothing is measured in this process; it tells what those of the suite will get
        raise SpecError(
            "freed memory is not kept, which is measured here: it takes glibc, and no thresholds of it in the environment"
        )


def _earlier(out: Path | None, settings: dict[str, Any]) -> dict[str, Any]:
    """What earlier calls have finished."""
    nothing: dict[str, Any] = {"methods": [], "evaluation": []}
    return {**settings, **nothing} if out is None else resumed(out, settings, **nothing)


def _keep(out: Path | None, whole: dict[str, Any]) -> None:
    whole["finished"] = datetime.now(UTC).isoformat(timespec="seconds")
    if out is not None:
        keep(out, whole)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.measurements.peers", description=__doc__)
    beside = parser.add_mutually_exclusive_group()
    beside.add_argument("--ablations", action="store_true", help="the suite beside itself, one ablation moved at a time")
    beside.add_argument("--alone", action="store_true", help="the suite beside its matrix products alone")
    beside.add_argument("--grouped", action="store_true", help="beside the library's trainer, like lengths, no dropout")
    parser.add_argument("--base", action="store_true", help="a BERT-base with random weights in the place of MiniLM")
    parser.add_argument("--max-length", type=int, default=LENGTH, help="tokens kept of a review")
    parser.add_argument("--method", action="append", choices=METHODS, help="repeatable; default: all five")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--batch-size", type=int, default=32, help="reviews an optimizer step")
    parser.add_argument("--batches", type=int, default=2, help="batches a turn, after one that is not timed")
    parser.add_argument("--steps", type=int, help=f"timed steps a turn at least, by passes; default: 1, on CUDA {STEPS}")
    parser.add_argument("--device", choices=["auto", "cpu", "cuda"], default="auto")
    parser.add_argument("--out", type=Path)
    given = parser.parse_args()
    with in_one_line():
        _check(given)
        choose_device(given.device)
    steps = given.steps or (STEPS if device() == "cuda" else 1)
    chosen = (OURS,) if given.alone else recipes(given.ablations, device())
    if given.grouped:
        chosen = tuple(recipe for recipe in chosen if recipe.by == "suite" or recipe == chosen[chosen.index(OURS) - 1])
    settings = {
        "environment": about(usable_cores(), device()), "encoder": "bert-base" if given.base else "minilm",
        "recipes": [recipe.name for recipe in chosen], "rounds": given.rounds, "batch_size": given.batch_size,
        "batches": given.batches, "steps": steps, "max_length": given.max_length, "precision": OURS.arithmetic(device()),
    }  # fmt: skip
    wanted = given.method or METHODS
    with in_one_line(), tempfile.TemporaryDirectory() as name:
        whole = _earlier(given.out, settings)
        folder = encoder_folder(Path(name), given.base)
        for method in wanted:
            if any(found["method"] == method for found in whole["methods"]):
                continue
            numbers = (given.max_length, given.rounds, given.batch_size, given.batches, steps)
            whole["methods"].append(measure(method, chosen, folder, *numbers))
            _keep(given.out, whole)
        if given.ablations and not whole["evaluation"]:
            whole["evaluation"] = [evaluation("houlsby", folder, given.rounds)]
            _keep(given.out, whole)
    found = whole["methods"]
    print()
    totals = [limits(found)] if given.alone else [] if given.ablations or given.grouped else summaries(found)
    print("\n\n".join([*totals, *map(table, found), *map(evaluation_table, whole["evaluation"])]))


if __name__ == "__main__":
    main()
