"""The JSON files of an encoder, read only up to a size: configuration, tokenizer, pooling, index of shards."""

from __future__ import annotations

import stat
from pathlib import Path
from typing import Any

from pydantic_core import from_json

from bench.system.errors import ModelError

__all__ = ["LARGEST", "read_json"]

LARGEST = 2**20
"""Bytes of a configuration or an index that is read; the largest known ones take a tenth."""


def read_json(name: str, folder: Path, file: str, largest: int = LARGEST) -> Any:
    """Read a JSON file in the folder of the encoder called `name`.

    Raises:
        ModelError: if it is too large or no whole JSON.
    """
    try:
        status = (folder / file).stat()
        if not stat.S_ISREG(status.st_mode) or status.st_size > largest:
            raise ModelError(f"encoder {name!r}: {file} cannot be read: it is no file of at most {largest // 2**20} MiB")
        return from_json((folder / file).read_bytes())
    except OSError as error:
        raise ModelError(f"encoder {name!r}: {file} cannot be read ({error.strerror}); is it whole?") from None
    except ValueError as error:
        raise ModelError(f"encoder {name!r}: {file} cannot be read: it is not whole JSON ({error})") from None
