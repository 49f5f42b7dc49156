"""The audit: derive every figure of a record again from its raw fields and predictions.

It reads records alone and shares only formulas with the code that wrote them. Each check is a function whose docstring
`python -m bench audit --list` prints, in order.
"""

from __future__ import annotations

import os
from collections import Counter, defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from bench.records.attempts import ATTEMPTS
from bench.records.audit import calibration, evaluation, identity, machine, parameters, training
from bench.records.audit.check import PARTS, Case, Check, Labels, Mismatch, NotApplicable, NotOfThisKind
from bench.records.schema import AnyRecord
from bench.records.store import Damaged, examine, read
from bench.system.errors import RecordError
from bench.system.text import harmless

__all__ = ["CHECKS", "Outcome", "audit", "listing"]

CHECKS: tuple[Check, ...] = (
    *identity.CHECKS, *evaluation.CHECKS, *parameters.CHECKS, *calibration.CONVERSION, *training.CHECKS, *machine.CHECKS,
    *calibration.CHECKS, *identity.LAST,
)  # fmt: skip
"""Every check, in order."""


@dataclass(frozen=True)
class Outcome:
    """Result of the audit of one file."""

    path: Path
    passed: list[tuple[str, str]]
    """Checks that hold, each with its figure."""
    skipped: list[tuple[str, str]]
    """Checks that do not apply, each with the reason."""
    failed: tuple[str, str] | None
    """The first check that fails, with its message; none is run after it."""
    foreign: bool = False
    """Whether the file is not a record of this suite; then no check is run."""

    def text(self, *, verbose: bool = False) -> str:
        """One line; with `verbose` a line for each check as well."""
        file = harmless(str(self.path))
        if self.foreign:
            return f"{file}: not a record of this suite"
        if self.failed is not None:
            line = f"{file}: FAILED {self.failed[0]}: {harmless(self.failed[1])}"
        else:
            apart = f" ({len(self.skipped)} do not apply)" if self.skipped else ""
            line = f"{file}: {len(self.passed)} checks hold{apart}"
        if not verbose:
            return line
        figures = {**dict(self.passed), **{name: f"– ({why})" for name, why in self.skipped}}
        return "\n".join([line, *(f"  {c.name}: {harmless(figures[c.name])}" for c in CHECKS if c.name in figures)])


def audit(paths: Iterable[Path]) -> list[Outcome]:
    """Run every check on the records in these files and folders, each file once; labels are compared across records.

    Other files of a folder have an outcome too: foreign, or failed for a damaged record.

    Raises:
        RecordError: if a path is not there, a file that is named is not a record, or a folder holds none.
    """
    records: dict[Path, AnyRecord] = {}
    others: list[Outcome] = []
    for path, explicit in _files(paths):
        loaded = read(path) if explicit else examine(path, figures=False)
        if isinstance(loaded, Damaged):
            others.append(Outcome(path, [], [], None if loaded.foreign else ("record", loaded.reason), loaded.foreign))
        else:
            records[path] = loaded
    if not records and others:
        raise RecordError(f"there is no whole record here; {others[0].text()}")
    labels: dict[Labels, Counter[bytes]] = defaultdict(Counter)
    for path, record in records.items():
        for part in PARTS:
            implied = evaluation.implied_labels(Case(path, record, labels, part))
            if implied is not None:
                labels[implied[0]][implied[1]] += 1
    return [*(_audited(Case(path, record, labels)) for path, record in records.items()), *others]


def _files(paths: Iterable[Path]) -> list[tuple[Path, bool]]:
    """Return each file once, and whether it was named itself, not its folder."""
    by_path: dict[Path, tuple[Path, bool]] = {}
    for path in paths:
        files = [path]
        if path.is_dir():
            files = [*sorted(path.glob("*.json")), *sorted((path / ATTEMPTS).glob("*.json"))]
        if not files:
            raise RecordError(f"there is no record in {str(path)!r}")
        for file in files:
            by_path.setdefault(Path(os.path.realpath(file)), (file, not path.is_dir()))
    return list(by_path.values())


def _audited(case: Case) -> Outcome:
    passed: list[tuple[str, str]] = []
    skipped: list[tuple[str, str]] = []
    for check in CHECKS:
        try:
            passed.append((check.name, check.function(case)))
        except NotOfThisKind:
            continue
        except NotApplicable as error:
            skipped.append((check.name, str(error)))
        except Mismatch as error:
            return Outcome(case.path, passed, skipped, (check.name, str(error)))
        except (ArithmeticError, ValueError) as error:
            # A record may hold any number: one that cannot be computed with does not hold.
            return Outcome(case.path, passed, skipped, (check.name, f"raw fields give no figure ({type(error).__name__})"))
    return Outcome(case.path, passed, skipped, None)


def listing() -> str:
    """List every check with its docstring, in order; the out-of-domain test has those of the test."""
    own = [check for check in CHECKS if not check.name.startswith("out-of-domain ")]
    return "\n".join(f"{check.name}: {check.explanation}" for check in own)
