"""Prefix tuning: trained keys and values precede those of the text in every layer."""

from __future__ import annotations

from typing import Any

from methods._adapters import ATTENTION_FAMILIES, FromLibrary
from methods.base import EncoderShape, register


@register("prefix")
class Prefix(FromLibrary):
    """p keys and p values a layer, to which every token attends (Li & Liang 2021, section 4; Liu et al. 2022, section 3.2)."""

    citation = (
        "Li & Liang, Prefix-Tuning: Optimizing Continuous Prompts for Generation, ACL 2021 (arXiv 2101.00190), for "
        "classification as in Liu et al., P-Tuning v2: Prompt Tuning Can Be Comparable to Fine-tuning Universally Across "
        "Scales and Tasks, ACL 2022 (arXiv 2110.07602)"
    )
    deviation = "Trained directly, as in P-Tuning v2, not through a network that is dropped later; p 30 as in AdapterHub."
    # P-Tuning v2 has 5e-3 to 1e-2 for BoolQ and RTE, with large BERT and RoBERTa and for 60 to 100 epochs (run_script/).
    learning_rates = (1.5e-3, 5e-3, 1.5e-2)
    families = ATTENTION_FAMILIES

    prefix_length: int = 30
    """p."""

    def config(self, width: int, layers: int) -> Any:
        from adapters import PrefixTuningConfig

        return PrefixTuningConfig(flat=True, prefix_length=self.prefix_length)

    def trainable_parameters(self, shape: EncoderShape) -> int:
        """2·L·d·p: p keys and p values of width d a layer."""
        return 2 * shape.distinct_layers * shape.width * self.prefix_length
