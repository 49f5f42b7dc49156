"""Spin time of waiting threads in GNU OpenMP, the runtime of torch's Linux wheels."""

from __future__ import annotations

from collections.abc import MutableMapping

__all__ = ["SPIN_COUNT", "limit_spinning"]

SPIN_COUNT = "2000"
"""Rounds that a waiting thread spins before it sleeps. By default it spins for milliseconds; on a machine that does something
else besides, it then holds the core that the very thread which it waits for needs."""


def limit_spinning(environment: MutableMapping[str, str]) -> None:
    """Set `GOMP_SPINCOUNT`, unless it or `OMP_WAIT_POLICY`, which also decides it, is set already.

    The runtime reads it when it is loaded, which `import torch` does, and child processes inherit it. No other OpenMP runtime
    knows the variable, so there is no need to check for it.
    """
    if not {"GOMP_SPINCOUNT", "OMP_WAIT_POLICY"} & environment.keys():
        environment["GOMP_SPINCOUNT"] = SPIN_COUNT
