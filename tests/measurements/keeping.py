"""What the programs share: JSON files with the machine, versions and commit of a measurement, and how they end on bad input."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any, Literal

from bench.records.environment import environment
from bench.system.device import device_model
from bench.system.errors import BenchError, RecordError
from bench.system.files import atomic_write

__all__ = ["about", "differences", "in_one_line", "keep", "keep_rows", "resumed"]


def about(threads: int, device: Literal["cpu", "cuda"] = "cpu") -> dict[str, Any]:
    """The environment of a measurement; to be asked for before it begins, since the commit may be another after it."""
    return environment(device=device_model(device), threads=threads).model_dump(mode="json")


def keep(path: Path, content: dict[str, Any]) -> None:
    """Write a measurement, whole or not at all."""
    with atomic_write(path) as file:
        file.write(json.dumps(content, indent=1).encode() + b"\n")


def resumed(path: Path, settings: dict[str, Any], **empty: Any) -> dict[str, Any]:
    """What earlier calls have finished; `empty` where there was none. Another commit of the same versions may go on with it.

    Raises:
        RecordError: if it is none, or was made with other settings, on another machine or with other versions.
    """
    now = settings["environment"]
    if not os.path.lexists(path):
        return {**settings, "commits": [now["commit"]], **empty}
    try:
        found: dict[str, Any] = json.loads(path.read_text())
        other = differences(found, settings)
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        raise RecordError(f"{str(path)!r} is no file of such a measurement; give another --out") from None
    if other:
        raise RecordError(f"{str(path)!r} was made with another {', '.join(other)}; give another --out")
    return {**found, "commits": sorted({*found["commits"], now["commit"]}, key=str)}


def differences(found: dict[str, Any], settings: dict[str, Any]) -> list[str]:
    """Settings, and parts of the environment but the commit, in which a file is another."""
    now, before = settings["environment"], found["environment"]
    other = [key for key, value in settings.items() if key != "environment" and found.get(key) != value]
    return other + [key for key, value in now.items() if key not in {"commit", "dirty"} and before.get(key) != value]


def keep_rows(path: Path, table: str, notes: Sequence[str], environment: dict[str, Any], rows: list[Any], **more: Any) -> None:
    """Print a table and its notes, and write what it was made from."""
    print(table, *(f"- {note}" for note in notes), sep="\n")
    keep(path, {**more, "notes": notes, "environment": environment, "rows": [asdict(row) for row in rows]})


@contextmanager
def in_one_line() -> Iterator[None]:
    """Print what the person can mend as one line, and exit with code 2."""
    try:
        yield
    except BenchError as error:
        print(f"error: {error}", file=sys.stderr)
        raise SystemExit(2) from None
