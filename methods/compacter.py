"""Compacter: Houlsby's adapters with weights that are sums of Kronecker products."""

from __future__ import annotations

from typing import Any

from methods._adapters import Bottleneck, factor_of
from methods.base import EncoderShape, MethodError, register

_TERMS = 4
"""n, Kronecker products a weight; widths are multiples of it."""


@register("compacter")
class Compacter(Bottleneck):
    """Two adapters a layer, each weight Σᵢ Aᵢ ⊗ (sᵢ·tᵢᵀ) with A shared by all (Mahabadi et al. 2021, equation 5)."""

    citation = "Mahabadi et al., Compacter: Efficient Low-Rank Hypercomplex Adapter Layers, NeurIPS 2021 (arXiv 2106.04647)"
    deviation = "LayerNorms stay frozen (the authors train them); n 4, rank 1, gelu and reduction factor 32 as theirs."
    # The middle is the authors' rate for T5-base on every task (seq2seq/configs/compacter.json).
    learning_rates = (1e-3, 3e-3, 1e-2)
    config_class = "CompacterConfig"
    modules_per_layer = 2

    reduction_factor: float = 32
    non_linearity: str = "gelu"

    def inner(self, width: int) -> int:
        """b, rounded to a multiple of n."""
        if width % _TERMS or (self.bottleneck or 0) % _TERMS:
            raise MethodError(f"compacter needs widths that are multiples of {_TERMS}: {width} and {self.bottleneck or 'b'}")
        return self.bottleneck or max(1, round(width / self.reduction_factor / _TERMS)) * _TERMS

    def factor(self, width: int) -> float:
        return factor_of(width, self.inner(width))

    def config(self, width: int, layers: int) -> Any:
        return super().config(width, layers).replace(phm_dim=_TERMS)

    def trainable_parameters(self, shape: EncoderShape) -> int:
        """2·L·3·(d + b) + n³: two factors of d + b numbers and the biases b + d in each module, and A."""
        return self.modules_per_layer * shape.distinct_layers * 3 * (shape.width + self.inner(shape.width)) + _TERMS**3
