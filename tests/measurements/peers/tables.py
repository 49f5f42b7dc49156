"""The measurements of peers and ablations as text."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import median
from typing import Any

from tabulate import tabulate

from bench.records.ratios import interval_of_median
from tests.measurements.peers.recipes import GRAPHS, GROUPED, IN_FP32, LIBRARY, OURS, PLAIN, PUBLISHED, Recipe

__all__ = ["evaluation_table", "limits", "spinning_table", "summaries", "summary", "table", "times"]

_MIB = 2**20
_ASKED = {
    PUBLISHED: "the published row's way", LIBRARY: "library's trainer", PLAIN: "dropout 0", GROUPED: "dropout 0, grouped",
}  # fmt: skip
"""Peers that tables of all methods name, and how."""


def _peaks(recipe: dict[str, Any]) -> list[float]:
    """MiB, one value a process; files of when there was one process hold a number."""
    found = recipe["peak_bytes"]
    return [peak / _MIB for peak in (found if isinstance(found, list) else [found])]


def times(own: Sequence[float], others: Sequence[float]) -> list[float]:
    """How many times as fast, round by round, from reviews a second."""
    return [mine / other for mine, other in zip(own, others, strict=True)]


def _range(values: Sequence[float], form: str) -> str:
    return f"{min(values):{form}}–{max(values):{form}}" if len(values) > 1 else ""


def _pipe(rows: Sequence[Sequence[str]], headers: Sequence[str]) -> str:
    return tabulate(rows, headers=headers, tablefmt="pipe", disable_numparse=True)


def summaries(measured: Sequence[dict[str, Any]]) -> list[str]:
    """The tables that have all methods: the suite as it is, and in fp32 or by CUDA graphs where that was measured too."""
    tables = [summary(measured)]
    for recipe, words in ((IN_FP32, "the suite in fp32"), (GRAPHS, "with a CUDA graph a step the suite")):
        if all(any(one["name"] == recipe.name for one in found["recipes"]) for found in measured):
            tables.append(_otherwise(measured, recipe, words))
    return tables


def summary(measured: Sequence[dict[str, Any]]) -> str:
    """A row a method: how many times as fast as its peers the suite is, and whose memory peaks higher."""
    rows = []
    for found in measured:
        by_name = {recipe["name"]: recipe for recipe in found["recipes"]}
        medians = {name: median(recipe["times"]) for name, recipe in by_name.items()}
        peaks = {name: f"{median(_peaks(recipe)):,.0f}" for name, recipe in by_name.items()}
        best = min(value for name, value in medians.items() if not name.startswith(OURS.name))
        share = f"{median(found['share_of_products']):.0%}"
        ratios = [f"{medians[recipe.name]:.2f}" for recipe in _ASKED]
        rows.append([_named(found), *ratios, f"{best:.2f}", peaks[OURS.name], peaks[PLAIN.name], peaks[GROUPED.name], share])
    headers = [
        "the suite is × as fast as", *_ASKED.values(), "best peer", "peak MiB", "of dropout 0", "of dropout 0, grouped",
        "share of products",
    ]  # fmt: skip
    return _pipe(rows, headers)


def _otherwise(measured: Sequence[dict[str, Any]], recipe: Recipe, words: str) -> str:
    """A row a method: how many times as fast the suite is by another recipe of its own, round by round."""
    rows = []
    for found in measured:
        by_name = {one["name"]: one for one in found["recipes"]}
        own, cells = by_name[recipe.name], []
        for peer in _ASKED:
            ratios = times(own["reviews_per_second"], by_name[peer.name]["reviews_per_second"])
            cells.append(f"{median(ratios):.2f}" + (f" ({_range(ratios, '.2f')})" if len(ratios) > 1 else ""))
        rows.append([_named(found), *cells, f"{median(_peaks(own)):,.0f}"])
    return _pipe(rows, [f"{words} is × as fast as", *_ASKED.values(), "peak MiB"])


def _named(found: dict[str, Any]) -> str:
    return found["method"] + (f", {found['epochs']} passes" if found["epochs"] > 1 else "")


def table(found: dict[str, Any]) -> str:
    """One method as text."""
    rows = [
        [
            recipe["name"],
            f"{median(recipe['reviews_per_second']):.1f}",
            _range(recipe["reviews_per_second"], ".1f"),
            f"{median(recipe['times']):.2f}",
            _range(recipe["times"], ".2f"),
            f"{median(_peaks(recipe)):,.0f}",
            _range(_peaks(recipe), ",.0f"),
        ]
        for recipe in found["recipes"]
    ]
    headers = [_named(found), "reviews/s", "range", "suite is × as fast", "range", "peak MiB", "range"]
    share = f"The suite's matrix products, run alone, take {median(found['share_of_products']):.0%} of its time"
    if found.get("share_of_cold_products"):
        share += f", with cold operands and biases {median(found['share_of_cold_products']):.0%}"
    share += "."
    mfu = {recipe["name"]: median(recipe["mfu"]) for recipe in found["recipes"] if recipe.get("mfu")}
    if mfu:
        graphs = f", with a CUDA graph a step {mfu[GRAPHS.name]:.1%}" if GRAPHS.name in mfu else ""
        share += f" They are {mfu[OURS.name]:.1%} of the device's peak (MFU){graphs}."
    return _pipe(rows, headers) + "\n\n" + share


def limits(measured: Sequence[dict[str, Any]]) -> str:
    """A row a method: the share of the suite's time that its matrix products take alone, hot, and cold with biases."""
    rows = []
    for found in measured:
        rates = next(recipe["reviews_per_second"] for recipe in found["recipes"] if recipe["name"] == OURS.name)
        row = [_named(found), f"{median(rates):.1f}"]
        for shares in (found["share_of_products"], found["share_of_cold_products"]):
            row += [f"{median(shares):.0%}", _range(shares, ".0%")]
        rows.append(row)
    return _pipe(rows, ["matrix products alone", "reviews/s", "hot", "range", "cold, with biases", "range"])


def spinning_table(found: dict[str, Any]) -> str:
    """A row a place: reviews a second with the suite's spin count and with the default, and the ratio of a round."""
    rows = []
    for place in found["places"]:
        row, rates = [place["name"]], [way["reviews_per_second"] for way in place["ways"]]
        for rate in rates:
            row += [f"{median(rate):.1f}", _range(rate, ".1f")]
        ratios = times(*rates)
        interval = interval_of_median(ratios)
        bounds = "" if interval is None else f"{interval[0]:.2f}–{interval[1]:.2f}"
        rows.append([*row, f"{median(ratios):.2f}", bounds])
    ways = [header for way in found["places"][0]["ways"] for header in (way["name"], "range")]
    return _pipe(rows, [f"{found['method']}, {found['steps']} steps, reviews/s", *ways, "× as fast", "95 % interval"])


def evaluation_table(found: dict[str, Any]) -> str:
    """Ways of evaluating as text."""
    ours = found["ways"][0]["reviews_per_second"]
    rows = [
        [way["name"], f"{median(rate):.1f}", _range(rate, ".1f"), f"{median(ours) / median(rate):.2f}"]
        for way in found["ways"]
        for rate in (way["reviews_per_second"],)
    ]
    headers = [f"evaluation, {found['method']}", "reviews/s", "range", "suite is × as fast"]
    return _pipe(rows, headers)
