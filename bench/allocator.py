"""What the C library does with freed memory, where it is glibc; any other is left as it is."""

from __future__ import annotations

import ctypes
import os
from contextlib import suppress

__all__ = ["give_back", "keep_freed"]

_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3
"""Parameters of mallopt(3)."""
_LARGEST_MMAP_THRESHOLD = 2**25
"""Bytes; versions of glibc before 2.35 take no more."""
_NEVER = 2**31 - 1


def keep_freed() -> None:
    """Keep what is freed from now on for what this process allocates next.

    A step frees its activations and the next one needs as many: by itself glibc returns them to the kernel, which then hands
    out pages that it has to clear first. `make levers` measures it. Whoever has set the allocator in the environment is obeyed.
    """
    if any(name == "GLIBC_TUNABLES" or name.startswith("MALLOC_") for name in os.environ):
        return
    with suppress(AttributeError):
        mallopt = ctypes.CDLL(None).mallopt
        mallopt(_M_MMAP_THRESHOLD, _LARGEST_MMAP_THRESHOLD)
        mallopt(_M_TRIM_THRESHOLD, _NEVER)


def give_back() -> None:
    """Return to the kernel what is freed now, so that resident memory is what is in use."""
    with suppress(AttributeError):
        ctypes.CDLL(None).malloc_trim(0)
