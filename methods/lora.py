"""LoRA: low-rank updates of the query and value projections."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from typing import Any, ClassVar

from methods._peft import PeftOfMaps
from methods.base import register


class LowRank(PeftOfMaps):
    """Rank-r updates B·A of linear maps, scaled by alpha / r, beside frozen weights (Hu et al. 2022, section 4.1)."""

    groups = ("peft", "lora-family")
    config_class = "LoraConfig"
    variant: ClassVar[Mapping[str, Any]] = {}
    """What a relative of LoRA asks of the library: its initialisation, scale or decomposition."""

    @abstractmethod
    def rank_and_alpha(self, width: int) -> tuple[int, float]:
        """r and alpha for an encoder of this width."""

    def options(self, width: int) -> dict[str, object]:
        rank, alpha = self.rank_and_alpha(width)
        return {"r": rank, "lora_alpha": alpha, **self.variant}

    def map_parameters(self, width: int, inputs: int, outputs: int) -> int:
        """r·(in + out) (Hu et al. 2022, section 4.1)."""
        rank, _ = self.rank_and_alpha(width)
        return rank * (inputs + outputs)


@register("lora")
class LoRA(LowRank):
    """Updates of one rank, whatever the encoder (Hu et al. 2022, sections 4.2 and 5.2)."""

    citation = "Hu et al., LoRA: Low-Rank Adaptation of Large Language Models, ICLR 2022 (arXiv 2106.09685)"
    deviation = "r 8, alpha 8 on query and value as for RoBERTa-base in the paper; weight decay and dropout are 0."
    # The middle was level with the highest on validation after 1,600 reviews in batches of 16 (one seed).
    learning_rates = (1.5e-3, 5e-3, 1.5e-2)
    rates_tuned = True

    rank: int = 8
    alpha: float = 8

    def rank_and_alpha(self, width: int) -> tuple[int, float]:
        return self.rank, self.alpha
