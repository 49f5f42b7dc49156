"""Records of older schema versions, brought to the present one in memory. Their files are left as they are.

Each step takes the JSON of one version to the next, so that a new version needs one more step and no old one changes.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

__all__ = ["STEPS", "Json", "migrate"]

Json = dict[str, Any]
_RATES = {"matmul_before", "matmul_after", "matmul_quiet", "contended"}


def _from_1(record: Json) -> Json:
    """Version 2 has a checksum, which files of version 1 lack, and another meaning of `memory.ru_maxrss`.

    Up to rules version 1 it was read after resetting the high-water mark had lowered it, so what it says is not the most
    that the process ever held, and it goes. The runs of rules version 2 that were recorded as version 1 read it in time.
    """
    memory, rules = record.get("memory"), record.get("rules_version")
    if isinstance(memory, dict) and isinstance(rules, int) and rules < 2:
        return {**record, "memory": {**memory, "ru_maxrss": None}}
    return record


def _from_2(record: Json) -> Json:
    """Version 3 has no rates of the machine and no mark of contention: a counted budget needs neither."""
    compute = record.get("compute")
    if isinstance(compute, dict):
        return {**record, "compute": {name: value for name, value in compute.items() if name not in _RATES}}
    return record


STEPS: dict[int, Callable[[Json], Json]] = {1: _from_1, 2: _from_2, 3: lambda record: record, 4: lambda record: record}
"""How to leave each old version. A step does not change what it is given, and whatever it does not know it keeps. Version 4
has tests of more than two classes; those of two are the same. Version 5 leaves out of `memory.cuda_reserved` what older
ones cannot tell apart."""


def migrate(record: Json) -> Json:
    """Bring a record to the newest version that steps lead to; one of an unknown version comes back as it is."""
    # True is equal to 1 and 1.0 too, but neither is a version.
    while type(version := record.get("schema_version")) is int and version in STEPS:
        record = {**STEPS[version](record), "schema_version": version + 1}
    return record
