"""Number of passes over cached features after which a linear head gains nothing: how the constant of the rules was chosen.

The encoder is frozen and read once; the head then makes K passes with AdamW (no decay, clip 1.0) over warm-up and linear
decay. Every K is scored on validation at its own best learning rate. The test split is never read.

`python -m tests.measurements.head_passes [--encoder NAME] [--out FILE]`
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean
from typing import Any

import numpy as np
import torch
from tabulate import tabulate
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from bench.data.batches import collate, in_length_order, stream
from bench.data.sources import read
from bench.data.task import Ints, Split, Task, prepare, split
from bench.models.classifier import load_classifier
from bench.models.pretrained import find
from bench.system.device import usable_cores
from bench.training.budget import schedule
from tests.measurements.keeping import about, in_one_line, keep

__all__ = ["Kept", "chosen", "passes_over", "train_heads"]

LABELS = 2
"""Classes of the reviews."""
PASSES = (1, 3, 5, 10, 20, 40, 80)
RATES = (1e-3, 3e-3, 1e-2, 3e-2, 1e-1, 3e-1)
SEEDS = (0, 1, 2, 3, 4, 5)
COUNTS = (1000, 4000, 12000)
"""Train reviews, each the first so many of one shuffle."""
HELD_OUT_A_CLASS = 1000
"""Validation reviews a class: the suite's own, and the last of train before them."""
LENGTH, BATCH, CLIP, STD = 128, 16, 1.0, 0.02
GAIN = 0.002
"""A gain in accuracy below this counts as none."""
OUT = Path("results/head-passes.json")


@dataclass(frozen=True)
class Kept:
    """Features [n, width] of a frozen encoder, labels [n], and tokens a review [n]."""

    features: Tensor
    labels: Tensor
    lengths: Ints

    def __getitem__(self, rows: slice) -> Kept:
        return Kept(self.features[rows], self.labels[rows], self.lengths[rows])


def parts(task: Task) -> tuple[Ints, Ints]:
    """Rows of the train split to train on, shuffled, and those to hold out beside the validation split."""
    own = np.bincount(task.validation.labels, minlength=LABELS)
    held = [np.flatnonzero(task.train.labels == label)[-(HELD_OUT_A_CLASS - own[label]) :] for label in range(LABELS)]
    out = np.sort(np.concatenate(held))
    rest = np.setdiff1d(np.arange(len(task.train)), out)
    return np.random.default_rng(0).permutation(rest)[: max(COUNTS)], out


def encoded(encoder: str, task: Task, split: Split, rows: Ints) -> Kept:
    """Features of these reviews, in fp32 and in the order of `rows`."""
    classifier = load_classifier(find(encoder), seed=0, dropout=0.0, attention_dropout=0.0).eval()
    lengths = task.lengths(split, LENGTH)[rows]
    found: Tensor | None = None
    for batch in in_length_order(lengths, 64):
        ids, mask, _ = collate(task, split, rows[batch], LENGTH, "head+tail")
        with torch.inference_mode():
            features = classifier.features(ids, mask)
        if found is None:
            found = torch.empty(len(rows), features.shape[1])
        found[torch.from_numpy(batch)] = features
    assert found is not None
    return Kept(found, torch.from_numpy(split.labels[rows]), lengths)


def read_once(encoder: str, task: Task) -> tuple[Kept, Kept]:
    """Features to train on and to validate on."""
    rows, held_out = parts(task)
    first = encoded(encoder, task, task.train, held_out)
    second = encoded(encoder, task, task.validation, np.arange(len(task.validation)))
    both = (torch.cat([getattr(one, part) for one in (first, second)]) for part in ("features", "labels"))
    return encoded(encoder, task, task.train, rows), Kept(*both, np.concatenate([first.lengths, second.lengths]))


