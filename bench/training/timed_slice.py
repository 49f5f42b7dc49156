"""The process that times one method: it sets up a classifier as a run does, and trains on batches that it receives."""

from __future__ import annotations

import os
import signal
import threading
from multiprocessing.connection import Connection

from bench.data.task import Ints
from bench.system.meters import DeviceClock, MemoryMeter
from bench.system.processes import end_with_parent
from bench.training.job import Job
from bench.training.run import ending
from bench.training.setup import set_up
from bench.training.trainer import Trainer

__all__ = ["serve"]


def serve(connection: Connection, job: Job) -> None:
    """Answer requests, lists of batches of rows, until the other end is closed.

    Sends `("ready",)` after warm-up, then `("timed", seconds, tokens)` for each request; on an error `("lost", state, reason)`,
    and ends. While it waits it is blocked in a read.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent hears it and ends this
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    threading.Thread(target=end_with_parent, daemon=True).start()
    try:
        try:
            spec, memory = job.spec, MemoryMeter(job.spec.device, cap=job.spec.memory_cap)
            setup = set_up(job, memory)
            clock = DeviceClock(spec.device)
            trainer = Trainer(setup.classifier, setup.task, spec, setup.method.encodes_once, clock, memory)
            trainer.warm_up()
            connection.send(("ready",))
            while True:
                connection.send(("timed", *_time(trainer, connection.recv())))
        except (EOFError, ConnectionError):
            os._exit(0)  # the parent has closed its end
        except Exception as error:
            state, reason = ending(error)
            connection.send(("lost", "out-of-memory" if state == "out-of-memory" else "failed", reason))
    except (EOFError, ConnectionError):
        os._exit(0)


def _time(trainer: Trainer, batches: list[Ints]) -> tuple[float, int]:
    """Return device seconds and tokens of a slice."""
    before = trainer.clock.seconds
    trainer.clock.start()
    tokens = trainer.train_steps(batches)
    trainer.clock.stop()
    return trainer.clock.seconds - before, tokens
