"""The registry of fine-tuning methods: one file a method, discovered by import.

Importing this package is cheap: no method imports torch before it is attached.
"""

from __future__ import annotations

import difflib
import importlib
import pkgutil
from collections.abc import Mapping
from functools import cache
from importlib.metadata import entry_points
from typing import Any

from methods._settings import with_settings
from methods._targets import TARGETS
from methods.base import EncoderShape, Method, MethodError, registered

__all__ = [
    "ENTRY_POINT_GROUP",
    "FAMILIES",
    "EncoderShape",
    "Method",
    "MethodError",
    "build",
    "configured",
    "expand",
    "get",
    "groups",
    "names",
]

FAMILIES = tuple(TARGETS)
"""The families of encoders, as config.json calls them, that the methods here know."""

ENTRY_POINT_GROUP = "adapter_bench.methods"
"""Installed packages add methods by naming a module in this entry-point group; importing it registers them."""

_ORDER = ("houlsby", "pfeiffer", "lora", "full", "head-only")
"""The five methods of the comparison, the reference first; all others follow by name."""


@cache
def _load_all() -> None:
    for module in pkgutil.iter_modules(__path__):
        importlib.import_module(f"{__name__}.{module.name}")
    for point in entry_points(group=ENTRY_POINT_GROUP):
        try:
            point.load()
        except (Exception, SystemExit) as error:
            source = point.dist.name if point.dist else point.value
            raise MethodError(
                f"the method {point.name!r} of the package {source!r} does not load "
                f"({type(error).__name__}: {error}); update or uninstall that package"
            ) from error


def names(*, core: bool = False) -> list[str]:
    """Names of the registered methods, the reference first; with `core` only the five of the comparison."""
    _load_all()
    return list(_ORDER) if core else [*_ORDER, *sorted(registered.keys() - set(_ORDER))]


def groups() -> dict[str, list[str]]:
    """Return groups of methods: `all` for the five of the comparison, `every` for all, and those that methods declare."""
    by_group: dict[str, list[str]] = {"all": names(core=True), "every": names()}
    for name in names():
        method = registered[name]
        for group in dict.fromkeys((*method.groups, method.backend)):
            if group is not None:
                by_group.setdefault(group, []).append(name)
    return by_group


def expand(name: str) -> list[str]:
    """List the methods of the group called `name`, or the one method of that name.

    Raises:
        MethodError: with the nearest known name, if it is neither.
    """
    return groups().get(name) or [get(name, *groups()).name]


def get(name: str, *also: str) -> Method:
    """Return the method registered under `name`.

    Raises:
        MethodError: with the nearest known name, or that of `also`, if there is no such method.
    """
    _load_all()
    try:
        return registered[name]
    except KeyError:
        near = difflib.get_close_matches(name, [*registered, *also], n=1, cutoff=0.5)
        hint = f"; did you mean {near[0]!r}?" if near else "."
        raise MethodError(f"unknown method {name!r}{hint} Known: {', '.join([*names(), *also])}") from None


def build(name: str, hyperparameters: Mapping[str, Any]) -> Method:
    """Build the method registered under `name` with just these hyperparameters, as a record has them.

    Raises:
        MethodError: if there is no such method.
        TypeError: if it does not take one of them, or lacks one.
    """
    return type(get(name))(**hyperparameters)


def configured(name: str, settings: Mapping[str, Any]) -> Method:
    """Return the method registered under `name`, with other values of the hyperparameters in `settings`.

    Raises:
        MethodError: if there is no such method or hyperparameter, or the value cannot be one.
    """
    return with_settings(get(name), settings)
