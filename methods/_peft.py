"""Base of the methods of the library peft: attaching, saving, loading, merging and switching."""

from __future__ import annotations

from abc import abstractmethod
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from methods._targets import TARGETS, Targets
from methods.base import EncoderShape, Method, MethodError

if TYPE_CHECKING:
    from torch import nn

__all__ = ["Peft", "PeftOfMaps", "largest_divisor"]


class Peft(Method):
    """Changes of linear maps or LayerNorms beside frozen weights."""

    merges = True
    backend: ClassVar[str | None] = "peft"
    groups: ClassVar[tuple[str, ...]] = ("peft",)
    families = frozenset(TARGETS)

    @abstractmethod
    def config(self, width: int, targets: Targets) -> Any:
        """Make the library's configuration object for an encoder of this width, whose maps have these names."""

    def prepare(self) -> None:
        """Prepare the library before it attaches or loads."""

    def attach(self, encoder: nn.Module) -> nn.Module:
        from peft import get_peft_model

        self.prepare()
        family, width = encoder.config.model_type, encoder.config.hidden_size  # type: ignore[union-attr]
        config = self.config(width, TARGETS[family])  # type: ignore[arg-type, index]
        try:
            return get_peft_model(encoder, config)  # type: ignore[no-any-return]
        except ValueError as error:
            raise MethodError(f"{self.name} does not attach to this encoder: {' '.join(str(error).split())}") from error

    def merged(self, encoder: nn.Module) -> nn.Module:
        """Compute the change once, in the place of each changed weight."""
        return encoder.merge_and_unload()  # type: ignore[operator, no-any-return]

    def save(self, encoder: nn.Module, folder: Path) -> None:
        """Save in the peft layout: `adapter_config.json` and `adapter_model.safetensors`."""
        for config in encoder.peft_config.values():  # type: ignore[operator, union-attr]
            for field, value in vars(config).items():
                if isinstance(value, set):
                    setattr(config, field, sorted(value))  # the order of a set changes with the process
        encoder.save_pretrained(folder, safe_serialization=True, save_embedding_layers=False)  # type: ignore[operator]
        (folder / "README.md").unlink(missing_ok=True)  # an empty model card, no part of the adapter

    def load(self, encoder: nn.Module, folder: Path) -> nn.Module:
        from peft import PeftModel

        self.prepare()
        return PeftModel.from_pretrained(encoder, folder, is_trainable=True, use_safetensors=True)  # type: ignore[no-any-return]

    def join(self, encoder: nn.Module, folder: Path, name: str) -> nn.Module:
        from peft import PeftModel

        self.prepare()
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


class PeftOfMaps(Peft):
    """Changes of linear maps, the same in each."""

    config_class: ClassVar[str]
    """Name of the library's configuration class."""
    all_linear: ClassVar[bool] = False
    """Change all linear maps of a layer; else the query and value projections."""

    @abstractmethod
    def options(self, width: int) -> dict[str, object]:
        """Arguments of the configuration for an encoder of width d, beside the names of the maps."""

    def config(self, width: int, targets: Targets) -> Any:
        import peft

        maps = targets.all_linear if self.all_linear else targets.query_value
        return getattr(peft, self.config_class)(target_modules=list(maps), **self.options(width))

    @abstractmethod
    def map_parameters(self, width: int, inputs: int, outputs: int) -> int:
        """Compute the closed form for one linear map of an encoder of width d."""

    def trainable_parameters(self, shape: EncoderShape) -> int:
        """Sum `map_parameters` over the maps that are changed, in layers that have weights of their own."""
        sizes = TARGETS[shape.model_type].sizes(shape, all_linear=self.all_linear)
        return shape.distinct_layers * sum(self.map_parameters(shape.width, *size) for size in sizes)


def largest_divisor(width: int, most: int) -> int:
    """Find the largest whole number up to `most` by which a width can be divided."""
    return max(size for size in range(1, most + 1) if width % size == 0)
