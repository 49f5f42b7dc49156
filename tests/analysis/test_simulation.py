"""What the statistics promise, held against experiments in which the truth is known.

A table has five methods on the same seeds and texts. A fifth of the texts are unsure; on each of them every method has an
edge of its own, the same under every seed, so that texts are crossed with seeds, and two methods differ on about 10 % of
their predictions. Each method has an effect of its own under every seed. Films: ten texts in a row share a part of their
edge. Texts are drawn anew for each table, as a verdict is about texts like those of the test.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cache
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from bench.analysis.verdicts import Analysis, Paired, analyse
from bench.records.schema import Evaluation, pack_bits
from bench.rules import ALPHA, LEAST_SEEDS, MARGIN, POWER

METHODS, UNSURE, BASE, EDGE, FILM = 5, 0.2, 0.5, 0.15, 10
SURE_RIGHT = 0.95
"""Share of the sure texts that every method has right."""
ONE_FILM = 0.02
"""Share of the variance of an edge that the texts of a film have in common: beside the rest, it inflates the variance over
texts by about a tenth, as between close methods on the official test."""


@dataclass(frozen=True)
class World:
    """What tables are drawn from."""

    seeds: int
    texts: int
    deviation: float = 0.004
    """Of a method's seed effects, a share of 1: 0.36 to 0.39 points were measured."""
    tails: str = "normal"
    collapse: tuple[float, ...] = (0, 0, 0, 0, 0)
    """Share of its seeds in which each method, the reference first, answers one class alone."""
    truth: float = 0.0
    """What every other method is better than the reference by, where neither collapses."""
    films: bool = False


