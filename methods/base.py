"""What a method is: hyperparameters, a way to attach to an encoder, and a closed form that can be checked."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, TypeVar

if TYPE_CHECKING:
    from torch import nn

__all__ = ["BenchError", "EncoderShape", "Method", "MethodError", "register", "registered"]


WEIGHTS = "model.safetensors"


class BenchError(Exception):
    """Root of the errors that a person can mend. The message is one line: what is wrong, and what to do about it."""


class MethodError(BenchError, ValueError):
    """A method that does not exist, does not load, or does not fit an encoder. The message is one line."""


@dataclass(frozen=True)
class EncoderShape:
    """The sizes of a transformer encoder that parameter counts depend on (embeddings and layers, no pooler)."""

    model_type: str
    vocabulary: int
    positions: int
    """Rows of the position table; RoBERTa and MPNet keep two of them for padding."""
    token_types: int
    """Rows of the token-type table; 0 where the architecture has none."""
    width: int
    """d, the hidden size."""
    layers: int
    """L."""
    feed_forward: int
    """f, the inner size of the feed-forward block."""
    relative_biases: int = 0
    """Entries of the relative-position table (MPNet: 32 buckets times heads)."""

    @classmethod
    def from_config(cls, config: Mapping[str, Any]) -> EncoderShape:
        """Read the shape from the fields of a `config.json`.

        Raises:
            MethodError: if a size is missing or is not a positive whole number.
        """
        kind = str(config.get("model_type"))
        distil = kind == "distilbert"

        def size(name: str) -> int:
            value = config.get(name)
            if not isinstance(value, int) or isinstance(value, bool) or value < 1:
                raise MethodError(f"config.json: {name} must be a positive whole number, not {value!r}")
            return value

        return cls(
            model_type=kind,
            vocabulary=size("vocab_size"),
            positions=size("max_position_embeddings"),
            token_types=0 if kind in {"distilbert", "mpnet"} else size("type_vocab_size"),
            width=size("dim" if distil else "hidden_size"),
            layers=size("n_layers" if distil else "num_hidden_layers"),
            feed_forward=size("hidden_dim" if distil else "intermediate_size"),
            relative_biases=config.get("relative_attention_num_buckets", 32) * size("num_attention_heads")
            if kind == "mpnet"
            else 0,
        )

    @property
    def parameters(self) -> int:
        """All weights of the encoder: tables, embedding LayerNorm, and in each layer four attention projections,
        two feed-forward projections and two LayerNorms (Devlin et al. 2019, section 3).
        """
        d, f = self.width, self.feed_forward
        tables = (self.vocabulary + self.positions + self.token_types) * d + 2 * d + self.relative_biases
        layer = 4 * (d * d + d) + (2 * d * f + f + d) + 2 * 2 * d
        return tables + self.layers * layer


class Method(ABC):
    """A way to fine-tune an encoder. Subclasses are frozen dataclasses: their fields are the hyperparameters.

    A method knows nothing of budgets, data or heads: it gets an encoder and hands back one in which some parameters
    are trainable. The classification head belongs to the comparison and is trained under every method.
    """

    name: ClassVar[str]
    citation: ClassVar[str]
    """The paper, as authors, title, venue and identifier."""
    deviation: ClassVar[str]
    """One line on where this implementation departs from the paper."""
    learning_rates: ClassVar[tuple[float, ...]]
    """The grid that tuning searches."""
    encodes_once: ClassVar[bool] = False
    """True where nothing inside the encoder trains, so that its output for a review never changes."""
    merges: ClassVar[bool] = False
    """True where what was trained can be added into the encoder's own weights, so that using it costs nothing."""
    backend: ClassVar[str | None] = None
    """The library that holds several of what its methods trained on one encoder (`join`) and uses one at a time (`switch`);
    None where the method has no such thing.
    """

    learning_rate: float

    @abstractmethod
    def attach(self, encoder: nn.Module) -> nn.Module:
        """Add this method's parameters to a fresh encoder (changed in place) and leave only those that the method
        trains with `requires_grad`. Returns the module to call in the encoder's place.
        """

    @abstractmethod
    def trainable_parameters(self, shape: EncoderShape) -> int:
        """The closed form: how many parameters of the encoder body train, without the head."""

    def merged(self, encoder: nn.Module) -> nn.Module:
        """The trained encoder, changed in place, with what was added to it merged into its own weights.

        Raises:
            MethodError: where the method does not merge.
        """
        raise MethodError(f"{self.name} cannot be merged into the encoder's weights")

    def save(self, encoder: nn.Module, folder: Path) -> None:
        """Write what was trained into `folder` as safetensors, in the library's own format where it has one.

        Unless overridden: the trainable parameters, under their own names, in `model.safetensors`.
        """
        from safetensors.torch import save_file

        folder.mkdir(parents=True, exist_ok=True)
        trained = {name: p.detach().contiguous() for name, p in encoder.named_parameters() if p.requires_grad}
        if trained:
            save_file(trained, folder / WEIGHTS, metadata={"format": "pt"})

    def load(self, encoder: nn.Module, folder: Path) -> nn.Module:
        """Put what `save` wrote into a fresh encoder; returns the module to call in the encoder's place.

        Raises:
            MethodError: if the file does not hold just the parameters that this method trains.
        """
        from safetensors.torch import load_file

        encoder = self.attach(encoder)
        trainable = {name for name, p in encoder.named_parameters() if p.requires_grad}
        weights = load_file(folder / WEIGHTS) if trainable else {}
        if weights.keys() != trainable:
            odd = sorted(weights.keys() ^ trainable)[:3]
            raise MethodError(f"{WEIGHTS} was not saved by {self.name} on this encoder: {', '.join(odd)}")
        encoder.load_state_dict(weights, strict=False)
        return encoder

    def join(self, encoder: nn.Module, folder: Path, name: str) -> nn.Module:
        """Put what `save` wrote on an encoder that may hold more of the same library, under a name of letters and digits.
        Returns the module to call in the encoder's place; what it uses is for `switch` to say.

        Raises:
            MethodError: where the method has no library for that.
        """
        raise MethodError(f"{self.name} cannot share an encoder")

    def switch(self, encoder: nn.Module, name: str | None) -> None:
        """From now on use what joined the encoder under `name`; None: the plain encoder, with nothing on it.

        Raises:
            MethodError: where the method has no library for that.
        """
        raise MethodError(f"{self.name} cannot share an encoder")

    def hyperparameters(self) -> dict[str, Any]:
        """The fields of the method as JSON values, the learning rate among them."""
        return asdict(self)  # type: ignore[call-overload, no-any-return]


registered: dict[str, Method] = {}
"""Every method by name, with its default hyperparameters."""

_DECLARED = ("citation", "deviation", "learning_rates", "learning_rate")
_M = TypeVar("_M", bound=Method)


def _add(name: str, method: Method) -> None:
    lacking = [field for field in _DECLARED if not hasattr(method, field)]
    if lacking:
        raise MethodError(f"the method {name!r} does not declare its {', '.join(lacking)}")
    known = registered.get(name)
    if known is not None and type(known).__module__ != type(method).__module__:
        raise MethodError(f"two methods are called {name!r}: {type(known).__module__} and {type(method).__module__}")
    registered[name] = method


def register(name: str) -> Callable[[type[_M]], type[_M]]:
    """Class decorator: make the method known under `name` with the defaults of its fields.

    A subclass with other defaults, registered under another name, is a variant. It should say so in its `deviation`.
    """

    def add(cls: type[_M]) -> type[_M]:
        cls.name = name
        _add(name, cls())
        return cls

    return add
