"""bf16 goes from the embeddings to the features, and weights, hashes and files stay those of fp32."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

import methods
from bench.data.task import Task
from bench.inference.predict import predict
from bench.models.classifier import Classifier, load_classifier
from bench.models.pretrained import PretrainedModel
from bench.models.residual_stream import in_precision
from bench.records.spec import Budget
from bench.rules import Precision
from tests.classifiers import IDS, MASK, attached, loop_for, trained
from tests.conftest import FAMILIES, make_spec

KINDS = ("Bert", "Roberta", "DistilBert", "MPNet")
CORE = ("full", "houlsby", "pfeiffer", "lora", "bitfit", "head-only")
LABELS = torch.tensor([0, 1, 1])


def gradients(classifier: Classifier, precision: Precision) -> tuple[Tensor, dict[str, Tensor]]:
    """Logits of one batch, and what each trained weight learns from them."""
    classifier.zero_grad()
    with in_precision(classifier, precision):
        logits = classifier(IDS, MASK)
    nn.functional.cross_entropy(logits, LABELS).backward()
    return logits.detach(), {name: p.grad for name, p in classifier.named_parameters() if p.grad is not None}


@pytest.mark.parametrize(("kind", "name"), [*product(KINDS, CORE), *((kind, "full") for kind in FAMILIES if kind not in KINDS)])
def test_bf16_is_near_fp32_in_logits_and_gradients(family: Callable[[str], PretrainedModel], kind: str, name: str) -> None:
    classifier = attached(family(kind), name)
    before = {key: p.detach().clone() for key, p in classifier.named_parameters()}
    exact, learned = gradients(classifier, "fp32")
    rounded, coarse = gradients(classifier, "bf16")
    assert not torch.equal(rounded, exact)
    torch.testing.assert_close(rounded, exact, rtol=0.02, atol=0.02)
    assert coarse.keys() == learned.keys()
    assert {gradient.dtype for gradient in coarse.values()} == {torch.float32}
    whole = math.hypot(*(float(gradient.norm()) for gradient in learned.values()))
    apart = math.hypot(*(float((coarse[key] - gradient).norm()) for key, gradient in learned.items()))
    assert apart < 0.03 * whole
    after = dict(classifier.named_parameters())
    assert after.keys() == before.keys()
    assert all(isinstance(p, nn.Parameter) and torch.equal(p, before[key]) for key, p in after.items())


class _Dtypes(TorchDispatchMode):
    """Types of floating-point numbers that operators return."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[tuple[str, torch.dtype]] = []

    def __torch_dispatch__(self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None) -> Any:
        out = func(*args, **(kwargs or {}))
        if isinstance(out, Tensor) and out.is_floating_point():
            self.found.append((func.overloadpacket.__name__, out.dtype))
        return out


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", ["houlsby", "lora"])
def test_the_stream_is_cast_once_and_frozen_weights_once_for_all(
    family: Callable[[str], PretrainedModel], kind: str, name: str
) -> None:
    """Every layer in bf16: products, LayerNorms and residuals; of weights only those that train are cast again."""
    classifier = attached(family(kind), name)
    hidden: list[torch.dtype] = []
    for part in classifier.encoder.modules():
        if isinstance(part, nn.LayerNorm):
            part.register_forward_hook(lambda module, given, out: hidden.append(out.dtype))
    dtypes = []
    for _ in range(2):
        with _Dtypes() as mode, in_precision(classifier, "bf16"):
            classifier.features(IDS, MASK)
        dtypes.append(mode.found)
    assert hidden[: len(hidden) // 2] == [torch.float32] + [torch.bfloat16] * 4  # the embeddings' and two a layer
    assert hidden[: len(hidden) // 2] == hidden[len(hidden) // 2 :]
    products = [dtype for name, dtype in dtypes[1] if name in {"mm", "addmm", "bmm"}]
    assert len(products) > 12
    assert set(products) == {torch.bfloat16}
    learning = sum(p.requires_grad for p in classifier.encoder.parameters())
    casts = [name for name, dtype in dtypes[1] if name == "_to_copy" and dtype == torch.bfloat16]
    frozen = sum(not p.requires_grad for p in classifier.encoder.parameters())
    assert len(casts) <= learning + 1 + 2 * 2 < frozen  # the stream, and in each layer what MPNet adds to scores


def test_fp32_is_left_alone(tiny: PretrainedModel) -> None:
    classifier = attached(tiny, "houlsby")
    held = [dict(module._parameters) for module in classifier.modules()]
    hooks = len(classifier.encoder.embeddings._forward_hooks)  # type: ignore[union-attr, arg-type]
    with in_precision(classifier, "fp32"):
        now = [dict(module._parameters) for module in classifier.modules()]
        assert all(now[i][key] is value for i, parameters in enumerate(held) for key, value in parameters.items())
        assert len(classifier.encoder.embeddings._forward_hooks) == hooks  # type: ignore[union-attr, arg-type]


def test_an_error_inside_leaves_the_weights_and_an_encoder_without_embeddings_is_refused(tiny: PretrainedModel) -> None:
    classifier = attached(tiny, "lora")
    before = list(classifier.parameters())
    with pytest.raises(IndexError), in_precision(classifier, "bf16"):
        classifier.features(torch.full((1, 4), 10**6), torch.ones(1, 4))
    assert all(one is other for one, other in zip(before, classifier.parameters(), strict=True))
    assert not classifier.encoder.base_model.model.embeddings._forward_hooks  # type: ignore[union-attr, operator]
    with pytest.raises(ValueError, match="embeddings"), in_precision(nn.Linear(2, 2), "bf16"):
        pass


def test_a_frozen_weight_that_changes_is_cast_again(tiny: PretrainedModel) -> None:
    classifier = attached(tiny, "head-only").eval()
    other = copy.deepcopy(classifier)
    with torch.no_grad(), in_precision(classifier, "bf16"):
        before = classifier(IDS, MASK)
    for one in (classifier, other):
        with torch.no_grad():
            for p in one.encoder.parameters():
                if p.ndim == 2:
                    p.mul_(1.5)
    with torch.no_grad(), in_precision(classifier, "bf16"):
        after = classifier(IDS, MASK)
    with torch.no_grad(), in_precision(other, "bf16"):
        fresh = other(IDS, MASK)
    assert torch.equal(after, fresh)
    assert not torch.equal(after, before)


@pytest.mark.parametrize("name", CORE)
def test_a_run_in_bf16_keeps_fp32_weights_moments_and_hashes(tiny: PretrainedModel, small_task: Task, name: str) -> None:
    """Pieces of a batch in play; what is frozen has the hash that it has in a run of fp32."""
    budget = Budget(amount=6, unit="steps")
    exact, trainer = (trained(tiny, small_task, name, budget=budget, precision=p) for p in ("fp32", "bf16"))
    assert {p.dtype for p in trainer.classifier.parameters()} == {torch.float32}
    assert {t.dtype for kept in trainer.optimizer.state.values() for t in kept.values()} == {torch.float32}
    summary, in_fp32 = trainer.summary(), exact.summary()
    assert summary.frozen_sha256_before == summary.frozen_sha256_after == in_fp32.frozen_sha256_before
    assert trainer.ledger.losses != exact.ledger.losses
    assert trainer.ledger.losses == pytest.approx(exact.ledger.losses, abs=0.02)
    assert trainer.tensor_bytes() == exact.tensor_bytes()


@pytest.mark.parametrize("name", ["houlsby", "lora", "full"])
def test_what_was_trained_in_bf16_is_saved_in_fp32_and_answers_the_same(
    tiny: PretrainedModel, small_task: Task, name: str, tmp_path: Path
) -> None:
    from safetensors.torch import load_file

    first = trained(tiny, small_task, name, precision="bf16").classifier
    method, spec = methods.get(name), make_spec(name, precision="bf16")
    method.save(first.encoder, tmp_path / "saved")
    saved = [tensor for path in (tmp_path / "saved").glob("*.safetensors") for tensor in load_file(path).values()]
    assert {tensor.dtype for tensor in saved} == {torch.float32}
    second = load_classifier(tiny, seed=0, dropout=0.0, attention_dropout=0.0)
    second.encoder = method.load(second.encoder, tmp_path / "saved")
    second.head.load_state_dict(first.head.state_dict())
    split = small_task.validation
    assert np.array_equal(predict(first, small_task, split, spec), predict(second, small_task, split, spec))


def test_a_merged_lora_is_cast_anew(tiny: PretrainedModel, small_task: Task) -> None:
    """A copy of the trained encoder, merged in place, must not meet casts of what it was a copy of."""
    classifier = trained(tiny, small_task, "lora", precision="bf16", budget=Budget(amount=10, unit="steps")).classifier.eval()
    with torch.no_grad():
        for name, p in classifier.encoder.named_parameters():
            if "lora_B" in name:
                p.mul_(50)  # so that what was learned shows in bf16
    whole = methods.get("lora").merged(copy.deepcopy(classifier.encoder))
    merged = Classifier(whole, classifier.pooling, classifier.head).eval()
    bare = load_classifier(tiny, seed=0, dropout=0.0, attention_dropout=0.0).eval()
    bare.head = classifier.head
    with torch.no_grad():
        exact = merged(IDS, MASK)
        answers = []
        for model in (classifier, merged, bare):
            with in_precision(model, "bf16"):
                answers.append(model(IDS, MASK))
    assert (answers[1] - exact).norm() < 0.1 * (answers[2] - exact).norm()
    assert (answers[0] - exact).norm() < 0.1 * (answers[2] - exact).norm()


def test_the_rehearsal_leaves_no_trace_in_bf16(tiny: PretrainedModel, small_task: Task) -> None:
    trainer = loop_for(tiny, small_task, "houlsby", precision="bf16")
    before = {name: p.detach().clone() for name, p in trainer.classifier.named_parameters()}
    trainer.warm_up()
    assert all(torch.equal(p, before[name]) for name, p in trainer.classifier.named_parameters())
