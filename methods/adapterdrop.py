"""AdapterDrop: Pfeiffer adapters in the upper layers alone."""

from __future__ import annotations

from typing import Any

from methods._adapters import LAYER_FAMILIES
from methods.base import EncoderShape, MethodError, register
from methods.pfeiffer import Pfeiffer


@register("adapterdrop")
class AdapterDrop(Pfeiffer):
    """The first layers have no adapter (Rücklé et al. 2021, section 3: specialised)."""

    citation = "Rücklé et al., AdapterDrop: On the Efficiency of Adapters in Transformers, EMNLP 2021 (arXiv 2010.11918)"
    deviation = "The first two layers in five, fixed from the start (the paper's five of twelve), not drawn anew for each step."
    families = LAYER_FAMILIES - {"albert"}  # whose layers share their weights

    dropped: float = 0.4
    """Share of the layers that have no adapter, from the first."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 0 < self.dropped < 1:
            raise MethodError(f"dropped {self.dropped} must be between 0 and 1")

    def config(self, width: int, layers: int) -> Any:
        return super().config(width, layers).replace(leave_out=list(range(self.layers_dropped(layers))))

    def layers_dropped(self, layers: int) -> int:
        """How many of an encoder's layers have no adapter; at least one has."""
        return min(layers - 1, round(self.dropped * layers))

    def trainable_parameters(self, shape: EncoderShape) -> int:
        """(L − dropped)·(2·d·b + b + d)."""
        layers = shape.layers - self.layers_dropped(shape.layers)
        return super().trainable_parameters(shape) // shape.layers * layers
