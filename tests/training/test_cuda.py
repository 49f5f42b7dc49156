"""What only a GPU can show, and what of its way can be seen without one."""

from __future__ import annotations

import copy
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

import methods
from bench.data.batches import collate
from bench.data.device_texts import DeviceTexts
from bench.data.task import Task
from bench.inference.predict import predict
from bench.models.attention import MaskKnown
from bench.models.pretrained import PretrainedModel
from bench.records.spec import Budget, Truncation
from bench.rules import Kernels, Precision
from bench.system.meters import DeviceClock, MemoryMeter
from bench.training.graphs import Graphs, Work
from bench.training.trainer import Trainer
from bench.training.warm_up import shapes
from methods import MethodError
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


@pytest.mark.parametrize("truncation", ["head", "tail", "head+tail"])
def test_a_device_gathers_the_batch_that_the_host_makes(small_task: Task, truncation: Truncation) -> None:
    """The last text too, behind which there is nothing to read."""
    texts = DeviceTexts(small_task, small_task.train, 24, truncation, "cpu")
    count = len(small_task.train)
    for rows in (np.array([0, count - 1, 3, 3]), np.arange(count - 5, count)):
        ids, mask, labels = collate(small_task, small_task.train, rows, 24, truncation, 32)
        width = ids.shape[1]
        found = texts.batch(torch.from_numpy(rows), width, bool((mask == 0).any()))
        assert torch.equal(found.ids, ids)
        assert torch.equal(found.mask, mask)
        assert torch.equal(found.labels, labels)


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
def test_evaluation_is_neither_in_the_peak_nor_under_the_cap() -> None:
    torch.cuda.empty_cache()
    cap = torch.cuda.memory_reserved() + 2**26
    memory = MemoryMeter("cuda", cap=cap)
    memory.start()
    try:
        with memory.paused():
            torch.ones(2**25, device="cuda")
        torch.ones(2**20, device="cuda")
        assert memory.peak().cuda_reserved < cap  # type: ignore[operator]
        with pytest.raises(torch.OutOfMemoryError):
            torch.ones(2**25, device="cuda")
    finally:
        MemoryMeter("cuda").start()  # other tests have all of it


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
    """From its rows on: torch itself says where a CPU waits for a GPU."""
    trainer = on_cuda(family(kind), small_task, name, budget=Budget(amount=6, unit="steps"), precision="bf16")
    rows = np.arange(8)
    for _ in range(2):  # what is allocated and kept at first
        trainer._step(rows)
        trainer.late._pending = None
    torch.cuda.set_sync_debug_mode("error")
    try:
        trainer._step(rows)
    finally:
        torch.cuda.set_sync_debug_mode("default")
    trainer.late._pending = None


METHODS = methods.names(core=True)


def graphed(pretrained: PretrainedModel, task: Task, name: str, kernels: Kernels, steps: int, **fields: Any) -> Trainer:
    trainer = on_cuda(pretrained, task, name, budget=Budget(amount=steps, unit="steps"), kernels=kernels, **fields)
    trainer.run()
    return trainer


@pytest.mark.cuda
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", METHODS)
@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_a_graph_computes_what_its_kernels_compute(
    family: Callable[[str], PretrainedModel], small_task: Task, kind: str, name: str, precision: Precision
) -> None:
    """Over more than an epoch, so that a smaller batch is among them. Gradients of embeddings are added up in any order."""
    steps = len(small_task.train) // 8 + 4
    plain, graphs = (
        graphed(family(kind), small_task, name, kernels, steps, precision=precision) for kernels in ("plain", "graphs")
    )
    near = 1e-4 if precision == "fp32" else 0.02
    assert graphs.ledger.losses == pytest.approx(plain.ledger.losses, abs=near)
    assert len({round(loss, 3) for loss in graphs.ledger.losses}) > 3
    assert graphs.ledger.state_dict().keys() == plain.ledger.state_dict().keys()
    assert graphs.ledger.tokens_padded == plain.ledger.tokens_padded
    assert graphs.summary().frozen_sha256_after == plain.summary().frozen_sha256_after
    for mine, others in zip(graphs.trained, plain.trained, strict=True):
        torch.testing.assert_close(mine, others, rtol=near, atol=near)


@pytest.mark.cuda
@pytest.mark.parametrize("name", ["houlsby", "full", "head-only", "vera"])
@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_a_graph_goes_on_from_a_checkpoint(
    family: Callable[[str], PretrainedModel], small_task: Task, name: str, precision: Precision
) -> None:
    """VeRA has frozen matrices among its buffers, which a checkpoint fills."""
    settings: dict[str, Any] = {"kernels": "graphs", "precision": precision}
    whole = graphed(family("Bert"), small_task, name, steps=12, **settings)
    half = on_cuda(family("Bert"), small_task, name, budget=Budget(amount=12, unit="steps"), **settings)
    kept: dict[str, Any] = {}

    def keep(ledger: Any) -> None:
        if ledger.steps == 5 and not kept:
            state = half.state_dict()
            kept.update(copy.deepcopy(state))

    half.on_step = keep
    half.run()
    again = on_cuda(family("Bert"), small_task, name, budget=Budget(amount=12, unit="steps"), **settings)
    again.load_state_dict(kept)
    again.run()
    assert again.ledger.losses == pytest.approx(whole.ledger.losses, abs=1e-5)


@pytest.mark.cuda
def test_fp32_is_not_tf32() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        torch.set_float32_matmul_precision("highest")
    a = torch.randn(512, 512, generator=torch.Generator().manual_seed(0))
    apart = ((a.cuda() @ a.cuda()).cpu().double() - a.double() @ a.double()).abs().max()
    assert apart < 1e-3


@pytest.mark.cuda
def test_a_step_that_waits_cannot_be_recorded() -> None:
    graphs = Graphs()
    with pytest.raises(MethodError, match=r"cannot be recorded as a CUDA graph .*; use --kernels plain"):
        graphs.record({"key": Work(3, lambda at: at * at.sum().item())})


@pytest.mark.cuda
def test_a_graph_that_does_not_fit_is_out_of_memory() -> None:
    """Where only the recording does not: its memory is apart."""

    def work(at: torch.Tensor) -> torch.Tensor:
        some = at + 1  # torch warns of a recording that is empty when it ends
        return some[0] + torch.empty(2**50 if torch.cuda.is_current_stream_capturing() else 1, device="cuda")

    with pytest.raises(torch.OutOfMemoryError):
        Graphs().record({"key": Work(3, work)})


UNRECORDED = ("prefix", "mam", "loreft", "boft", "fourierft", "vb-lora")
"""Methods whose library waits for the device in a step, or copies to it from the CPU."""


@pytest.mark.cuda
@pytest.mark.parametrize("name", [name for name in methods.names() if name not in METHODS])
def test_every_method_is_recorded_or_says_that_it_cannot_be(
    family: Callable[[str], PretrainedModel], small_task: Task, name: str
) -> None:
    if name in UNRECORDED:
        with pytest.raises(MethodError, match="use --kernels plain"):
            graphed(family("Bert"), small_task, name, "graphs", 6, precision="bf16")
        return
    plain = graphed(family("Bert"), small_task, name, "plain", 6, precision="bf16")
    graphs = graphed(family("Bert"), small_task, name, "graphs", 6, precision="bf16")
    assert graphs.ledger.losses == pytest.approx(plain.ledger.losses, abs=0.02)
