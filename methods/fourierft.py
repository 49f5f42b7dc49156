"""FourierFT: a few coefficients of each update's Fourier transform."""

from __future__ import annotations

from methods._peft import PeftOfMaps
from methods.base import register


@register("fourierft")
class FourierFT(PeftOfMaps):
    """The inverse transform of n trained coefficients at random places, the same in each map (Gao et al. 2024, section 3)."""

    citation = "Gao et al., Parameter-Efficient Fine-Tuning with Discrete Fourier Transform, ICML 2024 (arXiv 2405.03003)"
    deviation = (
        "n 1000 on query and value as in the paper; the scale is the library's 150 at width 768 (the paper: 29 to 141, by "
        "task) and grows with d²; the head has the same learning rate."
    )
    # The paper has 1e-2 to 1.2e-1 for RoBERTa-base, by task, and 5e-2 for SST-2; a tenth of it for the head (table 9).
    learning_rates = (1e-2, 3e-2, 1e-1)
    config_class = "FourierFTConfig"
    groups = ("peft", "lora-family")

    frequencies: int = 1000
    scale: float = 150

    def options(self, width: int) -> dict[str, object]:
        # The library divides by in·out, and an update would be four times as large at half the width.
        return {"n_frequency": self.frequencies, "scaling": self.scale * (width / 768) ** 2}

    def map_parameters(self, width: int, inputs: int, outputs: int) -> int:
        """n: a coefficient a frequency."""
        return self.frequencies