def train_heads(train: Kept, rates: tuple[float, ...], passes: int, seed: int) -> list[nn.Linear]:
    """One linear head a learning rate, all on the same batches: the sum of their losses gives each its own gradient."""
    heads = []
    for _ in rates:
        head = nn.Linear(train.features.shape[1], LABELS)
        nn.init.normal_(head.weight, 0.0, STD, generator=torch.Generator().manual_seed(seed))
        nn.init.zeros_(head.bias)
        heads.append(head)
    optimizer = torch.optim.AdamW([{"params": head.parameters()} for head in heads], lr=0.0, weight_decay=0.0)
    steps = passes * math.ceil(len(train.features) / BATCH)
    batches: Iterator[Ints] = stream(train.lengths, BATCH, seed, first_epoch=1)
    for step in range(steps):
        rows = torch.from_numpy(next(batches))
        optimizer.zero_grad()
        torch.stack([cross_entropy(head(train.features[rows]), train.labels[rows]) for head in heads]).sum().backward()
        for head, group, rate in zip(heads, optimizer.param_groups, rates, strict=True):
            nn.utils.clip_grad_norm_(head.parameters(), CLIP)
            group["lr"] = rate * schedule(step / steps)
        optimizer.step()
    return [head.requires_grad_(False) for head in heads]


def passes_over(train: Kept, validation: Kept, passes: int, seed: int) -> list[dict[str, Any]]:
    """Validation accuracy and losses at each learning rate after so many passes."""
    heads, found = train_heads(train, RATES, passes, seed), []
    for rate, head in zip(RATES, heads, strict=True):
        logits = head(validation.features)
        found.append({
            "reviews": len(train.labels), "passes": passes, "rate": rate, "seed": seed,
            "accuracy": float((logits.argmax(1) == validation.labels).float().mean()),
            "validation_loss": float(cross_entropy(logits, validation.labels)),
            "train_loss": float(cross_entropy(head(train.features), train.labels)),
        })  # fmt: skip
    return found


def best(runs: list[dict[str, Any]], reviews: int, passes: int) -> tuple[float, float]:
    """The rate with the highest mean accuracy over seeds, and that accuracy; of equal ones the lower rate."""
    means = {
        rate: fmean(r["accuracy"] for r in runs if (r["reviews"], r["passes"], r["rate"]) == (reviews, passes, rate))
        for rate in RATES
    }
    rate = max(means, key=lambda one: (means[one], -one))
    return rate, means[rate]


def chosen(runs: list[dict[str, Any]]) -> int:
    """The smallest K that no larger K exceeds by `GAIN` or more, each at its best rate, on the mean over `COUNTS`."""
    accuracy = [fmean(best(runs, count, passes)[1] for count in COUNTS) for passes in PASSES]
    return next(k for i, k in enumerate(PASSES) if max(accuracy[i:]) - accuracy[i] < GAIN)


def table(runs: list[dict[str, Any]]) -> str:
    """A row for each number of passes: accuracy in percent at the best rate for each number of train reviews."""
    rows = []
    for passes in PASSES:
        cells = [best(runs, count, passes) for count in COUNTS]
        mean = fmean(accuracy for _, accuracy in cells)
        rows.append([passes, *(f"{100 * accuracy:.2f} (rate {rate:g})" for rate, accuracy in cells), f"{100 * mean:.2f}"])
    headers = ["passes", *(f"{count:,} reviews" for count in COUNTS), "mean"]
    return tabulate(rows, headers=headers, tablefmt="pipe", disable_numparse=True)


def main() -> None:
    """Measure, print, and write the JSON."""
    parser = argparse.ArgumentParser(prog="python -m tests.measurements.head_passes", description=__doc__)
    parser.add_argument("--encoder", default="minilm")
    parser.add_argument("--out", type=Path, default=OUT)
    given = parser.parse_args()
    threads = usable_cores()
    torch.set_num_threads(threads)
    with in_one_line():
        pretrained, source = find(given.encoder), read("embedded")
    environment = about(threads)
    train, validation = read_once(given.encoder, prepare(pretrained, source.sha256, lambda: split(source)))
    torch.set_num_threads(1)
    runs = [
        run
        for count in COUNTS
        for passes in PASSES
        for seed in SEEDS
        for run in passes_over(train[:count], validation, passes, seed)
    ]
    print(table(runs) + f"\nK = {chosen(runs)}")
    content = {
        "encoder": given.encoder, "data": source.name, "max_length": LENGTH, "batch_size": BATCH,
        "validation": len(validation.labels), "passes": chosen(runs), "environment": environment, "runs": runs,
    }  # fmt: skip
    keep(given.out, content)


if __name__ == "__main__":
    main()
