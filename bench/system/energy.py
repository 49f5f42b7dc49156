"""Energy by the device's own counter, where there is one that can be read. Nothing is estimated from power or time."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

__all__ = ["SOURCE", "energy_counter"]

SOURCE = "NVML total energy consumption"


def energy_counter(device: Literal["cpu", "cuda"]) -> Callable[[], float] | None:
    """Return a function that reads the joules which the GPU in use has spent since its driver was loaded.

    None where NVML cannot be read or the GPU has no such counter (those before Volta have none), and on a CPU.
    """
    if device != "cuda":
        return None
    import pynvml  # type: ignore[import-untyped]
    import torch

    try:
        pynvml.nvmlInit()
        # By UUID: NVML counts every GPU of the machine, torch only those that this process may see.
        uuid = str(torch.cuda.get_device_properties(0).uuid)
        handle = pynvml.nvmlDeviceGetHandleByUUID(uuid if uuid.startswith("GPU-") else f"GPU-{uuid}")
        pynvml.nvmlDeviceGetTotalEnergyConsumption(handle)
    except (pynvml.NVMLError, AttributeError):
        return None
    return lambda: pynvml.nvmlDeviceGetTotalEnergyConsumption(handle) / 1000
