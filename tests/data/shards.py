"""Parquet as the hub keeps a split: shards, with the names of the classes in their metadata."""

from __future__ import annotations

import json
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq


def shards(folder: Path, part: str, rows: list[tuple[str, int]], count: int = 1) -> None:
    """Write rows of (text, class number) as `count` shards of a part: train or test."""
    features = {
        "text": {"dtype": "string", "_type": "Value"},
        "label": {"names": ["World", "Sports", "Tech"], "_type": "ClassLabel"},
    }
    folder.mkdir(parents=True, exist_ok=True)
    for shard in range(count):
        table = pa.Table.from_pylist([{"text": text, "label": label} for text, label in rows[shard::count]])
        table = table.replace_schema_metadata({"huggingface": json.dumps({"info": {"features": features}})})
        pq.write_table(table, folder / f"{part}-{shard:05}-of-{count:05}.parquet")
