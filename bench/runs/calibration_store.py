"""Saved calibrations: those of a folder, or the one in a named file."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from bench.records.schema import Baseline, Calibration, CalibrationSetting, MethodSpeed
from bench.records.store import Damaged, checksum_flaw, examine, path_of, read
from bench.rules import RULES_VERSION
from bench.system.errors import RecordError
from bench.system.files import present

__all__ = ["Named", "find_calibrations", "load_calibration", "same_method", "speed_of"]

_OF_MACHINE = ("device", "threads")
"""Fields of the setting that a calibration which is named need not share."""
_WORDS = {"encoder_sha256": "encoder", "data_sha256": "data", "memory_cap": "memory"}
"""The option of a field, where that is not its name."""

Named = tuple[str, Mapping[str, Any]]
"""A method and its hyperparameters. The learning rate, if it is there, is left out: it changes no time."""


def same_method(method: Named, candidate: Named) -> bool:
    """Return whether both are one method at the same hyperparameters but for the learning rate."""
    first, second = ({k: v for k, v in own.items() if k != "learning_rate"} for _, own in (method, candidate))
    return method[0] == candidate[0] and first == second


def speed_of(calibrations: Sequence[Calibration], method: Named) -> tuple[Calibration, MethodSpeed] | None:
    """Find the first calibration that holds a method, and its speed there; one that failed may succeed when tried again."""
    for calibration in calibrations:
        for entry in calibration.methods:
            if same_method((entry.method, entry.hyperparameters), method) and entry.state != "failed":
                return calibration, entry
    return None


def find_calibrations(folder: Path, setting: CalibrationSetting, model: str) -> list[Calibration]:
    """Find the calibrations of a folder that are valid for a setting on the processor or GPU `model`.

    Those with the most methods come first, and of these the newest, so that one for later methods does not replace the first.

    Raises:
        RecordError: if one of them was changed, or all are of another kind of machine.
    """
    valid, elsewhere = list[Calibration](), list[Calibration]()
    for path in sorted(present(folder, "calibration-*.json")):
        item = examine(path)
        if isinstance(item, Damaged):
            raise RecordError(f"{str(item.path)!r} is not a whole calibration ({item.reason}); move it away")
        if not isinstance(item, Calibration) or item.rules_version != RULES_VERSION:
            continue
        unlike = _unlike(item.setting, setting)
        if not unlike and item.environment.device == model:
            valid.append(item)
        elif not set(unlike) - set(_OF_MACHINE):
            elsewhere.append(item)
    if elsewhere and not valid:
        other = elsewhere[-1]
        raise RecordError(
            f"{str(path_of(folder, other))!r} was made on another kind of machine ({other.environment.device}, "
            f"{other.setting.threads} threads; this is {model}, {setting.threads} threads); name it with --calibration to use "
            "it, or choose another --out"
        )
    return sorted(valid, key=lambda item: (len(item.methods), item.finished, item.run_id), reverse=True)


def load_calibration(path: Path, setting: CalibrationSetting, methods: Sequence[Named]) -> Calibration:
    """Read the calibration in a file, which is valid on any machine for an equal setting.

    Raises:
        RecordError: if the file holds no calibration, was changed, or is of another setting or rules version; if it lacks one
            of the methods.
    """
    where = f"calibration {str(path)!r}"
    record = read(path)
    if not isinstance(record, Calibration):
        kind = "baseline" if isinstance(record, Baseline) else "run"
        raise RecordError(f"{where} is the record of a {kind}; name a calibration-….json")
    if broken := checksum_flaw(path):
        raise RecordError(f"{where} cannot be trusted: {broken}")
    if record.rules_version != RULES_VERSION:
        raise RecordError(
            f"{where} is of rules version {record.rules_version}, and this is version {RULES_VERSION}; calibrate again"
        )
    unlike = [name for name in _unlike(record.setting, setting) if name not in _OF_MACHINE]
    if unlike:
        first = unlike[0]
        theirs, ours = (str(getattr(side, first))[:20] for side in (record.setting, setting))
        raise RecordError(
            f"{where} is of another setting: its {_WORDS.get(first, first)} is {theirs}, and here it is {ours}; "
            "calibrate this setting"
        )
    for name, own in methods:
        if speed_of([record], (name, own)) is None:
            raise RecordError(f"{where} does not hold {_label(name, own)}; calibrate it, or leave --calibration out")
    return record


def _label(name: str, own: Mapping[str, Any]) -> str:
    settings = ", ".join(f"{field} {value}" for field, value in own.items() if field != "learning_rate")
    return f"{name} ({settings})" if settings else name


def _unlike(first: CalibrationSetting, second: CalibrationSetting) -> list[str]:
    """List the fields in which two settings differ."""
    return [name for name in CalibrationSetting.model_fields if getattr(first, name) != getattr(second, name)]
