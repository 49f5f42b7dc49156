"""Measurements of a run: device seconds, peak memory, processor time and energy.

Memory meters read /proc and so need Linux. CUDA counts through torch's allocator.
"""

from __future__ import annotations

import gc
import resource
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

import torch

from bench.system.allocator import trim

__all__ = ["ENERGY_SOURCE", "DeviceClock", "MemoryMeter", "MemoryPeak", "energy_counter"]

ENERGY_SOURCE = "NVML total energy consumption"


def energy_counter(device: Literal["cpu", "cuda"]) -> Callable[[], float] | None:
    """Return a function that reads the joules which the GPU in use has spent since its driver was loaded.

    None where NVML cannot be read or the GPU has no such counter (those before Volta have none), and on a CPU.
    """
    if device != "cuda":
        return None
    import pynvml  # type: ignore[import-untyped]

    try:
        pynvml.nvmlInit()
        # By UUID: NVML counts every GPU of the machine, torch only those that this process may see.
        uuid = str(torch.cuda.get_device_properties(0).uuid)
        handle = pynvml.nvmlDeviceGetHandleByUUID(uuid if uuid.startswith("GPU-") else f"GPU-{uuid}")
        pynvml.nvmlDeviceGetTotalEnergyConsumption(handle)
    except (pynvml.NVMLError, AttributeError):
        return None
    return lambda: pynvml.nvmlDeviceGetTotalEnergyConsumption(handle) / 1000


class DeviceClock:
    """Charges wall seconds between `start` and `stop`, except while paused. CUDA is synchronised at both ends, not at readings
    in between, which would make the CPU wait for every step.

    The clock is monotonic: setting the system's time does not change a budget.
    """

    def __init__(self, device: Literal["cpu", "cuda"], energy: Callable[[], float] | None = None) -> None:
        self._cuda, self._energy = device == "cuda", energy
        self._charged = 0.0, 0.0, 0.0
        """Wall seconds, processor seconds of all threads, joules."""
        self._since: tuple[float, float, float] | None = None
        """The readings at the start, while the clock runs."""
        self.paused_seconds = 0.0
        """Wall seconds spent inside `paused` so far."""

    def _now(self) -> float:
        return time.monotonic()

    def _wait(self) -> None:
        """Wait until the device has finished its work."""
        if self._cuda:
            torch.cuda.synchronize()

    def _readings(self) -> tuple[float, float, float]:
        return self._now(), time.process_time(), 0.0 if self._energy is None else self._energy()

    def _spent(self) -> tuple[float, float, float]:
        """Return what was charged so far."""
        if self._since is None:
            return self._charged
        (seconds, cpu, joules), now, since = self._charged, self._readings(), self._since
        return seconds + (now[0] - since[0]), cpu + (now[1] - since[1]), joules + (now[2] - since[2])

    def start(self) -> None:
        """Start charging, or resume it."""
        self._wait()
        self._since = self._readings()

    def stop(self) -> None:
        """Stop charging."""
        self._wait()
        self._charged, self._since = self._spent(), None  # one statement, so that no signal comes in between

    @property
    def seconds(self) -> float:
        """Seconds charged so far; on CUDA while the clock runs, to the last kernel given and not to the last one done."""
        return self._charged[0] + (self._now() - self._since[0] if self._since is not None else 0.0)

    @property
    def cpu_seconds(self) -> float:
        """Processor seconds of this process, all threads, while the clock ran."""
        return self._spent()[1]

    @property
    def joules(self) -> float | None:
        """Energy by the counter that the clock was given, while it ran; None without a counter."""
        return None if self._energy is None else self._spent()[2]

    def state_dict(self) -> dict[str, Any]:
        """Return the seconds, processor time and energy charged so far."""
        names = ("seconds", "cpu_seconds", "joules", "paused_seconds")
        return {name: getattr(self, name) for name in names}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continue from the state of an earlier process. The clock must not be running."""
        self._charged = state["seconds"], state["cpu_seconds"], state["joules"] or 0.0
        self.paused_seconds = state["paused_seconds"]

    @contextmanager
    def paused(self) -> Iterator[None]:
        """Charge nothing inside: for evaluation and checkpoints, never for training."""
        self.stop()
        stopped = self._now()
        try:
            yield
        finally:
            self._wait()
            self.paused_seconds += self._now() - stopped
            self.start()


def _status_bytes(name: str) -> int:
    """Read a field of /proc/self/status, in bytes."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(f"{name}:"):
            return int(line.split()[1]) * 1024
    raise OSError(f"/proc/self/status has no {name}")


