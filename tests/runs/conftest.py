"""Jobs and commands that tests of runs share, and an environment without a cluster of the person's own."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from bench.models.pretrained import PretrainedModel
from bench.training.job import Job
from tests.conftest import make_job, make_spec


@pytest.fixture
def subject(tiny: PretrainedModel, small_folder: Path) -> Job:
    return make_job(make_spec(), tiny, small_folder)


@pytest.fixture(scope="module", autouse=True)
def quiet() -> Iterator[None]:
    """Tests leave no token of Ray's in the home of the person who runs them, and join no cluster of theirs."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RAY_AUTH_MODE", "disabled")
        patch.delenv("RAY_ADDRESS", raising=False)
        yield


@pytest.fixture
def what(tiny_folder: Path, small_folder: Path) -> list[str]:
    return ["--method", "lora", "--encoder", str(tiny_folder), "--data", str(small_folder), "--device", "cpu"]
