"""rsLoRA: LoRA whose scale does not fall with the rank."""

from __future__ import annotations

from types import MappingProxyType

from methods.base import register
from methods.lora import LoRA


@register("rslora")
class RsLoRA(LoRA):
    """Updates scaled by alpha / √r (Kalajdzievski 2023), at a rank at which alpha / r would be small."""

    citation = "Kalajdzievski, A Rank Stabilization Scaling Factor for Fine-Tuning with LoRA, 2023 (arXiv 2312.03732)"
    deviation = "r 32, alpha 16 on query and value of an encoder (the paper: ranks 4 to 2048 of a language model); no dropout."
    # A third of lora's, whose scale is 1 where this is 2.8.
    learning_rates = (5e-4, 1.5e-3, 5e-3)
    variant = MappingProxyType({"use_rslora": True})

    rank: int = 32
    alpha: float = 16
