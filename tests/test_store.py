"""Records come back as they went, whole or named as damaged, and say nothing of the machine's owner."""

from __future__ import annotations

import getpass
import json
import socket
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.checkpoint import Checkpoint
from bench.errors import UserError
from bench.files import atomic_write
from bench.jobs import Job, record_of
from bench.provenance import without_paths
from bench.record import DataCut, Record, State, pack_bits, unpack_bits
from bench.store import Damaged, finished, load, load_logits, logits_sha256, path_of, prepare_folder, save, schema
from tests.conftest import make_spec

DATA = DataCut(sha256="d", cut="small-v1", train=400, validation=50, test=100, duplicates_removed=0, leaked=0)


def bare_record(tiny: Checkpoint, state: State = "failed", run_id: str = "0123456789abcdef") -> Record:
    return record_of(Job(run_id, make_spec(), tiny, "data", DATA, "a processor"), state, "a reason")


@given(st.lists(st.integers(0, 1), min_size=1, max_size=100))
def test_bits_round_trip(bits: list[int]) -> None:
    assert unpack_bits(pack_bits(bits), len(bits)).tolist() == bits


@pytest.mark.parametrize(("packed", "count"), [("gA==", 9), ("gA==", 0), ("!", 1)])
def test_bits_that_do_not_fit_are_refused(packed: str, count: int) -> None:
    with pytest.raises(ValueError, match=r"bits|base64"):
        unpack_bits(packed, count)


def test_a_record_comes_back(tiny: Checkpoint, tmp_path: Path) -> None:
    record, logits = bare_record(tiny, "complete"), np.random.default_rng(0).normal(size=(5, 2)).astype(np.float32)
    path = save(tmp_path, record, logits)
    assert path == path_of(tmp_path, record)
    assert list(load(tmp_path)) == [record]
    assert finished(tmp_path, record.run_id) == record
    assert np.array_equal(load_logits(tmp_path, logits_sha256(logits)), logits)


@pytest.mark.parametrize(
    ("state", "final"),
    [("complete", True), ("out-of-memory", True), ("diverged", True), ("cancelled", False), ("failed", False)],
)
def test_only_final_states_are_not_run_again(tiny: Checkpoint, tmp_path: Path, state: State, final: bool) -> None:
    record = bare_record(tiny, state)
    save(tmp_path, record)
    assert (finished(tmp_path, record.run_id) is not None) == final


def test_damaged_files_are_named_and_left(tiny: Checkpoint, tmp_path: Path) -> None:
    good = save(tmp_path, bare_record(tiny)).read_bytes()
    data = json.loads(good)
    for name, content in {
        "cut.json": good[: len(good) // 2],
        "newer.json": json.dumps(data | {"schema_version": 99}).encode(),
        "foreign.json": b'{"some": "thing"}',
        "more.json": json.dumps(data | {"surprise": 1}).encode(),
        "binary.json": b"\xff\x00",
    }.items():
        (tmp_path / name).write_bytes(content)
    found = list(load(tmp_path))
    damaged = {item.path.name: item.reason for item in found if isinstance(item, Damaged)}
    assert sum(isinstance(item, Record) for item in found) == 1
    assert damaged["cut.json"] == "it is not whole JSON"
    assert "schema version is '99'" in damaged["newer.json"]
    assert "surprise" in damaged["more.json"]
    assert set(damaged) == {"cut.json", "newer.json", "foreign.json", "more.json", "binary.json"}
    assert (tmp_path / "binary.json").read_bytes() == b"\xff\x00"


def test_changed_logits_are_refused(tmp_path: Path, tiny: Checkpoint) -> None:
    logits = np.ones((3, 2), dtype=np.float32)
    save(tmp_path, bare_record(tiny), logits)
    name = logits_sha256(logits)
    file = tmp_path / "logits" / f"{name}.npy"
    file.write_bytes(file.read_bytes()[:-1] + b"\x01")
    with pytest.raises(UserError, match="changed after"):
        load_logits(tmp_path, name)


def test_a_write_that_fails_leaves_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "record.json"
    path.write_bytes(b"old")
    with pytest.raises(TypeError), atomic_write(path) as file:
        file.writelines([b"half of the new", None])  # type: ignore[list-item]
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


def test_a_folder_that_cannot_be_written_is_said_before_anything_runs() -> None:
    with pytest.raises(UserError, match="choose another --out"):
        prepare_folder(Path("/proc/results"))


def test_a_record_names_no_person_host_or_path(tiny: Checkpoint) -> None:
    text = bare_record(tiny).model_dump_json()
    assert str(tiny.folder) not in text
    assert str(Path.cwd()) not in text
    assert socket.gethostname() not in text
    if len(user := getpass.getuser()) > 4:
        assert user not in text


def test_messages_lose_their_paths() -> None:
    line = without_paths("OSError: [Errno 2] No such file: '/home/jane/data/train.csv'\nmore")
    assert line == "OSError: [Errno 2] No such file: 'train.csv'"


def test_every_field_of_the_schema_is_documented() -> None:
    definitions = json.loads(schema())["$defs"]
    plain = {"schema_version", "kind", "tp", "fp", "fn", "tn", "accuracy", "precision", "recall", "f1"}
    for name in ("Record", "Training", "Evaluation", "Memory", "Compute", "Seconds", "RunSpec", "DataCut"):
        fields = definitions[name]["properties"]
        bare = {field for field, about in fields.items() if "description" not in about and "$ref" not in str(about)}
        assert bare <= plain, name
