"""What each stage of the GPU kit runs: commands of this project, with small numbers where the kit is tried on a CPU."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

__all__ = ["STAGES", "Command", "Kit", "Stage"]

ROOT = Path(__file__).resolve().parents[3]
METHODS = ("houlsby", "pfeiffer", "lora", "full", "head-only")
TARGET_BUDGETS = ("15s", "30s", "60s", "120s")
"""Calibrated budgets of the adapter, in the order in which the target is looked for; each has a schedule of its own."""
TARGET_LENGTH = "256"
"""Tokens of a review where the target is looked for; with 128 Houlsby on mpnet was at 94.03 % after 60 seconds."""

_DRY = ("--rounds", "1", "--batches", "1", "--batch-size", "2")
"""The smallest comparison of speed."""

Command = list[str]


@dataclass(frozen=True)
class Kit:
    """What a call of the kit was given."""

    out: Path
    encoder: str
    data: str
    dry: bool
    workers: int
    """Processes of the comparison of accuracy that train side by side."""

    @property
    def device(self) -> str:
        return "cpu" if self.dry else "cuda"

    @property
    def runs(self) -> Path:
        return self.out / "runs"


@dataclass(frozen=True)
class Stage:
    name: str
    does: str
    commands: Callable[[Kit], list[list[Command]]]
    """Groups of commands: the groups one after the other, the commands of a group side by side."""


def _python(*words: str) -> Command:
    return [sys.executable, *words]


def _doctor(kit: Kit) -> list[list[Command]]:
    return [[_python("-m", "bench", "doctor")]]


def _tests(kit: Kit) -> list[list[Command]]:
    """Tests marked `cuda`, from the files that have any: others may need libraries that are not there."""
    own = ROOT / "tests" / "measurements"
    marked = [
        str(path)
        for path in sorted((ROOT / "tests").rglob("test_*.py"))
        if own not in path.parents and "mark.cuda" in path.read_text("utf-8")
    ]
    if not marked:
        return []
    # Other versions than the pinned ones may warn of what these do not.
    return [[_python("-m", "pytest", "-q", "-p", "no:cacheprovider", "-W", "default", "-m", "cuda", "--durations=10", *marked)]]


def _calibration(kit: Kit) -> list[list[Command]]:
    """Of all methods as they are compared, and of the adapter as it looks for the target."""
    command = _python("-m", "bench", "calibrate", "--encoder", kit.encoder, "--data", kit.data, "--device", kit.device)
    command += ["--out", str(kit.runs)]
    seconds = ("5", "5") if kit.dry else ("60", "20")
    every, adapter = (["--method", name, "--seconds", s] for name, s in zip(("all", "houlsby"), seconds, strict=True))
    return [[[*command, *every]], [[*command, *adapter, *_target_setting(kit)]]]


def _peers(kit: Kit) -> list[list[Command]]:
    names = METHODS[2:3] if kit.dry else METHODS
    return [[_turns(kit, "peers", names, *(_DRY if kit.dry else ["--rounds", "2", "--batches", "50"]))]]


def _utilisation(kit: Kit) -> list[list[Command]]:
    """On a BERT-base: small batches, where the device waits for launches, and batches of more than 32,000 tokens."""
    if kit.dry:
        return [[_turns(kit, "utilisation", METHODS[4:], "--grouped", *_DRY)]]
    both, names = ["--grouped", "--base", "--max-length", "128", "--rounds", "2"], ("full", "houlsby")
    small = _turns(kit, "utilisation-small", names, *both, "--batch-size", "16", "--batches", "50")
    large = _turns(kit, "utilisation-large", names, *both, "--batch-size", "320", "--batches", "10", "--steps", "30")
    return [[small], [large]]


def _turns(kit: Kit, name: str, methods: Sequence[str], *numbers: str) -> Command:
    out = str(kit.out / f"{name}.json")
    command = _python("-m", "tests.measurements.peers", "--device", kit.device, *numbers, "--out", out)
    return command + [word for method in methods for word in ("--method", method)]


def _accuracy(kit: Kit) -> list[list[Command]]:
    """Disjoint seeds side by side, then their files as one."""
    seeds = range(2 if kit.dry else 6)
    program = _python("-m", "tests.measurements.peers.accuracy")
    numbers = ["--device", kit.device, *(["--method", "head-only", "--reviews", "16"] if kit.dry else [])]
    parts: list[Path] = []
    commands: list[Command] = []
    for worker in range(min(kit.workers, len(seeds))):
        parts.append(kit.out / f"peers-accuracy-part{worker}.json")
        own = [word for seed in seeds[worker :: kit.workers] for word in ("--seed", str(seed))]
        commands.append([*program, *numbers, *own, "--out", str(parts[-1])])
    return [commands, [[*program, "--merge", *map(str, parts), "--out", str(kit.out / "peers-accuracy.json")]]]


def _target_setting(kit: Kit) -> list[str]:
    return [] if kit.dry else ["--max-length", TARGET_LENGTH, "--kernels", "graphs"]


def _run(kit: Kit, budget: str, method: str, seeds: str) -> Command:
    command = _python(
        "-m", "bench", "run", "--method", method, "--encoder", kit.encoder, "--data", kit.data, "--device", kit.device
    )
    few = ["--test-limit", "20"] if kit.dry else []
    return [*command, "--budget", budget, "--seeds", seeds, "--out", str(kit.runs), *few]


def _comparison(kit: Kit) -> list[list[Command]]:
    """The five methods at one budget and seed, on the whole test."""
    return [[_run(kit, "2 steps" if kit.dry else "60s", "all", "0,")]]


def _target(kit: Kit) -> list[list[Command]]:
    """The adapter at growing budgets; `collect` reads which of them is the first that reaches the target."""
    return [
        [[*_run(kit, budget, "houlsby", "0,"), *_target_setting(kit)]]
        for budget in (("1 steps",) if kit.dry else TARGET_BUDGETS)
    ]


def _costs(kit: Kit) -> list[list[Command]]:
    costs, report = str(kit.out / "costs.json"), str(kit.out / "report.json")
    return [
        [_python("-m", "tests.measurements.gpu.collect", str(kit.runs), "--out", costs)],
        [_python("-m", "bench", "report", "--results", str(kit.runs), "--format", "json", "--out", report)],
    ]


STAGES = (
    Stage("doctor", "what the machine has", _doctor),
    Stage("tests", "the tests marked cuda", _tests),
    Stage("calibration", "time per token of every method", _calibration),
    Stage("peers", "speed, memory and MFU beside the libraries' trainers", _peers),
    Stage("utilisation", "speed and MFU on a base-size encoder", _utilisation),
    Stage("accuracy", "accuracy at equal reviews beside the libraries' trainers", _accuracy),
    Stage("comparison", "five methods at 60 calibrated seconds on the official test", _comparison),
    Stage("target", "the adapter's time to 94.16 %", _target),
    Stage("costs", "memory, energy and latency, from the records", _costs),
)
"""In their order, after `install`."""
