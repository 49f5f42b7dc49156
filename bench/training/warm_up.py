"""One-time costs, paid before measurement: libraries, thread pools, kernels, allocations."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator

import torch
from torch import nn
from torch.nn.functional import cross_entropy

from bench.data.batches import round_up
from bench.models.residual_stream import in_precision
from bench.rules import CLIP, Precision

__all__ = ["AuditError", "audit_gradients", "shapes", "warm_up_libraries"]


class AuditError(RuntimeError):
    """The attached model differs from its method's closed form, so training it would measure something else."""


def warm_up_libraries(precision: Precision) -> None:
    """Train a tiny encoder for one step on the CPU and drop it. Call it before a memory meter starts.

    A fork maps the pages of the libraries' code only as it runs them, which no method should be charged for.
    """
    with torch.random.fork_rng(devices=[]):
        layer = nn.TransformerEncoderLayer(64, 2, 128, dropout=0.0, activation="gelu", batch_first=True)
        model = nn.Sequential(OrderedDict(embeddings=nn.Embedding(8, 64), layer=layer, head=nn.Linear(64, 2)))
        with in_precision(model, precision):
            loss = cross_entropy(model(torch.zeros(4, 32, dtype=torch.int64))[:, 0].float(), torch.zeros(4, dtype=torch.int64))
    loss.backward()  # type: ignore[no-untyped-call]
    nn.utils.clip_grad_norm_(model.parameters(), CLIP)
    torch.optim.AdamW(model.parameters(), lr=0.0, fused=True).step()


def shapes(device: str, texts: int, batch_size: int, longest: int, multiple: int) -> Iterator[tuple[int, int, bool]]:
    """Yield texts, width and whether padded, of the batches to run beforehand, the largest last.

    On CUDA these are all that can come: kernels are chosen and compiled by shape, and attention by whether there is a mask.
    """
    if device == "cuda":
        widths = sorted({round_up(width, multiple, longest) for width in range(1, longest + 1)})
        for size in filter(None, {batch_size, texts % batch_size}):
            yield from ((size, width, padded) for width in widths for padded in (True, False))
    yield batch_size, longest, False


def audit_gradients(model: nn.Module) -> None:
    """Check that exactly the trainable parameters have a gradient. It may be 0, as of LoRA's A, since B starts at 0.

    Raises:
        AuditError: naming the first parameter that differs.
    """
    for name, parameter in model.named_parameters():
        if parameter.requires_grad and parameter.grad is None:
            raise AuditError(f"{name} should train but the loss gives it no gradient")
        if not parameter.requires_grad and parameter.grad is not None:
            raise AuditError(f"{name} should be frozen but has a gradient")
