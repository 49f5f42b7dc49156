"""Bringing files to a machine in loads of limited size."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from bench.models.pretrained import find
from tests.measurements.gpu.carry import MIB, MISSING, BadInput, main, pack, receive, to_half


@pytest.fixture
def sources(tmp_path):
    folder = tmp_path / "from" / "mpnet"
    (folder / "1_Pooling").mkdir(parents=True)
    (folder / "model.safetensors").write_bytes(os.urandom(3 * MIB + 17))
    (folder / "1_Pooling" / "config.json").write_text("{}")
    (folder / "empty").touch()
    wheel = tmp_path / "from" / "a-1-py3-none-any.whl"
    wheel.write_bytes(os.urandom(1000))
    return folder, wheel


def test_loads_in_any_order_restore_every_file(tmp_path, sources):
    folder, wheel = sources
    loads = pack(tmp_path / "loads", [f"encoders/{folder.name}={folder}", f"wheels/{wheel.name}={wheel}"], mib=2)
    assert len(loads) == 4
    assert all(sum(path.stat().st_size for path in load.iterdir()) <= 2 * MIB for load in loads)
    store = tmp_path / "store"
    for load in reversed(loads[1:]):
        assert receive(load, store)[1], "complete without a load"
    done, missing = receive(loads[0], store)
    assert (len(done), missing) == (4, [])
    for file in folder.rglob("*"):
        if file.is_file():
            assert (store / "encoders" / "mpnet" / file.relative_to(folder)).read_bytes() == file.read_bytes()
    assert (store / "wheels" / wheel.name).read_bytes() == wheel.read_bytes()
    assert receive(loads[2], store) == (done, [])
    assert not (store / ".pieces").exists()


def test_a_damaged_piece_is_refused_and_the_load_can_be_carried_again(tmp_path, sources):
    folder, _ = sources
    loads = pack(tmp_path / "loads", [str(folder)], mib=2)
    piece = max(loads[0].iterdir(), key=lambda path: path.stat().st_size)
    sound = piece.read_bytes()
    piece.write_bytes(b"x" + sound[1:])
    with pytest.raises(BadInput, match="carry this load again"):
        receive(loads[0], tmp_path / "store")
    piece.write_bytes(sound)
    assert [receive(load, tmp_path / "store")[1] for load in loads][-1] == []


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["pack", "{}/loads", "{}/nothing"], "is no file or folder"),
        (["pack", "{}/loads", "name="], "is no file or folder"),
        (["pack", "{}/loads", "../out={}/file"], "outside the store"),
        (["pack", "{}/loads", "{}/file", "{}/file"], "two files"),
        (["pack", "{}/loads", "{}/file", "--mib", "1"], "--mib 1"),
        (["pack", "{}", "{}/file"], "not empty"),
        (["pack", "{}/loads", "{}/model.safetensors", "--half"], "not a safetensors file"),
        (["receive", "{}", "{}/store"], "is no load"),
    ],
)
def test_wrong_input_is_told_in_one_line(tmp_path, capsys, arguments, says):
    (tmp_path / "file").write_text("content")
    (tmp_path / "model.safetensors").write_text("no tensors at all")
    assert main([argument.format(tmp_path) for argument in arguments]) == 2
    error = capsys.readouterr().err
    assert says in error
    assert error.count("\n") == 1


def test_a_bare_interpreter_runs_it(tmp_path, sources):
    pack(tmp_path / "loads", [str(sources[0])], mib=2)
    command = [
        "-I",
        "-S",
        "-c",
        "import sys; sys.path.insert(0, '.'); from tests.measurements.gpu.carry import main; sys.exit(main())",
    ]
    done = subprocess.run(
        [sys.executable, *command, "receive", str(tmp_path / "loads" / "load-01"), str(tmp_path / "store")],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == MISSING, done.stderr
    assert "waiting for" in done.stdout


def test_half_precision_weights_load_as_the_nearest_fp16_values(tmp_path):
    import torch
    from safetensors.torch import load_file

    from bench.models.classifier import load_classifier

    packaged = find("minilm")
    folder = tmp_path / "store" / "minilm"
    loads = pack(tmp_path / "loads", [f"minilm={packaged.folder}"], half=True)
    assert [receive(load, tmp_path / "store")[1] for load in loads] == [[]]
    carried = find(str(folder))
    assert (carried.name, carried.pooling) == ("minilm", packaged.pooling)
    assert carried.sha256 != packaged.sha256
    expected = load_file(packaged.folder / "model.safetensors")
    for key, value in load_file(folder / "model.safetensors").items():
        assert value.equal(expected[key].half() if expected[key].dtype == torch.float32 else expected[key]), key
    weight = load_classifier(carried, seed=0, dropout=0.0, attention_dropout=0.0).encoder.embeddings.word_embeddings.weight
    full = load_classifier(packaged, seed=0, dropout=0.0, attention_dropout=0.0).encoder.embeddings.word_embeddings.weight
    assert weight.dtype == torch.float32
    assert weight.equal(full.half().float())


def test_a_value_beyond_fp16_is_refused(tmp_path):
    import torch
    from safetensors.torch import save_file

    save_file({"large": torch.tensor([1e6])}, tmp_path / "model.safetensors")
    with pytest.raises(BadInput, match="too large"):
        to_half(tmp_path / "model.safetensors", tmp_path / "half.safetensors")
