"""Measurements as JSON files, with the machine, the versions and the commit that they were made with."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Literal

from bench.records.environment import environment
from bench.system.device import device_model
from bench.system.files import atomic_write

__all__ = ["about", "keep"]


def about(threads: int, device: Literal["cpu", "cuda"] = "cpu") -> dict[str, Any]:
    """The environment of a measurement; to be asked for before it begins, since the commit may be another after it."""
    return environment(device=device_model(device), threads=threads).model_dump(mode="json")


def keep(path: Path, content: dict[str, Any]) -> None:
    """Write a measurement, whole or not at all."""
    with atomic_write(path) as file:
        file.write(json.dumps(content, indent=1).encode() + b"\n")
