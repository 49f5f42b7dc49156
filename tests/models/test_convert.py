"""An encoder saved as a pickle, with words alone or sentencepiece, becomes a folder that can be used; nothing of it runs."""

from __future__ import annotations

import pickle
import re
import shlex
from pathlib import Path

import pytest
import torch

from bench.data.tokenization import open_tokenizer, special_tokens
from bench.models.classifier import load_classifier
from bench.models.pretrained import find
from bench.models.weight_files import WEIGHTS
from tests.conftest import call, write_encoder
from tests.encoder_folders import Evil, as_it_was_saved_once, only_words, refused

TEXT = "A great, moving film: 9/10 — naïve? Not at all!"


def test_the_command_that_an_error_names_makes_it_usable(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    folder = write_encoder(tmp_path / "an encoder", "Bert", '{"pooling_mode": "mean"}')
    ours = find(str(folder))
    expected = open_tokenizer(folder / "tokenizer.json").encode(TEXT).ids
    only_words(folder)
    weights = as_it_was_saved_once(folder)
    line = refused(folder)
    assert "has no tokenizer.json; make a folder that has it with: python -m bench convert" in line
    command = shlex.split(line.partition("with: python -m bench ")[2])
    made = tmp_path / "made"
    assert command[-1] == "FOLDER"
    assert call([*command[:-1], str(made)]) == 0
    printed = capfd.readouterr().out
    assert re.search(r"model\.safetensors: from pytorch_model\.bin\n", printed)
    assert "tokenizer.json: from vocab.txt (do_lower_case true)" in printed
    found = find(str(made))
    assert (found.pooling, found.config) == ("mean", ours.config)
    state = load_classifier(found, seed=0, dropout=0.0, attention_dropout=0.0).encoder.state_dict()
    assert all(torch.equal(state[key], tensor) for key, tensor in weights.items() if "pooler" not in key)
    assert open_tokenizer(made / "tokenizer.json").encode(TEXT).ids == expected


def test_a_pickle_that_would_run_something_does_not(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    folder = write_encoder(tmp_path / "encoder")
    (folder / WEIGHTS).unlink()
    assert "convert" not in refused(folder)
    for content in (pickle.dumps(Evil(tmp_path / "ran")), b"", b"PK\x03\x04no archive", pickle.dumps([1])):
        (folder / "pytorch_model.bin").write_bytes(content)
        assert "has no model.safetensors: weights are only loaded from safetensors; make a folder" in refused(folder)
        assert call(["convert", str(folder), str(tmp_path / "made")]) == 2
        line = capfd.readouterr().err
        assert "pytorch_model.bin cannot be read as tensors alone" in line
        assert line.count("\n") == 1
        assert [path.name for path in tmp_path.iterdir()] == ["encoder"], "nothing ran, and nothing is left"
    pickle.loads(pickle.dumps(Evil(tmp_path / "ran")))
    assert (tmp_path / "ran").exists(), "the fixture is not what it should be"


@pytest.mark.parametrize(
    ("kind", "file", "pieces", "ends"),
    [
        ("DebertaV2", "spm.model", ["[PAD]", "[CLS]", "[SEP]", "[UNK]"], ("[CLS]", "[SEP]")),
        ("Albert", "spiece.model", ["<pad>", "<unk>", "[CLS]", "[SEP]", "[MASK]"], ("[CLS]", "[SEP]")),
        ("XLMRoberta", "sentencepiece.bpe.model", ["<unk>", "<s>", "</s>"], ("<s>", "</s>")),
    ],
)
def test_sentencepiece_becomes_a_tokenizer(
    kind: str, file: str, pieces: list[str], ends: tuple[str, str], tmp_path: Path
) -> None:
    from transformers.utils import sentencepiece_model_pb2_new as proto

    model = proto.ModelProto()
    model.trainer_spec.model_type = 1
    model.trainer_spec.unk_id = next(i for i, piece in enumerate(pieces) if "unk" in piece.lower())
    for piece in [*pieces, "▁a", "▁great", "▁film", "!"]:
        model.pieces.add(piece=piece, score=-1.0, type=(2 if "unk" in piece.lower() else 3) if piece in pieces else 1)
    folder = write_encoder(tmp_path / kind, kind)
    (folder / "tokenizer.json").unlink()
    (folder / file).write_bytes(model.SerializeToString())
    assert call(["convert", str(folder), str(tmp_path / "made")]) == 0
    tokenizer = open_tokenizer(tmp_path / "made" / "tokenizer.json")
    first, last = (int(ids[0]) for ids in special_tokens(tokenizer))
    assert (tokenizer.id_to_token(first), tokenizer.id_to_token(last)) == ends
    assert tokenizer.encode("a great film!").tokens == [ends[0], "▁a", "▁great", "▁film", "!", ends[1]]


def test_what_cannot_be_converted_is_one_line(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    folder = write_encoder(tmp_path / "encoder", "Roberta")
    (tmp_path / "file").write_text("")
    made, there = str(tmp_path / "made"), str(tmp_path / "file")

    def says(source: str, target: str) -> str:
        assert call(["convert", source, target]) == 2
        return capfd.readouterr().err.removesuffix("\n")

    cases = [
        (says(str(folder), there), "exists; name a folder that does not"),
        (says(there, made), "is neither a folder nor a hub id"),
        (says(str(folder), f"{there}/made"), "cannot be written"),
    ]
    (folder / "tokenizer.json").unlink()
    cases.append((says(str(folder), made), "has no tokenizer.json and no vocab.json and no merges.txt"))
    (folder / "vocab.json").write_text("no JSON")
    (folder / "merges.txt").write_text("")
    cases.append((says(str(folder), made), "no tokenizer can be made from vocab.json and merges.txt"))
    (folder / WEIGHTS).unlink()
    cases.append((says(str(folder), made), "has neither model.safetensors nor pytorch_model.bin"))
    for line, expected in cases:
        assert expected in line
        assert "\n" not in line
    assert not Path(made).exists()
