"""List the methods: description, source, and share of an encoder that each trains."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator

import methods
from bench.system.text import harmless

__all__ = ["methods_text"]


def methods_text(encoder: str, shape: methods.EncoderShape) -> str:
    """Every registered method with its closed-form count for an encoder of this shape, and the groups."""
    name = harmless(encoder)
    parts = ["\n".join(_entry(method, methods.get(method), name, shape)) for method in methods.names()]
    groups = ["--method also takes groups, of which those that attach to the encoder run:"]
    for group, members in methods.groups().items():
        groups += _wrapped(f"{group}: {', '.join(members)}")
    return "\n\n".join([*parts, "\n".join(groups)])


def _entry(name: str, method: methods.Method, encoder: str, shape: methods.EncoderShape) -> Iterator[str]:
    if method.supports(shape.model_type):
        count = method.trainable_parameters(shape)
        yield f"{name}: trains {count:,} parameters of {encoder}'s body ({100 * count / shape.parameters:.2f} %), and the head"
    else:
        yield f"{name}: does not attach to {encoder}, of family {shape.model_type}"
    settings = [f"{key} {value}" for key, value in method.hyperparameters().items()]
    if not method.rates_tuned:
        settings[0] += " (not tuned)"
    yield from _wrapped(", ".join(settings), "  ")
    yield from _wrapped(method.citation)
    yield from _wrapped(f"Deviation: {method.deviation}")
    if lacking := [family for family in methods.FAMILIES if not method.supports(family)]:
        yield from _wrapped(f"Encoders: all but {', '.join(lacking)}")


def _wrapped(text: str, more: str = "    ") -> list[str]:
    return textwrap.wrap(text, 110, initial_indent="  ", subsequent_indent=more, break_on_hyphens=False)