@dataclass(frozen=True)
class MemoryPeak:
    """Bytes. On a CPU resident memory of the process; on CUDA also what tensors took and what torch reserved."""

    baseline: int
    """Resident before the encoder was loaded, with the libraries imported and the reviews in memory."""
    peak: int
    """The most that was resident while training, evaluation excluded."""
    cuda_allocated: int | None = None
    cuda_reserved: int | None = None

    @property
    def above_baseline(self) -> int:
        return max(0, self.peak - self.baseline)

    def larger(self, other: MemoryPeak) -> MemoryPeak:
        """Return the peak further above its baseline, with the larger CUDA figures of both."""
        larger = self if self.above_baseline >= other.above_baseline else other
        allocated, reserved = (
            None if mine is None or others is None else max(mine, others)
            for mine, others in ((self.cuda_allocated, other.cuda_allocated), (self.cuda_reserved, other.cuda_reserved))
        )
        return MemoryPeak(larger.baseline, larger.peak, allocated, reserved)


@dataclass
class MemoryMeter:
    """Peak memory of a process that holds one run, except while paused."""

    device: Literal["cpu", "cuda"]
    cap: int | None = field(default=None, kw_only=True)
    """Bytes that torch may reserve of a GPU, except while paused; None for all. On a CPU the trainer looks after each step."""
    baseline: int = 0
    largest: int = 0
    """Peak resident memory by getrusage before any reset, in bytes."""
    earlier: MemoryPeak | None = None
    """Peak of an earlier process of the same run."""
    _peaks: list[tuple[int, int, int]] = field(default_factory=list)

    def start(self) -> None:
        """Take the baseline now and count from here."""
        if self.device == "cuda":
            torch.cuda.init()  # type: ignore[no-untyped-call]  # resetting its peaks fails before, and nothing else may have used it in this process
            self._allow(self.cap)
        gc.collect()  # what goes away later must not make the baseline look large
        trim()
        self._reset()
        self.baseline = _status_bytes("VmRSS")

    def _reset(self) -> None:
        # "5" resets the high-water mark of resident memory (Linux, proc(5)), and with it the maximum of getrusage and
        # wait4.
        self.look()
        Path("/proc/self/clear_refs").write_text("5")
        if self.device == "cuda":
            torch.cuda.reset_peak_memory_stats()

    def _allow(self, cap: int | None) -> None:
        """Let torch reserve so many bytes of the GPU."""
        total = torch.cuda.get_device_properties(0).total_memory
        torch.cuda.set_per_process_memory_fraction(1.0 if cap is None else min(1.0, cap / total))

    def look(self) -> None:
        """Update the process's maximum by getrusage."""
        self.largest = max(self.largest, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024)

    def _read(self) -> tuple[int, int, int]:
        cuda = (torch.cuda.max_memory_allocated(), torch.cuda.max_memory_reserved()) if self.device == "cuda" else (0, 0)
        return (_status_bytes("VmHWM"), *cuda)

    @contextmanager
    def paused(self) -> Iterator[None]:
        """Exclude the block, such as evaluation, from the peak and from the cap."""
        self._peaks.append(self._read())
        before = _status_bytes("VmRSS")
        if self.device == "cuda":
            self._allow(None)
        try:
            yield
        finally:  # what an allocator keeps of it would be in the peak that follows
            if _status_bytes("VmRSS") > before + 2**20:
                trim()
            if self.device == "cuda":
                with suppress(RuntimeError):  # a device that has failed; what raised inside is told
                    torch.cuda.empty_cache()
                self._allow(self.cap)
            self._reset()

    def above_baseline(self) -> int:
        """Bytes by which the peak so far exceeds the baseline: resident memory, or what torch reserved of a GPU."""
        peak = self.peak()
        return peak.cuda_reserved if peak.cuda_reserved is not None else peak.above_baseline

    def peak(self) -> MemoryPeak:
        """Read the peak so far, of this process or an earlier one of the run."""
        resident, allocated, reserved = (max(column) for column in zip(*self._peaks, self._read(), strict=True))
        cuda = self.device == "cuda"
        own = MemoryPeak(self.baseline, resident, allocated if cuda else None, reserved if cuda else None)
        return own if self.earlier is None else own.larger(self.earlier)

    def state_dict(self) -> dict[str, Any]:
        """Return the peak so far and the largest resident memory, in bytes."""
        self.look()
        return {**asdict(self.peak()), "ru_maxrss": self.largest}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Count what an earlier process of the same run took, too."""
        self.earlier = MemoryPeak(*(state[name] for name in ("baseline", "peak", "cuda_allocated", "cuda_reserved")))
        self.largest = max(self.largest, state["ru_maxrss"])
