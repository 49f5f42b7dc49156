"""IA³: trained vectors that scale keys, values and the inside of the feed-forward block."""

from __future__ import annotations

import re
from typing import Any

from methods._peft import Peft
from methods._targets import TARGETS, Targets
from methods.base import EncoderShape, register


@register("ia3")
class IA3(Peft):
    """Three vectors a layer, which start as ones (Liu et al. 2022, section 3.3)."""

    citation = (
        "Liu et al., Few-Shot Parameter-Efficient Fine-Tuning is Better and Cheaper than In-Context Learning, NeurIPS 2022 "
        "(arXiv 2205.05638)"
    )
    deviation = "An encoder and AdamW (the paper: T0 and Adafactor, 3e-3), without its other losses and pre-trained vectors."
    # The paper's 3e-3, for 1,000 steps (section 3.5), and larger ones for shorter budgets.
    learning_rates = (3e-3, 1e-2, 3e-2)
    families = frozenset(family for family, targets in TARGETS.items() if not targets.fused)

    def config(self, width: int, targets: Targets) -> Any:
        from peft import IA3Config

        # By expressions: of names that only end alike the library would take the attention's output too.
        inside = rf".*(?<!attention)\.{re.escape(targets.feed_forward_out)}"
        attention = rf".*\.({re.escape(targets.key)}|{re.escape(targets.value)})"
        return IA3Config(target_modules=f"{attention}|{inside}", feedforward_modules=inside)

    def trainable_parameters(self, shape: EncoderShape) -> int:
        """L·(2·d + f)."""
        return shape.distinct_layers * (2 * shape.width + shape.feed_forward)
