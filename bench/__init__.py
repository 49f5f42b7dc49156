"""A comparison of parameter-efficient fine-tuning methods under one device budget.

import bench

records = bench.run(methods=["houlsby", "lora"], budget="60s", seeds=3)
print(bench.compare(records).to_frame())
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

from bench.system.openmp import limit_spinning

if TYPE_CHECKING:
    from bench.api import Comparison, compare, load_records, predict, run

__all__ = ["Comparison", "compare", "load_records", "predict", "run"]
__version__ = "0.1.0"

limit_spinning(os.environ)  # here, since it must come before every import of torch


def __getattr__(name: str) -> Any:
    """Import the interface on its first use, so that importing `bench` costs nothing (PEP 562)."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from bench import api

    return getattr(api, name)


def __dir__() -> list[str]:
    return [*globals(), *__all__]
