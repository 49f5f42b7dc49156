"""VeRA: two random matrices shared by all layers, scaled by small trained vectors."""

from __future__ import annotations

from methods._peft import PeftOfMaps
from methods.base import register


@register("vera")
class VeRA(PeftOfMaps):
    """W + diag(b)·B·diag(d)·A, with B and A random, frozen and the same everywhere (Kopiczko et al. 2024, equation 2)."""

    citation = "Kopiczko et al., VeRA: Vector-based Random Matrix Adaptation, ICLR 2024 (arXiv 2310.11454)"
    deviation = "r 256 on query and value (the paper: 1024 for RoBERTa-base); the head has the same learning rate; no dropout."
    # The paper has 1e-2 for RoBERTa-base, and 4e-3 for SST-2 and RTE (table 8), whatever the rank (section 3.3).
    learning_rates = (4e-3, 1e-2, 3e-2)
    config_class = "VeraConfig"
    groups = ("peft", "lora-family")
    has_buffers = True

    rank: int = 256

    def options(self, width: int) -> dict[str, object]:
        return {"r": self.rank, "vera_dropout": 0.0}

    def map_parameters(self, width: int, inputs: int, outputs: int) -> int:
        """out + r: the vectors b and d."""
        return outputs + self.rank
