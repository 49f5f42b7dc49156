"""bf16 arithmetic around weights that stay fp32, the same for every method and family of encoders.

The embeddings are computed in fp32 and their output is cast once; from there on the residual stream, LayerNorms and products
are bf16, as in MosaicBERT (Portes et al. 2023, arXiv 2312.17482, section 2.2). The features that the head reads are fp32 again,
and so is the head. While `in_precision` lasts the encoder's modules hold bf16 tensors in the place of their weights: of a
frozen weight a copy that is made once and kept, of a trained one a cast that autograd goes back through, so that the gradient
is added up in fp32, at the fp32 master. A weight that is computed from others (LoReFT's orthonormal rows) is computed in fp32
and cast. Outside, the encoder holds its fp32 weights again, for hashes, files and optimizer.

Autocast would be slower: it casts frozen weights at every call and keeps LayerNorms and residuals in fp32.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils.parametrize import ParametrizationList
from torch.utils.weak import WeakTensorKeyDictionary

from bench.rules import Precision

__all__ = ["in_precision"]

EMBEDDINGS = "embeddings"
"""Name of the module that all supported encoders look tokens up in."""
MULTIPLIED = "rel_embeddings"
"""Name of DeBERTa's table of relative positions, of which all rows are taken and multiplied."""
FREQUENCIES = "inv_freq"
"""Name of the buffer of ModernBERT's rotary positions, which the library multiplies in fp32 and casts."""

_copies = WeakTensorKeyDictionary()
"""Of each frozen fp32 weight, its version when it was cast, and the bf16 copy; gone when the weight is."""


@contextmanager
def in_precision(classifier: nn.Module, precision: Precision) -> Iterator[None]:
    """Compute in the given precision inside; fp32 changes nothing. For one forward pass where gradients are wanted.

    Args:
        classifier: one with an `encoder`, or else a model that is taken whole.
        precision: of the encoder's layers. Embedding tables, which are looked up and not multiplied, stay fp32 in either.

    Raises:
        ValueError: if the encoder has no module called `embeddings`.
    """
    if precision == "fp32":
        yield
        return
    encoder = getattr(classifier, "encoder", classifier)
    embeddings = next((module for name, module in encoder.named_modules() if name.rpartition(".")[2] == EMBEDDINGS), None)
    if embeddings is None:
        raise ValueError(f"no module of the encoder is called {EMBEDDINGS}")
    excluded = {id(module) for module in embeddings.modules()}
    replaced: list[tuple[Any, str, Tensor]] = []
    # Before other hooks, so that what a method adds behind the embeddings is in the stream.
    hooks = [embeddings.register_forward_hook(_cast_output, prepend=True)]
    casts: dict[int, Tensor] = {}  # a tensor that two modules share is cast once
    try:
        for path, module in encoder.named_modules():
            if isinstance(module, ParametrizationList):
                excluded.update(map(id, module.modules()))
                hooks.append(module.register_forward_hook(_cast_output))
            looked_up = isinstance(module, nn.Embedding) and path.rpartition(".")[2] != MULTIPLIED
            if id(module) in excluded or looked_up:
                continue
            for registry in (module._parameters, module._buffers):
                for name, tensor in registry.items():
                    if tensor is None or tensor.dtype != torch.float32 or name == FREQUENCIES:
                        continue
                    if id(tensor) not in casts:
                        casts[id(tensor)] = _cast(tensor)
                    replaced.append((registry, name, tensor))
                    registry[name] = casts[id(tensor)]  # type: ignore[assignment]
        yield
    finally:
        for hook in hooks:
            hook.remove()
        for registry, name, tensor in replaced:
            registry[name] = tensor


def _cast_output(module: nn.Module, args: Any, out: Tensor) -> Tensor:
    return out.to(torch.bfloat16)


def _cast(tensor: Tensor) -> Tensor:
    if tensor.requires_grad:
        return tensor.to(torch.bfloat16)
    copy: tuple[int, Tensor] | None = _copies.get(tensor, None)  # type: ignore[no-untyped-call]
    if copy is None or copy[1].device != tensor.device:
        copy = _copies[tensor] = tensor._version, tensor.detach().to(torch.bfloat16)
    elif copy[0] != tensor._version:  # in its place: a CUDA graph reads it there
        copy = _copies[tensor] = tensor._version, copy[1].copy_(tensor.detach())
    return copy[1]
