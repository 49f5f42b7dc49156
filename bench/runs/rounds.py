"""Interleaved rounds: every method trains on the same batches in turn, until the ratios are precise.

Workers are a protocol, so that tests can simulate them under a simulated clock.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Literal, NamedTuple, Protocol

import numpy as np

from bench.data.batches import POOL, stream
from bench.data.task import Ints
from bench.records.ratios import FEWEST, Ratio, ratio
from bench.records.schema import Slice

__all__ = ["PRECISE", "REFERENCE", "Group", "WorkerLost", "Measured", "Timed", "Worker", "measure", "slices_of", "steps_of"]

PRECISE = 0.03
"""A ratio is precise when its interval is within this share of it."""
REFERENCE_ROUNDS = 10
"""Rounds of the reference alone, where no ratio is asked for: enough for a 90th percentile that is no single slice."""
CPU_SECONDS = 0.45
"""What a slice of the reference should take on a CPU: longer than the bursts of other processes take to be averaged over, and
short enough that methods beside each other meet the same machine."""
FEWEST_STEPS = {"cpu": 2, "cuda": 20}
"""Optimizer steps of a slice at least: on CUDA a step is launched in less time than a synchronisation may be off by."""
MOST_STEPS = 200
"""Steps of a slice at most, for tiny encoders."""

REFERENCE = 0
"""Position of the reference among the methods."""

State = Literal["out-of-memory", "failed"]


class Timed(NamedTuple):
    """Time and size of a slice."""

    seconds: float
    tokens: int


class WorkerLost(Exception):
    """A worker cannot continue."""

    def __init__(self, state: State, reason: str) -> None:
        self.state, self.reason = state, reason
        super().__init__(reason)


class Worker(Protocol):
    """A process that holds a classifier with one method attached."""

    def ready(self) -> None:
        """Wait until it is warmed up. Raises WorkerLost."""
        ...

    def time(self, batches: list[Ints]) -> Timed:
        """Train on these batches of rows. Raises WorkerLost."""
        ...

    def stop(self) -> None:
        """End it and free its memory."""
        ...


@dataclass
class Measured:
    """Results of the rounds."""

    slices: dict[int, list[Slice]] = field(default_factory=dict)
    """By the position of the method; the reference is 0."""
    failures: dict[int, WorkerLost] = field(default_factory=dict)
    rounds: int = 0
    seconds: float = 0.0
    """Wall seconds of the rounds alone."""

    def ratio(self, method: int) -> Ratio | None:
        """Return the ratio of a method to the reference so far."""
        return ratio(self.slices.get(method, []), self.slices.get(REFERENCE, []))


class Group(NamedTuple):
    """Methods that are resident together."""

    methods: list[int]
    """Positions, without the reference."""
    seconds: float
    """Wall seconds that its rounds may take."""


def steps_of(device: str, step_seconds: float) -> int:
    """Optimizer steps of a slice: an even number, about `CPU_SECONDS` of the reference on a CPU."""
    wanted = 2 * math.ceil(CPU_SECONDS / max(step_seconds, 1e-6) / 2)
    return max(FEWEST_STEPS[device], min(MOST_STEPS, wanted))


def slices_of(lengths: Ints, batch_size: int, seed: int, steps: int) -> Iterator[list[Ints]]:
    """Slices of `steps` batches each from the stream of a run, without end.

    Batches hold texts of like length, and a token of a long one costs another time: each slice takes one batch of every
    stratum of length within a pool, the strata in turn ascending and descending, so that slices are alike.
    """
    batches, size = stream(lengths, batch_size, seed), max(1, POOL // steps)
    while True:
        pool = sorted((next(batches) for _ in range(size * steps)), key=lambda rows: int(lengths[rows].sum()))
        strata = [pool[start : start + size] for start in range(0, size * steps, size)]
        for i in range(size):
            yield [stratum[i] if k % 2 == 0 else stratum[-1 - i] for k, stratum in enumerate(strata)]


class _Crew:
    """The workers of a group that still answer."""

    def __init__(self, measured: Measured) -> None:
        self.workers: dict[int, Worker] = {}
        self._measured = measured

    def add(self, method: int, start: Callable[[int], Worker]) -> None:
        try:
            self.workers[method] = start(method)
        except WorkerLost as error:
            self._lose(method, error)

    def ready(self) -> None:
        """Wait until all are warmed up."""
        for method in list(self.workers):
            try:
                self.workers[method].ready()
            except WorkerLost as error:
                self._lose(method, error)

    def time(self, method: int, batches: list[Ints]) -> Timed | None:
        """Time a slice; None if the worker was lost over it."""
        try:
            return self.workers[method].time(batches)
        except WorkerLost as error:
            self._lose(method, error)
            return None

    def _lose(self, method: int, error: WorkerLost) -> None:
        if method == REFERENCE:
            raise error
        self._measured.failures[method] = error
        if (worker := self.workers.pop(method, None)) is not None:
            worker.stop()

    def stop(self) -> None:
        for worker in self.workers.values():
            worker.stop()


def measure(
    group: Group,
    start: Callable[[int], Worker],
    slices: Callable[[int], Iterator[list[Ints]]],
    device: str,
    measured: Measured,
    *,
    generator: np.random.Generator,
    clock: Callable[[], float] = time.monotonic,
    progress: Callable[[str], None] = lambda line: None,
) -> None:
    """Add the rounds of a group to `measured`.

    `start` starts the worker of a method; `slices(n)` gives slices of n batches. The first slice of each worker is discarded.
    It ends when every interval is within `PRECISE`, which takes `FEWEST` rounds at least, or when another round would not end
    in time; one round is always made. A method whose worker is lost is left out from then on.

    Raises:
        WorkerLost: if the reference is.
    """
    crew = _Crew(measured)
    try:
        progress(f"loading {len(group.methods) + 1} methods")
        for method in (REFERENCE, *group.methods):
            crew.add(method, start)
        crew.ready()
        source = slices(_warmed_up(crew, slices, device))
        began, done = clock(), 0
        while not _enough(group, crew, measured, done, clock() - began):
            batches = next(source)
            for method in generator.permutation(sorted(crew.workers)).tolist():
                if (timed := crew.time(method, batches)) is not None:
                    timed_slice = Slice(round=measured.rounds, seconds=timed.seconds, tokens=timed.tokens)
                    measured.slices.setdefault(method, []).append(timed_slice)
            measured.rounds, done = measured.rounds + 1, done + 1
            progress(f"round {measured.rounds}, {clock() - began:.0f} s")
        measured.seconds += clock() - began
    finally:
        crew.stop()


def _warmed_up(crew: _Crew, slices: Callable[[int], Iterator[list[Ints]]], device: str) -> int:
    """Let every worker train on a slice that is discarded. Returns the steps of a slice, by what the reference takes once it
    is warm.
    """
    fewest = FEWEST_STEPS[device]
    source = slices(fewest)
    crew.time(REFERENCE, next(source))
    timed = crew.time(REFERENCE, next(source))
    assert timed is not None  # the loss of the reference is raised
    steps = steps_of(device, timed.seconds / fewest)
    batches = next(slices(steps))
    for method in list(crew.workers):
        crew.time(method, batches)
    return steps


def _enough(group: Group, crew: _Crew, measured: Measured, done: int, spent: float) -> bool:
    """Return whether a group needs, or has time for, no further round."""
    others = [method for method in crew.workers if method != REFERENCE]
    if not others:
        return measured.rounds >= REFERENCE_ROUNDS
    if done and spent + spent / done > group.seconds:
        return True
    if done < FEWEST:
        return False
    ratios = [measured.ratio(method) for method in others]
    return all(interval is not None and interval.spread <= PRECISE for interval in ratios)
