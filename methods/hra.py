"""HRA: a chain of Householder reflections before each weight."""

from __future__ import annotations

from methods._peft import PeftOfMaps
from methods.base import register


@register("hra")
class HRA(PeftOfMaps):
    """W·H₁·…·H_r, an orthogonal matrix that differs from the identity by rank r (Yuan et al. 2024, equation 1)."""

    citation = (
        "Yuan et al., Bridging The Gap between Low-rank and Orthogonal Adaptation via Householder Reflection Adaptation, "
        "NeurIPS 2024 (arXiv 2405.17484)"
    )
    deviation = "r 8 as in the paper, on query and value alone; nothing holds the reflections orthogonal (its λ 0 of three)."
    # The paper has 3e-3 to 1e-2 for DeBERTa-v3-base without λ, by task, and 3e-3 for SST-2 (table 5).
    learning_rates = (1e-3, 3e-3, 1e-2)
    config_class = "HRAConfig"
    groups = ("peft", "orthogonal")

    rank: int = 8
    """r, even, so that the chain starts as the identity."""

    def options(self, width: int) -> dict[str, object]:
        return {"r": self.rank}

    def map_parameters(self, width: int, inputs: int, outputs: int) -> int:
        """r·in: a vector a reflection."""
        return self.rank * inputs
