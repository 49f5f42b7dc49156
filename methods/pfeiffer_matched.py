"""Pfeiffer adapters with about as many parameters as Houlsby adapters: half the modules, each twice as wide."""

from __future__ import annotations

from methods.base import register
from methods.pfeiffer import Pfeiffer


@register("pfeiffer-matched")
class PfeifferMatched(Pfeiffer):
    """One adapter a layer of width d / 8, where Houlsby has two of d / 16."""

    deviation = "Parameter-matched to houlsby: reduction factor 8 in pfeiffer's 16's place; no fusion, relu as in AdapterHub."

    reduction_factor: float = 8
