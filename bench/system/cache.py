"""Arrays that take long to make, cached between runs."""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import IO, Any

import numpy as np
import numpy.typing as npt

from bench.system.files import cached

__all__ = ["Arrays", "cached_arrays"]

Arrays = dict[str, npt.NDArray[Any]]


def cached_arrays(place: str, names: Collection[str], make: Callable[[], Arrays]) -> Arrays:
    """Load the arrays called `names` from the file `place` of the cache; where it is absent or damaged, make and write it."""

    def load(file: IO[bytes]) -> Arrays:
        with np.load(file, allow_pickle=False) as stored:
            return {name: stored[name] for name in names}

    return cached(place, load, make, lambda file, arrays: np.savez(file, allow_pickle=False, **arrays))
