"""Latency is measured on the trained classifier, which comes out as it went in."""

from __future__ import annotations

import pytest
import torch

import methods
from bench.data.task import Task
from bench.inference import latency
from bench.inference.latency import BATCHES, measure_latency
from bench.models.pretrained import PretrainedModel
from tests.classifiers import IDS, MASK, trained
from tests.conftest import make_spec


@pytest.mark.parametrize("name", ["houlsby", "lora", "full", "head-only"])
def test_every_batch_size_beside_the_bare_encoder(
    tiny: PretrainedModel, small_task: Task, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(latency, "SECONDS", 0.05)
    classifier, method = trained(tiny, small_task, name).classifier, methods.get(name)
    with torch.no_grad():
        before = classifier(IDS, MASK)
    measured = measure_latency(classifier, method, tiny, make_spec(name), filler=102)
    assert [one.batch for one in measured] == list(BATCHES)
    assert all(one.milliseconds > 0 and one.bare_milliseconds > 0 for one in measured)
    assert all((one.merged_milliseconds is not None) == method.merges for one in measured)
    assert classifier.training
    with torch.no_grad():
        assert torch.equal(classifier(IDS, MASK), before)


def test_what_is_timed_is_the_whole_length(tiny: PretrainedModel, small_task: Task, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(latency, "SECONDS", 0.0)
    shapes: set[tuple[int, ...]] = set()
    classifier = trained(tiny, small_task, "pfeiffer").classifier
    classifier.encoder.register_forward_pre_hook(
        lambda module, args, kwargs: shapes.add(tuple(kwargs["input_ids"].shape)), with_kwargs=True
    )
    measure_latency(classifier, methods.get("pfeiffer"), tiny, make_spec("pfeiffer", max_length=24), filler=102)
    assert shapes == {(1, 24), (32, 24)}
