"""A run as a job, and its result: both pass between the process that requests a run and the one that executes it."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from bench.data.sources import DataRequest
from bench.models.pretrained import PretrainedModel
from bench.records.environment import environment
from bench.records.schema import Choice, Conversion, DataCut, Encoder, Record, State
from bench.records.spec import Budget, RunSpec, run_id
from bench.rules import RULES_VERSION, TUNING_SEED

__all__ = [
    "CHECKPOINT_WRITTEN", "Job", "Notify", "Outcome", "Result", "Watch", "cancelled", "checkpoint_path", "ignore_progress",
    "job_of", "record_of", "run_name",
]  # fmt: skip


@dataclass(frozen=True)
class Job:
    """A spec, and where its encoder and reviews are on this machine. Only the spec and their contents make the run id."""

    run_id: str
    spec: RunSpec
    pretrained: PretrainedModel
    data_argument: DataRequest
    data: DataCut
    device_model: str
    keep: Path | None = None
    """An empty folder for the trained weights; None: they are not saved."""
    checkpoint: Path | None = None
    """The file from which the run resumes after its process ended; None: it starts from scratch."""
    replaces: str | None = None
    """Checksum of the finished record that the run replaces: an interrupted --force resumes only while that is still there."""
    side_tests: bool = True
    """Whether to measure latency and the out-of-domain test too: on a method's first seed."""
    conversion: Conversion | None = None
    """How a calibration converted the requested budget into tokens."""
    choice: Choice | None = None
    """How its learning rate was chosen."""

    @property
    def requested_budget(self) -> Budget:
        """The budget as requested, before any conversion."""
        return self.spec.budget if self.conversion is None else Budget.parse(self.conversion.asked)

    @property
    def setting(self) -> dict[str, Any]:
        """Hyperparameters that change the speed: all but the learning rate."""
        return {name: value for name, value in self.spec.hyperparameters.items() if name != "learning_rate"}

    def at_rate(self, learning_rate: float, choice: Choice | None = None) -> Job:
        """Return this job at another learning rate, and so with another run id."""
        hyperparameters = {**self.spec.hyperparameters, "learning_rate": learning_rate}
        return replace(self.respecified(hyperparameters=hyperparameters), choice=choice)

    def converted(self, budget: Budget, reference_tokens: int, conversion: Conversion) -> Job:
        """Return this job with its share of a calibrated budget, in tokens."""
        return replace(self.respecified(budget=budget, reference_tokens=reference_tokens), conversion=conversion)

    def respecified(self, **fields: Any) -> Job:
        """Return this job with other fields of its spec, and so with another run id."""
        spec = self.spec.model_copy(update=fields)
        identity = run_id(spec, encoder_sha256=self.pretrained.sha256, data_sha256=self.data.sha256)
        return replace(self, spec=spec, run_id=identity)


class Notify(Protocol):
    """Report progress from the process of a run: a phase ("training", "test", "elsewhere"), its share done in [0, 1], and
    optionally a line to show.
    """

    def __call__(self, phase: str, share: float, line: str | None = None) -> None: ...


CHECKPOINT_WRITTEN = "kept"
"""Phase of the event after a checkpoint is written. The clock is paused; the run blocks until the call returns, so that a
launcher can copy the file. Not part of the progress."""


def ignore_progress(phase: str, share: float, line: str | None = None) -> None:
    """Discard progress."""


def run_name(spec: RunSpec) -> str:
    """Name a run for display."""
    rate = spec.hyperparameters.get("learning_rate")
    trial = f"trial at {rate:g}" if isinstance(rate, int | float) else "trial"
    label = f"{trial}, tuning seed {TUNING_SEED - spec.seed + 1}" if spec.purpose == "trial" else f"seed {spec.seed}"
    limit = "" if spec.train_limit is None else f", {spec.train_limit:,} texts"
    return f"{spec.method} {label}, {spec.requested_budget}{limit}"


def checkpoint_path(out: Path, run_id: str) -> Path:
    """Return the checkpoint file of a run whose record belongs in `out`."""
    return out / "checkpoints" / f"{run_id}.safetensors"


def job_of(
    spec: RunSpec, pretrained: PretrainedModel, data_argument: str | DataRequest, data: DataCut, device_model: str
) -> Job:
    """Make the job of a spec; its id follows from the spec and from the contents of encoder and data."""
    identity = run_id(spec, encoder_sha256=pretrained.sha256, data_sha256=data.sha256)
    request = DataRequest(data_argument) if isinstance(data_argument, str) else data_argument
    return Job(identity, spec, pretrained, request, data, device_model)


@dataclass(frozen=True)
class Outcome:
    """Return value of a run's process: its record in any state, and the logits [reviews, classes] of a complete test."""

    record: Record
    logits: npt.NDArray[np.float32] | None = None


@dataclass
class Watch:
    """Times of a run by the clock of the process that launched it: an outside check of what the run reports."""

    seconds: float = 0.0
    """From the start of the process to its result."""
    phases: dict[str, tuple[float, float]] = field(default_factory=dict)
    """First and last sign of each phase, in seconds from the start."""

    def hear(self, phase: str, since: float) -> None:
        """Note a sign of a phase, `since` seconds after the start."""
        first, _ = self.phases.get(phase, (since, since))
        self.phases[phase] = (first, since)

    def between(self, phase: str) -> float | None:
        """Return the seconds between the first and the last sign of a phase; None if there was none."""
        seen = self.phases.get(phase)
        return None if seen is None else seen[1] - seen[0]


@dataclass(frozen=True)
class Result:
    """What a launcher returns for one piece of work."""

    outcome: Any
    """What the work returned: an `Outcome` for a run, a `Baseline` for a baseline; None if an interrupt left it none."""
    watch: Watch = field(default_factory=Watch)
    interrupted: bool = False
    """Whether SIGINT or SIGTERM came meanwhile: save the outcome, then raise KeyboardInterrupt."""


def cancelled(job: Job) -> Outcome:
    """Make the outcome of a run that was stopped before it measured anything."""
    return Outcome(record_of(job, "cancelled", "stopped by a signal"))


def record_of(job: Job, state: State, reason: str | None = None, **parts: Any) -> Record:
    """Make the record of a job that ended in `state`, from the parts that were measured."""
    pretrained = job.pretrained
    return Record(
        run_id=job.run_id,
        rules_version=RULES_VERSION,
        state=state,
        reason=reason,
        finished=datetime.now(UTC).isoformat(timespec="seconds"),
        spec=job.spec,
        environment=environment(device=job.device_model, threads=job.spec.threads),
        encoder=Encoder(
            sha256=pretrained.sha256, model_type=pretrained.config["model_type"], pooling=pretrained.pooling,
            revision=pretrained.revision,
        ),
        data=job.data,
        conversion=job.conversion,
        choice=job.choice,
        replaced=job.replaces,
        **parts,
    )  # fmt: skip
