"""Values of the report's options."""

from __future__ import annotations

from enum import StrEnum
from typing import Literal

__all__ = ["Figure", "Format", "View"]

Format = Literal["table", "markdown", "latex", "csv", "json", "html", "svg", "png"]
View = StrEnum("View", ["comparison", "pairs", "confidence", "curves", "budgets", "costs", "tuning", "all"])
"""In the order in which a report shows them. An option that is repeatable takes no `Literal`."""
Figure = Literal[
    "forest", "accuracy-time", "accuracy-memory", "accuracy-parameters", "curves", "memory-split", "sweep", "all"
]  # fmt: skip
