"""The sensitivity table: validation accuracy of every tuning trial, the chosen learning rate, and the cost of tuning."""

from __future__ import annotations

from statistics import fmean

from bench.analysis.groups import shared_device
from bench.analysis.tuning import Sensitivity, Trials, learning_rate, validation_accuracy
from bench.report.tables.footnotes import title
from bench.report.tables.formatting import seconds
from bench.report.tables.table import Note, Section, naming
from bench.system.text import percent

__all__ = ["as_json", "section"]

_PLACES = ("low", "default", "high", "other")


def section(sensitivity: Sensitivity) -> Section:
    """Return methods by learning rates, as each method declares them."""
    placed = [_placed(row) for row in sensitivity.methods]
    shown = [place for place in _PLACES if place != "other" or any(cells[place] for cells in placed)]
    edges = {row.label: f"{row.chosen_rate:g}" for row in sensitivity.methods if row.at_edge}
    broken = {
        f"{row.label} at {rate}, {trial.state}": f"({trial.reason or 'no reason was recorded'})"
        for row in sensitivity.methods
        for trial in row.trials
        for rate in [trial.spec.hyperparameters.get("learning_rate", "–")]
        if trial.state != "complete"
    }
    shared = any(map(shared_device, sensitivity.group.records))
    cases = sensitivity.methods[0].trials[0].data.validation
    most = max(len({trial.spec.seed for trial in row.trials}) for row in sensitivity.methods)
    seeds = f"{most} tuning seed{'s' if most != 1 else ''}"
    return Section(
        title=f"Tuning trials · {title(sensitivity.group)}",
        headers=["method", *(f"{place}\nrate: %" for place in shown), *([] if shared else ["device s\nof tuning"])],
        rows=[
            [row.label, *(",\n".join(cells[place]) or "–" for place in shown), *([] if shared else [_total(row)])]
            for row, cells in zip(sensitivity.methods, placed, strict=True)
        ],
        notes=[
            Note("trials", f"Rate and accuracy over {seeds} on {cases:,} validation reviews; no trial is tested."),
            Note("chosen", "* The choice: the best mean under which no seed collapsed; a tie goes to the default."),
            *naming("edge", "Chosen at the edge of the rates tried: {}.", edges),
            *naming("state", "Not complete: {}.", broken),
            *([Note("clock", "By their clocks trials shared their device: what tuning took is not shown.")] if shared else []),
        ],
    )


def _placed(row: Trials) -> dict[str, list[str]]:
    """Return the cells of a method, by the place of their learning rate beside the default."""
    cells: dict[str, list[str]] = {place: [] for place in _PLACES}
    for trial in row.rates:
        rate = trial.learning_rate
        place = "other"
        if row.default is not None and rate in row.declared:
            place = "default" if rate == row.default else "low" if rate < row.default else "high"
        accuracy = percent(fmean(trial.accuracies)) if trial.accuracies else "no accuracy"
        marks = f"{', collapsed' if trial.collapsed else ''}{' *' if rate == row.chosen_rate else ''}"
        cells[place].append(f"{rate:g}: {accuracy}{marks}")
    return cells


def _total(row: Trials) -> str:
    return seconds(row.seconds) if row.all_timed else f"≥ {seconds(row.seconds)}"


def as_json(sensitivity: Sensitivity) -> dict[str, object]:
    """Return the same as plain values: accuracies are shares of 1."""
    return {
        "title": title(sensitivity.group),
        "key": sensitivity.group.key._asdict(),
        "methods": [
            {
                "label": row.label,
                "method": row.method,
                "default_learning_rate": row.default,
                "chosen_learning_rate": row.chosen_rate,
                "at_edge": row.at_edge,
                "device_seconds": row.seconds,
                "device_seconds_complete": row.all_timed,
                "trials": [
                    {
                        "run_id": trial.run_id,
                        "learning_rate": learning_rate(trial),
                        "tuning_seed": trial.spec.seed,
                        "state": trial.state,
                        "validation_accuracy": validation_accuracy(trial),
                        "device_seconds": trial.seconds.charged if trial.seconds else None,
                    }
                    for trial in row.trials
                ],
            }
            for row in sensitivity.methods
        ],
    }
