"""OFT: an orthogonal matrix, block by block, before each weight."""

from __future__ import annotations

from methods._peft import PeftOfMaps, largest_divisor
from methods.base import register


@register("oft")
class OFT(PeftOfMaps):
    """W·R with R block-diagonal and orthogonal by the Cayley transform (Qiu et al. 2023, section 3.3)."""

    citation = (
        "Qiu et al., Controlling Text-to-Image Diffusion by Orthogonal Finetuning, NeurIPS 2023 (arXiv 2306.07280), with the "
        "Neumann series of Qiu et al., Orthogonal Finetuning Made Scalable, EMNLP 2025 (arXiv 2506.19847)"
    )
    deviation = "Blocks of 32, or of the largest divisor of the width below, on query and value; neither scale nor constraint."
    # Above the 8e-5 to 9e-4 of DeBERTa-v3-base on GLUE (table 7 of BOFT, arXiv 2311.06243), which has longer budgets and all
    # maps; lora's tuned rate is ten times its paper's.
    learning_rates = (1e-3, 3e-3, 1e-2)
    config_class = "OFTConfig"
    groups = ("peft", "orthogonal")

    block: int = 32
    """B, the most inputs that one block turns."""

    def options(self, width: int) -> dict[str, object]:
        return {"oft_block_size": largest_divisor(width, self.block)}

    def map_parameters(self, width: int, inputs: int, outputs: int) -> int:
        """(in / B)·B·(B − 1) / 2: each block is given by a skew-symmetric matrix."""
        return inputs * (largest_divisor(width, self.block) - 1) // 2
