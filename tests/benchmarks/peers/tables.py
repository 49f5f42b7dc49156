"""The measurements of peers and levers as text."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import median
from typing import Any

from tabulate import tabulate

from tests.benchmarks.peers.recipes import OURS, PEERS

__all__ = ["evaluation_table", "summary", "table"]

_MIB = 2**20


def _pipe(rows: Sequence[Sequence[str]], headers: Sequence[str]) -> str:
    return tabulate(rows, headers=headers, tablefmt="pipe", disable_numparse=True)


def summary(measured: Sequence[dict[str, Any]]) -> str:
    """A row a method: how many times as fast as its peers the suite is, and whose memory peaks higher."""
    seeds, library, _, plain, grouped, _ = (recipe.name for recipe in PEERS)
    rows = []
    for found in measured:
        by_name = {recipe["name"]: recipe for recipe in found["recipes"]}
        times = {name: median(recipe["times"]) for name, recipe in by_name.items()}
        peaks = {name: f"{recipe['peak_bytes'] / _MIB:,.0f}" for name, recipe in by_name.items()}
        best = min(value for name, value in times.items() if name != OURS.name)
        share = f"{median(found['share_of_products']):.0%}"
        ratios = [f"{value:.2f}" for value in (times[seeds], times[library], times[plain], times[grouped], best)]
        rows.append([found["method"], *ratios, peaks[OURS.name], peaks[plain], share])
    headers = [
        "the suite is × as fast as", "the seed's recipe", "library's trainer", "dropout 0", "dropout 0, group_by_length",
        "best peer", "peak MiB", "peak of dropout 0", "share of products",
    ]  # fmt: skip
    return _pipe(rows, headers)


def table(found: dict[str, Any]) -> str:
    """One method as text."""
    rows = [
        [
            recipe["name"],
            f"{median(recipe['reviews_per_second']):.1f}",
            f"{min(recipe['reviews_per_second']):.1f}–{max(recipe['reviews_per_second']):.1f}",
            f"{median(recipe['times']):.2f}",
            f"{min(recipe['times']):.2f}–{max(recipe['times']):.2f}",
            f"{recipe['peak_bytes'] / _MIB:,.0f}",
        ]
        for recipe in found["recipes"]
    ]
    headers = [found["method"], "reviews/s", "range", "suite is × as fast", "range", "peak MiB"]
    share = f"Its matrix products alone take {median(found['share_of_products']):.0%} of the suite's step."
    return _pipe(rows, headers) + "\n\n" + share


def evaluation_table(found: dict[str, Any]) -> str:
    """Ways of evaluating as text."""
    ours = found["ways"][0]["reviews_per_second"]
    rows = [
        [way["name"], f"{median(rate):.1f}", f"{min(rate):.1f}–{max(rate):.1f}", f"{median(ours) / median(rate):.2f}"]
        for way in found["ways"]
        for rate in (way["reviews_per_second"],)
    ]
    headers = [f"evaluation, {found['method']}", "reviews/s", "range", "suite is × as fast"]
    return _pipe(rows, headers)
