"""What an option of a command can be, where it is one of a few words."""

from __future__ import annotations

from enum import StrEnum

__all__ = ["AnswerFormat", "Device", "Engine", "Precision", "Truncation"]


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


class AnswerFormat(StrEnum):
    text = "text"
    csv = "csv"
    json = "json"
