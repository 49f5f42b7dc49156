"""Linear probing: the encoder is frozen and only the classification head trains."""

from __future__ import annotations

from typing import TYPE_CHECKING

from methods.base import EncoderShape, Method, register

if TYPE_CHECKING:
    from torch import nn


@register("head-only")
class HeadOnly(Method):
    """Train the head on the output of a frozen encoder, which is computed once for each review."""

    citation = (
        "Peters et al., To Tune or Not to Tune? Adapting Pretrained Representations to Diverse Tasks, RepL4NLP 2019 (arXiv "
        "1903.05987): feature extraction"
    )
    deviation = "The head is the comparison's own (one linear layer or the checkpoint's), not a BiLSTM or a probe."
    # The middle was the best on validation after twenty passes over the features of 4,000 and of 12,000 reviews:
    # results/head-passes.json.
    learning_rates = (1e-2, 3e-2, 1e-1)
    rates_tuned = True
    encodes_once = True

    def attach(self, encoder: nn.Module) -> nn.Module:
        return encoder.requires_grad_(False)

    def trainable_parameters(self, shape: EncoderShape) -> int:
        """None: only the head trains, and heads are counted apart."""
        return 0
