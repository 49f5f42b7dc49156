"""Base of bottleneck adapters: width and size of their modules."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, ClassVar

from methods._adapters import NON_LINEARITIES, FromLibrary
from methods.base import EncoderShape, MethodError

__all__ = ["Bottleneck"]


@dataclass(frozen=True)
class Bottleneck(FromLibrary):
    """Small modules d → b → d, inserted in every layer."""

    modules_per_layer: ClassVar[int]
    config_class: ClassVar[str]
    """Name of the library's configuration class."""

    learning_rate: float
    reduction_factor: float
    """d / b: how much narrower the bottleneck is than the encoder."""
    non_linearity: str
    bottleneck: int | None = None
    """b itself, the same for every encoder, in the reduction factor's place."""

    def __post_init__(self) -> None:
        if self.non_linearity not in NON_LINEARITIES:
            raise MethodError(f"non_linearity {self.non_linearity!r} is not one of {', '.join(NON_LINEARITIES)}")
        if self.bottleneck is not None and self.bottleneck < 1:
            raise MethodError(f"bottleneck {self.bottleneck} must be at least 1")
        if not 0 < self.reduction_factor < math.inf:
            raise MethodError(f"reduction_factor {self.reduction_factor} must be more than 0")

    def config(self, width: int, layers: int) -> Any:
        import adapters

        config = getattr(adapters, self.config_class)
        return config(reduction_factor=self.factor(width), non_linearity=self.non_linearity)

    def factor(self, width: int) -> float:
        """d / b for an encoder of this width, such that the library, which floors d over it, gets b."""
        return self.reduction_factor if self.bottleneck is None else factor_of(width, self.bottleneck)

    def inner(self, width: int) -> int:
        """b for an encoder of this width d."""
        return max(1, int(width // self.factor(width)))

    def hyperparameters(self) -> dict[str, Any]:
        """Return the fields, of reduction factor and bottleneck the one that counts."""
        unused = "bottleneck" if self.bottleneck is None else "reduction_factor"
        return {name: value for name, value in super().hyperparameters().items() if name != unused}

    def trainable_parameters(self, shape: EncoderShape) -> int:
        """Count k·L·(2·d·b + b + d) for k modules a layer, b = d / reduction factor (Houlsby et al. 2019, section 2.1)."""
        d, b = shape.width, self.inner(shape.width)
        return self.modules_per_layer * shape.distinct_layers * (2 * d * b + b + d)


def factor_of(width: int, bottleneck: int) -> float:
    """Find a quotient whose floor division of the width gives the bottleneck, although quotients are rounded."""
    factor = width / bottleneck
    return factor if int(width // factor) == bottleneck else math.nextafter(factor, 0.0)
