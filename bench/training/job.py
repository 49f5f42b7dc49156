"""A run to be done and what comes back of it: what travels between the process that asks and the one that runs."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from bench.models.pretrained import PretrainedModel
from bench.records.environment import environment
from bench.records.schema import Choice, Conversion, DataCut, Encoder, Record, State
from bench.records.spec import Budget, RunSpec, run_id
from bench.rules import RULES_VERSION, TUNING_SEED

__all__ = ["KEPT", "Job", "Notify", "Outcome", "job_of", "ignore_progress", "record_of", "run_name", "checkpoint_path"]


@dataclass(frozen=True)
class Job:
    """A run to be done: its spec, and where its encoder and reviews are on this machine, which is not recorded."""

    run_id: str
    spec: RunSpec
    pretrained: PretrainedModel
    data_argument: str
    data: DataCut
    device_model: str
    keep: Path | None = None
    """An empty folder to save what was trained into; None: nothing is saved. No part of what determines the run."""
    checkpoint: Path | None = None
    """The file from which the run goes on after its process ended; None: it would start anew. No part of it either."""
    replaces: str | None = None
    """Checksum of the finished record that the run replaces: an interrupted --force goes on only while that is still there."""

    side_tests: bool = True
    """Whether latency and the out-of-domain test are measured as well: on a method's first seed. No part of it either."""

    conversion: Conversion | None = None
    """How a calibration turned the budget that was asked for into tokens."""
    choice: Choice | None = None
    """How its learning rate was chosen."""

    @property
    def asked(self) -> Budget:
        """The budget that was asked for, before any conversion."""
        return self.spec.budget if self.conversion is None else Budget.parse(self.conversion.asked)

    @property
    def setting(self) -> dict[str, Any]:
        """The hyperparameters that change the speed: all but the learning rate."""
        return {name: value for name, value in self.spec.hyperparameters.items() if name != "learning_rate"}

    def at_rate(self, learning_rate: float, choice: Choice | None = None) -> Job:
        """The same run at another learning rate, which makes it another run."""
        hyperparameters = {**self.spec.hyperparameters, "learning_rate": learning_rate}
        return replace(self._respecified(hyperparameters=hyperparameters), choice=choice)

    def converted(self, budget: Budget, reference_tokens: int, conversion: Conversion) -> Job:
        """The same run with its share of a calibrated budget, in tokens."""
        return replace(self._respecified(budget=budget, reference_tokens=reference_tokens), conversion=conversion)

    def _respecified(self, **fields: Any) -> Job:
        spec = self.spec.model_copy(update=fields)
        identity = run_id(spec, encoder_sha256=self.pretrained.sha256, data_sha256=self.data.sha256)
        return replace(self, spec=spec, run_id=identity)


class Notify(Protocol):
    """Called in the process of a run with a phase ("training", "test", "elsewhere") and the share of it that is done, and with
    a line for the person who started it where there is something to say.
    """

    def __call__(self, phase: str, share: float, line: str | None = None) -> None: ...


KEPT = "kept"
"""The phase of which a run tells when it has written a snapshot, and its clock stands still: whoever started the run may copy
the file before the call returns. It is no part of the progress, and nobody hears of it who has no use for copies.
"""


def ignore_progress(phase: str, share: float, line: str | None = None) -> None:
    """Tell nobody."""


def run_name(spec: RunSpec) -> str:
    """What a person calls a run, among the others of its command."""
    rate = spec.hyperparameters.get("learning_rate")
    trial = f"trial at {rate:g}" if isinstance(rate, int | float) else "trial"
    which = f"{trial}, tuning seed {TUNING_SEED - spec.seed + 1}" if spec.purpose == "trial" else f"seed {spec.seed}"
    return f"{spec.method} {which}, {spec.asked}"


def checkpoint_path(out: Path, run_id: str) -> Path:
    """Where the snapshot of a run is whose record belongs in `out`."""
    return out / "checkpoints" / f"{run_id}.safetensors"


def job_of(spec: RunSpec, pretrained: PretrainedModel, data_argument: str, data: DataCut, device_model: str) -> Job:
    """The job of a spec, with the id that follows from it and from the contents of encoder and data."""
    identity = run_id(spec, encoder_sha256=pretrained.sha256, data_sha256=data.sha256)
    return Job(identity, spec, pretrained, data_argument, data, device_model)


@dataclass(frozen=True)
class Outcome:
    """What comes back from the process of a run."""

    record: Record
    logits: npt.NDArray[np.float32] | None = None


def record_of(job: Job, state: State, reason: str | None = None, **parts: Any) -> Record:
    """The record of a job that ended in `state`, with whatever parts were measured."""
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
