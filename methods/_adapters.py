"""Bases of the methods of the library `adapters`: attaching, saving, several on one encoder; and the size of bottlenecks."""

from __future__ import annotations

import json
import math
from abc import abstractmethod
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from methods.base import EncoderShape, Method, MethodError

if TYPE_CHECKING:
    from torch import Tensor, nn

__all__ = ["ATTENTION_FAMILIES", "LAYER_FAMILIES", "Bottleneck", "FromLibrary", "factor_of"]

NAME = "bench"
"""The adapter's name inside the library; files are loadable under any other."""
NON_LINEARITIES = ("relu", "leakyrelu", "gelu", "gelu_new", "swish", "silu", "mish", "tanh", "sigmoid")
"""Those of the library that make sense in a bottleneck."""
ATTENTION_FAMILIES = frozenset({"bert", "roberta", "xlm-roberta", "electra", "deberta-v2", "albert"})
"""Families whose attention the library extends by keys and values. DistilBERT's is left out: there the library adds 1 to the
scores of a prefix where a batch is padded and 0 where it is not, so that logits would depend on what a text is batched with.
"""
LAYER_FAMILIES = ATTENTION_FAMILIES | {"distilbert", "mpnet", "modernbert"}
"""Families in whose layers the library can insert modules."""


class FromLibrary(Method):
    """A method that is one configuration object of the library; everything else of the encoder is frozen."""

    backend: ClassVar[str | None] = "adapters"
    families = LAYER_FAMILIES
    reads_block_input: ClassVar[bool] = False
    """True where a module after a feed-forward block reads the block's input as well."""

    @abstractmethod
    def config(self, width: int, layers: int) -> Any:
        """Make the library's configuration object for an encoder of this width and number of layers."""

    def attach(self, encoder: nn.Module) -> nn.Module:
        """`adapters.init` changes the encoder's class in place and cannot be undone: it takes a fresh encoder."""
        self._init(encoder)
        sizes: Any = encoder.config
        encoder.add_adapter(NAME, config=self.config(sizes.hidden_size, sizes.num_hidden_layers))  # type: ignore[operator]
        encoder.train_adapter(NAME)  # type: ignore[operator]
        return encoder

    def save(self, encoder: nn.Module, folder: Path) -> None:
        """Save in the AdapterHub layout: `adapter_config.json` and `adapter.safetensors`, which the library loads by itself."""
        from adapters.loading import AdapterLoader
        from safetensors.torch import save_file

        weights, config = AdapterLoader(encoder).save_to_state_dict(NAME)
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "adapter_config.json").write_text(json.dumps(config, indent=2, sort_keys=True), encoding="utf-8")
        save_file(_each_once(encoder, weights), folder / "adapter.safetensors")
        if (interface := getattr(encoder, "adapter_interface", None)) is not None:
            interface._save(folder, encoder.config)

    def load(self, encoder: nn.Module, folder: Path) -> nn.Module:
        encoder = self.join(encoder, folder, NAME)
        encoder.train_adapter(NAME)  # type: ignore[operator]
        return encoder

    def join(self, encoder: nn.Module, folder: Path, name: str) -> nn.Module:
        if not hasattr(encoder, "adapters_config"):
            self._init(encoder)
        elif encoder.config.model_type == "mpnet" and encoder.adapter_interface.layer_pre_ffn != self._pre_ffn:  # type: ignore[union-attr]
            raise MethodError(f"{self.name} cannot share an MPNet encoder with the methods that it already holds; use it alone")
        encoder.load_adapter(str(folder), load_as=name, use_safetensors=True)  # type: ignore[operator]
        return encoder

    def switch(self, encoder: nn.Module, name: str | None) -> None:
        encoder.set_active_adapters(name)  # type: ignore[operator]

    @property
    def _pre_ffn(self) -> str | None:
        """MPNet's module that gets the feed-forward block's input. Sequential adapters that add it when they are told of it
        (Pfeiffer's) are not told: they have been compared without.
        """
        return "intermediate" if self.reads_block_input else None

    def _init(self, encoder: nn.Module) -> None:
        import adapters

        adapters.init(encoder, interface=self._interface(str(encoder.config.model_type)))  # type: ignore[union-attr]

    def _interface(self, model_type: str) -> Any:
        """Names of the modules for the library's plug-in interface, where it has no class for the family or a wrong one; else
        None.
        """
        from adapters import AdapterModelInterface
        from adapters.wrappers.interfaces import CUSTOM_INTERFACES

        kinds = ["bottleneck", "reft"]
        if model_type == "modernbert":
            # With LoRA among the kinds the library gives each projection that has no bias a random one.
            return replace(CUSTOM_INTERFACES[model_type], adapter_methods=kinds)
        if model_type != "mpnet":
            return None
        return AdapterModelInterface(
            adapter_methods=kinds,
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
            layer_pre_ffn=self._pre_ffn,
        )


def _each_once(encoder: nn.Module, weights: dict[str, Tensor]) -> dict[str, Tensor]:
    """Return the weights as safetensors takes them: contiguous, and each tensor under its shortest name alone.

    One name is enough for the library, whose layers share the module.
    """
    names = {weights[name].data_ptr(): name for name in sorted(weights, key=len, reverse=True)}
    once = {name: weights[name].contiguous() for name in names.values()}
    shared: Any = encoder.shared_parameters
    if NAME in shared:
        # The library looks for these behind the name of the base model, which a bare encoder's weights do not have.
        once |= {f"shared_parameters.{NAME}.{name}": p.detach() for name, p in shared[NAME].items()}
        once = {f"{encoder.base_model_prefix}.{name}": tensor for name, tensor in once.items()}
    return once


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
