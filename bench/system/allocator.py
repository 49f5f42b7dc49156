"""Control of freed memory in glibc (other C libraries are unchanged) and in Arrow's pool."""

from __future__ import annotations

import ctypes
import os
import sys
from contextlib import suppress

__all__ = ["trim", "keep_freed"]

_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3
"""Parameters of mallopt(3)."""
_LARGEST, _LARGEST_BEFORE_2_35 = 2**30, 2**25
"""Bytes of a block that may be kept; glibc before 2.35 refuses the first."""
_NEVER = 2**31 - 1


def keep_freed() -> bool:
    """Keep memory that is freed from now on for the next allocations of this process; returns whether the C library does.

    A step frees its activations and the next one needs as many: by itself glibc returns them to the kernel, which then hands
    out pages that it has to clear first. `make ablations` measures it. A setting in the environment takes precedence.
    """
    own = {"MALLOC_TRIM_THRESHOLD_", "MALLOC_MMAP_THRESHOLD_"} & os.environ.keys()
    if own or "glibc.malloc." in os.environ.get("GLIBC_TUNABLES", ""):
        return False
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except AttributeError:
        return False
    large = mallopt(_M_MMAP_THRESHOLD, _LARGEST) or mallopt(_M_MMAP_THRESHOLD, _LARGEST_BEFORE_2_35)
    return bool(large and mallopt(_M_TRIM_THRESHOLD, _NEVER))


def trim() -> None:
    """Return freed memory to the kernel, so that resident memory is memory in use.

    Arrow, which may have read the reviews, keeps a pool of its own; what it holds after that may go when it is next used.
    """
    if arrow := sys.modules.get("pyarrow"):
        arrow.default_memory_pool().release_unused()
    with suppress(AttributeError):
        ctypes.CDLL(None).malloc_trim(0)
