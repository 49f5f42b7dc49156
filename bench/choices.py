"""What an option of a command can be, where it is one of a few words."""

from __future__ import annotations

from enum import StrEnum

__all__ = ["AnswerFormat", "Device", "Engine", "Figure", "Format", "Precision", "Truncation", "View"]


class Truncation(StrEnum):
    head = "head"
    tail = "tail"
    both = "head+tail"


class Device(StrEnum):
    auto = "auto"
    cpu = "cpu"
    cuda = "cuda"


class Engine(StrEnum):
    local = "local"
    ray = "ray"


class Precision(StrEnum):
    auto = "auto"
    fp32 = "fp32"
    bf16 = "bf16"


class Format(StrEnum):
    table = "table"
    markdown = "markdown"
    latex = "latex"
    csv = "csv"
    json = "json"
    html = "html"
    svg = "svg"
    png = "png"


class AnswerFormat(StrEnum):
    text = "text"
    csv = "csv"
    json = "json"


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
    forest = "forest"
    curves = "curves"
    memory_split = "memory-split"
    sweep = "sweep"
    all = "all"
