"""Attention on a CPU, a few reviews at a time, the same for every method.

Torch's own kernel for CPUs takes much of a step of MiniLM in bf16. MPNet, for which transformers has no kernel, writes
and reads the scores of a whole batch in every operation, more than a processor's caches hold. Here plain products are taken,
of as few reviews at a time as have `SCORES` scores; the backward pass computes the scores again, so that none are kept (Dao et
al. 2022, arXiv 2205.14135, algorithm 4, blocks of reviews in the place of tiles). `make ablations` measures what MiniLM gains.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from functools import cache, lru_cache
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.nn.functional import scaled_dot_product_attention
from torch.overrides import TorchFunctionMode

__all__ = ["InBlocks", "MaskKnown", "adapt_attention", "attend"]

SCORES = 2**20
"""Scores of a block, which has one review at least: those of 12 heads and 256 tokens are three quarters of it. They take 2 MiB
in bf16, about what the caches of two cores hold; with a third of them to three times as many, a probe was equally fast."""


class InBlocks(TorchFunctionMode):
    """Context in which `attend` computes torch's attention without dropout on a CPU."""

    def __torch_function__(self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None) -> Any:
        return (_attention if func is scaled_dot_product_attention else func)(*args, **(kwargs or {}))


class MaskKnown(TorchFunctionMode):
    """Context that declares whether a mask [batch, length] hides anything.

    Transformers asks the mask itself, `torch.all(mask == 1)`, for which the CPU would wait until a GPU has nothing left to do.
    """

    def __init__(self, hides: bool) -> None:
        super().__init__()
        self._hides = hides

    def __torch_function__(self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None) -> Any:
        if func is torch.all and len(args) == 1 and not kwargs and args[0].ndim == 2 and args[0].dtype == torch.bool:
            return not self._hides
        return func(*args, **(kwargs or {}))


def _attention(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attn_mask: Tensor | None = None,
    dropout_p: float = 0.0,
    is_causal: bool = False,
    **more: Any,
) -> Tensor:
    """Dispatch torch's function: to `attend` for plain encoder attention, else to torch."""
    plain = query.device.type == "cpu" and query.ndim == 4 and key.shape == value.shape
    plain = plain and (*query.shape[:2], query.shape[-1]) == (*key.shape[:2], key.shape[-1])
    if attn_mask is not None:
        by_review = attn_mask.ndim == 4 and attn_mask.shape[:2] == (len(query), 1)
        plain = plain and by_review and attn_mask.is_floating_point() and not attn_mask.requires_grad
    if plain and not (dropout_p or is_causal or more):
        return attend(query, key, value, attn_mask)
    return scaled_dot_product_attention(query, key, value, attn_mask, dropout_p, is_causal, **more)


def attend(query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None = None, bias: Tensor | None = None) -> Tensor:
    """softmax(QKᵀ/√d + mask + bias)·V, [batch, heads, length, d], as Q is, and in the type of Q, K and V.

    K and V have a length of their own, which a prefix makes longer. The mask is [batch, 1, 1 or length, keys], and nothing
    learns from it; the bias [1, heads, length, keys] may be trained.
    In bf16 scores are rounded to bf16, as in attention written out; torch's kernel keeps them in fp32.
    """
    out: Tensor = _Attention.apply(query, key, value, mask, bias)  # type: ignore[no-untyped-call]
    return out


class _Attention(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None, bias: Tensor | None) -> Tensor:
        query = query / math.sqrt(query.shape[-1])
        out = _empty_by_token(query)
        rounded = None if bias is None else bias.to(query.dtype)
        for part in _blocks(query, key):
            out[part] = _probabilities(query[part], key[part], mask, rounded, part) @ value[part]
        ctx.save_for_backward(query, key, value, mask, bias)
        return out

    @staticmethod
    @once_differentiable  # type: ignore[untyped-decorator]
    def backward(ctx: Any, d_out: Tensor) -> tuple[Tensor | None, ...]:
        query, key, value, mask, bias = ctx.saved_tensors
        d_query, d_key, d_value = (_empty_by_token(tensor) for tensor in (query, key, value))
        d_bias = torch.zeros_like(bias) if ctx.needs_input_grad[4] else None
        rounded = None if bias is None else bias.to(query.dtype)
        for part in _blocks(query, key):
            # The heads of a token lie beside each other; every product would copy them apart anew.
            q, k, v, d = (tensor[part].contiguous() for tensor in (query, key, value, d_out))
            probabilities = _probabilities(q, k, mask, rounded, part)
            d_value[part] = probabilities.transpose(-1, -2) @ d
            d_scores = torch._softmax_backward_data(d @ v.transpose(-1, -2), probabilities, -1, q.dtype)
            d_query[part] = d_scores @ k
            d_key[part] = d_scores.transpose(-1, -2) @ q
            if d_bias is not None:
                d_bias += d_scores.sum(0, keepdim=True, dtype=bias.dtype)
        return d_query.div_(math.sqrt(query.shape[-1])), d_key, d_value, None, d_bias


def _probabilities(query: Tensor, key: Tensor, mask: Tensor | None, bias: Tensor | None, part: slice) -> Tensor:
    """Of the reviews of a block, [block, heads, length, keys], from a query that is already over √d."""
    scores = query @ key.transpose(-1, -2)
    if bias is not None:
        scores += bias
    if mask is not None:
        scores += mask[part].to(scores.dtype)
    return scores.softmax(-1)


