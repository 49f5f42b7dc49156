"""LoHa: updates that are the elementwise product of two low-rank matrices."""

from __future__ import annotations

from methods._peft import PeftOfMaps
from methods.base import register


@register("loha")
class LoHa(PeftOfMaps):
    """(B₁·A₁) ∘ (B₂·A₂), of rank up to r² (Hyeon-Woo et al. 2022, proposition 1), scaled by alpha / r."""

    citation = (
        "Hyeon-Woo et al., FedPara: Low-Rank Hadamard Product for Communication-Efficient Federated Learning, ICLR 2022 (arXiv "
        "2108.06098), for fine-tuning as in Yeh et al., Navigating Text-To-Image Customization: From LyCORIS Fine-Tuning to "
        "Model Evaluation, ICLR 2024 (arXiv 2309.14859)"
    )
    deviation = "r 8, alpha 8 on query and value of a text encoder (the papers: federated learning and image models)."
    # As lora, for want of a paper's for encoders.
    learning_rates = (1.5e-3, 5e-3, 1.5e-2)
    config_class = "LoHaConfig"
    groups = ("peft", "lora-family")

    rank: int = 8
    alpha: float = 8

    def options(self, width: int) -> dict[str, object]:
        return {"r": self.rank, "alpha": self.alpha}

    def map_parameters(self, width: int, inputs: int, outputs: int) -> int:
        """2·r·(in + out): two pairs of factors."""
        return 2 * self.rank * (inputs + outputs)
