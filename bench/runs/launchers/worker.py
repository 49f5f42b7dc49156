"""Execution of runs on a machine of a cluster, called from a process on another machine. Independent of Ray.

A run is a fork of a server that has only imported libraries, timed by this process, which started it. Only the paths of
encoder, reviews and files differ.
"""

from __future__ import annotations

import platform
import tempfile
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from queue import SimpleQueue
from typing import Any, Literal, NamedTuple

import numpy as np
import numpy.typing as npt

from bench import __version__
from bench.data.sources import DataRequest, read
from bench.models.pretrained import PretrainedModel, find
from bench.records.environment import commit, environment, library_versions
from bench.records.schema import Environment
from bench.rules import RULES_VERSION
from bench.runs.launchers.process import Died, LocalEngine
from bench.system.device import device_model
from bench.system.errors import BenchError, ClusterError
from bench.system.files import cache_dir, sweep, temporary_folder
from bench.system.signals import Interrupts
from bench.system.text import without_paths
from bench.training.job import Job, Outcome, Watch, cancelled, checkpoint_path, record_of

__all__ = ["About", "Bytes", "Checkpoint", "Ended", "Message", "Progress", "Runner", "difference", "software"]

PATIENCE = 60.0
"""Seconds that a run waits, with its clock paused, until its checkpoint is copied."""

Bytes = npt.NDArray[np.uint8]
"""Content of a file, in a form that is not copied on the way."""


class About(NamedTuple):
    """Software and hardware of a machine."""

    software: dict[str, str]
    environment: Environment


class Progress(NamedTuple):
    """The share of a phase that is done, or a line for a person."""

    phase: str
    share: float
    line: str | None = None


class Checkpoint(NamedTuple):
    """A run has written a checkpoint, and waits."""

    content: Bytes


@dataclass(frozen=True)
class Ended:
    """A run has ended, with a result or by the death of its process."""

    result: Any = None
    watch: Watch = field(default_factory=Watch)
    died: tuple[int, bool] | None = None
    """Exit code, and whether memory was lacking."""
    files: dict[str, Bytes] = field(default_factory=dict)
    """Files that the run saved, by name."""


Message = Progress | Checkpoint | Ended