def drawn(rng: np.random.Generator, world: World) -> list[list[Any]]:
    """The runs of one table, the reference's first, with nothing but seed and test."""
    unsure = round(UNSURE * world.texts)
    shape = (METHODS, world.seeds, 1)
    effects = rng.standard_t(3, shape) / math.sqrt(3) if world.tails == "t3" else rng.standard_normal(shape)
    moved = world.deviation * effects
    moved[1:] += world.truth
    edge = np.where(rng.random((METHODS, 1, unsure)) < 0.5, -EDGE, EDGE)
    if world.films:
        of_film = np.repeat(np.where(rng.random((METHODS, 1, -(-unsure // FILM))) < 0.5, -EDGE, EDGE), FILM, axis=2)
        edge = np.where(rng.random((METHODS, 1, unsure)) < math.sqrt(ONE_FILM), of_film[..., :unsure], edge)
    level = np.clip(BASE + edge + moved / UNSURE, 0, 1).astype(np.float32)
    right = np.zeros((METHODS, world.seeds, world.texts), dtype=bool)
    right[..., :unsure] = rng.random((METHODS, world.seeds, unsure), dtype=np.float32) < level
    right[..., unsure:] = np.arange(world.texts - unsure) < SURE_RIGHT * (world.texts - unsure)
    labels = np.arange(world.texts) % 2 == 1
    fallen = rng.random((METHODS, world.seeds)) < np.array(world.collapse)[:, None]
    right[fallen] = labels
    return [[_run(seed, labels, row) for seed, row in enumerate(rows)] for rows in right]


def _run(seed: int, labels: np.ndarray, right: np.ndarray) -> Any:
    """What the analysis reads of a record; a whole one would take longer than all else."""
    n, tp, tn = len(labels), int((labels & right).sum()), int((~labels & right).sum())
    positive = int(labels.sum())
    test = Evaluation.model_construct(
        reviews=n, tp=tp, tn=tn, fn=positive - tp, fp=n - positive - tn, accuracy=(tp + tn) / n,
        predictions=pack_bits(labels == right), correct=pack_bits(right),
    )  # fmt: skip
    return SimpleNamespace(spec=SimpleNamespace(seed=seed), test=test)


@cache
def tables(world: World, count: int) -> list[Analysis]:
    """The analyses of `count` tables, by the function that the report uses."""
    rng = np.random.default_rng([world.seeds, world.texts, round(1e6 * world.deviation), round(1e9 * abs(world.truth)), count])
    return [analyse(drawn(rng, world)) for _ in range(count)]


def share(found: list[bool]) -> float:
    return sum(found) / len(found)


def allowance(rate: float, count: int) -> float:
    """Two standard errors of a rate over so many tables."""
    return 2 * math.sqrt(rate * (1 - rate) / count)


def judged(found: list[Analysis]) -> list[Paired]:
    return [paired for table in found for paired in table.against_first if paired.p is not None]


ONE_FALLS, ALL_FALL = {q: (0, q, 0, 0, 0) for q in (0.1, 0.3)}, {q: (q,) * METHODS for q in (0.1, 0.3)}


def cells(quick: list[World], seeds: tuple[int, ...] = (3, 5, 10), **fields: Any) -> list[Any]:
    """A few worlds with 80 tables each for every day, and the whole grid with 600 each."""
    texts = (2000, 25_000)
    grid = [World(s, n, deviation=d, **fields) for s in seeds for n in texts for d in (0.004, 0.015)]
    every = [(world, 80) for world in quick] + [pytest.param(world, 600, marks=pytest.mark.slow) for world in grid]
    return every


NULL = [
    *cells([World(3, 2000), World(5, 2000), World(3, 25_000)]),
    *cells([World(5, 2000, tails="t3")], tails="t3"),
    *cells([World(5, 2000, films=True)], films=True),
    *cells([World(5, 2000, collapse=ONE_FALLS[0.3])], collapse=ONE_FALLS[0.3]),
    *cells([], collapse=ONE_FALLS[0.1]),
]


@pytest.mark.parametrize(("world", "count"), NULL, ids=str)
def test_a_table_without_differences_has_a_false_verdict_in_one_of_twenty_at_most(world: World, count: int) -> None:
    """Any verdict of the family, conditional on no collapse; and the intervals cover."""
    found = tables(world, count)
    for comparisons in ([table.against_first for table in found], [[p for _, _, p in table.pairs] for table in found]):
        false = share([any(paired.verdict in {"better", "worse"} for paired in family) for family in comparisons])
        assert false <= 0.05 + allowance(0.05, count)
    intervals = judged(found)
    assert share([paired.low <= 0 <= paired.high for paired in intervals]) >= 0.93
    assert all(len(paired.seeds) >= LEAST_SEEDS for paired in intervals)


@pytest.mark.parametrize("rate", [0.1, 0.3])
@pytest.mark.parametrize(("world", "count"), cells([World(8, 2000)]), ids=str)
def test_no_false_unconditional_verdict_where_all_collapse_alike(world: World, count: int, rate: float) -> None:
    found = tables(World(world.seeds, world.texts, world.deviation, collapse=ALL_FALL[rate]), count)
    said = [[p.unconditional.verdict for p in table.against_first if p.unconditional] for table in found]
    assert share([bool({"better", "worse"} & set(words)) for words in said]) <= 0.05 + allowance(0.05, count)
    assert {word == "too few seeds" for words in said for word in words} == {world.seeds < 8}


@pytest.mark.parametrize(("world", "count"), cells([World(5, 2000, deviation=0.001)]), ids=str)
def test_a_difference_of_the_margin_is_called_equivalent_in_one_of_twenty_at_most(world: World, count: int) -> None:
    for truth in (MARGIN, -MARGIN):
        found = tables(World(world.seeds, world.texts, world.deviation, truth=truth), count)
        false = share([any(paired.verdict == "equivalent" for paired in table.against_first) for table in found])
        assert false <= 0.05 + allowance(0.05, count)


def test_equal_methods_are_called_equivalent_where_the_data_can_tell() -> None:
    found = judged(tables(World(10, 25_000, deviation=0.001), 20))
    assert share([paired.verdict == "equivalent" for paired in found]) > 0.9


@pytest.mark.parametrize(("world", "count"), cells([World(3, 2000), World(5, 2000)]), ids=str)
def test_the_minimum_detectable_difference_is_detected_in_four_of_five(world: World, count: int) -> None:
    """New tables find what others printed, at its typical value, the root mean square: 80 %, give or take 5 points and the
    error of the simulation (the four comparisons of a table share the reference, so that it is one of half as many).
    """
    printed = [table.detectable for table in tables(world, count)]
    typical = math.sqrt(sum(value**2 for value in printed if value is not None) / len(printed))
    found = judged(tables(World(world.seeds, world.texts, world.deviation, truth=typical), count))
    at_first_step = ALPHA / (METHODS - 1)
    power = share([p.p is not None and p.p <= at_first_step and (p.difference or 0) > 0 for p in found])
    assert abs(power - POWER) <= 0.05 + allowance(0.8, 2 * count)


def test_the_tables_are_as_described() -> None:
    rng = np.random.default_rng(0)
    found = [drawn(rng, World(5, 2000, deviation=0.02, truth=0.02)) for _ in range(20)]
    accuracy = np.array([[[run.test.accuracy for run in runs if run.test] for runs in table] for table in found])
    assert (accuracy[:, 1:].mean() - accuracy[:, 0].mean()) == pytest.approx(0.02, abs=0.006)
    assert accuracy.std(axis=2, ddof=1).mean() == pytest.approx(0.02, abs=0.003)
    fallen = drawn(rng, World(5, 2000, collapse=(0, 1, 0, 0, 0)))
    assert [run.test.accuracy for run in fallen[1] if run.test] == [0.5] * 5
    assert [p.collapsed for p in analyse(fallen).against_first] == [[0, 1, 2, 3, 4], [], [], []]
    assert next(p.verdict for p in analyse(fallen).against_first) == "too few seeds"
