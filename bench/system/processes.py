"""Child processes: started without the script of their parent, ended with it."""

from __future__ import annotations

import multiprocessing
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing.connection import wait
from types import ModuleType

__all__ = ["end_with_parent", "without_main"]


@contextmanager
def without_main() -> Iterator[None]:
    """Context in which child processes do not import the script of this one.

    `multiprocessing` imports the parent's script in each child. Work is named by its module here, and a script without a
    `__main__` guard would start its runs again in the child, without end.
    """
    main = sys.modules["__main__"]
    sys.modules["__main__"] = ModuleType("__main__")
    try:
        yield
    finally:
        sys.modules["__main__"] = main


def end_with_parent() -> None:
    """End this process when its parent is gone.

    The kernel's own parent-death signal would not do: the fork server, which is this process's parent to the kernel,
    lives as long as any process that it forked.
    """
    parent = multiprocessing.parent_process()
    if parent is not None:
        wait([parent.sentinel])
        os._exit(1)
