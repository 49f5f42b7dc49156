"""Puts the tables of the measurements in results/*.json into results/measurements.md: `python -m tests.measurements.tables`."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import fields
from pathlib import Path
from typing import Any

from tests.measurements import calibration_load, cluster, growth, methods_learn, sharing
from tests.measurements.gpu import collect
from tests.measurements.peers import accuracy
from tests.measurements.peers.tables import evaluation_table, limits, spinning_table, summaries, table
from tests.measurements.readme import ROOT, between_marks, rewrite

__all__ = ["DOCUMENT", "TABLES", "updated"]

RESULTS = ROOT / "results"
DOCUMENT = RESULTS / "measurements.md"


def _peers(found: dict[str, Any]) -> list[str]:
    return [*summaries(found["methods"]), *map(table, found["methods"])]


def _ablations(found: dict[str, Any]) -> list[str]:
    return [*map(table, found["methods"]), *map(evaluation_table, found["evaluation"])]


def _growth(found: dict[str, Any]) -> list[str]:
    return [growth.table([growth.Grown(**one) for one in found["passes"]])]


def _cluster(found: dict[str, Any]) -> list[str]:
    # Files of rules 2 also hold a rate of the machine, of which nothing is said any more.
    known = [one.name for one in fields(cluster.Row)]
    rows = [cluster.Row(**{name: row[name] for name in known}) for row in found["rows"]]
    return [cluster.table(rows, "pipe"), _notes(found)]


def _sharing(found: dict[str, Any]) -> list[str]:
    return [sharing.table([sharing.Row(**row) for row in found["rows"]], "pipe"), _notes(found)]


def _notes(found: dict[str, Any]) -> str:
    return "\n".join(f"- {note}" for note in found["notes"])


TABLES: dict[str, Callable[[dict[str, Any]], list[str]]] = {
    "peers": _peers, "peers-cuda": _peers, "peers-fp32": lambda found: [*summaries(found["methods"]), limits(found["methods"])],
    "ablations": _ablations, "ablations-bf16": _ablations, "spinning": lambda found: [spinning_table(found)],
    "peers-fp32-grouped": lambda found: [limits(found["methods"])],
    "peers-accuracy": lambda found: [accuracy.table(found, False)],
    "peers-accuracy-cuda": lambda found: [accuracy.table(found, False)],
    "dropout-accuracy": lambda found: [accuracy.table(found, True)], "growth": _growth, "cluster": _cluster,
    "sharing": _sharing,
    **{f"calibration-load{which}": lambda found: [calibration_load.table(found)] for which in ("", "-first", "-quiet")},
    "costs-cuda": lambda found: [collect.table(found)],
    "methods-learn": lambda found: [methods_learn.table([methods_learn.Learned(**one) for one in found["methods"]])],
}  # fmt: skip
"""The tables of a measurement, by the name of its file."""


def _machine(found: dict[str, Any]) -> str:
    about, versions = found["environment"], found["environment"]["versions"]
    arithmetic = f", the suite in {found['precision']}" if "precision" in found else ""
    commits = ", ".join(commit[:7] for commit in found.get("commits", [about["commit"]]))
    return (
        f"{about['device']}, {about['threads']} thread{'s' * (about['threads'] > 1)}{arithmetic}; "
        f"torch {versions['torch']}, transformers "
        f"{versions['transformers']}, adapters {versions['adapters']}, peft {versions['peft']}; commit {commits}."
    )


def updated(text: str, results: Path = RESULTS) -> str:
    """The text with the tables of JSON files in `results` between the marks that name them."""

    def tables(mark: re.Match[str]) -> str:
        found = json.loads((results / f"{mark['name']}.json").read_text())
        return "\n\n".join([*TABLES[mark["name"]](found), _machine(found)])

    return between_marks(text, r"(?P<name>[\w-]+)\.json", tables)


def main() -> None:
    """Rewrite the document in place."""
    rewrite(DOCUMENT, updated)


if __name__ == "__main__":
    main()
