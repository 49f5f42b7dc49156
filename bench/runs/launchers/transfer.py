"""Transfer between machines: jobs, checkpoints and trained weights."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np

from bench.rules import SENTENCES
from bench.runs.launchers.worker import Bytes, Ended
from bench.system.files import atomic_write
from bench.training.job import Job, Notify, Outcome, record_of

__all__ = ["keep", "portable", "saved", "checkpoint_of"]


def portable(job: Job) -> Job:
    """Make a job that another machine can run: paths are absolute, and the checkpoint is sent by itself."""
    data = job.data_argument
    if data.name not in ("embedded", "imdb", SENTENCES) and Path(data.name).expanduser().exists():
        data = replace(data, name=str(Path(data.name).expanduser().absolute()))
    folder = job.pretrained.folder.expanduser().absolute()
    return replace(job, data_argument=data, pretrained=replace(job.pretrained, folder=folder), checkpoint=None)


def checkpoint_of(job: Job) -> Bytes | None:
    """Read the checkpoint that the run resumes from, if it has one."""
    assert job.checkpoint is not None
    try:
        return np.fromfile(job.checkpoint, dtype=np.uint8)
    except OSError:
        return None


def keep(job: Job, checkpoint: Bytes, listen: Notify) -> None:
    """Write a checkpoint beside the records. On a full disk, print a line and continue."""
    assert job.checkpoint is not None
    try:
        with atomic_write(job.checkpoint) as file:
            file.write(checkpoint.data)
    except OSError as error:
        listen(
            "training",
            0.0,
            f"its checkpoint cannot be written here ({error.strerror}); without its worker it would start over",
        )


def saved(job: Job, ended: Ended) -> Ended:
    """Write the trained weights into their folder. On a full disk the run fails, and the next one resumes from the last
    checkpoint.
    """
    record = ended.result.record if isinstance(ended.result, Outcome) else None
    if job.keep is None or record is None or record.state != "complete":
        return ended
    try:
        for name, content in ended.files.items():
            (job.keep / Path(name).name).write_bytes(content.data)
    except OSError as error:
        failed = record_of(job, "failed", f"the trained weights cannot be written ({error.strerror})")
        return Ended(Outcome(failed.model_copy(update={"environment": record.environment})), ended.watch)
    return ended
