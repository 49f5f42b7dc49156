"""What only a GPU can show, and what of its way can be seen without one."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

import methods
from bench.data.task import Task
from bench.inference.predict import predict
from bench.models.attention import MaskKnown
from bench.models.pretrained import PretrainedModel
from bench.records.spec import Budget
from bench.rules import Precision
from bench.system.meters import DeviceClock, MemoryMeter
from bench.training.trainer import Trainer
from bench.training.warm_up import shapes
from tests.classifiers import IDS, MASK, attached, trained
from tests.conftest import make_spec

KINDS = ("Bert", "Roberta", "DistilBert", "MPNet")


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", ["houlsby", "lora"])
@pytest.mark.parametrize("padded", [True, False])
def test_a_mask_that_is_known_is_not_asked(
    family: Callable[[str], PretrainedModel], kind: str, name: str, padded: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nor does it change what comes out; the function that a GPU would be waited for in is never called."""
    classifier = attached(family(kind), name).eval()
    mask = MASK if padded else torch.ones_like(MASK)
    with torch.no_grad():
        expected = classifier.encoder(input_ids=IDS, attention_mask=mask).last_hidden_state
        asked: list[Any] = []
        whole = torch.Tensor.__bool__
        monkeypatch.setattr(torch.Tensor, "__bool__", lambda self: asked.append(self) or whole(self))
        with MaskKnown(padded):
            found = classifier.encoder(input_ids=IDS, attention_mask=mask).last_hidden_state
    assert not asked
    shown = mask.bool()
    torch.testing.assert_close(found[shown], expected[shown], rtol=1e-5, atol=1e-6)


def test_everything_else_is_asked() -> None:
    with MaskKnown(hides=True):
        assert torch.all(torch.tensor([True, True]))
        assert torch.all(torch.ones(2, 2, dtype=torch.bool), dim=1).all()


def test_a_gpu_is_shown_every_shape_that_can_come(small_task: Task) -> None:
    texts = len(small_task.train)
    assert list(shapes("cpu", texts, 7, 80, 32)) == [(7, 80, False)]
    shown = set(shapes("cuda", texts, 7, 80, 32))
    assert {shape[1] for shape in shown} == {32, 64, 80}
    assert {shape[0] for shape in shown} == {7, texts % 7} - {0}
    assert {shape[2] for shape in shown} == {True, False}
    assert len(shown) == 2 * 3 * len({7, texts % 7} - {0})


def on_cuda(pretrained: PretrainedModel, task: Task, name: str, **fields: Any) -> Trainer:
    spec = make_spec(name, device="cuda", **fields)
    classifier = attached(pretrained, name, spec.seed).to("cuda")
    memory = MemoryMeter("cuda")
    memory.start()
    trainer = Trainer(classifier, task, spec, methods.get(name).encodes_once, DeviceClock("cuda"), memory)
    trainer.warm_up()
    return trainer


@pytest.mark.cuda
def test_a_meter_starts_where_nothing_has_used_the_device() -> None:
    memory = MemoryMeter("cuda")
    memory.start()
    torch.ones(2**20, device="cuda")
    assert memory.peak().cuda_allocated >= 2**22  # type: ignore[operator]


@pytest.mark.cuda
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", ["full", "houlsby", "lora", "bitfit", "head-only"])
@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_training_is_what_it_is_on_a_cpu(
    family: Callable[[str], PretrainedModel], small_task: Task, kind: str, name: str, precision: Precision
) -> None:
    budget = Budget(amount=6, unit="steps")
    here = trained(family(kind), small_task, name, budget=budget)
    there = on_cuda(family(kind), small_task, name, budget=budget, precision=precision)
    there.run()
    near = 1e-3 if precision == "fp32" else 0.03
    assert there.ledger.losses == pytest.approx(here.ledger.losses, abs=near)
    summary = there.summary()
    assert summary.frozen_sha256_before == summary.frozen_sha256_after == here.summary().frozen_sha256_after
    assert {p.dtype for p in there.classifier.parameters()} == {torch.float32}
    split = small_task.validation
    logits = predict(there.classifier, small_task, split, there.spec)
    assert np.abs(logits - predict(here.classifier, small_task, split, here.spec)).max() < 20 * near


@pytest.mark.cuda
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", ["full", "houlsby", "lora"])
def test_a_step_waits_for_nothing(family: Callable[[str], PretrainedModel], small_task: Task, kind: str, name: str) -> None:
    """From its tensors on: torch itself says where a CPU waits for a GPU."""
    trainer = on_cuda(family(kind), small_task, name, budget=Budget(amount=6, unit="steps"), precision="bf16")
    ids = torch.full((8, 32), int(small_task.suffix[0]))
    mask = torch.ones_like(ids)
    mask[:, -3:] = 0
    rows, labels = np.arange(8), torch.zeros(8, dtype=torch.int64)
    for _ in range(2):  # what is allocated and kept at first
        trainer._step(rows, ids, mask, labels)
        trainer.late._pending = None
    torch.cuda.set_sync_debug_mode("error")
    try:
        trainer._step(rows, ids, mask, labels)
    finally:
        torch.cuda.set_sync_debug_mode("default")
    trainer.late._pending = None


@pytest.mark.cuda
def test_fp32_is_not_tf32() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        torch.set_float32_matmul_precision("highest")
    a = torch.randn(512, 512, generator=torch.Generator().manual_seed(0))
    apart = ((a.cuda() @ a.cuda()).cpu().double() - a.double() @ a.double()).abs().max()
    assert apart < 1e-3
