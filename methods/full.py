"""Full fine-tuning: every weight of the encoder trains."""

from __future__ import annotations

from typing import TYPE_CHECKING

from methods.base import EncoderShape, Method, register

if TYPE_CHECKING:
    from torch import nn


@register("full")
class Full(Method):
    """Train all weights of the encoder (Devlin et al. 2019, section 3.2)."""

    citation = (
        "Devlin et al., BERT: Pre-training of Deep Bidirectional Transformers for Language Understanding, NAACL 2019 (arXiv "
        "1810.04805)"
    )
    deviation = "No weight decay and no dropout, as for every method here; the paper uses 0.01 and 0.1."
    # The middle was the best of the three on validation after 1,600 reviews in batches of 16 (one seed).
    learning_rates = (3e-5, 1e-4, 3e-4)
    rates_tuned = True

    def attach(self, encoder: nn.Module) -> nn.Module:
        return encoder.requires_grad_(True)

    def trainable_parameters(self, shape: EncoderShape) -> int:
        """Every weight: `EncoderShape.parameters`."""
        return shape.parameters
