"""LoRA: low-rank updates of the query and value projections."""

from __future__ import annotations

from dataclasses import dataclass

from methods._low_rank import LowRank
from methods.base import register

__all__ = ["LoRA"]


@register("lora")
@dataclass(frozen=True)
class LoRA(LowRank):
    """Updates of one rank, whatever the encoder (Hu et al. 2022, sections 4.2 and 5.2)."""

    citation = "Hu et al., LoRA: Low-Rank Adaptation of Large Language Models, ICLR 2022 (arXiv 2106.09685)"
    deviation = "r 8, alpha 8 on query and value as for RoBERTa-base in the paper; weight decay and dropout are 0."
    learning_rates = (1.5e-3, 5e-3, 1.5e-2)
    rates_tuned = True

    # The middle of the grid: level with the highest on validation after 1,600 reviews in batches of 16 (one seed).
    learning_rate: float = 5e-3
    rank: int = 8
    alpha: float = 8

    def rank_and_alpha(self, width: int) -> tuple[int, float]:
        return self.rank, self.alpha
