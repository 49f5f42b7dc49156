"""A Ray cluster of several nodes on this machine: `python -m tests.nodes CPUS CPUS ...`, one node of so many CPUs for each.

Prints one line of JSON, the cluster's address and the process ids of the nodes' raylets, and ends with its standard input. The
head has no CPUs, so that nothing runs on it, and whoever connects is connected to it.
"""

from __future__ import annotations

import json
import logging
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.util import find_spec

import pytest

__all__ = ["RAY", "Nodes", "nodes"]
RAY = pytest.mark.skipif(find_spec("ray") is None, reason="Ray is not installed: pip install 'adapter-bench[ray]'")


@dataclass(frozen=True)
class Nodes:
    address: str
    raylets: list[int]
    """Process ids, in the order of the nodes."""


@contextmanager
def nodes(*cpus: int) -> Iterator[Nodes]:
    """A cluster with these nodes, in a process of its own."""
    holder = subprocess.Popen(
        [sys.executable, "-m", "tests.nodes", *map(str, cpus)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert holder.stdin is not None
    assert holder.stdout is not None
    try:
        yield Nodes(**json.loads(holder.stdout.readline()))
    finally:
        holder.stdin.close()
        holder.stdout.close()
        try:
            holder.wait(60)
        except subprocess.TimeoutExpired:
            holder.kill()
            raise


def main(cpus: list[int]) -> None:
    from ray.cluster_utils import Cluster

    logging.getLogger("ray").setLevel(logging.ERROR)
    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 0, "include_dashboard": False})
    made = [cluster.add_node(num_cpus=count) for count in cpus]
    raylets = [node.all_processes["raylet"][0].process.pid for node in made]
    print(json.dumps({"address": cluster.address, "raylets": raylets}), flush=True)
    sys.stdin.read()
    # A node that a test has killed is no longer there; Ray's own way to end them would wait for it.
    for node in cluster.list_all_nodes():
        node.kill_all_processes(check_alive=False, allow_graceful=False, wait=True)


if __name__ == "__main__":
    main([int(count) for count in sys.argv[1:]])