class Runner:
    """Execute one run at a time, each in a fresh process. Methods may be called from several threads."""

    def __init__(self, device: Literal["cpu", "cuda"], threads: int, engine: str) -> None:
        """Make a folder for the files of runs.

        Raises:
            OSError: if there is no place for it.
        """
        self._interrupts = Interrupts()
        self._engine = LocalEngine(device, self._interrupts, self._copy_checkpoint)
        self._device, self._threads, self._name = device, threads, engine
        self._environment: Environment | None = None
        self._data: dict[DataRequest, str] = {}
        """Data argument → hash of its reviews."""
        self._checkpoint, self._copied = Path(), threading.Event()
        self._requests: SimpleQueue[tuple[str, Any, Bytes | None]] = SimpleQueue()
        self._messages: SimpleQueue[Message] = SimpleQueue()
        parent = (cache_dir() or Path(tempfile.gettempdir())) / "cluster"
        sweep(parent)  # what a killed runner left
        # Never exited: a runner ends by being killed, and the next one sweeps. Held, since the folder would go with it.
        self._held = temporary_folder(parent, "runner")
        self._folder = self._held.__enter__()
        # One for all runs: a process that asked to die with its parent dies with the thread that started it.
        threading.Thread(target=self._work, daemon=True).start()

    def about(self) -> About:
        """Describe this machine."""
        if self._environment is None:
            model = device_model("cpu")
            if self._device == "cuda":  # asked for in a process that ends; in this one the device would stay in use
                model = self._engine.run("bench.runs.launchers.worker:cuda_model").outcome
            self._environment = environment(device=model, threads=self._threads, engine=self._name)
        return About(software(), self._environment)

    def execute(self, work: str, argument: Any, checkpoint: Bytes | None) -> Iterator[Message]:
        """Execute a piece of work; a run resumes from `checkpoint`. Yields its messages, the last of which is its end."""
        self._requests.put((work, argument, checkpoint))
        while not isinstance(message := self._messages.get(), Ended):
            yield message
        yield message

    def copied(self) -> None:
        """Acknowledge the last checkpoint."""
        self._copied.set()

    def stop(self) -> None:
        """Interrupt the run, which returns a partial result, and start no other."""
        self._interrupts.count += 1

    def _copy_checkpoint(self) -> None:
        """Hand out the checkpoint and wait until it is acknowledged."""
        self._copied.clear()
        self._messages.put(Checkpoint(np.fromfile(self._checkpoint, dtype=np.uint8)))
        self._copied.wait(PATIENCE)

    def _work(self) -> None:
        with self._interrupts:  # for good: a result that came with an interrupt is handed out, and nothing is raised
            while True:
                self._messages.put(self._ended(*self._requests.get()))

    def _ended(self, work: str, argument: Any, checkpoint: Bytes | None) -> Ended:
        try:
            with tempfile.TemporaryDirectory(dir=self._folder) as name:
                return self._executed(
                    work, self._local_job(argument, Path(name), checkpoint) if isinstance(argument, Job) else argument
                )
        except Died as error:
            return Ended(died=(error.exit_code, error.out_of_memory))
        except Exception as error:
            # The caller waits for an answer, of any error too.
            if not isinstance(argument, Job):
                return Ended(died=(1, False))
            why = without_paths(str(error) if isinstance(error, BenchError) else f"{type(error).__name__}: {error}")
            record = record_of(argument, "failed", why)
            return Ended(Outcome(record.model_copy(update={"environment": self.about().environment})))

    def _executed(self, work: str, argument: Any) -> Ended:
        result = self._engine.run(work, argument, listen=lambda *message: self._messages.put(Progress(*message)))
        outcome = cancelled(argument) if result.outcome is None and isinstance(argument, Job) else result.outcome
        keep = argument.keep if isinstance(argument, Job) else None
        files = {} if keep is None else {path.name: np.fromfile(path, dtype=np.uint8) for path in keep.iterdir()}
        return Ended(self._stamped(outcome), result.watch, files=files)

    def _local_job(self, job: Job, folder: Path, checkpoint: Bytes | None) -> Job:
        """Make the job with encoder, reviews and folders of this machine.

        Raises:
            ClusterError: if encoder or reviews are not here, or are others.
        """
        pretrained = _find_encoder(job.pretrained)
        if job.data_argument not in self._data:
            self._data[job.data_argument] = read(job.data_argument).sha256
        for what, local, remote in (
            (f"the encoder {job.pretrained.name!r}", pretrained.sha256, job.pretrained.sha256),
            (f"the data {job.spec.data!r}", self._data[job.data_argument], job.data.sha256),
        ):
            if local != remote:
                raise ClusterError(
                    f"{what} has other content on the worker ({local[:12]}) than on the calling machine ({remote[:12]})"
                )
        self._checkpoint = checkpoint_path(folder, job.run_id)
        self._checkpoint.parent.mkdir()
        if checkpoint is not None:
            checkpoint.tofile(self._checkpoint)
        keep = None if job.keep is None else folder / "saved"
        if keep is not None:
            keep.mkdir()
        device = self.about().environment.device
        return replace(job, pretrained=pretrained, device_model=device, checkpoint=self._checkpoint, keep=keep)

    def _stamped(self, result: Any) -> Any:
        """Name the engine in the record of a result."""
        if isinstance(result, Outcome):
            return replace(result, record=self._stamped(result.record))
        if hasattr(result, "environment"):
            return result.model_copy(update={"environment": result.environment.model_copy(update={"engine": self._name})})
        return result


def _find_encoder(expected: PretrainedModel) -> PretrainedModel:
    """Find an encoder on this machine: a package's or the hub's by name, any other in the folder of the same path, which may
    be called as a package is.
    """
    try:
        pretrained = find(expected.name)
    except BenchError:
        if not expected.folder.is_dir():
            raise
    else:
        if pretrained.sha256 == expected.sha256 or not expected.folder.is_dir():
            return pretrained
    return find(str(expected.folder))


def cuda_model(notify: object) -> str:
    """Return the model of the CUDA device, as work for a process of its own."""
    return device_model("cuda")


def software() -> dict[str, str]:
    """Versions on this machine, of the suite first; the commit only where it is known."""
    sha, _ = commit()
    own = {"adapter-bench": __version__, "rules": str(RULES_VERSION), "Python": platform.python_version()}
    return own | ({} if sha is None else {"commit": sha[:12]}) | library_versions()


def difference(local: dict[str, str], remote: dict[str, str]) -> str | None:
    """Name the first thing that another machine has in another version, with both; None if there is none."""
    for name in {**local, **remote}:
        ours, theirs = local.get(name), remote.get(name)
        if ours != theirs and (name != "commit" or None not in (ours, theirs)):
            return f"{name} {theirs or 'is missing'} there, {ours or 'is missing'} here"
    return None
