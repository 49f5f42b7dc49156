"""`make peers-accuracy`: what the suite's way of training costs in accuracy when all train on equal reviews.

Each method is trained by the suite and by the library's trainer from the same first weights, with the same learning rate,
schedule and dropout, on the same reviews at the suite's default length, and tested on the same test. How reviews are put into
batches differs, and the arithmetic where the suite's is bf16 by itself: the library's is then fp32. The rates are the suite's
defaults, chosen with its loop and another head. With `--dropout` the suite is held against
itself with hidden dropout, over several epochs, which is where dropout could pay. What is finished is in the output file, and
the same command goes on. Processes side by side take disjoint seeds (`--seed`), each with an `--out` of its own; `--merge`
joins their files.

`python -m tests.measurements.peers.accuracy [--dropout] [--method NAME] [--seeds N | --seed S …] [--reviews N] [--device NAME]
[--out FILE]`
`python -m tests.measurements.peers.accuracy --merge FILE … --out FILE`
"""

from __future__ import annotations

import argparse
import json
import random
import sys
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from tabulate import tabulate

from bench.analysis.statistics import moments, two_way
from bench.records.schema import pack_bits, unpack_bits
from bench.rules import ALPHA
from bench.runs.launchers.process import LocalEngine
from bench.system.device import usable_cores
from bench.system.errors import RecordError, SpecError
from bench.system.signals import INTERRUPTED
from tests.measurements.keeping import about, differences, in_one_line, keep, resumed
from tests.measurements.peers.common import BATCH, choose_device, device, encoder_folder, task_of
from tests.measurements.peers.recipes import METHODS, OURS, PLAIN, Recipe

__all__ = ["Comparison", "bound", "cell", "comparisons", "merge"]

LENGTH = 128
PASSES = {"head-only": 3}
"""Passes over the reviews, where they are not one."""
LONG = 3
"""Passes for the question of dropout."""
MOST = 100
"""Seeds."""
OUT = {False: Path("results/peers-accuracy.json"), True: Path("results/dropout-accuracy.json")}
"""By whether dropout is the question."""

Correct = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class Comparison:
    """The suite against another way of training a method: what is lost by taking the suite's."""

    method: str
    other: Recipe
    passes: int

    def keys(self, seed: int) -> tuple[str, str]:
        """Names of the two cells of a seed: the suite's and the other's."""
        ours, others = (f"{self.method} / {r.name} / {self.passes} / {seed}" for r in (OURS, self.other))
        return ours, others


def comparisons(chosen: Sequence[str], dropout: bool) -> list[Comparison]:
    """Against the library's trainer for every method, or against hidden dropout for an adapter and full fine-tuning."""
    if dropout:
        other = Recipe("hidden dropout 0.1, attention dropout 0", "suite", dropout=0.1)
        found = [Comparison(name, other, LONG) for name in ("houlsby", "full")]
    else:
        found = [Comparison(name, PLAIN, PASSES.get(name, 1)) for name in METHODS]
    return [one for one in found if one.method in chosen]


def cell(
    name: str, recipe: Recipe, passes: int, seed: int, reviews: int, folder: Path, threads: int, notify: Callable[..., None]
) -> list[bool]:
    """Train once; returns which test reviews came out right."""
    import torch

    from bench.inference.predict import predict
    from bench.models.pretrained import find
    from bench.system.meters import MemoryMeter
    from tests.measurements.peers.suite import SuitePeer
    from tests.measurements.peers.trainers import LibraryPeer

    torch.set_num_threads(threads)
    pretrained = find(str(folder))
    task = task_of(pretrained)
    rows = random.Random(seed).sample(range(len(task.train)), reviews)
    memory = MemoryMeter(device())
    memory.start()
    ours = SuitePeer(name, recipe, pretrained, task, LENGTH, BATCH, memory, seed=seed, learning_rate=_rate(name))
    classifier: Any = ours.classifier
    if recipe.by == "suite":
        ours.train(rows, passes)
    else:
        library = LibraryPeer(name, recipe, folder, task, LENGTH, BATCH, seed=seed, learning_rate=_rate(name))
        library.start_from(classifier)
        library.train(rows, passes)
        classifier = library.logits()
    return [bool(right) for right in predict(classifier, task, task.test, ours.spec).argmax(1) == task.test.labels]


def _rate(name: str) -> float:
    import methods

    return float(methods.get(name).hyperparameters()["learning_rate"])  # type: ignore[arg-type]


def bound(ours: Correct, others: Correct) -> tuple[float, float]:
    """Accuracy that the other way has more than the suite, and the one-sided 95 % bound of it; shares of 1.

    Both are [methods, seeds, reviews], or [seeds, reviews] for one method. Several methods are taken together as their mean:
    on a seed they share reviews, so that the seeds are what is independent. Seeds and reviews are crossed, as in the
    comparison.
    """
    from scipy import stats

    differences = others.astype(np.int64) - ours.astype(np.int64)
    differences = differences.reshape(-1, *differences.shape[-2:])
    found, count = two_way(moments(differences.sum(axis=0))), len(differences)
    loss = float(found.difference) / count
    return loss, loss + float(stats.t.isf(ALPHA, found.freedom) * found.standard_error) / count


def table(found: dict[str, Any], dropout: bool) -> str:
    """Every comparison of which there are at least two seeds, in percentage points, and their mean.

    The bound of a row is for that row alone. The mean is over the seeds that all methods have.
    """
    asked = comparisons(METHODS, dropout)
    done = {one: seeds for one in asked if len(seeds := _finished(found, one)) > 1}
    rows = []
    for one, seeds in done.items():
        rows.append([one.method, one.passes, one.other.name, len(seeds), *_figures(_pairs(found, one, seeds))])
    shared = sorted(set.intersection(*(set(seeds) for seeds in done.values()))) if done else []
    if len(done) == len(asked) and len(shared) > 1:
        both = np.stack([_pairs(found, one, shared) for one in asked], axis=1)
        rows.append(["mean of these", "", "", len(shared), *_figures(both)])
    headers = ["method", "passes", "other", "seeds", "suite %", "other %", "suite loses, points", "at most (95 %)"]
    return tabulate(rows, headers=headers, tablefmt="pipe", disable_numparse=True)


