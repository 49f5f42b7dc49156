"""LayerNorm tuning: only the LayerNorms train."""

from __future__ import annotations

import warnings
from typing import Any

from methods._peft import Peft
from methods._targets import Targets
from methods.base import EncoderShape, register


@register("layer-norm")
class LayerNorm(Peft):
    """Weight and bias of every LayerNorm, that of the embeddings among them (Qi et al. 2022; Zhao et al. 2024)."""

    citation = (
        "Qi et al., Parameter-Efficient Tuning on Layer Normalization for Pre-trained Language Models (arXiv 2211.08682); "
        "Zhao et al., Tuning LayerNorm in Attention: Towards Efficient Multi-Modal LLM Finetuning, ICLR 2024 (arXiv 2312.11420)"
    )
    deviation = "All LayerNorms of an encoder (Zhao et al.: those around the attention of language models); no dropout."
    # Between bitfit's and ia3's.
    learning_rates = (1e-3, 3e-3, 1e-2)

    def prepare(self) -> None:
        warnings.filterwarnings("ignore", "Unsupported layer type", module="peft")  # LayerNorms have no sizes for it

    def config(self, width: int, targets: Targets) -> Any:
        from peft import LNTuningConfig

        return LNTuningConfig(target_modules=list(targets.norms), exclude_modules=list(targets.not_norms) or None)

    def trainable_parameters(self, shape: EncoderShape) -> int:
        """(2·L + 1)·2·d: `EncoderShape.norm_parameters`."""
        return shape.norm_parameters
