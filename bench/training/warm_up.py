"""What is paid once per process, before a meter of memory starts."""

from __future__ import annotations

import torch
from torch import nn
from torch.nn.functional import cross_entropy

from bench.models.residual_stream import in_precision
from bench.rules import CLIP, Precision

__all__ = ["touch"]


def touch(precision: Precision) -> None:
    """Take a step of a tiny encoder on the CPU, which is then gone: much of the libraries' code that training runs is then in
    memory.

    For before a meter of memory starts: a fork maps the pages of that code only as it runs them, which is no method's doing.
    """
    with torch.random.fork_rng(devices=[]):
        layer = nn.TransformerEncoderLayer(64, 2, 128, dropout=0.0, activation="gelu", batch_first=True)
        model = nn.Sequential()
        for name, module in (("embeddings", nn.Embedding(8, 64)), ("layer", layer), ("head", nn.Linear(64, 2))):
            model.add_module(name, module)
        with in_precision(model, precision):
            loss = cross_entropy(model(torch.zeros(4, 32, dtype=torch.int64))[:, 0].float(), torch.zeros(4, dtype=torch.int64))
    loss.backward()  # type: ignore[no-untyped-call]
    nn.utils.clip_grad_norm_(model.parameters(), CLIP)
    torch.optim.AdamW(model.parameters(), lr=0.0, fused=True).step()
