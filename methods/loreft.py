"""LoReFT: the hidden states of the first tokens are edited in a low-rank subspace."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from methods._adapters import FromLibrary
from methods.base import EncoderShape, register

if TYPE_CHECKING:
    from torch import Tensor, nn


@register("loreft")
class LoReFT(FromLibrary):
    """h + Rᵀ(W·h + b − R·h) after every layer, R with orthonormal rows (Wu et al. 2024, section 3.2, equation 2)."""

    citation = "Wu et al., ReFT: Representation Finetuning for Language Models, NeurIPS 2024 (arXiv 2404.03592)"
    deviation = "Rank 1 after every layer as for GLUE; the first three tokens as for SST-2 (others: one to eleven); no dropout."
    # The paper has 3e-4 to 9e-4 for RoBERTa-base, by task, and 6e-4 for SST-2, for 20 to 60 epochs (table 9).
    learning_rates = (2e-4, 6e-4, 2e-3)
    has_buffers = True  # the library keeps a basis of d × d numbers a layer, in memory and in the file

    rank: int = 1
    positions: int = 3
    """Tokens from the first that are edited."""

    def config(self, width: int, layers: int) -> Any:
        from adapters import LoReftConfig

        # Tied: a second set of weights would be for the last tokens, of which none are edited.
        return LoReftConfig(r=self.rank, prefix_positions=self.positions, suffix_positions=0, tied_weights=True, dropout=0.0)

    def attach(self, encoder: nn.Module) -> nn.Module:
        return _in_one_type(super().attach(encoder))

    def join(self, encoder: nn.Module, folder: Path, name: str) -> nn.Module:
        return _in_one_type(super().join(encoder, folder, name))

    def trainable_parameters(self, shape: EncoderShape) -> int:
        """L·(2·d·r + r): R, W and b (section 3.2)."""
        return shape.distinct_layers * (2 * shape.width * self.rank + self.rank)


def _in_one_type(encoder: nn.Module) -> nn.Module:
    """Put hidden states back to bf16: the library joins the first tokens with none of the last in fp32."""
    from adapters.methods.reft import ReftUnit

    for module in encoder.modules():
        if isinstance(module, ReftUnit) and not module._forward_pre_hooks:
            module.register_forward_pre_hook(_cast)
    return encoder


def _cast(module: Any, args: tuple[Tensor]) -> Tensor:
    return args[0].to(module.learned_source.weight.dtype)
