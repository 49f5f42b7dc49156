"""BOFT: a learned orthogonal matrix before each weight and a scale after it."""

from __future__ import annotations

from methods._peft import PeftOfMaps, largest_divisor
from methods.base import register


@register("boft")
class BOFT(PeftOfMaps):
    """diag(s)·W·R, R block-diagonal and orthogonal by the Cayley transform (Liu et al. 2024, section 4); s is the library's."""

    citation = "Liu et al., Parameter-Efficient Orthogonal Finetuning via Butterfly Factorization, ICLR 2024 (arXiv 2311.06243)"
    deviation = (
        "One butterfly factor, in blocks of 8, on query and value (the paper: two factors on all maps of DeBERTa-v3-base; more "
        "than one need a CUDA kernel that the library compiles); no dropout."
    )
    # As oft.
    learning_rates = (1e-3, 3e-3, 1e-2)
    config_class = "BOFTConfig"
    groups = ("peft", "orthogonal")
    has_buffers = True

    block: int = 8
    """B, the most inputs that one block turns."""

    def prepare(self) -> None:
        from peft.tuners.boft import layer

        layer._FBD_CUDA = False  # else it compiles a kernel that one factor does not need

    def options(self, width: int) -> dict[str, object]:
        return {"boft_block_size": largest_divisor(width, self.block)}

    def map_parameters(self, width: int, inputs: int, outputs: int) -> int:
        """B·in + out: the blocks, of which the library trains all entries, and the scales."""
        return inputs * largest_divisor(width, self.block) + outputs