def _blocks(query: Tensor, key: Tensor) -> Iterator[slice]:
    batch, heads, length, _ = query.shape
    size = max(1, SCORES // (heads * length * key.shape[2]))
    return (slice(start, start + size) for start in range(0, batch, size))


def _empty_by_token(tensor: Tensor) -> Tensor:
    """Room for [batch, heads, length, d] with the heads of a token beside each other, as the layers around it have them."""
    batch, heads, length, width = tensor.shape
    return tensor.new_empty(batch, length, heads, width).transpose(1, 2)


def adapt_attention(encoder: nn.Module) -> None:
    """Make an encoder's attention, changed in place, ready for blocks on a CPU and for bf16.

    Most families call torch's function, which `InBlocks` replaces. Of MPNet transformers has only attention written out, whose
    scores get a bias by distance (Song et al. 2020, arXiv 2004.09297): it gets classes of its own here. ELECTRA and DeBERTa
    keep attention as the library writes it out. Modules and weights keep their names, so methods attach as before.
    """
    kind = encoder.config.model_type  # type: ignore[union-attr]
    classes = {"mpnet": _mpnet_classes, "modernbert": _modernbert_classes}.get(kind, dict)()  # type: ignore[arg-type]
    for module in encoder.modules():
        module.__class__ = classes.get(type(module), type(module))
    if kind == "electra":
        encoder.encoder.register_forward_pre_hook(_cast_mask, with_kwargs=True)  # type: ignore[union-attr, operator]


def _rounded(mask: Tensor, dtype: torch.dtype) -> Tensor:
    """Cast a mask that is added to scores to their type, and keep it finite: a token that sees no other must not become NaN."""
    return mask if mask.dtype == dtype else mask.to(dtype).clamp_(min=torch.finfo(dtype).min)


def _cast_mask(module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """Give layers their mask in the type of the hidden states; the library makes it in that of the weights."""
    hidden = args[0] if args else kwargs["hidden_states"]
    return args, kwargs | {"attention_mask": _rounded(kwargs["attention_mask"], hidden.dtype)}


def _added(bias: Tensor, mask: Tensor) -> Tensor:
    """Bias and mask, [batch, heads, length, length] in the type of the mask. All layers of a forward pass are given the same
    bias, which keeps the sum for those that follow.
    """
    total: Tensor | None = getattr(bias, "with_mask", None)
    if total is None:
        total = bias.with_mask = bias.to(mask.dtype) + mask  # type: ignore[attr-defined]
    return total


@lru_cache(maxsize=64)
def _buckets(bucket_of: Callable[..., Tensor], length: int, device: torch.device) -> Tensor:
    """Which entry of MPNet's table belongs to each pair of positions, [length, length]. The library computes them on the CPU at
    each call, and a GPU would wait for the copy.
    """
    positions = torch.arange(length)
    return bucket_of(positions[None, :] - positions[:, None], num_buckets=32).to(device)


@cache
def _mpnet_classes() -> dict[type[nn.Module], type[nn.Module]]:
    """Return the library's attention class and its replacement."""
    from transformers.models.mpnet.modeling_mpnet import MPNetEncoder, MPNetSelfAttention

    class OneBias(MPNetEncoder):  # type: ignore[misc]
        def forward(self, hidden_states: Tensor, attention_mask: Tensor | None = None, *args: Any, **kwargs: Any) -> Any:
            """Cast the mask, which has the type of the weights, to that of the hidden states, to whose scores it is added."""
            mask = None if attention_mask is None else _rounded(attention_mask, hidden_states.dtype)
            return super().forward(hidden_states, mask, *args, **kwargs)

        def compute_position_bias(self, x: Tensor, *args: Any, **kwargs: Any) -> Any:
            """[1, heads, length, length]: the library's is repeated for every review of a batch."""
            if x.device.type == "cpu" or args or kwargs:
                return super().compute_position_bias(x[:1], *args, **kwargs)
            buckets = _buckets(self.relative_position_bucket, x.shape[1], x.device)
            return self.relative_attention_bias(buckets).permute(2, 0, 1).unsqueeze(0)

    class InBlocksOrTorchs(MPNetSelfAttention):  # type: ignore[misc]
        def forward(
            self,
            hidden_states: Tensor,
            attention_mask: Tensor | None = None,
            head_mask: Tensor | None = None,
            position_bias: Tensor | None = None,
            output_attentions: bool = False,
            **more: Any,
        ) -> Any:
            if head_mask is not None or output_attentions or attention_mask is None or position_bias is None:
                return super().forward(hidden_states, attention_mask, head_mask, position_bias, output_attentions, **more)

            def heads(projection: nn.Module) -> Any:
                return projection(hidden_states).unflatten(-1, (self.num_attention_heads, -1)).transpose(1, 2)

            query, key, value = heads(self.q), heads(self.k), heads(self.v)
            dropout = self.dropout.p if self.training else 0.0
            if dropout or query.device.type != "cpu":
                out = scaled_dot_product_attention(query, key, value, _added(position_bias, attention_mask), dropout)
            else:
                out = attend(query, key, value, attention_mask, position_bias)
            return (self.o(out.transpose(1, 2).flatten(2)),)

    return {MPNetEncoder: OneBias, MPNetSelfAttention: InBlocksOrTorchs}


@cache
def _modernbert_classes() -> dict[type[nn.Module], type[nn.Module]]:
    """The library's class, and what takes its place."""
    from transformers.models.modernbert import modeling_modernbert

    class ModernBertModel(modeling_modernbert.ModernBertModel):  # type: ignore[misc]
        """Called as the library's class, whose name files of adapters hold."""

        def _update_attention_mask(self, attention_mask: Tensor, output_attentions: bool) -> tuple[Tensor, Tensor]:
            masks = super()._update_attention_mask(attention_mask, output_attentions)
            whole, near = (_rounded(mask, self.final_norm.weight.dtype) for mask in masks)
            return whole, near

    return {modeling_modernbert.ModernBertModel: ModernBertModel}
