"""Interface of a method: hyperparameters, attaching to an encoder, and a closed form of its parameter count."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, TypeVar, dataclass_transform

from methods._errors import BenchError, MethodError
from methods._shape import EncoderShape

if TYPE_CHECKING:
    from torch import nn

__all__ = ["BenchError", "EncoderShape", "Method", "MethodError", "register", "registered"]


WEIGHTS = "model.safetensors"


class Method(ABC):
    """A way to fine-tune an encoder. Registered ones are frozen dataclasses: their fields are the hyperparameters.

    A method is independent of budgets, data and heads: it receives an encoder and returns one in which some parameters
    are trainable. The classification head belongs to the comparison and is trained under every method.
    """

    name: ClassVar[str]
    citation: ClassVar[str]
    """The paper, as authors, title, venue and identifier."""
    deviation: ClassVar[str]
    """One line on where this implementation departs from the paper."""
    learning_rates: ClassVar[tuple[float, ...]]
    """The grid that tuning searches. Its middle is the default learning rate, unless the method has another."""
    rates_tuned: ClassVar[bool] = False
    """True where the default learning rate was chosen on data here, not taken from a paper or a neighbouring method. Not
    inherited.
    """
    families: ClassVar[frozenset[str] | None] = None
    """Model types, as in config.json, of the encoders that the method attaches to; None: every one."""
    groups: ClassVar[tuple[str, ...]] = ()
    """Names under which `--method` takes it together with others, beside that of its library."""
    encodes_once: ClassVar[bool] = False
    """True where nothing inside the encoder trains, so that its output for a review never changes."""
    merges: ClassVar[bool] = False
    """Whether the trained weights can be merged into the encoder's own, which adds no latency."""
    has_buffers: ClassVar[bool] = False
    """True where the method holds many numbers that it does not train, such as random projections: memory of no parameter."""
    backend: ClassVar[str | None] = None
    """The library that holds several of what its methods trained on one encoder (`join`) and uses one at a time (`switch`);
    None where the method has no such thing.
    """

    learning_rate: float

    @classmethod
    def supports(cls, family: str) -> bool:
        """Whether the method attaches to encoders of this model type."""
        return cls.families is None or family in cls.families

    @abstractmethod
    def attach(self, encoder: nn.Module) -> nn.Module:
        """Add this method's parameters to a fresh encoder (changed in place) and leave only those that the method
        trains with `requires_grad`. Returns the module to call in the encoder's place.
        """

    @abstractmethod
    def trainable_parameters(self, shape: EncoderShape) -> int:
        """Compute the closed form: how many parameters of the encoder train, without the head."""

    def merged(self, encoder: nn.Module) -> nn.Module:
        """Merge what was added to the trained encoder into its own weights, in place.

        Raises:
            MethodError: where the method does not merge.
        """
        raise MethodError(f"{self.name} cannot be merged into the encoder's weights")

    def save(self, encoder: nn.Module, folder: Path) -> None:
        """Write the trained weights into `folder` as safetensors, in the library's own format where it has one.

        Unless overridden: the trainable parameters, under their own names, in `model.safetensors`.
        """
        from safetensors.torch import save_file

        folder.mkdir(parents=True, exist_ok=True)
        trained = {name: p.detach().contiguous() for name, p in encoder.named_parameters() if p.requires_grad}
        if trained:
            save_file(trained, folder / WEIGHTS, metadata={"format": "pt"})

    def load(self, encoder: nn.Module, folder: Path) -> nn.Module:
        """Load what `save` wrote into a fresh encoder; returns the module to call in the encoder's place.

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
        """Load what `save` wrote onto an encoder that may hold more of the same `backend`, under a name of letters and digits.
        Returns the module to call in the encoder's place; `switch` activates it.

        Raises:
            MethodError: where the method has no `backend`.
        """
        raise MethodError(f"{self.name} cannot share an encoder with others")

    def switch(self, encoder: nn.Module, name: str | None) -> None:
        """Activate what joined the encoder under `name`; None: the plain encoder.

        Raises:
            MethodError: where the method has no `backend`.
        """
        raise MethodError(f"{self.name} cannot share an encoder with others")

    def hyperparameters(self) -> dict[str, Any]:
        """Return the fields of the method as JSON values, the learning rate among them."""
        return asdict(self)  # type: ignore[call-overload, no-any-return]


registered: dict[str, Method] = {}
"""Every method by name, with its default hyperparameters."""

_DECLARED = ("citation", "deviation", "learning_rates", "learning_rate")
_M = TypeVar("_M", bound=Method)


@dataclass_transform(frozen_default=True)
def register(name: str) -> Callable[[type[_M]], type[_M]]:
    """Class decorator: make a frozen dataclass, and register the method under `name` with the defaults of its fields.

    A subclass with other defaults, registered under another name, is a variant. It should say so in its `deviation`.
    """

    def add(cls: type[_M]) -> type[_M]:
        own = vars(cls)
        if "__dataclass_fields__" not in own:
            if "learning_rates" in own and "learning_rate" not in own:
                cls.learning_rate = cls.learning_rates[len(cls.learning_rates) // 2]  # which the annotation makes a field
                cls.__annotations__ = {"learning_rate": float, **cls.__annotations__}
            cls = dataclass(frozen=True)(cls)
        cls.name, cls.rates_tuned = name, own.get("rates_tuned", False)
        method = cls()
        lacking = [field for field in _DECLARED if not hasattr(method, field)]
        if lacking:
            raise MethodError(f"the method {name!r} does not declare its {', '.join(lacking)}")
        existing = type(registered.get(name, method)).__module__
        if existing != cls.__module__:
            raise MethodError(f"two methods are called {name!r}: {existing} and {cls.__module__}")
        registered[name] = method
        return cls

    return add
