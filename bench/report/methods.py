"""The methods as text: what each is, where it comes from, and how much of an encoder it trains."""

from __future__ import annotations

import textwrap

import methods
from bench.system.text import harmless

__all__ = ["methods_text"]


def methods_text(encoder: str, shape: methods.EncoderShape) -> str:
    """Every registered method with its closed-form count for an encoder of this shape."""
    lines: list[str] = []
    body = f"{harmless(encoder)}'s body"
    for name in methods.names():
        method = methods.get(name)
        count = method.trainable_parameters(shape)
        settings = ", ".join(f"{key} {value}" for key, value in method.hyperparameters().items())
        lines += [
            f"{name}: trains {count:,} parameters of {body} ({100 * count / shape.parameters:.2f} %), and the head",
            f"  {settings}",
            *textwrap.wrap(method.citation, 110, initial_indent="  ", subsequent_indent="    "),
            *textwrap.wrap(f"Deviation: {method.deviation}", 110, initial_indent="  ", subsequent_indent="    "),
            "",
        ]
    return "\n".join(lines).rstrip()
