"""LoRA with about as many parameters as Houlsby adapters: its rank follows from the encoder's width."""

from __future__ import annotations

from methods.base import register
from methods.lora import LowRank


@register("lora-matched")
class LoRAMatched(LowRank):
    """Query and value, each with two factors of width d / 16: the count of two bottlenecks of width d / 16, less biases."""

    citation = "Hu et al., LoRA: Low-Rank Adaptation of Large Language Models, ICLR 2022 (arXiv 2106.09685)"
    deviation = "Parameter-matched to houlsby: r = d / 16 (24 on MiniLM, 48 on base) in the paper's 8's place; alpha = r."
    # As lora, not tuned again: with a fixed scale the rank changes what an update can be, not how large it is.
    learning_rates = (5e-4, 1.5e-3, 5e-3)

    rank_divisor: int = 16
    """d / r, rounded to a whole rank: how much narrower an update is than the encoder."""
    scale: float = 1
    """alpha / r, the factor of every update; 1 as in lora, where alpha and r are both 8."""

    def rank_and_alpha(self, width: int) -> tuple[int, float]:
        rank = max(1, round(width / self.rank_divisor))
        return rank, self.scale * rank
