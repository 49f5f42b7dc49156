"""LoRA on every linear map of a layer, with about as many parameters as Houlsby adapters."""

from __future__ import annotations

from methods.base import register
from methods.lora_matched import LoRAMatched


@register("lora-all-linear")
class LoRAAllLinear(LoRAMatched):
    """All six linear maps of a layer, at a rank that keeps the count (Dettmers et al. 2023, section 4 and figure 2)."""

    citation = (
        "Hu et al., LoRA, ICLR 2022 (arXiv 2106.09685), on all linear maps as in Dettmers et al., QLoRA: Efficient "
        "Finetuning of Quantized LLMs, NeurIPS 2023 (arXiv 2305.14314)"
    )
    deviation = "Parameter-matched to houlsby: r = d / 72 (5 on MiniLM, 11 on base), alpha = r; no quantisation, no dropout."
    all_linear = True

    rank_divisor: int = 72
