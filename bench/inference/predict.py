"""Logits of a classifier: batches of like length, no gradients, results in the order of the texts."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt
import torch

from bench.data.batches import MULTIPLE, collate, in_length_order, to_device
from bench.data.task import Ints, Split, Task
from bench.models.classifier import Classifier
from bench.models.residual_stream import in_precision
from bench.records.spec import RunSpec

__all__ = ["predict"]

BATCH = {"cpu": 16, "cuda": 256}
"""Texts a batch; on a CPU larger ones are slower (`make ablations`)."""


@torch.no_grad()
def predict(
    classifier: Classifier,
    task: Task,
    split: Split,
    spec: RunSpec,
    rows: Ints | None = None,
    progress: Callable[[float], None] = lambda share: None,
) -> npt.NDArray[np.float32]:
    """Return logits [n, classes] for a split, or for `rows` of it in their order; `progress` is called with the share done.

    The classifier is left in training mode.
    """
    selected = np.arange(len(split)) if rows is None else rows
    lengths = task.lengths(split, spec.max_length)[selected]
    logits = np.empty((len(selected), spec.classes), dtype=np.float32)
    done, multiple = 0, MULTIPLE if spec.device == "cuda" else 1
    outputs: list[tuple[Ints, torch.Tensor]] = []
    classifier.eval()
    with in_precision(classifier, spec.precision):
        for batch in in_length_order(lengths, BATCH[spec.device]):
            ids, mask, _ = collate(task, split, selected[batch], spec.max_length, spec.truncation, multiple)
            outputs.append((batch, classifier(to_device(ids, spec.device), to_device(mask, spec.device)).float()))
            done += len(batch)
            progress(done / len(selected))
    for batch, out in outputs:  # a GPU is not waited for in between
        logits[batch] = out.cpu().numpy()
    classifier.train()
    return logits
