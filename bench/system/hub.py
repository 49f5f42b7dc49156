"""Folders from the Hugging Face hub: from its cache where complete, else by one download pinned to a commit."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Literal

from bench.system.errors import DataError, ModelError

__all__ = ["cached", "fetch"]

TIMEOUT = 5.0
"""Seconds that the hub has to answer the first question; without a limit a silent network would hold a run for minutes."""

_COMMIT = re.compile(r"[0-9a-f]{40}")
Kind = Literal["model", "dataset"]


def cached(name: str, kind: Kind, patterns: list[str]) -> Path | None:
    """Find the folder of what the hub's cache holds under `name`, without the network; None unless every pattern is met."""
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HFValidationError, LocalEntryNotFoundError

    try:
        folder = Path(snapshot_download(name, repo_type=kind, local_files_only=True))
    except (LocalEntryNotFoundError, HFValidationError, OSError):
        return None
    whole = _COMMIT.fullmatch(folder.name) and all(any(folder.glob(pattern)) for pattern in patterns)
    return folder if whole else None


def fetch(name: str, kind: Kind, *, patterns: list[str], optional: list[str], instead: str) -> Path:
    """Fetch the files of `name` that match the patterns; return their folder, called by the commit that they are of. The cache
    comes first, at its own commit, so that runs of different days agree.

    `instead` ends the message of a failure with what else can be done.

    Raises:
        ModelError, DataError: by `kind`, if they are neither cached nor available.
    """
    from huggingface_hub import HfApi, snapshot_download
    from huggingface_hub.errors import HFValidationError, RepositoryNotFoundError
    from huggingface_hub.utils import disable_progress_bars
    from requests import RequestException

    if (snapshot := cached(name, kind, patterns)) is not None:
        return snapshot
    noun = "encoder" if kind == "model" else "data set"
    fault = ModelError if kind == "model" else DataError
    example = "FacebookAI/roberta-base" if kind == "model" else "fancyzhx/ag_news"
    flag = "" if kind == "model" else " --repo-type dataset"
    disable_progress_bars()
    try:
        # The branch is looked up once; everything after that speaks of the commit.
        commit = HfApi().repo_info(name, repo_type=kind, timeout=TIMEOUT).sha
        folder = Path(snapshot_download(name, repo_type=kind, revision=commit, allow_patterns=[*patterns, *optional]))
        # As the hub's client does when it is given no commit: for the next run, offline.
        reference = folder.parent.parent / "refs" / "main"
        reference.parent.mkdir(parents=True, exist_ok=True)
        reference.write_text(folder.name)
    except HFValidationError:
        raise fault(f"{name!r} cannot be the id of a hub {noun}; an id looks like {example}") from None
    except RepositoryNotFoundError:
        raise fault(f"the hub has no public {noun} {name!r}; check the name, or {instead}") from None
    except OSError as error:
        if error.strerror and not isinstance(error, RequestException):
            raise fault(
                f"the hub's cache cannot be written ({error.strerror}); set HF_HUB_CACHE to a folder that can"
            ) from None
        raise fault(
            f"{noun} {name!r} is not whole in the hub's cache and the hub cannot be reached; where there is a network run "
            f"`hf download{flag} {name}` and copy the cache here, or {instead}"
        ) from None
    return folder
