"""Attention in blocks is attention: values, gradients, every family of encoders, and nothing of the scores is kept."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable
from contextlib import nullcontext

import pytest
import torch
from torch import Tensor
from torch.nn.functional import scaled_dot_product_attention
from transformers.models.mpnet.modeling_mpnet import MPNetSelfAttention

import bench.attention
import methods
from bench.attention import InBlocks, attend
from bench.checkpoint import Checkpoint
from bench.encoder import Classifier, load_classifier

BATCH, HEADS, LENGTH, WIDTH = 5, 2, 6, 4
IDS = torch.tensor([[101, 2023, 2003, 2307, 102], [101, 9643, 3185, 102, 1], [101, 2307, 3185, 9643, 102]])
MASK = (IDS != 1).long()


@pytest.fixture(autouse=True)
def blocks_of_two(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two reviews a block where there are 2 heads and 6 tokens, so that the last of five is alone."""
    monkeypatch.setattr(bench.attention, "SCORES", 2 * HEADS * LENGTH**2)


def operands(dtype: torch.dtype = torch.float64) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    """Query, key and value as encoders have them, a mask that hides the end of some reviews, and a bias by head."""
    generator = torch.Generator().manual_seed(0)

    def drawn(*size: int) -> Tensor:
        return torch.randn(*size, generator=generator, dtype=dtype)

    query, key, value = (drawn(BATCH, LENGTH, HEADS, WIDTH).transpose(1, 2).requires_grad_() for _ in range(3))
    mask = torch.zeros(BATCH, 1, 1, LENGTH, dtype=dtype)
    mask[1, ..., 4:] = mask[4, ..., 1:] = torch.finfo(dtype).min
    return query, key, value, mask, drawn(1, HEADS, LENGTH, LENGTH).requires_grad_()


def in_full(query: Tensor, key: Tensor, value: Tensor, mask: Tensor, bias: Tensor) -> Tensor:
    return (query @ key.transpose(-1, -2) / math.sqrt(WIDTH) + bias + mask).softmax(-1) @ value


def test_values_and_gradients_are_those_of_the_formula() -> None:
    given = operands()
    learning = [tensor for tensor in given if tensor.requires_grad]
    ours, full = attend(*given), in_full(*given)
    assert torch.allclose(ours, full, atol=1e-12)
    weights = torch.arange(ours.numel(), dtype=ours.dtype).reshape(ours.shape).sin()
    for mine, theirs in zip(
        torch.autograd.grad((ours * weights).sum(), learning),
        torch.autograd.grad((full * weights).sum(), learning),
        strict=True,
    ):
        assert torch.allclose(mine, theirs, atol=1e-12)
        assert mine.abs().max() > 1e-3  # it says something


def test_in_bf16_it_errs_no_more_than_torch() -> None:
    exact = operands()
    query, key, value, mask, _ = operands(torch.float32)
    rounded = [tensor.bfloat16() for tensor in (query, key, value)]
    truth = in_full(*exact[:4], torch.zeros(1, dtype=torch.float64))
    mine = (attend(*rounded, mask) - truth).abs().max()
    theirs = (scaled_dot_product_attention(*rounded, attn_mask=mask.bfloat16()) - truth).abs().max()
    assert mine <= 2 * theirs + 2**-8


def test_no_scores_are_kept_for_the_backward_pass() -> None:
    kept: list[int] = []
    query, key, value, mask, _ = operands()
    with torch.autograd.graph.saved_tensors_hooks(lambda tensor: kept.append(tensor.numel()) or tensor, lambda tensor: tensor):  # type: ignore[func-returns-value]
        attend(query, key, value, mask)
    assert max(kept) == BATCH * HEADS * LENGTH * WIDTH < BATCH * HEADS * LENGTH**2


def test_what_is_not_plain_is_left_to_torch(monkeypatch: pytest.MonkeyPatch) -> None:
    query, key, value, mask, bias = operands()
    calls: list[object] = []
    monkeypatch.setattr(bench.attention, "attend", lambda *given, **named: calls.append(given) or attend(*given, **named))  # type: ignore[func-returns-value]
    with InBlocks():
        for named in (
            {"dropout_p": 0.1},
            {"is_causal": True},
            {"attn_mask": mask == 0},
            {"attn_mask": bias},
            {"attn_mask": mask[0, 0]},
        ):
            scaled_dot_product_attention(query, key, value, **named)  # type: ignore[arg-type]
        scaled_dot_product_attention(query[:, :, :2], key, value)
        assert not calls
        scaled_dot_product_attention(query, key, value, attn_mask=mask)
    assert len(calls) == 1


def whole(classifier: Classifier) -> tuple[Tensor, dict[str, Tensor]]:
    """Features and gradients of one batch."""
    features = classifier.features(IDS, MASK)
    classifier.head(features).logsumexp(-1).sum().backward()
    return features.detach(), {name: p.grad for name, p in classifier.named_parameters() if p.grad is not None}


@pytest.mark.parametrize("name", ["full", "houlsby", "lora"])
@pytest.mark.parametrize("kind", ["Bert", "Roberta", "XLMRoberta", "DistilBert", "MPNet"])
def test_every_family_takes_it_and_computes_the_same(
    kind: str, name: str, family: Callable[[str], Checkpoint], monkeypatch: pytest.MonkeyPatch
) -> None:
    classifier = load_classifier(family(kind), seed=0, dropout=0.0, attention_dropout=0.0)
    plain = copy.deepcopy(classifier)
    plain.attention = nullcontext
    for module in plain.modules():
        if isinstance(module, MPNetSelfAttention):
            module.__class__ = MPNetSelfAttention
    for one in (classifier, plain):
        torch.manual_seed(0)
        one.encoder = methods.get(name).attach(one.encoder)
    calls: list[object] = []
    monkeypatch.setattr(bench.attention, "attend", lambda *given, **named: calls.append(given) or attend(*given, **named))  # type: ignore[func-returns-value]
    theirs, their_gradients = whole(plain)
    assert not calls
    ours, our_gradients = whole(classifier)
    assert len(calls) == 2  # layers
    assert torch.allclose(ours, theirs, atol=1e-6)
    assert our_gradients.keys() == their_gradients.keys()
    for key, gradient in our_gradients.items():
        assert torch.allclose(gradient, their_gradients[key], rtol=1e-4, atol=1e-6), key


def test_dropout_of_mpnet_is_that_of_torch(family: Callable[[str], Checkpoint], monkeypatch: pytest.MonkeyPatch) -> None:
    classifier = load_classifier(family("MPNet"), seed=0, dropout=0.0, attention_dropout=0.5)
    first, second = (classifier.features(IDS, MASK) for _ in range(2))
    assert not torch.equal(first, second)
    classifier.eval()
    assert torch.equal(classifier.features(IDS, MASK), classifier.features(IDS, MASK))
