"""OLoRA: LoRA that starts from an orthonormal basis of each weight."""

from __future__ import annotations

from types import MappingProxyType

from methods.base import register
from methods.lora import LoRA


@register("olora")
class OLoRA(LoRA):
    """B and A start as the first r columns and rows of W's QR decomposition (Büyükakyüz 2024)."""

    citation = "Büyükakyüz, OLoRA: Orthonormal Low-Rank Adaptation of Large Language Models, 2024 (arXiv 2406.01775)"
    deviation = "r 8, alpha 8 on query and value of an encoder (the paper: language models; peft's example: r 32)."
    # Below lora's: the factors start large.
    learning_rates = (3e-4, 1e-3, 3e-3)
    variant = MappingProxyType({"init_lora_weights": "olora"})
    backend = None  # it changes the encoder's own weights, which others on the same encoder would have to share
