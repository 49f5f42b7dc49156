"""A connection to a Ray cluster: one that is there, or one on this machine for as long as the command runs."""

from __future__ import annotations

import logging
import os
import signal
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Literal

from bench.runs.launchers.process import Engine
from bench.system.device import usable_cores
from bench.system.errors import ClusterError
from bench.system.signals import Interrupts

__all__ = ["Cluster", "connected"]

WAIT = 5.0
"""Seconds that the address of a cluster has to answer."""


class Cluster:
    """The resources for runs of the cluster that this process is connected to."""

    def device(self, requested: str) -> Literal["cpu", "cuda"]:
        """Choose the device for `auto`, `cpu` or `cuda`: a GPU where any node has one."""
        if requested == "auto":
            return "cuda" if self._slots("cuda", 1) else "cpu"
        return "cuda" if requested == "cuda" else "cpu"

    @contextmanager
    def engine(self, device: Literal["cpu", "cuda"], threads: int, runs: int, interrupts: Interrupts) -> Iterator[Engine]:
        """Start an engine for so many runs, each with a GPU or `threads` CPUs of its own.

        Raises:
            ClusterError: if no node has that.
        """
        from bench.runs.launchers.ray import RayEngine

        slots = self._slots(device, threads)
        if not slots and device == "cuda":
            raise ClusterError("no node of the cluster has a GPU; add one, or ask for --device cpu")
        if not slots:
            most = int(max(self._amounts("CPU"), default=0.0))
            raise ClusterError(
                f"no node of the cluster has {threads} CPUs, one for each thread of a run (the largest has {most}); add one, "
                "or have fewer threads: a run has as many as this command has cores, which `taskset -c 0` makes one"
            )
        engine = RayEngine(device, threads, min(slots, runs), lambda: self._slots(device, threads), interrupts)
        try:
            yield engine
        finally:
            engine.close()

    def _slots(self, device: Literal["cpu", "cuda"], threads: int) -> int:
        """Count the runs that fit on the nodes as they are now, if nothing else uses them."""
        resource, needed = ("GPU", 1) if device == "cuda" else ("CPU", threads)
        return sum(int(amount // needed) for amount in self._amounts(resource))

    def _amounts(self, resource: str) -> list[float]:
        import ray

        return [float(node["Resources"].get(resource, 0.0)) for node in ray.nodes() if node["Alive"]]


@contextmanager
def connected(address: str | None) -> Iterator[Cluster]:
    """Connect to the cluster at `address`: host:port, `auto` or `local`; by default that of $RAY_ADDRESS, else `local`, one
    that starts on this machine and ends with this.

    Raises:
        ClusterError: if Ray is not installed, or the cluster cannot be reached or joined.
    """
    # Ray reports on the cluster on the standard output, which belongs to the records. Read when it is imported.
    os.environ.setdefault("RAY_DEDUP_LOGS_SKIP_REGEX", ".")
    try:
        import ray
    except ImportError:
        raise ClusterError("--engine ray needs Ray, which is not installed; run: pip install 'adapter-bench[ray]'") from None
    if address == "":
        raise ClusterError("--address is empty; write host:port, auto or local, or leave it out")
    where = address or os.environ.get("RAY_ADDRESS") or "local"
    if where not in ("local", "auto"):
        _reach(where)
        os.environ.setdefault("RAY_gcs_server_port_wait_time_s", "2")  # it answers; what else is at that port is soon known
    try:
        _join(where)
        yield Cluster()
    finally:
        ray.shutdown(wait_for_processes=True)


def _reach(address: str) -> None:
    """Check that something answers there: Ray itself would ask for a minute."""
    host, _, port = address.rpartition(":")
    if "://" in address or not host or not port.isdecimal():
        raise ClusterError(
            f"--address {address!r} is not understood; write host:port, auto or local, on a machine of the cluster"
        )
    try:
        socket.create_connection((host.strip("[]"), int(port)), timeout=WAIT).close()
    except (OSError, OverflowError) as error:
        why = getattr(error, "strerror", None) or "no answer"
        raise ClusterError(
            f"no cluster can be reached at {address!r} ({why}); start one with `ray start --head`, or leave --address out"
        ) from None


def _join(address: str) -> None:
    import ray

    own: dict[str, Any] = {"num_cpus": usable_cores()} if address == "local" else {}
    main = threading.current_thread() is threading.main_thread()
    before = signal.getsignal(signal.SIGTERM)
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    try:
        ray.init(address, include_dashboard=False, log_to_driver=False, logging_level=logging.ERROR, **own)
    except Exception as error:
        # Ray raises a dozen kinds here, some of no class of its own.
        why = (str(error).strip().splitlines() or [type(error).__name__])[0][:200]
        raise ClusterError(
            f"the cluster {address!r} cannot be joined ({why}); this machine must belong to it, with the same Ray and Python"
        ) from None
    finally:
        if main and before is not None:
            signal.signal(signal.SIGTERM, before)  # Ray has put its own in its place
