"""PiSSA: LoRA that starts from the principal singular vectors of each weight."""

from __future__ import annotations

from types import MappingProxyType

from methods.base import register
from methods.lora import LoRA


@register("pissa")
class PiSSA(LoRA):
    """B·A holds the r largest singular values of W, and W the rest, frozen (Meng et al. 2024, equations 2 to 4)."""

    citation = (
        "Meng et al., PiSSA: Principal Singular Values and Singular Vectors Adaptation of Large Language Models, NeurIPS 2024 "
        "(arXiv 2404.02948)"
    )
    deviation = "r 8, alpha 8 on query and value (the paper, on GLUE: keys too); exact singular values, not its fast ones."
    # Below lora's: the factors start large. For SST-2 the paper has 3e-5, and 1e-4 for LoRA (DeBERTa-v3-base, table 10).
    learning_rates = (3e-4, 1e-3, 3e-3)
    variant = MappingProxyType({"init_lora_weights": "pissa"})
    backend = None  # it changes the encoder's own weights, which others on the same encoder would have to share
