"""Predictions as text, CSV or JSON."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from itertools import count
from typing import TYPE_CHECKING, Any

from bench.inference.inputs import Texts
from bench.system.text import csv_text, harmless

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    Logits = Mapping[str, npt.NDArray[np.float32]]
    """[texts, classes] of each adapter, by its name."""

Labels = Mapping[str, Sequence[str]]
"""Names of the classes of each adapter, in the order of its logits."""

__all__ = ["Labels", "as_csv", "as_json", "as_text"]

SHOWN = 60
"""Characters shown of a text beside its prediction."""


def _predictions(texts: Texts, logits: Logits, labels: Labels) -> Iterator[tuple[str, dict[str, dict[str, Any]]]]:
    """Yield each text with the predictions of the adapters by name: label, probability (of positive, the second class; of more
    than two classes of the label), then the probabilities of all and logits.
    """
    from scipy.special import softmax

    shares = {name: softmax(own.astype(float), axis=1).tolist() for name, own in logits.items()}

    def prediction(name: str, i: int) -> dict[str, Any]:
        own, share, names = logits[name][i], shares[name][i], labels[name]
        best, two = int(own.argmax()), len(names) == 2
        more = {} if two else {"probabilities": dict(zip(names, share, strict=True))}
        return {"label": names[best], "probability": share[1 if two else best], **more, "logits": own.tolist()}

    for i, text in enumerate(texts.texts):
        yield text, {name: prediction(name, i) for name in logits}


def as_text(texts: Texts, logits: Logits, labels: Labels, *, with_names: bool) -> str:
    """Format a line a text and adapter: label, probability and text; with `with_names` the adapter first."""
    width = max(len(name) for name in logits)
    lines: list[str] = []
    for text, predictions in _predictions(texts, logits, labels):
        excerpt = text if len(text) <= SHOWN else text[: SHOWN - 1] + "…"
        for name, own in predictions.items():
            first = f"{name:<{width}}  " if with_names else ""
            lines.append(harmless(f"{first}{own['label']:<8}  {own['probability']:.4f}  {excerpt}"))
    return "\n".join(lines)


def as_json(texts: Texts, logits: Logits, labels: Labels, *, with_names: bool) -> str:
    """Format an object a text and adapter; with `with_names` it names the adapter."""
    rows = [
        {"text": text, **({"adapter": name} if with_names else {}), **prediction}
        for text, predictions in _predictions(texts, logits, labels)
        for name, prediction in predictions.items()
    ]
    return json.dumps(rows, indent=1, ensure_ascii=False)


def as_csv(texts: Texts, logits: Logits, labels: Labels, *, with_names: bool) -> str:
    """Format the table, or the texts alone, with two columns more for each adapter, and one for each of more classes."""
    rows = texts.rows or [[text] for text in texts.texts]
    more = {name: [f"probability_{label}" for label in own] if len(own) > 2 else [] for name, own in labels.items()}
    columns = [(name, column) for name in logits for column in ("prediction", "probability", *more[name])]
    new = [f"{name}_{column}" if with_names else column for name, column in columns]
    header = [*(texts.header or ["text"]), *(_free(column, texts.header) for column in new)]
    lines = [list(row) for row in rows]
    for line, (_, predictions) in zip(lines, _predictions(texts, logits, labels), strict=True):
        for own in predictions.values():
            shares = own["probability"], *own.get("probabilities", {}).values()
            line += [own["label"], *(f"{share:.6f}" for share in shares)]
    return csv_text([header, *lines])


def _free(column: str, header: list[str]) -> str:
    """Name a new column, numbered where the table already has one of that name."""
    names = (f"{column}_{i}" if i > 1 else column for i in count(1))
    return next(name for name in names if name not in header)
