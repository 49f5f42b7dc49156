"""Parallel adapters: a bottleneck beside the feed-forward block of every layer."""

from __future__ import annotations

from typing import Any

from methods._adapters import Bottleneck
from methods.base import register


@register("parallel")
class Parallel(Bottleneck):
    """One adapter a layer that reads the feed-forward block's input; its output times s is added to the block's output (He et
    al. 2022, section 3.3 and table 1).
    """

    citation = "He et al., Towards a Unified View of Parameter-Efficient Transfer Learning, ICLR 2022 (arXiv 2110.04366)"
    deviation = "Reduction factor 16 as for the other adapters; s 4 as in AdapterHub (SST-2: 2); no weight decay, no dropout."
    # The authors train RoBERTa-base on SST-2 for ten epochs at 1e-4 (table 8); short budgets call for more.
    learning_rates = (1e-4, 3e-4, 1e-3)
    config_class = "ParBnConfig"
    modules_per_layer = 1
    reads_block_input = True

    reduction_factor: float = 16
    non_linearity: str = "relu"
    scaling: float = 4
    """s, the factor of every adapter's output."""

    def config(self, width: int, layers: int) -> Any:
        return super().config(width, layers).replace(scaling=float(self.scaling))
