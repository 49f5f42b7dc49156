"""Options of a run before they are resolved. Importing this is quick: the command line takes its defaults from here."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, Literal

import methods
from bench.rules import Kernels
from bench.system.errors import SpecError

__all__ = ["SHORTEST", "Request", "option_of", "parse_settings"]

SHORTEST = 8
"""Fewest tokens of a text that `max_length` may keep."""


@dataclass(frozen=True)
class Request:
    """Methods, budgets and seeds on one encoder and one data source. Nothing is checked yet."""

    methods: list[str] = field(default_factory=list)
    encoder: str = "minilm"
    data: str = "embedded"
    budget: str = "60s"
    seeds: str = "1"
    max_length: int = 128
    truncation: str = "head+tail"
    batch_size: int = 16
    precision: Literal["auto", "fp32", "bf16"] = "auto"
    device: str = "auto"
    kernels: Kernels = "plain"
    memory: str | None = None
    test_limit: int | None = None
    tune: int | None = None
    tune_seeds: int = 2
    trials_only: bool = False
    calibration: str | None = None
    """Path of the calibration's record that converts budgets, of any machine."""
    hyperparameters: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    """Method → hyperparameters that differ from its defaults."""
    dropout: float = 0.0
    attention_dropout: float = 0.0
    train_limit: int | str | None = None
    """Numbers of texts, several with commas."""
    text_column: str | None = None
    label_column: str | None = None


def option_of(field: str) -> str:
    """Name the option of a field of `Request`."""
    return {"methods": "--method", "hyperparameters": "--set"}.get(field, f"--{field.replace('_', '-')}")


def parse_settings(items: Iterable[str]) -> dict[str, dict[str, Any]]:
    """Parse "houlsby.learning_rate=5e-4" into method → hyperparameter → value.

    Raises:
        SpecError: if one is malformed, or a hyperparameter is set twice.
        MethodError: for an unknown method or hyperparameter, with the nearest known one, or a value of another type.
    """
    settings: dict[str, dict[str, Any]] = {}
    for item in items:
        target, equals, text = item.partition("=")
        method, dot, name = target.strip().rpartition(".")
        if not (equals and dot and method and name):
            raise SpecError(f"--set {item!r} is not understood; write METHOD.HYPERPARAMETER=VALUE: houlsby.learning_rate=5e-4")
        own = settings.setdefault(method, {})
        if name in own:
            raise SpecError(f"--set {method}.{name} is given twice; give it once")
        own[name] = text
        if not isinstance(getattr(methods.get(method), name, None), str):
            with suppress(ValueError):  # a number, true, false or null; anything else is a text
                own[name] = json.loads(text)
        methods.configured(method, {name: own[name]})
    return settings
