"""What the options of the report can be, where they are one of a few words."""

from __future__ import annotations

from enum import StrEnum

__all__ = ["Figure", "Format", "View"]


class Format(StrEnum):
    table = "table"
    markdown = "markdown"
    latex = "latex"
    csv = "csv"
    json = "json"
    html = "html"
    svg = "svg"
    png = "png"


class View(StrEnum):
    comparison = "comparison"
    pairs = "pairs"
    confidence = "confidence"
    curves = "curves"
    budgets = "budgets"
    costs = "costs"
    tuning = "tuning"
    all = "all"


class Figure(StrEnum):
    accuracy_parameters = "accuracy-parameters"
    accuracy_memory = "accuracy-memory"
    accuracy_time = "accuracy-time"
    forest = "forest"
    curves = "curves"
    memory_split = "memory-split"
    sweep = "sweep"
    all = "all"
