"""How a benchmark that a person started ends where it was asked for what cannot be."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager

from bench.system.errors import BenchError

__all__ = ["in_one_line"]


@contextmanager
def in_one_line() -> Iterator[None]:
    """Print what the person can mend as one line, and exit with code 2."""
    try:
        yield
    except BenchError as error:
        print(f"error: {error}", file=sys.stderr)
        raise SystemExit(2) from None
