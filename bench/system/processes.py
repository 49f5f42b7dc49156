"""Processes that end with the one that asked for them."""

from __future__ import annotations

import multiprocessing
import os
from multiprocessing.connection import wait

__all__ = ["end_with_parent"]


def end_with_parent() -> None:
    """End this process when the one that asked for it is gone.

    The kernel's own parent-death signal would not do: the fork server, which is this process's parent to the kernel,
    lives as long as any process that it forked.
    """
    parent = multiprocessing.parent_process()
    if parent is not None:
        wait([parent.sentinel])
        os._exit(1)
