"""Versions that two machines must share for their runs to be comparable."""

from __future__ import annotations

import platform

from bench import __version__
from bench.records.environment import commit, library_versions
from bench.rules import RULES_VERSION

__all__ = ["difference", "software"]


def software() -> dict[str, str]:
    """Versions on this machine, of the suite first; the commit only where it is known."""
    sha, _ = commit()
    own = {"adapter-bench": __version__, "rules": str(RULES_VERSION), "Python": platform.python_version()}
    return own | ({} if sha is None else {"commit": sha[:12]}) | library_versions()


def difference(local: dict[str, str], remote: dict[str, str]) -> str | None:
    """Name the first thing that another machine has in another version, with both; None if there is none."""
    for name in {**local, **remote}:
        ours, theirs = local.get(name), remote.get(name)
        if ours != theirs and (name != "commit" or None not in (ours, theirs)):
            return f"{name} {theirs or 'is missing'} there, {ours or 'is missing'} here"
    return None
