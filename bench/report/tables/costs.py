"""What each method costs: in training, and when its model is used; and how the model does on other reviews."""

from __future__ import annotations

from collections.abc import Callable
from statistics import fmean

from bench.analysis.comparison import Group, Row
from bench.analysis.costs import Call, Costs, costs
from bench.analysis.intervals import half_width
from bench.report.tables.footnotes import title
from bench.report.tables.table import Section, plus_minus
from bench.system.text import percent

__all__ = ["as_json", "peak", "sections"]

_Cell = Callable[[Costs], str]
_Column = tuple[tuple[str, str], _Cell]
_DASH = "–"


def sections(group: Group) -> list[Section]:
    """Two tables, what training costs and what the model costs in use. A column that no run measured is left out and named
    below. None without complete runs.
    """
    rows = [row for row in group.rows if row.runs]
    if not rows:
        return []
    found = [costs(row.runs, row.measured) for row in rows]
    notes = [
        f"Medians over seeds. Activations are the rest of the {peak(group)}, beyond weights, gradients and "
        "optimizer: work space of kernels and kept encoder output too."
    ]
    sources = sorted({record.energy.source for row in rows for record in row.measured if record.energy})
    if sources:
        notes.append(f"Energy while the clock charged, by {', '.join(sources)}.")
    training = _section(f"Costs of training · {title(group)}", rows, found, _TRAINING, notes)
    use = _section(f"Costs in use, and other reviews · {title(group)}", rows, found, _used(found), _notes(found))
    return [part for part in (training, use) if len(part.headers) > 1]


def peak(group: Group) -> str:
    """What the parts of a group's memory add up to, in words."""
    on_cuda = any(record.memory and record.memory.cuda_allocated is not None for record in group.runs)
    return "peak of torch's allocations on the GPU" if on_cuda else "peak above the baseline"


_TRAINING: list[_Column] = [
    (("weights", "MiB"), lambda c: _mebibytes(c.split.weights if c.split else None)),
    (("gradients", "MiB"), lambda c: _mebibytes(c.split.gradients if c.split else None)),
    (("optimizer", "MiB"), lambda c: _mebibytes(c.split.optimizer if c.split else None)),
    (("activations", "MiB"), lambda c: _mebibytes(c.split.activations if c.split else None)),
    (("energy", "J"), lambda c: _DASH if c.energy is None else f"{c.energy:,.0f}"),
    (("device", "seconds"), lambda c: _DASH if c.device_seconds is None else f"{c.device_seconds:,.1f}"),
]


def _used(found: list[Costs]) -> list[_Column]:
    batches = sorted({call.batch for c in found for call in c.calls}) or [1, 32]
    columns: list[_Column] = [(("to ship", ""), lambda c: _DASH if c.bytes_to_ship is None else _bytes(c.bytes_to_ship))]
    for batch in batches:
        columns.append((("latency ms", f"batch {batch}"), _of(batch, _latency)))
    for batch in batches:
        columns.append((("merged ms", f"batch {batch}"), _of(batch, _merged)))
    columns.append((("out-of-domain", "accuracy %"), lambda c: plus_minus(_mean(c.out_of_domain), half_width(c.out_of_domain))))
    if any(c.without_leaked is not None for c in found):
        columns.append((("accuracy %", "without leaked"), lambda c: percent(c.without_leaked)))
    return columns


def _of(batch: int, say: Callable[[Call], str]) -> _Cell:
    return lambda c: next((say(call) for call in c.calls if call.batch == batch), _DASH)


def _latency(call: Call) -> str:
    beyond = "" if call.overhead is None else f" ({100 * call.overhead:+.0f} %)"
    return f"{call.milliseconds:.1f}{beyond}"


def _merged(call: Call) -> str:
    return _DASH if call.merged_milliseconds is None else f"{call.merged_milliseconds:.1f}"


def _mean(values: list[float]) -> float | None:
    return fmean(values) if values else None


def _mebibytes(size: int | None) -> str:
    """With a decimal where small: a low-rank method's gradients are a fraction of a MiB."""
    if size is None:
        return _DASH
    return f"{size / 2**20:,.0f}" if size >= 10 * 2**20 else f"{size / 2**20:.1f}"


def _bytes(size: float) -> str:
    return f"{size / 2**10:,.1f} KiB" if size < 2**20 else f"{size / 2**20:,.1f} MiB"


def _notes(found: list[Costs]) -> list[str]:
    notes = ["Bytes that a user of the model needs beside the plain encoder, head included."]
    if any(c.calls for c in found):
        notes.append(
            "Latency of one call on reviews of full length; in parentheses, against the encoder without the method, under the "
            "same head."
        )
    if any(call.merged_milliseconds is not None for c in found for call in c.calls):
        notes.append("Merged: the same with the method's updates added into the encoder's weights.")
    if any(c.out_of_domain for c in found):
        notes.append(
            "Out-of-domain: sentences of Rotten Tomatoes reviews, on which nothing was trained. After ±, the half-width of "
            "the 95 % interval over seeds."
        )
    if any(c.without_leaked is not None for c in found):
        notes.append("Without leaked: on the test reviews whose text is not also in train.")
    return notes


def _section(name: str, rows: list[Row], found: list[Costs], columns: list[_Column], notes: list[str]) -> Section:
    cells = [[say(c) for c in found] for _, say in columns]
    shown = [i for i, column in enumerate(cells) if any(cell != _DASH for cell in column)]
    left_out = [" ".join(columns[i][0]) for i in range(len(columns)) if i not in shown and columns[i][0][0] != "merged ms"]
    return Section(
        title=name,
        headers=[("method", ""), *(columns[i][0] for i in shown)],
        rows=[[row.label, *(cells[i][j] for i in shown)] for j, row in enumerate(rows)],
        notes=[*notes, *([f"Not measured: {', '.join(left_out)}."] if left_out else [])],
    )


def as_json(group: Group) -> list[dict[str, object]]:
    """The same as plain values: bytes, joules, milliseconds, shares of 1; null or empty where nothing was measured."""
    return [_plain(row.label, costs(row.runs, row.measured)) for row in group.rows]


def _plain(label: str, found: Costs) -> dict[str, object]:
    return {
        "label": label,
        "memory_bytes": found.split.model_dump() if found.split else None,
        "energy_joules": found.energy,
        "device_seconds": found.device_seconds,
        "bytes_to_ship": found.bytes_to_ship,
        "latency": [vars(call) for call in found.calls],
        "out_of_domain_accuracy": _mean(found.out_of_domain),
        "out_of_domain_half_width": half_width(found.out_of_domain),
        "accuracy_without_leaked": found.without_leaked,
    }
