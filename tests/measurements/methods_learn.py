"""Whether every registered method learns: the loss falls and validation is above chance after 200 steps on MiniLM.

One run a method at its default learning rate and one seed, in a fresh process each; it says that a method works, and not which
is better. The file grows by one entry a method, and the same command makes those that it lacks.

`python -m tests.measurements.methods_learn [--method NAME …] [--out FILE]`
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from statistics import fmean
from typing import Any

from tabulate import tabulate

import methods
from bench.analysis.statistics import collapsed
from bench.data.sources import read
from bench.models.pretrained import find
from bench.runs.launchers.process import LocalEngine
from bench.system.device import usable_cores
from tests.measurements.keeping import about, in_one_line, keep
from tests.measurements.peers.common import BATCH, part

__all__ = ["Learned", "learn", "table"]

STEPS, LENGTH, VALIDATED = 200, 64, 400
"""Optimizer steps, tokens kept of a review, and validation reviews, half a class."""
FIRST, LAST = 5, 20
"""Steps that the first loss is the mean of, by which hardly anything is learned, and those of the last, which scatter more."""
OUT = Path("results/methods-learn.json")


@dataclass(frozen=True)
class Learned:
    """What one method came to."""

    method: str
    hyperparameters: dict[str, Any]
    parameters: int
    """Trained in the encoder's body."""
    loss_first: float
    loss_last: float
    accuracy: float
    """On `VALIDATED` validation reviews, half of each class."""
    learned: bool
    """Whether the loss fell and the accuracy is above chance (one-sided binomial test at 0.001)."""


def learn(method: str, encoder: str, data: str, steps: int, threads: int, notify: Callable[..., None]) -> Learned:
    """Train one method with the suite's loop in fp32."""
    import numpy as np
    import torch

    from bench.data.task import prepare, split
    from bench.records.spec import Budget
    from bench.system.meters import DeviceClock, MemoryMeter
    from bench.training.trainer import Trainer
    from tests.classifiers import attached
    from tests.conftest import make_spec

    torch.set_num_threads(threads)
    pretrained, source = find(encoder), read(data)
    task = prepare(pretrained, source.sha256, lambda: split(source))
    half = min(VALIDATED, len(task.validation)) // 2
    rows = [int(row) for label in (0, 1) for row in np.flatnonzero(task.validation.labels == label)[:half]]
    few = part(task.validation, rows)
    task = replace(task, validation=few, test=few, leaked=np.array([], dtype=np.int64))
    spec = make_spec(method, budget=Budget(amount=steps, unit="steps"), max_length=LENGTH, batch_size=BATCH, threads=threads)
    classifier = attached(pretrained, method)
    classifier.head.requires_grad_(True)
    count = sum(p.numel() for p in classifier.encoder.parameters() if p.requires_grad)
    trainer = Trainer(classifier, task, spec, methods.get(method).encodes_once, DeviceClock("cpu"), MemoryMeter("cpu"))
    trainer.warm_up()
    trainer.run()
    losses, accuracy = trainer.ledger.losses, trainer.summary().curve[-1].accuracy
    first, last = fmean(losses[:FIRST]), fmean(losses[-LAST:])
    above = not collapsed(round(accuracy * len(rows)), len(rows), 0.5)
    return Learned(method, spec.hyperparameters, count, first, last, accuracy, last < first and above)


def table(found: list[Learned]) -> str:
    """A row for each method."""
    rows = [
        [
            one.method,
            f"{one.hyperparameters['learning_rate']:g}",
            f"{one.parameters:,}",
            f"{one.loss_first:.3f} → {one.loss_last:.3f}",
            f"{100 * one.accuracy:.1f}",
            "yes" if one.learned else "NO",
        ]
        for one in found
    ]
    headers = ["method", "learning rate", "trains", "loss", "accuracy %", "learned"]
    return tabulate(rows, headers=headers, tablefmt="pipe", disable_numparse=True)


def main() -> None:
    """Measure what the file lacks, print all of it; exit code 1 if a method did not learn."""
    parser = argparse.ArgumentParser(prog="python -m tests.measurements.methods_learn", description=__doc__)
    parser.add_argument("--method", action="append", help="a method or group; the default is every")
    parser.add_argument("--encoder", default="minilm")
    parser.add_argument("--data", default="embedded")
    parser.add_argument("--steps", type=int, default=STEPS)
    parser.add_argument("--out", type=Path, default=OUT)
    given = parser.parse_args()
    with in_one_line():
        names = [name for entry in given.method or ["every"] for name in methods.expand(entry)]
        find(given.encoder)
        read(given.data)
    how = {"encoder": given.encoder, "data": given.data, "steps": given.steps, "batch_size": BATCH, "max_length": LENGTH}
    held = json.loads(given.out.read_text()) if given.out.exists() else {}
    kept = {one["method"]: Learned(**one) for one in held.get("methods", [])} if held.get("how") == how else {}
    engine, threads = LocalEngine("cpu"), usable_cores()
    environment = about(threads)
    for name in names:
        if name in kept and kept[name].hyperparameters == methods.get(name).hyperparameters():
            continue
        done = engine.run(f"{__spec__.name}:learn", name, given.encoder, given.data, given.steps, threads)
        if done.interrupted:
            raise KeyboardInterrupt
        kept[name] = done.outcome
        print(table([kept[name]]).splitlines()[-1], flush=True)
        ordered = [asdict(kept[one]) for one in methods.names() if one in kept]
        keep(given.out, {"how": how, "environment": environment, "methods": ordered})
    print("\n" + table([kept[name] for name in methods.names() if name in kept]))
    if not all(one.learned for one in kept.values()):
        raise SystemExit(1)


if __name__ == "__main__":
    main()
