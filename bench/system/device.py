"""Device and precision of a run; torch is imported only where the system shows a GPU."""

from __future__ import annotations

import os
import platform
import re
from functools import cache
from pathlib import Path
from typing import Literal

from bench.rules import Precision
from bench.system.errors import SpecError

__all__ = ["cpu_model", "device_model", "multiplies_bf16", "resolve_device", "resolve_precision", "shows_gpu", "usable_cores"]

_NODES = ("/dev/nvidiactl", "/dev/dxg", "/dev/nvidia0")
"""Device files without which CUDA cannot work (Linux, WSL)."""
_BF16 = {"avx512_bf16", "amx_bf16"}
"""Flags of processors with instructions for products of bf16 numbers."""


def shows_gpu() -> bool:
    """Whether the system shows a GPU, which torch may yet be unable to use. Nothing is loaded onto it to find out."""
    return any(Path(node).exists() for node in _NODES)


def resolve_device(name: str) -> Literal["cpu", "cuda"]:
    """Resolve `auto`, `cpu` or `cuda` to a device.

    Raises:
        SpecError: if it is none of them, or CUDA is asked for and there is none.
    """
    if name not in ("auto", "cpu", "cuda"):
        raise SpecError(f"--device {name!r}: input should be 'auto', 'cpu' or 'cuda'")
    if name == "cpu":
        return "cpu"
    has_cuda = False
    if shows_gpu():
        import torch

        has_cuda = torch.cuda.is_available()
    if name == "cuda" and not has_cuda:
        raise SpecError("--device cuda: this machine shows no CUDA device to torch; use --device cpu")
    return "cuda" if has_cuda else "cpu"


@cache
def _processor(field: str) -> str:
    """Read a field of the first processor from the kernel; empty where it has none."""
    try:
        match = re.search(rf"^{field}\s*:\s*(.+)$", Path("/proc/cpuinfo").read_text(), flags=re.M)
    except OSError:
        return ""
    return match[1].strip() if match else ""


def multiplies_bf16() -> bool:
    """Whether this processor has instructions for products of bf16 numbers; without them bf16 is slower than fp32."""
    return not _BF16.isdisjoint(_processor("flags").split())


def resolve_precision(name: str, device: str) -> Precision:
    """fp32 or bf16 for `auto`: bf16 where the device has instructions for it, which is where it pays."""
    if name == "auto":
        return "bf16" if device == "cuda" or multiplies_bf16() else "fp32"
    return "bf16" if name == "bf16" else "fp32"


def device_model(device: Literal["cpu", "cuda"]) -> str:
    """Name of the processor or GPU that runs are charged on."""
    if device == "cpu":
        return cpu_model()
    import torch

    return str(torch.cuda.get_device_name())


def usable_cores() -> int:
    """Processors that this process may use."""
    return len(os.sched_getaffinity(0))


def cpu_model() -> str:
    """Name of the processor, or its architecture where the kernel gives none."""
    return _processor("model name") or platform.machine()
