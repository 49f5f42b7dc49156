"""BitFit: only the bias terms train."""

from __future__ import annotations

from typing import TYPE_CHECKING

from methods._targets import TARGETS
from methods.base import EncoderShape, Method, register

if TYPE_CHECKING:
    from torch import nn


@register("bitfit")
class BitFit(Method):
    """Train every bias of the encoder, those of LayerNorms among them (Ben Zaken et al. 2022, section 3)."""

    citation = (
        "Ben Zaken et al., BitFit: Simple Parameter-efficient Fine-tuning for Transformer-based Masked Language-models, ACL "
        "2022 (arXiv 2106.10199)"
    )
    deviation = "A pooler trains whole, with the head (the paper trains only its bias); dropout is 0, as for every method."
    families = frozenset(TARGETS) - {"modernbert"}  # which has no biases
    # The middle is the default of the authors' run_glue.py, for BERT-base among others.
    learning_rates = (3e-4, 1e-3, 3e-3)

    def attach(self, encoder: nn.Module) -> nn.Module:
        for name, parameter in encoder.named_parameters():
            # MPNet's relative_attention_bias.weight is a table of positions and no bias term.
            parameter.requires_grad_(name.endswith(".bias"))
        return encoder

    def trainable_parameters(self, shape: EncoderShape) -> int:
        """L·(4d + f + d) and half of the LayerNorms; d each for a projection of the embeddings and for a convolution."""
        d, f = shape.width, shape.feed_forward
        # DeBERTa's projection has no bias.
        projected = shape.table_width is not None and shape.model_type != "deberta-v2"
        layers = shape.distinct_layers * (4 * d + (f + d))
        return layers + shape.norm_parameters // 2 + d * (projected + bool(shape.convolution))