def _finished(found: dict[str, Any], one: Comparison) -> list[int]:
    """Seeds of which the suite's cell and the other's are done."""
    return [seed for seed in range(MOST) if all(key in found["cells"] for key in one.keys(seed))]


def _pairs(found: dict[str, Any], one: Comparison, seeds: Sequence[int]) -> Correct:
    """What the suite and the other had right: [2, seeds, reviews]."""
    cells, reviews = found["cells"], found["test_reviews"]
    return np.stack([[unpack_bits(cells[one.keys(seed)[side]], reviews) for seed in seeds] for side in (0, 1)]).astype(bool)


def _figures(both: Correct) -> list[str]:
    ours, others = both
    loss, most = bound(ours, others)
    return [f"{100 * side.mean():.2f}" for side in (ours, others)] + [f"{100 * loss:+.2f}", f"{100 * most:+.2f}"]


def merge(paths: Sequence[Path]) -> dict[str, Any]:
    """The cells of several files as one file's content.

    Raises:
        RecordError: if a file cannot be read, was made with other settings than the first, or repeats a cell of another.
    """
    merged: dict[str, Any] = {}
    for path in paths:
        try:
            found: dict[str, Any] = json.loads(path.read_text())
            cells, commits = found["cells"], found["commits"]
        except (OSError, ValueError, KeyError, TypeError):
            raise RecordError(f"{str(path)!r} cannot be read as a comparison of accuracy; give files made with --out") from None
        if not merged:
            merged = found
            continue
        settings = {key: value for key, value in merged.items() if key not in {"cells", "commits"}}
        if other := differences(found, settings):
            raise RecordError(
                f"{str(path)!r} was made with another {', '.join(other)} than {str(paths[0])!r}; merge equal ones"
            )
        if twice := sorted(set(cells) & set(merged["cells"])):
            raise RecordError(f"{str(path)!r} repeats {twice[0]!r}; give each seed and method to one file only")
        merged = {
            **merged, "commits": sorted({*merged["commits"], *commits}, key=str), "cells": {**merged["cells"], **cells}
        }  # fmt: skip
    return merged


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.measurements.peers.accuracy", description=__doc__)
    parser.add_argument("--dropout", action="store_true", help="the suite with hidden dropout in the place of the library")
    parser.add_argument("--method", action="append", choices=METHODS, help="repeatable; default: all there are")
    parser.add_argument("--seeds", type=int, default=6, help="how many, from 0 on")
    parser.add_argument("--seed", type=int, action="append", help="one seed, repeatable, in the place of --seeds")
    parser.add_argument("--device", choices=["auto", "cpu", "cuda"], default="auto")
    parser.add_argument("--merge", type=Path, nargs="+", metavar="FILE", help="join these files into --out; nothing is trained")
    parser.add_argument("--reviews", type=int, default=2000, help="reviews that each trains on")
    parser.add_argument("--out", type=Path)
    given = parser.parse_args()
    try:
        with in_one_line():
            _measure(given)
    except KeyboardInterrupt:
        print("\nstopped; the same command goes on from what is finished", file=sys.stderr)
        raise SystemExit(INTERRUPTED) from None


def _measure(given: argparse.Namespace) -> None:
    from bench.models.pretrained import find

    out = given.out or OUT[given.dropout]
    if given.merge:
        whole = merge(given.merge)
        keep(out, whole)
        print(table(whole, given.dropout))
        return
    seeds = range(given.seeds) if given.seed is None else sorted(set(given.seed))
    if not all(0 <= seed < MOST for seed in seeds):
        raise SpecError(f"--seed must be between 0 and {MOST - 1}")
    asked = comparisons(given.method or METHODS, given.dropout)
    if not 2 <= given.seeds <= MOST or not BATCH <= given.reviews <= 20_000:
        raise SpecError(f"--seeds must be between 2 and {MOST} and --reviews between {BATCH} and 20000")
    if not asked:
        raise SpecError("--dropout compares houlsby and full; give one of them as --method, or none")
    choose_device(given.device)
    threads, engine = usable_cores(), LocalEngine(device())
    with tempfile.TemporaryDirectory() as name:
        folder = encoder_folder(Path(name))
        found = resumed(
            out,
            {
                "batch_size": BATCH, "max_length": LENGTH, "precision": OURS.arithmetic(device()),
                "train_reviews": given.reviews, "test_reviews": len(task_of(find(str(folder))).test),
                "learning_rates": {name: _rate(name) for name in METHODS}, "environment": about(threads, device()),
            },
            cells={},
        )  # fmt: skip
        for seed in seeds:  # seeds outermost: a comparison that is stopped has equal seeds of all
            for one in asked:
                for key, recipe in zip(one.keys(seed), (OURS, one.other), strict=True):
                    if key in found["cells"]:
                        continue
                    result = engine.run(
                        f"{__spec__.name}:cell", one.method, recipe, one.passes, seed, given.reviews, folder, threads
                    )
                    found["cells"][key] = pack_bits(result.outcome)
                    print(f"{key}: {100 * np.mean(result.outcome):.2f} % after {result.watch.seconds:.0f} s", flush=True)
                    keep(out, found)
    print("\n" + table(found, given.dropout))


if __name__ == "__main__":
    main()
