"""Attention on a CPU, a few reviews at a time, the same for every method.

Torch's own kernel for CPUs takes half of a step of a small encoder in bf16. MPNet, for which transformers has no kernel, writes
and reads the scores of a whole batch in every operation, more than a processor's caches hold. Here plain products are taken,
of as few reviews at a time as have `SCORES` scores; the backward pass computes the scores again, so that none are kept (Dao et
al. 2022, arXiv 2205.14135, algorithm 4, with blocks of reviews in the place of tiles). `make levers` measures what it gains.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from functools import cache
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import scaled_dot_product_attention
from torch.overrides import TorchFunctionMode

__all__ = ["InBlocks", "attend", "use_for_mpnet"]

SCORES = 2**20
"""Scores of a block, which has one review at least: those of 12 heads and 256 tokens are three quarters of it."""


class InBlocks(TorchFunctionMode):
    """While it lasts, torch's attention without dropout is computed by `attend` where its tensors are on a CPU."""

    def __torch_function__(self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None) -> Any:
        return (_attention if func is scaled_dot_product_attention else func)(*args, **(kwargs or {}))


def _attention(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attn_mask: Tensor | None = None,
    dropout_p: float = 0.0,
    is_causal: bool = False,
    **more: Any,
) -> Tensor:
    """Torch's function: `attend` where attention is as encoders have it, and torch's own way where it is anything else."""
    masked = attn_mask is None or (attn_mask.is_floating_point() and attn_mask.ndim == 4 and not attn_mask.requires_grad)
    same = query.shape == key.shape == value.shape and query.dtype == key.dtype == value.dtype
    if query.device.type == "cpu" and query.ndim == 4 and same and masked and not (dropout_p or is_causal or more):
        return attend(query, key, value, attn_mask)
    return scaled_dot_product_attention(query, key, value, attn_mask, dropout_p, is_causal, **more)


def attend(query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None = None, bias: Tensor | None = None) -> Tensor:
    """softmax(QKᵀ/√d + mask + bias)·V, [batch, heads, length, d], as Q, K and V are.

    The mask is [batch, 1, 1 or length, length], and nothing learns from it; the bias [1, heads, length, length] may be trained.
    """
    found: Tensor = _Attention.apply(query, key, value, mask, bias)  # type: ignore[no-untyped-call]
    return found


class _Attention(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None, bias: Tensor | None) -> Tensor:
        mask = None if mask is None else mask.to(query.dtype)
        bias = None if bias is None else bias.to(query.dtype)
        query = query / math.sqrt(query.shape[-1])
        out = _like(query)
        for part in _blocks(query):
            out[part] = _probabilities(query[part], key[part], mask, bias, part) @ value[part]
        ctx.save_for_backward(query, key, value, mask, bias)
        return out

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        (d_out,) = gradients
        query, key, value, mask, bias = ctx.saved_tensors
        d_query, d_key, d_value = _like(query), _like(query), _like(query)
        d_bias = torch.zeros(bias.shape) if ctx.needs_input_grad[4] else None
        for part in _blocks(query):
            probabilities = _probabilities(query[part], key[part], mask, bias, part)
            d_value[part] = probabilities.transpose(-1, -2) @ d_out[part]
            d_probabilities = d_out[part] @ value[part].transpose(-1, -2)
            d_scores = torch._softmax_backward_data(d_probabilities, probabilities, -1, query.dtype)
            d_query[part] = d_scores @ key[part]
            d_key[part] = d_scores.transpose(-1, -2) @ query[part]
            if d_bias is not None:
                d_bias += d_scores.sum(0, keepdim=True, dtype=torch.float32)
        return d_query / math.sqrt(query.shape[-1]), d_key, d_value, None, d_bias


def _probabilities(query: Tensor, key: Tensor, mask: Tensor | None, bias: Tensor | None, part: slice) -> Tensor:
    """Of the reviews of a block, [block, heads, length, length], from a query that is already over √d."""
    scores = query @ key.transpose(-1, -2)
    if bias is not None:
        scores += bias
    if mask is not None:
        scores += mask[part]
    return scores.softmax(-1)


def _blocks(query: Tensor) -> Iterator[slice]:
    batch, heads, length, _ = query.shape
    size = max(1, SCORES // (heads * length * length))
    return (slice(start, start + size) for start in range(0, batch, size))


def _like(tensor: Tensor) -> Tensor:
    """Room for a tensor of this shape, heads beside each other: the layers that follow read it so, without a copy."""
    batch, heads, length, width = tensor.shape
    return tensor.new_empty(batch, length, heads, width).transpose(1, 2)


def use_for_mpnet(encoder: nn.Module) -> None:
    """Give an MPNet encoder, changed in place, this attention, or torch's where there is dropout or another device.

    Transformers has only the plain one for it, whose scores get a bias by distance (Song et al. 2020, arXiv 2004.09297).
    Modules and weights keep their names, so methods attach as before.
    """
    plain, better = _classes()
    for module in encoder.modules():
        if type(module) is plain:
            module.__class__ = better


@cache
def _classes() -> tuple[type[nn.Module], type[nn.Module]]:
    from transformers.models.mpnet.modeling_mpnet import MPNetSelfAttention

    class Attention(MPNetSelfAttention):  # type: ignore[misc]
        def forward(
            self, hidden_states: Tensor, attention_mask: Tensor, head_mask: Any, position_bias: Tensor, **_: Any
        ) -> Any:
            def heads(projection: nn.Module) -> Tensor:
                return projection(hidden_states).unflatten(-1, (self.num_attention_heads, -1)).transpose(1, 2)  # type: ignore[no-any-return]

            query, key, value = heads(self.q), heads(self.k), heads(self.v)
            bias = position_bias[:1]  # the library repeats it for every review
            dropout = self.dropout.p if self.training else 0.0
            if dropout or query.device.type != "cpu":
                added = (bias + attention_mask).to(query.dtype)
                out = scaled_dot_product_attention(query, key, value, attn_mask=added, dropout_p=dropout)
            else:
                out = attend(query, key, value, attention_mask, bias)
            return (self.o(out.transpose(1, 2).flatten(2)),)

    return MPNetSelfAttention, Attention
