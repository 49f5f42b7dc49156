"""A run that tests of training share."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.killing import SETTINGS


@pytest.fixture
def command(tiny_folder: Path, small_folder: Path, tmp_path: Path) -> list[str]:
    """A run of six steps into `tmp_path`/out."""
    asked = ["run", "--method", "lora", "--encoder", str(tiny_folder), "--data", str(small_folder), *SETTINGS]
    return [*asked, "--budget", "6 steps", "--out", str(tmp_path / "out")]
