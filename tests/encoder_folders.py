"""Folders of encoders that are changed, damaged, hostile or as they were saved once, and how one is refused."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from bench.models.families import FAMILIES
from bench.models.pretrained import find
from bench.models.weight_files import WEIGHTS
from bench.system.errors import ModelError


def change(folder: Path, **fields: Any) -> None:
    path = folder / "config.json"
    config = json.loads(path.read_text()) | fields
    path.write_text(json.dumps({key: value for key, value in config.items() if value is not ...}))


def refused(folder: Path | str) -> str:
    with pytest.raises(ModelError) as caught:
        find(str(folder))
    line = str(caught.value)
    assert "\n" not in line
    assert len(line) < 500
    return line


class Evil:
    """Whoever unpickles this makes a file."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> Any:
        return (Path.touch, (self.mark,))


def as_it_was_saved_once(folder: Path) -> dict[str, torch.Tensor]:
    """Change an encoder's folder: weights pickled behind the family's prefix, with a head of 3 labels."""
    weights = load_file(folder / WEIGHTS)
    (folder / WEIGHTS).unlink()
    prefix = FAMILIES[json.loads((folder / "config.json").read_text())["model_type"]].prefix
    head = {"classifier.weight": torch.zeros(3, 32), "classifier.bias": torch.zeros(3)}
    torch.save({prefix + key: tensor for key, tensor in weights.items()} | head, folder / "pytorch_model.bin")
    return weights


def only_words(folder: Path) -> None:
    """Leave of an encoder's tokenizer its vocabulary alone."""
    vocabulary = json.loads((folder / "tokenizer.json").read_text())["model"]["vocab"]
    (folder / "vocab.txt").write_text("\n".join(sorted(vocabulary, key=vocabulary.__getitem__)) + "\n")
    (folder / "tokenizer_config.json").write_text('{"do_lower_case": true, "auto_map": {"AutoTokenizer": "evil.Evil"}}')
    (folder / "tokenizer.json").unlink()
