"""What the page shows, as plain values: tables with something to sort by, runs with what is known of them, figures."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from bench.analysis.comparison import Group, Row
from bench.records.schema import Baseline, Record
from bench.report.figures import Drawing, Look
from bench.report.tables.columns import Column, columns
from bench.report.tables.rows import rows
from bench.report.tables.table import Section
from bench.system.text import harmless, mebibytes, percent

__all__ = ["Cell", "Chapter", "Head", "Table", "about", "comparison", "known_runs", "runs_table"]

_NONE = "–"


@dataclass(frozen=True)
class Head:
    header: str
    number: bool = True
    """Whether it is sorted by numbers; by words else."""


@dataclass(frozen=True)
class Cell:
    text: str
    value: float | str | None = None
    """What it is sorted by; None comes last."""
    look: Look | None = None
    """Of the method that it names."""


@dataclass(frozen=True)
class Table:
    """A table that can be sorted, but for its last rows."""

    columns: list[Head]
    rows: list[list[Cell]]
    below: list[list[Cell]] = field(default_factory=list)
    """What the rows are seen against."""


@dataclass(frozen=True)
class Chapter:
    """A part of the page: one group of comparable runs, or a view of several groups. Groups never share a chapter's figures."""

    anchor: str
    title: str
    answer: list[str] = field(default_factory=list)
    comparison: Table | None = None
    every_column: Table | None = None
    notes: list[str] = field(default_factory=list)
    """Below the comparison."""
    more_notes: list[str] = field(default_factory=list)
    figures: dict[str, Drawing] = field(default_factory=dict)
    """By the name under which the page's script finds them."""
    runs: Table | None = None
    sections: list[Section] = field(default_factory=list)


def comparison(group: Group, looks: Mapping[str, Look], *, wide: bool) -> Table:
    """Return the table of a group, with its texts as in every other format."""
    shown = columns(group, wide=wide)
    cells = [[Cell(column.format(row), _sort(column, row)) for column in shown] for row in rows(group)]
    methods = len(group.rows)
    for named, row in zip(cells[:methods], group.rows, strict=True):
        named[0] = replace(named[0], look=looks.get(row.method))
    heads = [Head(column.header.replace("\n", " "), not column.words) for column in shown]
    return Table(heads, cells[:methods], cells[methods:])


def _sort(column: Column, row: Row) -> float | str | None:
    """Sort by the column; the reference differs from itself by nothing."""
    return 0.0 if row.role == "reference" and column.key == "Δ points" else column.sort(row)


_RUNS = [
    Head("run", number=False), Head("method", number=False), Head("seed"), Head("state", number=False),
    Head("why", number=False), Head("accuracy %"), Head("trainable"), Head("memory MiB"), Head("reviews seen"),
    Head("device s"), Head("settings", number=False), Head("machine", number=False), Head("versions", number=False),
    Head("commit", number=False), Head("finished", number=False),
]  # fmt: skip


def runs_table(group: Group, looks: Mapping[str, Look]) -> Table:
    """Return every run of a group, whatever it ended in, by method and seed."""
    clock = "s, device shared" if group.shared else "device s"
    return Table(
        [replace(head, header=clock) if head.header == "device s" else head for head in _RUNS],
        [
            _run(record, row, looks.get(row.method))
            for row in group.rows
            for record in sorted((*row.runs, *row.others), key=lambda r: r.spec.seed)
        ],
    )


def _run(record: Record, row: Row, look: Look | None) -> list[Cell]:
    known, seed = about(record), record.spec.seed
    return [
        _words(record.run_id),
        Cell(row.label, row.label, look),
        Cell(str(seed), seed),
        _words(record.state),
        _words(_why(record, row)),
        _number(test.accuracy if (test := record.test) else None, percent),
        _number(parameters.body if (parameters := record.parameters) else None, "{:,}".format),
        _number(memory.training_bytes if (memory := record.memory) else None, mebibytes),
        _number(training.reviews_seen if (training := record.training) else None, "{:,}".format),
        _number(took.charged if (took := record.seconds) else None, "{:,.1f}".format),
        *(_words(known[name]) for name in ("settings", "machine", "versions", "commit", "finished")),
    ]


def _why(record: Record, row: Row) -> str:
    if record.state != "complete":
        return record.reason or "no reason was recorded"
    seed = record.spec.seed
    return "answers one class" if seed in row.one_class else "collapsed" if seed in row.collapsed else ""


def _number(value: float | None, write: Callable[[float], str]) -> Cell:
    return Cell(_NONE if value is None else write(value), value)


def _words(text: str) -> Cell:
    return Cell(text, text)


def about(record: Record | Baseline) -> dict[str, str]:
    """Say of a run what a point says of the run that it is, in the order in which it says it."""
    machine = record.environment
    versions = ", ".join(f"{name} {version}" for name, version in sorted(machine.versions.items()))
    commit = (machine.commit or "unknown")[:12] + (", with uncommitted changes" if machine.dirty else "")
    known = {"run": record.run_id}
    if isinstance(record, Record):
        spec = record.spec
        known |= {
            "method": spec.method,
            "settings": ", ".join(f"{name} {value}" for name, value in sorted(spec.hyperparameters.items())),
            "seed": str(spec.seed),
            "state": record.state,
        }
    known |= {
        "machine": f"{machine.device}, {machine.threads} threads, {machine.platform}",
        "versions": f"Python {machine.python}, {versions}",
        "commit": commit,
        "finished": record.finished,
    }
    return {name: harmless(text) for name, text in known.items()}


def known_runs(groups: Sequence[Group]) -> dict[str, dict[str, str]]:
    """Return all of them, by run id: what the points of figures are looked up in."""
    found: list[Record | Baseline] = [record for group in groups for row in group.rows for record in (*row.runs, *row.others)]
    found += [baseline for group in groups for baseline in group.baselines]
    return {record.run_id: about(record) for record in found}
