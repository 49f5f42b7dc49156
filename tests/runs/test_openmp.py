"""Threads of OpenMP that wait give the core away soon, in every process that trains or tests, unless told otherwise outside."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch  # noqa: F401  brings its OpenMP runtime

from bench.runs.launchers.process import LocalEngine
from bench.system.openmp import SPIN_COUNT, limit_spinning


@pytest.mark.parametrize(
    ("outside", "then"),
    [
        ({}, {"GOMP_SPINCOUNT": SPIN_COUNT}),
        ({"GOMP_SPINCOUNT": "7"}, {"GOMP_SPINCOUNT": "7"}),
        ({"OMP_WAIT_POLICY": "passive"}, {"OMP_WAIT_POLICY": "passive"}),
        ({"OMP_NUM_THREADS": "2"}, {"OMP_NUM_THREADS": "2", "GOMP_SPINCOUNT": SPIN_COUNT}),
    ],
)
def test_a_setting_from_outside_wins(outside: dict[str, str], then: dict[str, str]) -> None:
    environment = dict(outside)
    limit_spinning(environment)
    assert environment == then


@pytest.mark.skipif("libgomp" not in Path("/proc/self/maps").read_text(), reason="torch has another OpenMP runtime")
def test_the_runtime_hears_it() -> None:
    """GNU OpenMP says what it was set to when torch loads it."""
    clean = {name: value for name, value in os.environ.items() if name not in {"GOMP_SPINCOUNT", "OMP_WAIT_POLICY"}}
    told = subprocess.run(
        [sys.executable, "-c", "import bench.training.trainer"],
        env={**clean, "OMP_DISPLAY_ENV": "VERBOSE"}, capture_output=True, text=True, check=True, timeout=120,
    ).stderr  # fmt: skip
    assert f"GOMP_SPINCOUNT = '{SPIN_COUNT}'" in told


@pytest.mark.parametrize("device", ["cpu", pytest.param("cuda", marks=pytest.mark.slow)])
def test_processes_of_runs_inherit_it(device: str) -> None:
    """Forked from the server on a CPU, a fresh interpreter as on CUDA."""
    value = LocalEngine(device).run("tests.work:environment_variable", "GOMP_SPINCOUNT").outcome  # type: ignore[arg-type]
    assert value == os.environ.get("GOMP_SPINCOUNT")
    assert value is not None or "OMP_WAIT_POLICY" in os.environ
