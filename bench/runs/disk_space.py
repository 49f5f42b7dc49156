"""Disk space: checked before training, and reserved for the record until it is written."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO

import methods
from bench.system.errors import RecordError
from bench.system.files import in_folder
from bench.training.job import Job, checkpoint_path

__all__ = ["check_room", "record_bytes", "reserved", "checkpoint_bytes"]

_RECORD = 2**18
"""Bytes for a record beside its predictions; those of the reference results take 20 kB."""
_HEADER = 2**20
"""Bytes for a checkpoint's names, counters and losses."""


def record_bytes(job: Job) -> int:
    """Bound the bytes of a record and its logits: k numbers of four bytes for each test review, and bits.

    Of more than two classes the matrix as well.
    """
    classes = job.spec.classes
    matrix = 10 * classes**2 if classes > 2 else 0
    return _RECORD + matrix + (4 * classes + 4) * (job.spec.test_limit or job.data.test)


def trained_bytes(job: Job) -> int:
    """Compute the bytes that a run trains in fp32, head included: at most BERT's, a pooler and a layer of k classes."""
    shape = job.pretrained.shape
    method = methods.build(job.spec.method, job.spec.hyperparameters)
    return 4 * (method.trainable_parameters(shape) + shape.width * (shape.width + 1) + job.spec.classes * (shape.width + 1))


def checkpoint_bytes(job: Job) -> int:
    """Bound the bytes of a checkpoint: what trains with AdamW's two moments, and encoder output where it is kept."""
    features = 4 * job.pretrained.shape.width if methods.get(job.spec.method).encodes_once else 0
    return 3 * trained_bytes(job) + job.data.train * (features + 9) + _HEADER


def check_room(out: Path, jobs: Sequence[Job], *, keep: bool = False) -> None:
    """Check that the disk of `out` has room for these runs: records, logits, the largest checkpoint twice (the old one stays
    until the new one is written), and with `keep` the trained weights.

    Raises:
        RecordError: if it has not.
    """
    if not jobs:
        return
    present = sum(path.stat().st_size for job in jobs if (path := checkpoint_path(out, job.run_id)).is_file())
    required = sum(record_bytes(job) + (trained_bytes(job) if keep else 0) for job in jobs)
    required += max(2 * checkpoint_bytes(job) + trained_bytes(job) for job in jobs) - present
    folder = next(part for part in (out, *out.absolute().parents) if part.exists())
    free = shutil.disk_usage(folder).free
    if required > free:
        raise RecordError(
            f"the disk of {str(out)!r} has {free / 2**20:,.0f} MiB free, and these runs may need {required / 2**20:,.0f} MiB "
            "for records and checkpoints; free some, or choose another --out"
        )


@contextmanager
def reserved(out: Path, size: int) -> Iterator[IO[bytes]]:
    """Hold `size` bytes of the disk of `out` by a file without a name, until it is truncated or the end.

    Raises:
        RecordError: if they are not there.
    """
    with in_folder(out, lambda: tempfile.TemporaryFile(dir=out)) as file:
        try:
            os.posix_fallocate(file.fileno(), 0, size)
        except OSError as error:
            raise RecordError(
                f"the disk of {str(out)!r} has no {size / 2**20:,.1f} MiB for a record ({error.strerror}); free some, or "
                "choose another --out"
            ) from None
        yield file
