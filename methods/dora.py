"""DoRA: LoRA of each weight's direction, with its magnitude trained beside it."""

from __future__ import annotations

from types import MappingProxyType

from methods.base import register
from methods.lora import LoRA


@register("dora")
class DoRA(LoRA):
    """m·(W + B·A) / ‖W + B·A‖ by output (Liu et al. 2024, equation 5); the norm is a constant to the gradient (section 4.3)."""

    citation = "Liu et al., DoRA: Weight-Decomposed Low-Rank Adaptation, ICML 2024 (arXiv 2402.09353)"
    deviation = "r 8, alpha 8 on query and value, as lora (the paper: r 16 and 32, alpha 2·r, on LLaMA's q, k, v, up, down)."
    variant = MappingProxyType({"use_dora": True})

    def map_parameters(self, width: int, inputs: int, outputs: int) -> int:
        """r·(in + out) + out: LoRA's, and a magnitude for each output."""
        return super().map_parameters(width, inputs, outputs) + outputs
