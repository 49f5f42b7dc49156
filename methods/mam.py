"""MAM adapters: prefix tuning in the attention and parallel adapters beside the feed-forward block."""

from __future__ import annotations

from typing import Any

from methods._adapters import ATTENTION_FAMILIES
from methods.base import EncoderShape, register
from methods.parallel import Parallel
from methods.prefix import Prefix


@register("mam")
class MixAndMatch(Parallel):
    """The mix that the unified view arrives at (He et al. 2022, section 4.6)."""

    deviation = (
        "The prefix is trained directly, not through a network; p 30 and s 4 as for summaries (the authors' run_glue.sh: 16 "
        "and 2), reduction factor 16; no weight decay and no dropout."
    )
    families = ATTENTION_FAMILIES

    prefix_length: int = 30
    """p, keys and values a layer."""

    def config(self, width: int, layers: int) -> Any:
        from adapters import MAMConfig

        prefix = Prefix(prefix_length=self.prefix_length)
        return MAMConfig(prefix.config(width, layers), super().config(width, layers))

    def trainable_parameters(self, shape: EncoderShape) -> int:
        """2·L·d·p + L·(2·d·b + b + d): prefix and parallel adapters."""
        prefix = Prefix(prefix_length=self.prefix_length)
        return prefix.trainable_parameters(shape) + super().trainable_parameters(shape)
