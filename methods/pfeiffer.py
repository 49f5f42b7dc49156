"""Pfeiffer adapters: one bottleneck a layer, after the feed-forward block."""

from __future__ import annotations

from methods._adapters import Bottleneck
from methods.base import register


@register("pfeiffer")
class Pfeiffer(Bottleneck):
    """One adapter a layer (Pfeiffer et al. 2021)."""

    citation = (
        "Pfeiffer et al., AdapterFusion: Non-Destructive Task Composition for Transfer Learning, EACL 2021 (arXiv 2005.00247)"
    )
    deviation = "The single-task adapter alone, without fusion; relu and reduction factor 16 as in AdapterHub."
    # The middle was the best of the three on validation after 1,600 reviews in batches of 16 (one seed).
    learning_rates = (1.5e-3, 5e-3, 1.5e-2)
    rates_tuned = True
    config_class = "SeqBnConfig"
    modules_per_layer = 1

    reduction_factor: float = 16
    non_linearity: str = "relu"
