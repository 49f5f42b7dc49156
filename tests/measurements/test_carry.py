"""Bringing files to a machine in loads of limited size."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from tests.measurements.gpu.carry import MIB, MISSING, BadInput, main, pack, receive, to_half


@pytest.fixture
def folder(tmp_path):
    folder = tmp_path / "from" / "mpnet"
    (folder / "1_Pooling").mkdir(parents=True)
    (folder / "model.safetensors").write_bytes(os.urandom(3 * MIB + 17))
    (folder / "1_Pooling" / "config.json").write_text("{}")
    (folder / "empty").touch()
    return folder


def test_loads_in_any_order_restore_every_file(tmp_path, folder):
    loads = pack(tmp_path / "loads", [f"encoders/mpnet={folder}", str(folder / "empty")], mib=2)
    assert len(loads) == 4
    assert all(sum(path.stat().st_size for path in load.iterdir()) <= 2 * MIB for load in loads)
    store = tmp_path / "store"
    for load in reversed(loads[1:]):
        assert receive(load, store)[0] == "piece-01", "complete without a load"
    assert receive(loads[0], store) == []
    for file in folder.rglob("*"):
        if file.is_file():
            assert (store / "encoders" / "mpnet" / file.relative_to(folder)).read_bytes() == file.read_bytes()
    assert (store / "empty").read_bytes() == b""
    assert receive(loads[2], store) == []


def test_a_damaged_piece_is_refused_and_the_load_can_be_carried_again(tmp_path, folder):
    loads = pack(tmp_path / "loads", [str(folder)], mib=2)
    piece = loads[0] / "piece-01"
    sound = piece.read_bytes()
    piece.write_bytes(b"x" + sound[1:])
    with pytest.raises(BadInput, match="carry this load again"):
        receive(loads[0], tmp_path / "store")
    piece.write_bytes(sound)
    assert [receive(load, tmp_path / "store") for load in loads][-1] == []


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


def test_a_bare_interpreter_runs_it(tmp_path, folder):
    pack(tmp_path / "loads", [str(folder)], mib=2)
    code = "import sys; sys.path.insert(0, '.'); from tests.measurements.gpu.carry import main; sys.exit(main())"
    words = ["receive", str(tmp_path / "loads" / "load-01"), str(tmp_path / "store")]
    done = subprocess.run([sys.executable, "-I", "-S", "-c", code, *words], capture_output=True, text=True, check=False)
    assert done.returncode == MISSING, done.stderr
    assert "waiting for" in done.stdout


def test_half_precision_weights_load_as_the_nearest_fp16_values(tmp_path, tiny):
    import torch
    from safetensors.torch import load_file

    from bench.models.classifier import load_classifier
    from bench.models.pretrained import find

    (load,) = pack(tmp_path / "loads", [f"tiny={tiny.folder}"], half=True)
    assert receive(load, tmp_path / "store") == []
    carried = find(str(tmp_path / "store" / "tiny"))
    assert (carried.name, carried.pooling) == ("tiny", tiny.pooling)
    assert carried.sha256 != tiny.sha256
    expected = load_file(tiny.folder / "model.safetensors")
    for key, value in load_file(carried.folder / "model.safetensors").items():
        assert value.equal(expected[key].half() if expected[key].dtype == torch.float32 else expected[key]), key
    weight, full = (
        load_classifier(one, seed=0, dropout=0.0, attention_dropout=0.0).encoder.embeddings.word_embeddings.weight
        for one in (carried, tiny)
    )
    assert weight.dtype == torch.float32
    assert weight.equal(full.half().float())


def test_a_value_beyond_fp16_is_refused(tmp_path):
    import torch
    from safetensors.torch import save_file

    save_file({"large": torch.tensor([1e6])}, tmp_path / "model.safetensors")
    with pytest.raises(BadInput, match="too large"):
        to_half(tmp_path / "model.safetensors", tmp_path / "half.safetensors")
