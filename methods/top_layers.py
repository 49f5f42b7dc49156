"""Top layers: the upper layers of the encoder train, the lower ones are frozen."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from methods.base import EncoderShape, Method, MethodError, register

if TYPE_CHECKING:
    from torch import nn


@register("top-layers")
class TopLayers(Method):
    """Train the last k layers whole (Lee et al. 2019)."""

    citation = "Lee et al., What Would Elsa Do? Freezing Layers During Transformer Fine-Tuning, 2019 (arXiv 1911.03090)"
    deviation = "A quarter of the layers, which the paper finds enough for 90 % of the quality; no weight decay or dropout."
    # As full.
    learning_rates = (3e-5, 1e-4, 3e-4)
    families = frozenset({"bert", "roberta", "xlm-roberta", "distilbert", "mpnet", "electra", "deberta-v2"})

    share: float = 0.25
    """k over the number of layers; at least one trains."""

    def __post_init__(self) -> None:
        if not 0 < self.share <= 1:
            raise MethodError(f"share {self.share} must be more than 0 and at most 1")

    def trained_layers(self, layers: int) -> int:
        """k."""
        return max(1, round(self.share * layers))

    def attach(self, encoder: nn.Module) -> nn.Module:
        from torch import nn

        config: Any = encoder.config
        count = config.num_hidden_layers
        encoder.requires_grad_(False)
        stacks = [module for module in encoder.modules() if isinstance(module, nn.ModuleList) and len(module) == count]
        for layer in stacks[0][-self.trained_layers(count) :]:
            layer.requires_grad_(True)
        return encoder

    def trainable_parameters(self, shape: EncoderShape) -> int:
        """k·(4d² + 2df + 9d + f): four attention and two feed-forward projections and two LayerNorms a layer."""
        d, f = shape.width, shape.feed_forward
        return self.trained_layers(shape.layers) * (4 * d * d + 2 * d * f + 9 * d + f)
