"""LoKr: updates that are a Kronecker product of a small matrix and a low-rank one."""

from __future__ import annotations

import math

from methods._peft import PeftOfMaps
from methods.base import register


@register("lokr")
class LoKr(PeftOfMaps):
    """C ⊗ (B·A), scaled by alpha / r (Yeh et al. 2024, equation 4; Edalati et al. 2022)."""

    citation = (
        "Yeh et al., Navigating Text-To-Image Customization: From LyCORIS Fine-Tuning to Model Evaluation, ICLR 2024 (arXiv "
        "2309.14859); as KronA in Edalati et al., KronA: Parameter Efficient Tuning with Kronecker Adapter (arXiv 2212.10650)"
    )
    deviation = "r 8, alpha 8 on query and value of a text encoder (LyCORIS: image models; KronA: factors of full rank)."
    # As lora, for want of a paper's for encoders.
    learning_rates = (1.5e-3, 5e-3, 1.5e-2)
    config_class = "LoKrConfig"
    groups = ("peft", "lora-family")

    rank: int = 8
    alpha: float = 8

    def options(self, width: int) -> dict[str, object]:
        return {"r": self.rank, "alpha": self.alpha}

    def map_parameters(self, width: int, inputs: int, outputs: int) -> int:
        """a·a' + r·(b + b') for in = a·b and out = a'·b', each as square as it can be; b·b' where r saves nothing."""
        (a, b), (a_out, b_out) = _factors(inputs), _factors(outputs)
        return a * a_out + (self.rank * (b + b_out) if 2 * self.rank < max(b, b_out) else b * b_out)


def _factors(size: int) -> tuple[int, int]:
    """Find the two factors of a size that are nearest to each other, the smaller first."""
    small = max(factor for factor in range(1, math.isqrt(size) + 1) if size % factor == 0)
    return small, size // small
