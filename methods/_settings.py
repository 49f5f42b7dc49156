"""Hyperparameters that replace a method's defaults, checked against its fields."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from dataclasses import fields, replace
from typing import Any, TypeVar, get_args, get_type_hints

from methods.base import Method, MethodError

__all__ = ["with_settings"]

_M = TypeVar("_M", bound=Method)
_MOST = 1e15
"""No hyperparameter is larger; infinite ones and NaN are left out by it too."""


def with_settings(method: _M, settings: Mapping[str, Any]) -> _M:
    """Return the method with other values of some hyperparameters. A value that equals the default is the default.

    Raises:
        MethodError: naming the hyperparameter and what it can be.
    """
    names = [field.name for field in fields(method)]  # type: ignore[arg-type]
    types = _types(type(method))
    values: dict[str, Any] = {}
    for name, value in settings.items():
        if name not in names:
            near = difflib.get_close_matches(str(name), names, n=1)
            hint = f"; did you mean {near[0]!r}?" if near else ";"
            raise MethodError(f"{method.name} has no hyperparameter {name!r}{hint} it has {', '.join(names)}")
        default = getattr(method, name)
        values[name] = _checked(f"{method.name}: {name}", value, default, types.get(name, {type(default)}))
    try:
        changed: _M = replace(method, **values)  # type: ignore[type-var]
    except (TypeError, ValueError) as error:
        raise MethodError(f"{method.name}: {error}") from None
    unused = sorted(values.keys() - changed.hyperparameters().keys())
    if unused:
        raise MethodError(f"{method.name}: {unused[0]} does not count beside {', '.join(sorted(values.keys() - {unused[0]}))}")
    return changed


def _types(method: type[Method]) -> dict[str, set[type]]:
    """Find the types that each field may have; empty where annotations cannot be read, as where a package hides its imports."""
    try:
        hints = get_type_hints(method)
    except Exception:
        return {}
    return {name: set(get_args(hint)) or {hint} for name, hint in hints.items()}


def _checked(label: str, value: Any, default: Any, types: set[type]) -> Any:
    if type(value) is type(default) and value == default:
        return default
    if isinstance(value, bool) or not types & {int, float}:
        if type(value) in types:
            return value
    elif isinstance(value, (int, float)) and -_MOST < value < _MOST:
        # 16 and 16.0 are one setting, and one run.
        value = int(value) if value == int(value) else value
        if (float in types or isinstance(value, int)) and (value > 0 or not _positive(default)):
            return default if value == default else value
    wanted = {bool: "true or false", str: "a text"}
    kind = next((text for one, text in wanted.items() if one in types), None)
    if kind is None:
        number = "a number" if float in types else "a whole number"
        kind = f"{number} more than 0" if _positive(default) else number
    raise MethodError(f"{label} must be {kind}, not {str(value)[:40]!r}")


def _positive(default: Any) -> bool:
    """Whether a number must be more than 0: where the default is, or there is none."""
    return not isinstance(default, (int, float)) or default > 0
