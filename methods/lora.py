"""LoRA: low-rank updates of the query and value projections."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from methods.base import EncoderShape, Method, MethodError, register

if TYPE_CHECKING:
    from torch import nn

__all__ = ["LoRA"]

_QUERY_VALUE = {"distilbert": ("q_lin", "v_lin"), "mpnet": ("attn.q", "attn.v")}
"""Names of the query and value projections where they are not BERT's."""


@register("lora")
@dataclass(frozen=True)
class LoRA(Method):
    """Rank-r updates B·A of the query and value projections, scaled by alpha / r (Hu et al. 2022, section 4)."""

    citation = "Hu et al., LoRA: Low-Rank Adaptation of Large Language Models, ICLR 2022 (arXiv 2106.09685)"
    deviation = "r 8, alpha 8 on query and value as for RoBERTa-base in the paper; weight decay and dropout are 0."
    learning_rates = (5e-4, 1.5e-3, 5e-3)

    # The middle of the grid: the best of the three on validation after 1,600 reviews in batches of 16 (one seed).
    learning_rate: float = 1.5e-3
    rank: int = 8
    alpha: float = 8

    def attach(self, encoder: nn.Module) -> nn.Module:
        from peft import LoraConfig, get_peft_model

        targets = list(_QUERY_VALUE.get(encoder.config.model_type, ("query", "value")))  # type: ignore[union-attr, arg-type]
        config = LoraConfig(r=self.rank, lora_alpha=self.alpha, target_modules=targets, lora_dropout=0.0, bias="none")
        try:
            return get_peft_model(encoder, config)  # type: ignore[no-any-return]
        except ValueError as error:
            raise MethodError(f"peft finds no {' and '.join(targets)} projections in this encoder") from error

    def trainable_parameters(self, shape: EncoderShape) -> int:
        """2·2·L·d·r: two matrices for each of two projections (Hu et al. 2022, section 4.2 and table 2)."""
        return 2 * 2 * shape.layers * shape.width * self.rank

    def save(self, encoder: nn.Module, folder: Path) -> None:
        """The peft layout: `adapter_config.json` and `adapter_model.safetensors`."""
        encoder.save_pretrained(folder, safe_serialization=True, save_embedding_layers=False)  # type: ignore[operator]
        (folder / "README.md").unlink(missing_ok=True)  # an empty model card, no part of the adapter

    def load(self, encoder: nn.Module, folder: Path) -> nn.Module:
        from peft import PeftModel

        return PeftModel.from_pretrained(encoder, folder, is_trainable=True, use_safetensors=True)  # type: ignore[no-any-return]
