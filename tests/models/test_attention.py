"""Attention in blocks is attention: values, gradients, every family of encoders, and nothing of the scores is kept."""

from __future__ import annotations

import copy
import itertools
import math
import re
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn.functional import scaled_dot_product_attention

import bench.models.attention
import methods
from bench.models.attention import InBlocks, attend
from bench.models.classifier import Classifier, load_classifier
from bench.models.pretrained import PretrainedModel
from bench.models.residual_stream import in_precision
from bench.rules import Precision
from tests.classifiers import IDS, MASK

BATCH, HEADS, LENGTH, WIDTH = 5, 2, 6, 4


@pytest.fixture(autouse=True)
def blocks_of_two(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two reviews a block where there are 2 heads and 6 tokens, so that the last of five is alone."""
    monkeypatch.setattr(bench.models.attention, "SCORES", 2 * HEADS * LENGTH**2)


def operands(dtype: torch.dtype = torch.float64) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    """Query, key and value as encoders have them, a mask that hides the end of some reviews, and a bias by head."""
    generator = torch.Generator().manual_seed(0)

    def drawn(*size: int) -> Tensor:
        return torch.randn(*size, generator=generator, dtype=dtype)

    query, key, value = (drawn(BATCH, LENGTH, HEADS, WIDTH).transpose(1, 2).requires_grad_() for _ in range(3))
    mask = torch.zeros(BATCH, 1, 1, LENGTH, dtype=dtype)
    mask[1, ..., 4:] = mask[4, ..., 1:] = torch.finfo(dtype).min
    return query, key, value, mask, drawn(1, HEADS, LENGTH, LENGTH).requires_grad_()


def in_full(query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None = None, bias: Tensor | None = None) -> Tensor:
    scores = query @ key.transpose(-1, -2) / math.sqrt(query.shape[-1])
    for added in (mask, bias):
        scores = scores if added is None else scores + added
    return scores.softmax(-1) @ value


def derived(out: Tensor, learning: Sequence[Tensor]) -> list[Tensor]:
    """Gradients of a loss to which every number of the output counts."""
    weights = torch.arange(out.numel(), dtype=torch.float64).reshape(out.shape).sin()
    return list(torch.autograd.grad((out * weights).sum(), learning))


@pytest.mark.parametrize("added", [0, 1, 2], ids=["plain", "mask", "mask and bias"])
@pytest.mark.parametrize("prefix", [0, 3], ids=["", "after a prefix"])
def test_values_and_gradients_are_those_of_the_formula(added: int, prefix: int) -> None:
    query, key, value, *rest = (tensor.detach() for tensor in operands())
    longer = [torch.cat([tensor[:, :, :prefix] + 1, tensor], 2) for tensor in (key, value)]
    learning = [tensor.requires_grad_() for tensor in (query, *longer)]
    more = [torch.cat([tensor[..., :prefix] * 0, tensor], -1) for tensor in rest[:added]]
    learning += [bias.requires_grad_() for bias in more[1:]]
    ours, full = attend(*learning[:3], *more), in_full(*learning[:3], *more)
    assert torch.allclose(ours, full, rtol=0, atol=1e-12)
    for mine, theirs in zip(derived(ours, learning), derived(full, learning), strict=True):
        assert torch.allclose(mine, theirs, rtol=0, atol=1e-12)
        assert mine.abs().max() > 1e-3  # it says something


def test_a_mask_for_every_token_is_taken_as_it_is() -> None:
    query, key, value, mask, _ = operands()
    whole = mask.expand(-1, -1, LENGTH, -1)
    assert torch.equal(attend(query, key, value, whole), attend(query, key, value, mask))


def test_in_bf16_it_errs_as_plain_attention_does() -> None:
    generator = torch.Generator().manual_seed(0)
    exact = [torch.randn(4, 2, 64, 32, generator=generator, dtype=torch.float64) for _ in range(3)]
    exact[0] *= 4  # scores of up to 20, where bf16 is coarse
    rounded = [tensor.bfloat16().requires_grad_() for tensor in exact]
    exact = [tensor.detach().double().requires_grad_() for tensor in rounded]
    truth, ours, plain = in_full(*exact), attend(*rounded), in_full(*rounded)
    pairs = zip(
        [truth, *derived(truth, exact)], [ours, *derived(ours, rounded)], [plain, *derived(plain, rounded)], strict=True
    )
    for right, mine, theirs in pairs:
        assert (mine - right).norm() < 0.02 * right.norm()
        assert (mine - right).norm() < 1.2 * (theirs - right).norm()


def test_no_scores_are_kept_for_the_backward_pass() -> None:
    kept: list[int] = []
    query, key, value, mask, _ = operands()
    with torch.autograd.graph.saved_tensors_hooks(lambda tensor: kept.append(tensor.numel()) or tensor, lambda tensor: tensor):  # type: ignore[func-returns-value]
        attend(query, key, value, mask)
    assert max(kept) == BATCH * HEADS * LENGTH * WIDTH < BATCH * HEADS * LENGTH**2


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> list[object]:
    """What `attend` was called with, as it is called."""
    found: list[object] = []

    def counted(*given: Any) -> Tensor:
        found.append(given)
        return attend(*given)

    monkeypatch.setattr(bench.models.attention, "attend", counted)
    return found


def test_what_is_not_plain_is_left_to_torch(calls: list[object]) -> None:
    query, key, value, mask, bias = operands()
    others: list[dict[str, Any]] = [
        {"dropout_p": 0.1}, {"is_causal": True}, {"scale": 1.0}, {"attn_mask": mask == 0}, {"attn_mask": bias.detach()},
        {"attn_mask": mask[0, 0]}, {"attn_mask": mask[:1]}, {"attn_mask": mask.clone().requires_grad_()},
    ]  # fmt: skip
    with InBlocks():
        for named in others:
            scaled_dot_product_attention(query, key, value, **named)
        scaled_dot_product_attention(query, key, value[..., :2])
        assert not calls
        scaled_dot_product_attention(query, key, value, attn_mask=mask)
        scaled_dot_product_attention(query, key, value)
    assert len(calls) == 2


def taken(classifier: Classifier, name: str, precision: Precision, autocast: bool = False) -> tuple[Tensor, dict[str, Tensor]]:
    """Features and gradients of one batch with a method attached; the backward pass is outside, as in training."""
    torch.manual_seed(0)
    classifier.encoder = methods.get(name).attach(classifier.encoder)
    with in_precision(classifier, precision), torch.autocast("cpu", torch.bfloat16, enabled=autocast):
        features = classifier.features(IDS, MASK)
        loss = classifier.head(features).float().logsumexp(-1).sum()
    loss.backward()
    return features.detach(), {name: p.grad for name, p in classifier.named_parameters() if p.grad is not None}


def as_the_library_has_it(classifier: Classifier) -> Classifier:
    """A copy with the attention that transformers gives it."""
    plain = copy.deepcopy(classifier)
    plain.attention = nullcontext
    for module in plain.modules():
        for library, ours in bench.models.attention._mpnet_classes().items():
            if type(module) is ours:
                module.__class__ = library
    return plain


def sharp(classifier: Classifier) -> Classifier:
    """With weights so large that attention is far from even, and what it learns is not lost among other gradients."""
    with torch.no_grad():
        for name, parameter in classifier.encoder.named_parameters():
            if parameter.ndim == 2 and "embeddings" not in name:
                parameter.mul_(20)
    return classifier


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
@pytest.mark.parametrize(
    ("kind", "name"),
    [
        *itertools.product(["Bert", "Roberta", "XLMRoberta", "DistilBert", "MPNet"], ["full", "houlsby", "lora"]),
        ("Bert", "prefix"),
        ("Roberta", "mam"),
    ],
)
def test_every_family_takes_it_and_computes_the_same(
    kind: str, name: str, precision: Precision, family: Callable[[str], PretrainedModel], calls: list[object]
) -> None:
    classifier = sharp(load_classifier(family(kind), seed=0, dropout=0.0, attention_dropout=0.0))
    theirs, their_gradients = taken(as_the_library_has_it(classifier), name, precision, precision == "bf16")
    assert not calls
    ours, our_gradients = taken(classifier, name, precision)
    assert len(calls) == 2  # layers
    assert our_gradients.keys() == their_gradients.keys()
    near = 1e-4 if precision == "fp32" else 0.1
    assert (ours - theirs).norm() < near * theirs.norm()
    whole = math.hypot(*(float(gradient.norm()) for gradient in their_gradients.values()))
    apart = math.hypot(*(float((our_gradients[key] - gradient).norm()) for key, gradient in their_gradients.items()))
    assert apart < near * whole
    if name == "full" and precision == "fp32":
        for key, gradient in their_gradients.items():
            if re.search(r"\b(query|q|q_lin|relative_attention_bias)\.weight", key):
                assert gradient.norm() > 1e-4
                assert (our_gradients[key] - gradient).norm() < 1e-3 * gradient.norm(), key


def test_mpnet_with_dropout_takes_torchs(family: Callable[[str], PretrainedModel], calls: list[object]) -> None:
    almost_none, none = (
        sharp(load_classifier(family("MPNet"), seed=0, dropout=0.0, attention_dropout=p)) for p in (1e-30, 0.0)
    )
    by_torch = almost_none.features(IDS, MASK)
    assert not calls
    assert torch.allclose(by_torch, none.features(IDS, MASK), atol=1e-5)
    assert len(calls) == 2
    torch.testing.assert_close(almost_none.eval().features(IDS, MASK), none.eval().features(IDS, MASK), rtol=0, atol=0)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_bias_and_mask_of_mpnet_are_added_once_a_forward_pass(dtype: torch.dtype) -> None:
    bias, mask = torch.randn(1, 2, 6, 6, requires_grad=True), operands()[3].to(dtype)
    first = bench.models.attention._added(bias, mask)
    assert bench.models.attention._added(bias, mask) is first
    assert first.dtype == dtype
    assert torch.equal(first, bias.to(dtype) + mask)
    (first * 2).sum().backward()
    assert torch.equal(bias.grad, torch.full_like(bias, 2.0 * len(mask)))


@pytest.mark.parametrize("length", [1, 5, 130])
def test_buckets_that_are_kept_are_the_librarys(family: Callable[[str], PretrainedModel], length: int) -> None:
    encoder = load_classifier(family("MPNet"), seed=0, dropout=0.0, attention_dropout=0.0).encoder.encoder
    theirs = encoder.compute_position_bias(torch.zeros(3, length, 32))  # type: ignore[union-attr, operator]
    buckets = bench.models.attention._buckets(encoder.relative_position_bucket, length, torch.device("cpu"))
    ours = encoder.relative_attention_bias(buckets).permute(2, 0, 1).unsqueeze(0)  # type: ignore[union-attr, operator]
    assert torch.equal(ours, theirs)


def test_mpnet_answers_what_only_its_own_attention_can(family: Callable[[str], PretrainedModel]) -> None:
    encoder = load_classifier(family("MPNet"), seed=0, dropout=0.0, attention_dropout=0.0).encoder
    found = encoder(input_ids=IDS, attention_mask=MASK, output_attentions=True)
    assert [tuple(scores.shape) for scores in found.attentions] == [(3, 2, 5, 5)] * 2
    assert torch.allclose(found.last_hidden_state, encoder(input_ids=IDS, attention_mask=MASK).last_hidden_state, atol=1e-6)
