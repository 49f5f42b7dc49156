"""The process that times one method: it builds the classifier as a run does, and trains on the batches that it is asked to."""

from __future__ import annotations

import os
import signal
import threading
from multiprocessing.connection import Connection

import torch

from bench.data.sources import read
from bench.data.task import Cut, Ints, cut, prepare
from bench.system.allocator import keep_freed
from bench.system.errors import DataError
from bench.system.meters import DeviceClock, MemoryMeter
from bench.system.processes import end_with_parent
from bench.training.job import Job
from bench.training.run import attached, cap_cuda, ending
from bench.training.trainer import Trainer
from bench.training.warm_up import touch

__all__ = ["serve"]


def serve(connection: Connection, job: Job) -> None:
    """Answer requests, lists of batches of rows, until the other end is closed.

    It sends `("ready",)` once it is warmed up, then for each request `("timed", seconds, tokens)`; where it cannot go on,
    `("lost", state, reason)` and ends. While it waits it is blocked in a read.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent hears it and ends this
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    threading.Thread(target=end_with_parent, daemon=True).start()
    try:
        try:
            trainer = _loop(job)
            connection.send(("ready",))
            while True:
                connection.send(("timed", *_timed(trainer, connection.recv())))
        except (EOFError, ConnectionError):
            os._exit(0)  # nobody asks any more
        except Exception as error:
            state, reason = ending(error)
            connection.send(("lost", "out-of-memory" if state == "out-of-memory" else "failed", reason))
    except (EOFError, ConnectionError):
        os._exit(0)


def _loop(job: Job) -> Trainer:
    """The training loop of a run, rehearsed, in the order in which a run sets it up."""
    spec = job.spec
    torch.set_num_threads(spec.threads)
    keep_freed()
    task = prepare(job.pretrained, job.data.sha256, lambda: _cut(job))
    if spec.device == "cpu":
        touch(spec.precision)
    memory = MemoryMeter(spec.device)
    memory.start()
    if spec.device == "cuda":
        cap_cuda(spec.memory_cap)
    classifier, method, _ = attached(job)
    trainer = Trainer(classifier, task, spec, method.encodes_once, DeviceClock(spec.device), memory)
    trainer.warm_up()
    return trainer


def _cut(job: Job) -> Cut:
    source = read(job.data_argument)
    if source.sha256 != job.data.sha256:
        raise DataError("the texts changed after the calibration was asked for; ask again")
    return cut(source)


def _timed(trainer: Trainer, batches: list[Ints]) -> tuple[float, int]:
    """Device seconds and tokens of a slice."""
    before = trainer.clock.seconds
    trainer.clock.start()
    tokens = trainer.train_steps(batches)
    trainer.clock.stop()
    return trainer.clock.seconds - before, tokens
