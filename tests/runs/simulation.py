"""A simulated machine for calibrations: its clock is moved by simulated workers, as slowly as its load says."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

import methods as registry
from bench.data.task import Ints
from bench.records.schema import Calibration
from bench.runs.calibration import calibrate
from bench.runs.rounds import WorkerLost
from bench.training.job import Job

TRUE = {"houlsby": 1.0, "pfeiffer": 0.8, "lora": 0.9, "full": 1.6, "head-only": 0.4, "bitfit": 0.7, "dora": 1.3}
"""Time of a token of each simulated method, in those of the reference."""

Slowness = Callable[[float, np.random.Generator], float]


def steady(now: float, generator: np.random.Generator) -> float:
    return 1.0


LOADS: dict[str, Slowness] = {
    "steady": steady,
    "drift": lambda now, generator: 1.0 + now / 120,
    "step": lambda now, generator: 2.5 if 20 < now < 35 else 1.0,
    "spikes": lambda now, generator: 6.0 if generator.random() < 0.08 else 1.0,
    # A neighbour that burns a core for two of every five seconds.
    "contention": lambda now, generator: 1.9 if now % 5 < 2 else 1.0,
}


@dataclass
class Machine:
    """A simulated machine: a clock that workers move, and how slow it is at which time."""

    slowness: Slowness = steady
    now: float = 0.0
    generator: np.random.Generator = field(default_factory=lambda: np.random.default_rng(1))
    resident: list[str] = field(default_factory=list)
    most: int = 0
    lose: dict[str, tuple[str, int]] = field(default_factory=dict)
    """Methods whose worker is lost: in which state, and when more than so many are resident."""
    asked: list[tuple[str, tuple[int, ...]]] = field(default_factory=list)

    def clock(self) -> float:
        return self.now

    def start(self, job: Job) -> SimulatedWorker:
        self.resident.append(job.spec.method)
        self.most = max(self.most, len(self.resident))
        return SimulatedWorker(self, job.spec.method)


@dataclass
class SimulatedWorker:
    machine: Machine
    method: str

    def ready(self) -> None:
        state, most = self.machine.lose.get(self.method, ("", 99))
        if state and len(self.machine.resident) > most:
            raise WorkerLost(state, "no room")  # type: ignore[arg-type]

    def time(self, batches: list[Ints]) -> tuple[float, int]:
        machine, tokens = self.machine, 128 * sum(len(rows) for rows in batches)
        machine.asked.append((self.method, tuple(int(row) for rows in batches for row in rows)))
        slow = machine.slowness(machine.now, machine.generator)
        if slow > 1.5 and self.method == "full":
            slow **= 1.3  # what is bound by memory suffers more
        noise = np.exp(machine.generator.normal(0, 0.015))
        seconds = tokens / 10_000 * TRUE[self.method] * slow * noise
        machine.now += seconds
        return float(seconds), tokens

    def stop(self) -> None:
        self.machine.resident.remove(self.method)


def declared(*names: str) -> list[tuple[str, dict[str, object]]]:
    own = {name: registry.get(name).hyperparameters() for name in names}
    return [(name, {field: value for field, value in own[name].items() if field != "learning_rate"}) for name in names]


def named_methods(made: Calibration) -> list[tuple[str, dict[str, object]]]:
    return [(one.method, one.hyperparameters) for one in made.methods]


def simulated(
    subject: Job, out: Path, machine: Machine, methods: list[str] | None = None, seconds: float | None = None
) -> Calibration:
    asked = declared(*(methods or ["houlsby", "pfeiffer", "lora", "full", "head-only"]))
    return calibrate(subject, asked, out, seconds=seconds, worker=machine.start, clock=machine.clock)
