"""Token ids that lie on the device: a step sends which texts it takes, a few numbers, and the device gathers its batch."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from bench.data.batches import Batch
from bench.data.task import Split, Task
from bench.records.spec import Truncation

__all__ = ["DeviceTexts"]


class DeviceTexts:
    """The truncated texts of a split on a device, one after the other: about 4 bytes a token."""

    def __init__(self, task: Task, split: Split, max_length: int, truncation: Truncation, device: str) -> None:
        encoded = [task.encode(split, row, max_length, truncation) for row in range(len(split))]
        lengths = task.lengths(split, max_length)
        self._ids = torch.from_numpy(np.concatenate(encoded, dtype=np.int32)).to(device)
        self._starts = torch.from_numpy(np.cumsum(lengths) - lengths).to(device)
        self._lengths = torch.from_numpy(lengths).to(device)
        self.labels = torch.from_numpy(split.labels).to(device)
        self._positions = torch.arange(max_length, device=device)
        self._pad_id = task.pad_id

    def batch(self, at: Tensor, width: int, padded: bool) -> Batch:
        """Gather the texts numbered `at` [texts], on the device, to `width` tokens, which none of them may exceed."""
        positions = self._positions[:width]
        inside = positions < self._lengths[at].unsqueeze(1)
        # Behind the last text there is nothing to read; what is read there is replaced by padding.
        places = (self._starts[at].unsqueeze(1) + positions).clamp_(max=len(self._ids) - 1)
        ids = self._ids[places].long().masked_fill_(~inside, self._pad_id)
        return Batch(ids, inside.long(), self.labels[at], padded)
