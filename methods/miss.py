"""MiSS: one small matrix for each weight, shared by the shards of its inputs."""

from __future__ import annotations

from methods._peft import PeftOfMaps
from methods.base import register


@register("miss")
class MiSS(PeftOfMaps):
    """The update repeats one trained matrix of r rows over all inputs (Kang and Yin 2026, section 4.2)."""

    citation = (
        "Kang and Yin, MiSS: Revisiting the Trade-off in LoRA with an Efficient Shard-Sharing Structure, ICLR 2026 (arXiv "
        "2409.15371)"
    )
    deviation = "r 16 on query and value: the count of lora at r 8, as for RoBERTa-base in the paper (table 4); no dropout."
    # As lora: the paper trains RoBERTa-base in LoRA's settings (appendix B).
    learning_rates = (1.5e-3, 5e-3, 1.5e-2)
    config_class = "MissConfig"
    groups = ("peft", "lora-family")

    rank: int = 16

    def options(self, width: int) -> dict[str, object]:
        return {"r": self.rank}

    def map_parameters(self, width: int, inputs: int, outputs: int) -> int:
        """r·out."""
        return self.rank * outputs
