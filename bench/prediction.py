"""Logits of a classifier for reviews: batches of like length, no gradients, results in the reviews' order."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt
import torch

from bench.batches import collate, in_length_order, moved
from bench.encoder import Classifier
from bench.residual_stream import in_precision
from bench.spec import RunSpec
from bench.task import Ints, Split, Task

__all__ = ["predict"]

BATCH = {"cpu": 16, "cuda": 64}
"""Reviews a batch; on a CPU larger ones are slower (`make levers`)."""


@torch.no_grad()
def predict(
    classifier: Classifier,
    task: Task,
    split: Split,
    spec: RunSpec,
    rows: Ints | None = None,
    progress: Callable[[float], None] = lambda share: None,
) -> npt.NDArray[np.float32]:
    """Logits [n, 2] for a split, or for `rows` of it in their order; `progress` hears the share that is done.

    The classifier is put back into training mode.
    """
    chosen = np.arange(len(split)) if rows is None else rows
    lengths = task.lengths(split, spec.max_length)[chosen]
    logits = np.empty((len(chosen), 2), dtype=np.float32)
    done = 0
    classifier.eval()
    with in_precision(classifier, spec.precision):
        for batch in in_length_order(lengths, BATCH[spec.device]):
            ids, mask, _ = collate(task, split, chosen[batch], spec.max_length, spec.truncation)
            out = classifier(moved(ids, spec.device), moved(mask, spec.device))
            logits[batch] = out.float().cpu().numpy()
            done += len(batch)
            progress(done / len(chosen))
    classifier.train()
    return logits
