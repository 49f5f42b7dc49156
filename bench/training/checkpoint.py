"""The file from which a killed run resumes: `checkpoints/<run id>.safetensors` beside the records.

A plain safetensors file: the tensors of a trainer's state, and a JSON text with its numbers and owner. It holds no code.
"""

from __future__ import annotations

import json
import mmap
import struct
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import torch
from pydantic import ValidationError
from torch import Tensor

from bench.records.schema import CurvePoint
from bench.records.spec import Part
from bench.system.files import atomic_write

__all__ = ["Counts", "Meta", "Unusable", "read", "write"]

_TYPES = {
    torch.float64: "F64", torch.float32: "F32", torch.float16: "F16", torch.bfloat16: "BF16", torch.int64: "I64",
    torch.int32: "I32", torch.int16: "I16", torch.int8: "I8", torch.uint8: "U8", torch.bool: "BOOL",
}  # fmt: skip
"""Names of types in safetensors."""


class Counts(Part):
    """The counters of a ledger, under its names; its losses and encoded rows are tensors."""

    batches: int
    reviews_spent: int
    tokens_spent: int
    pass_steps: int
    steps: int
    reviews_seen: int
    reviews_trained: int
    tokens_seen: int
    tokens_padded: int
    longest_step: float
    seconds: float
    curve_from: int
    curve: list[CurvePoint]


class Meta(Part):
    """The numbers of a trainer's state, and its owner."""

    version: Literal[2] = 2
    owner: dict[str, Any]
    """The run and machine, by name. A run resumes only from a checkpoint with an equal owner."""
    resumed: int
    """How often the run had resumed."""
    frozen_sha256: str
    """Hash of the frozen weights."""
    counts: Counts
    cpu_seconds: float
    joules: float | None
    paused_seconds: float
    baseline: int
    peak: int
    cuda_allocated: int | None
    cuda_reserved: int | None
    ru_maxrss: int


class Unusable(Exception):
    """The run cannot resume from this checkpoint. The message is a clause that says why."""


def write(path: Path, meta: Meta, tensors: Mapping[str, Tensor]) -> int:
    """Write a checkpoint atomically and return its size in bytes.

    Each tensor is written from where it is. The library's writer copies all of them first, which would double a run's memory.

    Raises:
        OSError: if the disk does not take it.
    """
    header: dict[str, Any] = {"__metadata__": {"place": meta.model_dump_json(), "crc32": "0" * 8}}
    end = 0
    for name, tensor in tensors.items():
        start, end = end, end + tensor.nbytes
        header[name] = {"dtype": _TYPES[tensor.dtype], "shape": list(tensor.shape), "data_offsets": [start, end]}
    with atomic_write(path) as file:
        checksum = zlib.crc32(_covered(header))
        file.write(_head(header))
        for tensor in tensors.values():
            data = tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().data
            checksum = zlib.crc32(data, checksum)
            file.write(data)
        header["__metadata__"]["crc32"] = f"{checksum:08x}"
        size = file.tell()
        file.seek(0)
        file.write(_head(header))
        file.seek(size)
    return size


def _covered(header: dict[str, Any]) -> bytes:
    """Return what the checksum covers of a header: all but itself."""
    tensors = {name: about for name, about in header.items() if name != "__metadata__"}
    return json.dumps([header["__metadata__"]["place"], tensors]).encode()


def _head(header: dict[str, Any]) -> bytes:
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)  # tensors begin at a multiple of eight
    return struct.pack("<Q", len(text)) + text


def read(path: Path) -> tuple[Meta, dict[str, Tensor]]:
    """Read a checkpoint, numbers and tensors; these are mapped from the file.

    Raises:
        FileNotFoundError: if there is none.
        Unusable: if it is damaged, or another kind of file.
    """
    from safetensors import SafetensorError, safe_open

    try:
        with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data, memoryview(data) as view:
            length = int.from_bytes(view[:8], "little")
            if not 0 < length <= len(view) - 8:
                raise Unusable("it is damaged")
            header = json.loads(bytes(view[8 : 8 + length]))
            checksum = zlib.crc32(view[8 + length :], zlib.crc32(_covered(header)))
            if header["__metadata__"]["crc32"] != f"{checksum:08x}":
                raise Unusable("it is damaged")
            meta = Meta.model_validate_json(header["__metadata__"]["place"])
            with safe_open(path, framework="pt") as opened:
                tensors = {name: opened.get_tensor(name) for name in opened.keys()}  # noqa: SIM118  it is no mapping
    except FileNotFoundError:
        raise
    except ValidationError as error:
        where = ".".join(str(part) for part in error.errors()[0]["loc"])
        raise Unusable(f"it was written by another version of the suite ({where or 'place'})") from None
    except (SafetensorError, OSError, ValueError, RuntimeError, LookupError, TypeError, AttributeError) as error:
        raise Unusable(f"it cannot be read ({type(error).__name__})") from None
    return meta, tensors
