"""VB-LoRA: low-rank factors put together from one bank of vectors."""

from __future__ import annotations

import math

from methods._peft import PeftOfMaps
from methods.base import EncoderShape, register


@register("vb-lora")
class VBLoRA(PeftOfMaps):
    """Each piece of B and A is a mix of k of h vectors, those of its largest logits (Li et al. 2024, equation 3.3)."""

    citation = "Li et al., VB-LoRA: Extreme Parameter Efficient Fine-Tuning with Vector Banks, NeurIPS 2024 (arXiv 2405.15179)"
    deviation = "r 4, h 90, k 2, b 256 as for RoBERTa-base; b is cut to what divides the width; one learning rate, not three."
    # Between the paper's 1e-3 for the bank and 1e-2 for the logits; its head has 4e-3 on SST-2 (RoBERTa-base, table 7).
    learning_rates = (1e-3, 3e-3, 1e-2)
    config_class = "VBLoRAConfig"
    groups = ("peft", "lora-family")
    backend = None  # the library keeps one bank: that of the adapter that was added last

    rank: int = 4
    vectors: int = 90
    """h, vectors in the bank."""
    length: int = 256
    """b, the length of a vector."""
    mixed: int = 2
    """k, vectors in a mix."""

    def options(self, width: int) -> dict[str, object]:
        length = math.gcd(width, self.length)
        return {"r": self.rank, "num_vectors": self.vectors, "vector_length": length, "topk": self.mixed}

    def map_parameters(self, width: int, inputs: int, outputs: int) -> int:
        """r·h·(in + out) / b logits."""
        return self.rank * self.vectors * (inputs + outputs) // math.gcd(width, self.length)

    def trainable_parameters(self, shape: EncoderShape) -> int:
        """Count the logits of all maps, and the bank h·b."""
        return super().trainable_parameters(shape) + self.vectors * math.gcd(shape.width, self.length)
