"""No code from a stranger: what would run under the libraries' own loading does not run here, and words come out inert."""

from __future__ import annotations

import csv
import io
import os
import pickle
import re
import shutil
import signal
from pathlib import Path

import pytest
import transformers
import transformers.integrations.hub_kernels as hub_kernels

from bench.cli import doctor
from bench.data.tokenization import open_tokenizer
from bench.models.classifier import load_classifier
from bench.models.families import FAMILIES
from bench.models.pretrained import find
from bench.system.errors import DataError
from tests.conftest import call
from tests.encoder_folders import Evil, change

OTHER_FILES = (
    "adapter_config.json", "adapter_model.bin", "added_tokens.json", "chat_template.jinja", "config.py", "config_evil.py",
    "configuration_evil.py", "custom_generate/generate.py", "flax_model.msgpack", "generation_config.json", "modeling_evil.py",
    "model.safetensors.index.json", "optimizer.pt", "preprocessor_config.json", "pytorch_model.bin", "requirements.txt",
    "pytorch_model.bin.index.json", "sentence_bert_config.json", "setup.py", "special_tokens_map.json", "tf_model.h5",
    "tokenizer_config.json", "tokenizer.py", "training_args.bin", "vocab.txt", "__init__.py",
)  # fmt: skip
"""What libraries look for in a checkpoint's folder; nothing here opens any of it."""


@pytest.fixture
def folder(tiny_folder: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(tiny_folder, tmp_path / "encoder"))


def test_a_kernel_named_in_the_config_is_fetched_by_the_library_and_not_here(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """CVE-2026-4372: with the package `kernels`, transformers 4.57 fetches and imports the repository that a config names."""
    fetched: list[str] = []

    def get_kernel(repository: str, revision: str | None = None) -> None:
        fetched.append(repository)
        raise ValueError("here its code would run")

    monkeypatch.setattr(hub_kernels, "_kernels_available", True)
    monkeypatch.setattr(hub_kernels, "get_kernel", get_kernel, raising=False)
    change(folder, _attn_implementation_internal="evil/kernel", _attn_implementation="evil/kernel")
    with pytest.raises(ValueError, match="evil/kernel"):
        transformers.AutoModel.from_pretrained(folder)
    assert fetched == ["evil/kernel"], "the fixture is not what it should be"
    load_classifier(find(str(folder)), seed=0, dropout=0.0, attention_dropout=0.0)
    assert fetched == ["evil/kernel"]


def test_every_model_type_that_passes_is_one_whose_config_runs_nothing() -> None:
    import inspect

    for kind in FAMILIES:
        source = inspect.getsource(transformers.CONFIG_MAPPING[kind])
        assert "trust_remote_code" not in source
        assert "from_pretrained(" not in re.sub(r'"""(?s:.*?)"""', "", source)


def test_no_other_file_of_a_checkpoint_is_opened(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each is a pipe without a writer: whoever opened one would wait for ever."""
    for name in OTHER_FILES:
        path = folder / name
        path.parent.mkdir(exist_ok=True)
        os.mkfifo(path)
    change(folder, auto_map={"AutoConfig": "configuration_evil.Evil", "AutoModel": "modeling_evil.Evil"})
    monkeypatch.chdir(folder)
    before = signal.signal(signal.SIGALRM, lambda number, frame: pytest.fail("it waits for a pipe"))
    signal.alarm(120)
    try:
        found = find(str(folder))
        load_classifier(found, seed=0, dropout=0.0, attention_dropout=0.0)
        open_tokenizer(found.folder / "tokenizer.json")
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


def test_logits_and_caches_that_are_pickles_are_not_unpickled(tmp_path: Path) -> None:
    import numpy as np

    from bench.records.store import load_logits
    from bench.system.files import sha256_bytes

    mark = tmp_path / "ran"
    file = io.BytesIO()
    np.save(file, np.array([Evil(mark)], dtype=object), allow_pickle=True)
    (tmp_path / "logits").mkdir()
    name = sha256_bytes(file.getvalue())
    (tmp_path / "logits" / f"{name}.npy").write_bytes(file.getvalue())
    with pytest.raises(ValueError, match="allow_pickle"):
        load_logits(tmp_path, name)
    assert not mark.exists()


def test_reading_reviews_runs_nothing(tmp_path: Path) -> None:
    """A parquet file may carry metadata of pandas and Arrow that name types; a column of pickles stays a column of bytes."""
    import pandas as pd

    from bench.data.sources import read

    mark = tmp_path / "ran"
    for split in ("train", "test"):
        pd.DataFrame({"text": [pickle.dumps(Evil(mark))] * 2, "label": [0, 1]}).to_parquet(tmp_path / f"{split}.parquet")
    (tmp_path / "dataset.py").write_text(f"open({str(mark)!r}, 'w')")
    (tmp_path / "encoder.py").write_text(f"open({str(mark)!r}, 'w')")
    with pytest.raises(DataError, match="the text is empty or not text"):
        read(str(tmp_path))
    assert not mark.exists()


WORDS = [
    "\x1b]0;owned\x07\x1b[2J",
    "<img src=x onerror=alert(1)>",
    "=cmd|' /C calc'!A0",
    "\\immediate\\write18{id}",
    "\u202egnp.exe",
]


def test_names_in_the_hub_s_cache_are_inert(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "_hub_models", lambda: WORDS)
    lines = doctor.diagnose()[0].splitlines()
    assert all(line.isprintable() for line in lines)
    assert sum("in the hub's cache, not usable" in line for line in lines) == len(WORDS)


@pytest.mark.parametrize("words", WORDS[:1] + WORDS[-1:])
def test_words_of_reviews_and_names_are_inert_in_errors(words: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    folder = tmp_path / words
    folder.mkdir()
    rows = [["text", "label", words], ["fine", words, "x"]]
    for content in (rows, [["text", words], ["fine", "1"]], [["label"]], []):
        with (folder / "train.csv").open("w", newline="") as file:
            csv.writer(file).writerows(content)
        assert call(["run", "--method", "lora", "--data", str(folder)]) == 2
        line = capfd.readouterr().err
        assert line.removesuffix("\n").isprintable(), line
