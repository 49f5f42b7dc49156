"""Install carried wheels into a folder of their own, in front of whatever versions the machine has.

Wheels of the folder are taken as they are; a wheel cut into `NAME.whl.part-NN` is joined first. Standard library only.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import tomllib
from collections import defaultdict
from pathlib import Path

__all__ = ["InstallError", "install"]


class InstallError(Exception):
    """What is wrong with the wheels, in one line."""


def install(wheels: Path, target: Path, root: Path) -> int:
    """Install the wheels under `wheels` (subfolders included) into `target`, anew; returns how many.

    No dependencies are looked for and no network is used: what is not carried is taken from the machine, in its version. The
    project's own metadata is written beside them, so that `doctor` can name the versions that differ from the pinned ones.

    Raises:
        InstallError: if there are none, parts are missing, or pip refuses them.
    """
    found = {path.name: path for path in sorted(wheels.rglob("*.whl"))} if wheels.is_dir() else {}
    parts: dict[str, list[Path]] = defaultdict(list)
    for path in sorted(wheels.rglob("*.whl.part-*")) if wheels.is_dir() else []:
        parts[path.name.rpartition(".part-")[0]].append(path)
    if not found and not parts:
        raise InstallError(f"{str(wheels)!r} holds no wheels; give the folder that they were carried into with --wheels")
    fresh = target.with_name(f"{target.name}.new")
    shutil.rmtree(fresh, ignore_errors=True)
    joined = fresh / ".wheels"
    joined.mkdir(parents=True)
    for name, pieces in parts.items():
        if [path.name for path in pieces] != [f"{name}.part-{i:02d}" for i in range(len(pieces))]:
            raise InstallError(f"{name} lacks one of its parts; carry all of {name}.part-*")
        with (joined / name).open("wb") as out:
            for path in pieces:
                with path.open("rb") as source:
                    shutil.copyfileobj(source, out)
        found[name] = joined / name
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-index", "--no-deps"]
    command = [*pip, "--no-compile", "--no-cache-dir", "--target", str(fresh), *map(str, found.values())]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise InstallError(f"pip refused the wheels: {(done.stderr.strip().splitlines() or ['no reason given'])[-1]}")
    shutil.rmtree(joined)
    _describe(root, fresh)
    shutil.rmtree(target, ignore_errors=True)
    fresh.rename(target)
    return len(found)


def _describe(root: Path, target: Path) -> None:
    """Metadata of this project as an installation would write it."""
    project = tomllib.loads((root / "pyproject.toml").read_text("utf-8"))["project"]
    folder = target / f"{project['name'].replace('-', '_')}-0.dist-info"
    folder.mkdir()
    wanted = "".join(f"Requires-Dist: {text}\n" for text in project["dependencies"])
    (folder / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {project['name']}\nVersion: 0\n{wanted}", "utf-8")
