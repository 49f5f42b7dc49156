"""Interleaved rounds: every method trains on the same batches in turn, in a process of its own, until the ratios are
precise.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from multiprocessing.connection import Connection
from typing import Any, Literal, TypeVar

import numpy as np

from bench.data.batches import POOL, stream
from bench.data.task import Ints
from bench.records.ratios import FEWEST, Ratio, ratio
from bench.records.schema import Slice
from bench.runs.launchers.process import GRACE, Died, context_of, kernel_kills
from bench.system.processes import without_main
from bench.training.job import Job

__all__ = ["PRECISE", "REFERENCE", "ProcessWorker", "Rounds", "WorkerLost", "slices_of", "steps_of"]

T = TypeVar("T")
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


class WorkerLost(Exception):
    """A worker cannot continue."""

    def __init__(self, state: Literal["out-of-memory", "failed"], reason: str) -> None:
        self.state, self.reason = state, reason
        super().__init__(reason)


class ProcessWorker:
    """A process in which the method of a job is attached. It is started at once and warms up by itself."""

    def __init__(self, job: Job) -> None:
        self._kills = kernel_kills()
        context = context_of(job.spec.device)
        self._connection: Connection
        self._connection, other = context.Pipe()
        # Named and not imported: importing torch here would cost seconds.
        self._process = context.Process(target=_serve, args=(other, job), daemon=True)
        with without_main():
            self._process.start()
        other.close()

    def ready(self) -> None:
        """Wait until it is warmed up.

        Raises:
            WorkerLost: if it cannot.
        """
        self._answer()

    def time(self, batches: list[Ints]) -> tuple[float, int]:
        """Train on these batches of rows. Returns device seconds and tokens.

        Raises:
            WorkerLost: if it could not.
        """
        try:
            self._connection.send(batches)
        except ConnectionError:
            raise self._died() from None
        seconds, tokens = self._answer()
        return seconds, tokens

    def _answer(self) -> list[Any]:
        payload: list[Any]
        try:
            kind, *payload = self._connection.recv()
        except (EOFError, ConnectionError):
            raise self._died() from None
        if kind == "lost":
            raise WorkerLost(*payload)
        return payload

    def _died(self) -> WorkerLost:
        self._process.join(GRACE)
        code = self._process.exitcode
        died = Died(1 if code is None else code, out_of_memory=kernel_kills() > self._kills)
        return WorkerLost("out-of-memory" if died.out_of_memory else "failed", str(died))

    def stop(self) -> None:
        """End the process and free its memory."""
        self._connection.close()
        self._process.kill()
        self._process.join()
        self._process.close()


def _serve(connection: Connection, job: Job) -> None:
    from bench.runs.launchers import preload  # noqa: F401  already there when forked, not when spawned
    from bench.training.timed_slice import serve

    serve(connection, job)


class Rounds:
    """The slices of all methods, by their position; methods that do not fit beside each other are timed group after group."""

    def __init__(
        self,
        start: Callable[[int], ProcessWorker],
        slices: Callable[[int], Iterator[list[Ints]]],
        device: str,
        generator: np.random.Generator,
        clock: Callable[[], float],
        progress: Callable[[str], None],
    ) -> None:
        """`start` starts the worker of a method; `slices(n)` gives slices of n batches."""
        self._start, self._slices, self._device = start, slices, device
        self._generator, self._clock, self._progress = generator, clock, progress
        self._workers: dict[int, ProcessWorker] = {}
        """Those of a group that still answer."""
        self.slices: dict[int, list[Slice]] = {}
        self.failures: dict[int, WorkerLost] = {}
        self.count = 0
        self.seconds = 0.0
        """Wall seconds of the rounds alone."""

    def ratio(self, method: int) -> Ratio | None:
        """Return the ratio of a method to the reference so far."""
        return ratio(self.slices.get(method, []), self.slices.get(REFERENCE, []))

    def measure(self, methods: Sequence[int], seconds: float) -> None:
        """Add the rounds of methods that are resident together, and of the reference.

        The first slice of each worker is discarded. It ends when every interval is within `PRECISE`, which takes `FEWEST`
        rounds at least, or when another round would not end within `seconds`; one round is always made. A method whose worker
        is lost is left out from then on.

        Raises:
            WorkerLost: if the reference is.
        """
        try:
            self._progress(f"loading {len(methods) + 1} methods")
            for method in (REFERENCE, *methods):
                self._workers[method] = self._start(method)
            for method in (REFERENCE, *methods):
                self._ask(method, lambda worker: worker.ready())
            source = self._slices(self._warm_up())
            began, done = self._clock(), 0
            while not self._enough(done, self._clock() - began, seconds):
                batches = next(source)
                for method in self._generator.permutation(sorted(self._workers)).tolist():
                    if (timed := self._time(method, batches)) is not None:
                        timed_slice = Slice(round=self.count, seconds=timed[0], tokens=timed[1])
                        self.slices.setdefault(method, []).append(timed_slice)
                self.count, done = self.count + 1, done + 1
                self._progress(f"round {self.count}, {self._clock() - began:.0f} s")
            self.seconds += self._clock() - began
        finally:
            while self._workers:
                self._workers.popitem()[1].stop()

    def _time(self, method: int, batches: list[Ints]) -> tuple[float, int] | None:
        """Return device seconds and tokens of a slice; None if the worker was lost over it."""
        return self._ask(method, lambda worker: worker.time(batches))

    def _ask(self, method: int, question: Callable[[ProcessWorker], T]) -> T | None:
        try:
            return question(self._workers[method])
        except WorkerLost as error:
            if method == REFERENCE:
                raise
            self.failures[method] = error
            self._workers.pop(method).stop()
            return None

    def _warm_up(self) -> int:
        """Let every worker train on a slice that is discarded. Returns the steps of a slice, by what the reference takes once
        it is warm.
        """
        fewest = FEWEST_STEPS[self._device]
        source = self._slices(fewest)
        self._time(REFERENCE, next(source))
        timed = self._time(REFERENCE, next(source))
        assert timed is not None  # the loss of the reference is raised
        steps = steps_of(self._device, timed[0] / fewest)
        batches = next(self._slices(steps))
        for method in list(self._workers):
            self._time(method, batches)
        return steps

    def _enough(self, done: int, spent: float, seconds: float) -> bool:
        """Return whether the group needs, or has time for, no further round."""
        ratios = [self.ratio(method) for method in self._workers if method != REFERENCE]
        if not ratios:
            return self.count >= REFERENCE_ROUNDS
        if done and spent + spent / done > seconds:
            return True
        return done >= FEWEST and all(interval is not None and interval.spread <= PRECISE for interval in ratios)
