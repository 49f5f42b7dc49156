"""What low-rank methods share: the library peft, the maps that are updated, and the size of the updates."""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from methods.base import EncoderShape, Method, MethodError

if TYPE_CHECKING:
    from torch import nn

__all__ = ["LowRank"]

_QUERY_VALUE = {"distilbert": ("q_lin", "v_lin"), "mpnet": ("attn.q", "attn.v")}
_ALL_LINEAR = {
    "distilbert": ("q_lin", "k_lin", "v_lin", "out_lin", "lin1", "lin2"),
    "mpnet": ("attn.q", "attn.k", "attn.v", "attn.o", "intermediate.dense", "output.dense"),
}
_BERT_ALL_LINEAR = ("query", "key", "value", "attention.output.dense", "intermediate.dense", "output.dense")
"""Names of the maps, by model type where they are not BERT's; peft takes every module whose path ends in one."""


@dataclass(frozen=True)
class LowRank(Method):
    """Rank-r updates B·A of linear maps, scaled by alpha / r, beside frozen weights (Hu et al. 2022, section 4.1)."""

    all_linear: ClassVar[bool] = False
    """Update all six linear maps of a layer; else the query and value projections, as the paper does."""

    merges = True
    backend = "peft"

    learning_rate: float

    @abstractmethod
    def rank_and_alpha(self, width: int) -> tuple[int, float]:
        """r and alpha for an encoder of this width."""

    def attach(self, encoder: nn.Module) -> nn.Module:
        from peft import LoraConfig, get_peft_model

        rank, alpha = self.rank_and_alpha(encoder.config.hidden_size)  # type: ignore[union-attr, arg-type]
        targets = self._targets(encoder.config.model_type)  # type: ignore[union-attr, arg-type]
        config = LoraConfig(r=rank, lora_alpha=alpha, target_modules=targets, lora_dropout=0.0, bias="none")
        try:
            return get_peft_model(encoder, config)  # type: ignore[no-any-return]
        except ValueError as error:
            raise MethodError(f"peft finds no {' and '.join(targets)} projections in this encoder") from error

    def _targets(self, model_type: str) -> list[str]:
        if self.all_linear:
            return list(_ALL_LINEAR.get(model_type, _BERT_ALL_LINEAR))
        return list(_QUERY_VALUE.get(model_type, ("query", "value")))

    def trainable_parameters(self, shape: EncoderShape) -> int:
        """r·(in + out) for each map (Hu et al. 2022, section 4.1): with query and value r·L·2·2d; with all six r·L·(4·2d
        + 2·(d + f)).
        """
        d, f = shape.width, shape.feed_forward
        rank, _ = self.rank_and_alpha(d)
        return rank * shape.layers * (4 * 2 * d + 2 * (d + f) if self.all_linear else 2 * 2 * d)

    def merged(self, encoder: nn.Module) -> nn.Module:
        """W + B·A·alpha / r in the place of each updated W (Hu et al. 2022, section 4.1: no latency is added)."""
        return encoder.merge_and_unload()  # type: ignore[operator, no-any-return]

    def save(self, encoder: nn.Module, folder: Path) -> None:
        """Save in the peft layout: `adapter_config.json` and `adapter_model.safetensors`."""
        for config in encoder.peft_config.values():  # type: ignore[operator, union-attr]
            config.target_modules = sorted(config.target_modules)  # peft keeps a set: its order changes with the process
        encoder.save_pretrained(folder, safe_serialization=True, save_embedding_layers=False)  # type: ignore[operator]
        (folder / "README.md").unlink(missing_ok=True)  # an empty model card, no part of the adapter

    def load(self, encoder: nn.Module, folder: Path) -> nn.Module:
        from peft import PeftModel

        return PeftModel.from_pretrained(encoder, folder, is_trainable=True, use_safetensors=True)  # type: ignore[no-any-return]

    def join(self, encoder: nn.Module, folder: Path, name: str) -> nn.Module:
        from peft import PeftModel

        if isinstance(encoder, PeftModel):
            encoder.load_adapter(str(folder), adapter_name=name)
        else:
            encoder = PeftModel.from_pretrained(encoder, folder, adapter_name=name, use_safetensors=True)
        return encoder

    def switch(self, encoder: nn.Module, name: str | None) -> None:
        if name is None:
            encoder.base_model.disable_adapter_layers()  # type: ignore[operator, union-attr]
            return
        encoder.base_model.enable_adapter_layers()  # type: ignore[operator, union-attr]
        encoder.set_adapter(name, inference_mode=True)  # type: ignore[operator]
