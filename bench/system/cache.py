"""Arrays that take long to make, kept in the cache between runs."""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import Any
from zipfile import BadZipFile

import numpy as np
import numpy.typing as npt

from bench.system.files import atomic_write, cache_dir

__all__ = ["Arrays", "cached_arrays"]

Arrays = dict[str, npt.NDArray[Any]]


def cached_arrays(place: str, names: Collection[str], make: Callable[[], Arrays]) -> Arrays:
    """The arrays called `names` from the file `place` of the cache; where it is absent or damaged, made and put there."""
    cache = cache_dir()
    path = cache / place if cache else None
    if path is not None:
        try:
            # Opened here, since numpy leaves a damaged archive open.
            with path.open("rb") as archive, np.load(archive, allow_pickle=False) as stored:
                return {name: stored[name] for name in names}
        except (OSError, ValueError, KeyError, EOFError, AttributeError, TypeError, BadZipFile):
            pass  # absent or damaged: made again below
    arrays = make()
    if path is not None:
        try:
            with atomic_write(path) as file:
                np.savez(file, allow_pickle=False, **arrays)
        except OSError:
            pass  # a cache that cannot be written costs time, not a run
    return arrays
