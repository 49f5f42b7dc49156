"""Houlsby adapters with the LayerNorms of every layer trained, as in the paper."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from methods._adapters import LAYER_FAMILIES
from methods.base import EncoderShape, Method, register
from methods.houlsby import Houlsby

if TYPE_CHECKING:
    from torch import nn


@register("houlsby-ln")
class HoulsbyLN(Houlsby):
    """Adapters and LayerNorms of every layer (Houlsby et al. 2019, section 2.1)."""

    deviation = "Swish and reduction factor 16 as in AdapterHub; grid and rate are houlsby's (the paper searches 3e-5 to 3e-3)."
    backend: ClassVar[str | None] = None
    groups = ("adapters",)
    families = LAYER_FAMILIES - {"modernbert"}  # its LayerNorms come before the blocks and have no biases

    def attach(self, encoder: nn.Module) -> nn.Module:
        from torch import nn

        encoder = super().attach(encoder)
        for _, layer in encoder.iter_layers():  # type: ignore[operator]
            for module in layer.modules():
                if isinstance(module, nn.LayerNorm):
                    module.requires_grad_(True)
        return encoder

    def trainable_parameters(self, shape: EncoderShape) -> int:
        """Houlsby's, and 4·L·d: weight and bias of two LayerNorms a layer."""
        return super().trainable_parameters(shape) + 4 * shape.distinct_layers * shape.width

    # In the library's layout there is no place for LayerNorms: all that was trained is in `model.safetensors`.
    save, load = Method.save, Method.load
