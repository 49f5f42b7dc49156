"""The safetensors files of a checkpoint: one, or the shards that an index names."""

from __future__ import annotations

import re
import stat
from pathlib import Path
from typing import Any

from pydantic_core import from_json

from bench.system.errors import ModelError, brief

__all__ = ["INDEX", "SAFETENSORS", "WEIGHTS", "read_json", "weight_files"]

WEIGHTS, INDEX = "model.safetensors", "model.safetensors.index.json"
SAFETENSORS = "model[.-]*safetensors"
"""Pattern of the one file or all shards."""
LARGEST = 2**20
"""Bytes of a configuration or an index that is read; the largest known ones take a tenth."""


def read_json(name: str, folder: Path, file: str, largest: int = LARGEST) -> Any:
    """Read a JSON file of a checkpoint.

    Raises:
        ModelError: if it is too large or no whole JSON; `name` is the encoder's.
    """
    try:
        status = (folder / file).stat()
        if not stat.S_ISREG(status.st_mode) or status.st_size > largest:
            raise ModelError(f"encoder {name!r}: {file} cannot be read: it is no file of at most {largest // 2**20} MiB")
        return from_json((folder / file).read_bytes())
    except OSError as error:
        raise ModelError(f"encoder {name!r}: {file} cannot be read ({type(error).__name__}); is it whole?") from None
    except ValueError as error:
        raise ModelError(f"encoder {name!r}: {file} cannot be read: it is not whole JSON ({error})") from None


def weight_files(name: str, folder: Path, stem: str = "model", suffix: str = "safetensors") -> list[Path]:
    """Find the file `stem.suffix`, or else the shards of `stem.suffix.index.json`, in order.

    Only names as transformers gives them to shards are followed, so that an index cannot lead out of the folder.

    Raises:
        ModelError: if the index is malformed, or a shard is missing.
    """
    if (folder / f"{stem}.{suffix}").is_file():
        return [folder / f"{stem}.{suffix}"]
    index = read_json(name, folder, f"{stem}.{suffix}.index.json")
    shards = index.get("weight_map") if isinstance(index, dict) else None
    if not isinstance(shards, dict) or not shards:
        raise ModelError(f"encoder {name!r}: {stem}.{suffix}.index.json names no shards; is it whole?")
    for shard in shards.values():
        if not (isinstance(shard, str) and re.fullmatch(rf"{stem}-\d{{5}}-of-\d{{5}}\.{suffix}", shard, flags=re.ASCII)):
            example = f"{stem}-00001-of-00002.{suffix}"
            raise ModelError(f"encoder {name!r}: {stem}.{suffix}.index.json names {brief(shard)}, no shard such as {example}")
    names = sorted(set(shards.values()))
    lacking = [shard for shard in names if not (folder / shard).is_file()]
    if lacking:
        raise ModelError(f"encoder {name!r}: shard {lacking[0]} is not there ({len(names)} in all); fetch it whole again")
    return [folder / shard for shard in names]
