"""Benchmark results carry the key that decides whether a baseline binds them."""

from __future__ import annotations

from typing import Any

import pytest


def pytest_benchmark_update_machine_info(config: pytest.Config, machine_info: dict[str, Any]) -> None:
    import torch

    from bench.records.environment import library_versions
    from bench.system.device import cpu_model
    from tests.benchmarks.compare import LIBRARIES

    versions = library_versions()
    machine_info["baseline_key"] = {
        "cpu": cpu_model(),
        "threads": torch.get_num_threads(),
        "versions": {name: versions[name] for name in LIBRARIES},
    }
