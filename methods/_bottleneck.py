"""What bottleneck adapters share: the library `adapters` and the size of a module."""

from __future__ import annotations

import math
from abc import abstractmethod
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from methods.base import EncoderShape, Method, MethodError

if TYPE_CHECKING:
    from torch import nn

__all__ = ["Bottleneck"]

NAME = "bench"
"""The adapter's name inside the library; files are loadable under any other."""
NON_LINEARITIES = ("relu", "leakyrelu", "gelu", "gelu_new", "swish", "silu", "mish", "tanh", "sigmoid")
"""Those of the library that make sense in a bottleneck."""


@dataclass(frozen=True)
class Bottleneck(Method):
    """Small modules d → b → d with a residual, inserted in every layer; everything else is frozen."""

    backend = "adapters"
    modules_per_layer: ClassVar[int]

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

    @abstractmethod
    def config(self, width: int) -> Any:
        """Make the library's configuration object for an encoder of this width."""

    def factor(self, width: int) -> float:
        """d / b for an encoder of this width, such that the library, which floors d over it, gets b."""
        if self.bottleneck is None:
            return self.reduction_factor
        factor = width / self.bottleneck
        # Where the quotient was rounded up, the floor would lose one.
        return factor if int(width // factor) == self.bottleneck else math.nextafter(factor, 0.0)

    def hyperparameters(self) -> dict[str, Any]:
        """Return the fields, of reduction factor and bottleneck the one that counts."""
        unused = "bottleneck" if self.bottleneck is None else "reduction_factor"
        return {name: value for name, value in super().hyperparameters().items() if name != unused}

    def attach(self, encoder: nn.Module) -> nn.Module:
        """`adapters.init` changes the encoder's class in place and cannot be undone: it takes a fresh encoder."""
        _init(encoder)
        config = self.config(encoder.config.hidden_size)  # type: ignore[union-attr, arg-type]
        encoder.add_adapter(NAME, config=config)  # type: ignore[operator]
        encoder.train_adapter(NAME)  # type: ignore[operator]
        return encoder

    def trainable_parameters(self, shape: EncoderShape) -> int:
        """k·L·(2·d·b + b + d) for k modules a layer, b = d / reduction factor (Houlsby et al. 2019, section 2.1)."""
        bottleneck = max(1, int(shape.width // self.factor(shape.width)))
        return self.modules_per_layer * shape.layers * (2 * shape.width * bottleneck + bottleneck + shape.width)

    def save(self, encoder: nn.Module, folder: Path) -> None:
        """Save in the AdapterHub layout: `adapter_config.json` and `adapter.safetensors`."""
        # Without the flag the library writes a pickle, which nobody should have to load.
        encoder.save_adapter(str(folder), NAME, use_safetensors=True)  # type: ignore[operator]

    def load(self, encoder: nn.Module, folder: Path) -> nn.Module:
        encoder = self.join(encoder, folder, NAME)
        encoder.train_adapter(NAME)  # type: ignore[operator]
        return encoder

    def join(self, encoder: nn.Module, folder: Path, name: str) -> nn.Module:
        if not hasattr(encoder, "adapters_config"):
            _init(encoder)
        encoder.load_adapter(str(folder), load_as=name, use_safetensors=True)  # type: ignore[operator]
        return encoder

    def switch(self, encoder: nn.Module, name: str | None) -> None:
        encoder.set_active_adapters(name)  # type: ignore[operator]


def _init(encoder: nn.Module) -> None:
    import adapters

    model_type = encoder.config.model_type  # type: ignore[union-attr]
    try:
        adapters.init(encoder, interface=_interface() if model_type == "mpnet" else None)
    except ValueError as error:
        raise MethodError(f"the library adapters cannot attach to a {model_type} encoder") from error


def _interface() -> Any:
    """Name MPNet's modules to the library's plug-in interface, since it has no class for MPNet."""
    from adapters import AdapterModelInterface

    return AdapterModelInterface(
        adapter_methods=["bottleneck"],
        model_embeddings="embeddings",
        model_layers="encoder.layer",
        layer_self_attn="attention",
        layer_cross_attn=None,
        attn_q_proj="attn.q",
        attn_k_proj="attn.k",
        attn_v_proj="attn.v",
        attn_o_proj="attn.o",
        layer_intermediate_proj="intermediate.dense",
        layer_output_proj="output.dense",
    )
