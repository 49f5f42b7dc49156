"""Which files of a folder hold which split: `train.csv`, shards such as `data/train-00000-of-00002.parquet`."""

from __future__ import annotations

import re
from pathlib import Path

from bench.data.tables import table_suffix
from bench.system.errors import DataError
from bench.system.files import name_of

__all__ = ["find_splits"]

_NAMES = {"train": ("train",), "test": ("test",), "validation": ("validation", "valid", "val", "dev")}
_SHARD = re.compile(r"-([0-9]{5})-of-([0-9]{5})$")


def find_splits(folder: Path) -> dict[str, list[Path]]:
    """Return the files of `train` and `test`, and of `validation` where there is one: one file, or the shards in their order.

    They are looked for in the folder, in `data` in it, and in its one subfolder that holds them.

    Raises:
        DataError: if one is missing, in two formats, lacks a shard, or several subfolders hold them.
    """
    place = next((place for place in (folder, folder / "data") if place.is_dir() and _files(place, "train")), None)
    if place is None:
        subs = [sub for sub in sorted(folder.iterdir()) if sub.is_dir() and _files(sub, "train") and _files(sub, "test")]
        if len(subs) > 1:
            names = ", ".join(sub.name for sub in subs[:6])
            raise DataError(f"{name_of(folder)!r} holds several data sets ({names}); name one with a slash: …/{subs[0].name}")
        place = subs[0] if subs else folder
    splits = {split: files for split in _NAMES if (files := _files(place, split))}
    for split in ("train", "test"):
        if split not in splits:
            tables = [path.name for path in sorted(place.iterdir()) if table_suffix(path) and path.is_file()]
            hint = f"; to have one file split, name it with --data, such as {name_of(place)}/{tables[0]}" if tables else ""
            raise DataError(
                f"the folder {name_of(place)!r} has no {split}.csv, .tsv, .jsonl or .parquet, and is not aclImdb{hint}"
            )
    return splits


def _files(folder: Path, split: str) -> list[Path]:
    groups: dict[tuple[str, str, str], list[Path]] = {}
    for path in sorted(folder.iterdir()):
        suffix = table_suffix(path)
        if suffix is None or not path.is_file():
            continue
        stem = path.name.removesuffix(suffix)
        shard = _SHARD.search(stem)
        base = stem[: shard.start()] if shard else stem
        if base.casefold() in _NAMES[split]:
            groups.setdefault((base, suffix, shard[2] if shard else ""), []).append(path)
    if len(groups) > 1:
        names = " and ".join(files[0].name for files in groups.values())
        raise DataError(f"the folder {name_of(folder)!r} has {names} side by side; keep one of them")
    for (base, suffix, total), files in groups.items():
        if total and len(files) != int(total):
            raise DataError(
                f"{len(files)} of the {int(total)} shards of {base}{suffix} are in {name_of(folder)!r}; get the others"
            )
    return next(iter(groups.values()), [])
