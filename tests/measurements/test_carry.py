"""Bringing files to a machine in loads of limited size."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from tests.measurements.gpu.carry import MIB, MISSING, BadInput, main, pack, receive


@pytest.fixture
def folder(tmp_path):
    folder = tmp_path / "from" / "mpnet"
    (folder / "1_Pooling").mkdir(parents=True)
    (folder / "model.safetensors").write_bytes(os.urandom(3 * MIB + 17))
    (folder / "1_Pooling" / "config.json").write_text("{}")
    (folder / "empty").touch()
    (folder / "link").symlink_to(folder / "1_Pooling" / "config.json")  # as a cache of the hub has them
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
        restored = store / "encoders" / "mpnet" / file.relative_to(folder)
        assert not restored.is_symlink()
        assert not file.is_file() or restored.read_bytes() == file.read_bytes()
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
        (["receive", "{}", "{}/store"], "is no load"),
    ],
)
def test_wrong_input_is_told_in_one_line(tmp_path, capsys, arguments, says):
    (tmp_path / "file").write_text("content")
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
