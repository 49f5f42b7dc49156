"""Checkpoint policy: when to save a run's training, and how to resume it. The trainer does not depend on it."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from bench.records.environment import environment
from bench.system.files import atomic_write
from bench.training.checkpoint import Meta, Unusable, read, write
from bench.training.job import Job
from bench.training.trainer import Trainer

__all__ = ["SHARE", "Checkpointer", "owner_of"]

SHARE = 0.02
"""Seconds that may go into checkpoints for each device second charged: the first comes no sooner than 50 times its cost."""
_PROBE = 2**20
"""Bytes of a file that is written first, to see how fast the disk is and whether it takes any."""


def owner_of(job: Job) -> dict[str, Any]:
    """Return the owner of a checkpoint of this job, on this machine, and with it the record that the run is to replace."""
    machine = environment(device=job.device_model, threads=job.spec.threads)
    shared = {name: getattr(machine, name) for name in ("device", "cpu", "threads", "python", "versions", "commit")}
    return {"run_id": job.run_id, "replaces": job.replaces, **shared}


@dataclass
class Checkpointer:
    """Saves the state of one trainer in a file, and loads it.

    A checkpoint is due when all that this process wrote, and the next, cost no more than `SHARE` of what its clock charged.
    What the next will cost follows from the bytes and seconds of the last.
    """

    path: Path
    owner: dict[str, Any]
    trainer: Trainer
    say: Callable[[str], None]
    """Called with a line to show."""
    on_write: Callable[[], None] = lambda: None
    """Called after a checkpoint is written. Its time counts as part of the cost."""
    resumed: int = field(default=0, init=False)
    """How often the run has resumed."""
    seconds_before: float = field(default=0.0, init=False)
    """Seconds, charged and paused together, in earlier processes of the run."""
    _measured: tuple[int, float] | None = field(default=None, init=False)
    """Bytes and seconds of the last write; None where the disk takes none."""
    _spent: float = field(default=0.0, init=False)
    _charged_before: float = field(default=0.0, init=False)
    _at_step: int | None = field(default=None, init=False)

    def probe_disk(self) -> None:
        """Measure how fast the disk takes a small file. Where it takes none, nothing will be saved."""
        probe = self.path.with_suffix(".probe")
        began = time.monotonic()
        try:
            with atomic_write(probe) as file:
                file.write(bytes(_PROBE))
            self._measured = _PROBE, time.monotonic() - began
            probe.unlink(missing_ok=True)
        except OSError as error:
            self._give_up(error)

    @property
    def cost(self) -> float:
        """Seconds that the next checkpoint is expected to take; infinite where the disk takes none."""
        if self._measured is None:
            return float("inf")
        trainer, (size, seconds) = self.trainer, self._measured
        features = 0 if trainer.features is None else int(trainer.known.sum()) * trainer.features[0].nbytes
        # Trained weights with two moments each, and the latency of the disk by a small file.
        return seconds * max(1.0, (3 * sum(p.nbytes for p in trainer.trained) + features) / size)

    def save_if_due(self) -> None:
        """Save if a checkpoint is due; neither charged nor counted in the peak of memory."""
        charged = self.trainer.ledger.seconds - self._charged_before
        if SHARE * charged >= self._spent + self.cost:
            with self.trainer.clock.paused(), self.trainer.memory.paused():
                self.save()

    def save(self) -> None:
        """Save now, unless nothing is new. Where the disk does not take it, say so once and save no more."""
        step = self.trainer.ledger.units
        if self._measured is None or step in (0, self._at_step):
            return
        began = time.monotonic()
        try:
            state = self.trainer.state_dict()
            tensors = state.pop("tensors")
            size = write(self.path, Meta(owner=self.owner, resumed=self.resumed, **state), tensors)
        except OSError as error:
            self._give_up(error)
            return
        self._at_step = step  # before the callback: a stop there must not save it again
        self.on_write()
        seconds = time.monotonic() - began
        self._spent, self._measured = self._spent + seconds, (size, seconds)

    def load(self) -> None:
        """Resume from the last checkpoint. One that is damaged or another run's is named, and nothing is changed."""
        try:
            meta, tensors = read(self.path)
            counts = meta.counts
            other = next((name for name, own in self.owner.items() if meta.owner.get(name) != own), None)
            if other is not None:
                raise Unusable(f"it is of a run with another {other.replace('_', ' ')}")
            self.trainer.load_state_dict({**dict(meta), "counts": dict(counts), "tensors": tensors})
        except FileNotFoundError:
            return
        except Unusable as error:
            self.say(f"the checkpoint {self.path.name} is left out, and training starts from scratch: {error}")
            return
        self.resumed, self.seconds_before = meta.resumed + 1, counts.seconds + meta.paused_seconds
        self._charged_before, self._at_step = counts.seconds, self.trainer.ledger.units
        self.say(f"resumes from its checkpoint: {self.trainer.ledger.units:,} batches, {counts.seconds:.1f} device seconds")

    def _give_up(self, error: OSError) -> None:
        self._measured = None
        self.say(f"no checkpoint can be written ({error.strerror}); the run continues, but a kill would lose its training")
