"""The confusion matrix of each method with more than two classes, summed over its seeds."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from bench.analysis.comparison import Group
from bench.report.tables.footnotes import title
from bench.report.tables.table import Note, Section

__all__ = ["MOST_CLASSES", "as_json", "sections"]

MOST_CLASSES = 20
"""With more, a table has the most confused pairs of classes, as many of each method."""


def sections(group: Group) -> list[Section]:
    """Return the table of a group: a row a true class, a column a predicted one, or a row a pair; empty for two classes."""
    entries = as_json(group)
    if not entries:
        return []
    classes = entries[0]["classes"]
    if len(classes) <= MOST_CLASSES:
        headers, kind = ["method", "true class", *classes], "Confusion matrix"
        rows = [[of["label"], name, *row] for of in entries for name, row in zip(classes, of["matrix"], strict=True)]
    else:
        headers, kind = ["method", "true class", "predicted", "reviews"], "Most confused classes"
        rows = [[of["label"], *pair] for of in entries for pair in of["most_confused"]]
    cells = [[cell if isinstance(cell, str) else f"{cell:,}" for cell in row] for row in rows]
    notes = [Note("confusion", "Test reviews by true and predicted class, summed over the seeds of each method.")]
    return [Section(f"{kind} · {title(group)}", headers, cells, notes, words=frozenset({0, 1}))]


def as_json(group: Group) -> list[dict[str, Any]]:
    """Return each method's `matrix` [true class][predicted class], null for many classes, and its `most_confused` pairs of
    classes: true, predicted, reviews. Empty for two classes.
    """
    k = group.key.classes
    entries = []
    for row in group.rows if k > 2 else ():
        found = [record.test.counts.matrix for record in row.runs if record.test and record.test.classes == k]
        if found:
            labels = row.runs[0].data.labels
            classes = [labels[i] if i < len(labels) else str(i) for i in range(k)]
            entries.append({"label": row.label, "classes": classes, **_counts(np.sum(found, axis=0), classes)})
    return entries


def _counts(matrix: npt.NDArray[np.int64], classes: list[str]) -> dict[str, Any]:
    wrong = matrix - np.diag(matrix.diagonal())
    true, predicted = np.unravel_index(np.argsort(-wrong, axis=None, kind="stable")[:MOST_CLASSES], wrong.shape)
    pairs = [(classes[i], classes[j], int(wrong[i, j])) for i, j in zip(true, predicted, strict=True) if wrong[i, j]]
    return {"matrix": matrix.tolist() if len(matrix) <= MOST_CLASSES else None, "most_confused": pairs}
