"""Base of LoRA and its variants: rank, scale and size of the factors."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from methods._peft import PeftOfMaps
from methods._targets import Targets

__all__ = ["LowRank"]


@dataclass(frozen=True)
class LowRank(PeftOfMaps):
    """Rank-r updates B·A of linear maps, scaled by alpha / r, beside frozen weights (Hu et al. 2022, section 4.1)."""

    groups = ("peft", "lora-family")
    variant: ClassVar[Mapping[str, Any]] = {}
    """What a relative of LoRA asks of the library: its initialisation, scale or decomposition."""

    learning_rate: float

    @abstractmethod
    def rank_and_alpha(self, width: int) -> tuple[int, float]:
        """r and alpha for an encoder of this width."""

    def config(self, width: int, targets: Targets) -> Any:
        from peft import LoraConfig

        rank, alpha = self.rank_and_alpha(width)
        return LoraConfig(
            r=rank, lora_alpha=alpha, target_modules=self.maps(targets), lora_dropout=0.0, bias="none", **self.variant
        )

    def map_parameters(self, width: int, inputs: int, outputs: int) -> int:
        """r·(in + out) (Hu et al. 2022, section 4.1)."""
        rank, _ = self.rank_and_alpha(width)
        return rank * (inputs + outputs)
