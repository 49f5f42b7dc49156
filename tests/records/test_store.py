"""Records come back as they went, whole or named as damaged, and say nothing of the machine's owner."""

from __future__ import annotations

import getpass
import hashlib
import json
import os
import socket
from pathlib import Path

import numpy as np
import pytest

from bench.models.pretrained import PretrainedModel
from bench.records.schema import Baseline, Record, State, unpack_bits
from bench.records.store import (
    LARGEST,
    Damaged,
    checksum_flaw,
    finished,
    load,
    load_logits,
    logits_sha256,
    path_of,
    prepare_folder,
    read,
    save,
    schema,
)
from bench.system.errors import RecordError
from bench.system.files import atomic_write
from bench.system.text import without_paths
from bench.training.job import job_of, record_of
from tests.conftest import make_spec
from tests.factories import DATA, baseline, ended, evaluation, run


@pytest.mark.parametrize(("packed", "count"), [("gA==", 9), ("gA==", 0), ("!", 1)])
def test_bits_that_do_not_fit_are_refused(packed: str, count: int) -> None:
    with pytest.raises(ValueError, match=r"bits|base64"):
        unpack_bits(packed, count)


def test_a_record_comes_back(tmp_path: Path) -> None:
    record, logits = ended("houlsby", "complete"), np.random.default_rng(0).normal(size=(5, 2)).astype(np.float32)
    path = save(tmp_path, record, logits)
    assert path == path_of(tmp_path, record)
    assert list(load(tmp_path)) == [record]
    assert finished(tmp_path, record.run_id) == record
    assert np.array_equal(load_logits(tmp_path, logits_sha256(logits)), logits)


@pytest.mark.parametrize(
    ("state", "final"),
    [("complete", True), ("out-of-memory", True), ("diverged", True), ("cancelled", False), ("failed", False)],
)
def test_only_final_states_are_not_run_again(tmp_path: Path, state: State, final: bool) -> None:
    record = ended("houlsby", state)
    save(tmp_path, record)
    assert (finished(tmp_path, record.run_id) is not None) == final


@pytest.mark.parametrize(
    ("was", "now", "says"),
    [
        ('"python": "3.12.0"', '"python": "3.12.1"', "it was changed after it was written: its checksum does not hold"),
        (' "checksum": "', ' "checksum": "0', "checksum"),
        ('{\n "checksum"', '{\n  "checksum"', "it does not begin with its checksum"),
        ('"seed": 0', '"seed": 1', "changed after it was written"),
        ('"kind": "run"', '"kind": "rum"', "kind"),
        ('"schema_version": 5', '"schema_version": 5, "more": {}', "more: extra inputs are not permitted"),
        ('"steps": 100,', '"steps": NaN,', "training.steps"),
    ],
)
def test_an_edit_is_seen_by_the_checksum_or_sooner(was: str, now: str, says: str, tmp_path: Path) -> None:
    path = save(tmp_path, run())
    changed = path.read_text().replace(was, now)
    assert path.read_text().count(was) == 1
    path.write_text(changed)
    (found,) = load(tmp_path)
    assert isinstance(found, Damaged)
    assert says in found.reason
    assert path.read_text() == changed


@pytest.mark.parametrize(
    ("record", "says"),
    [
        (run().model_copy(update={"spec": run(seed=1).spec}), "but its spec and contents give"),
        (baseline(1600).model_copy(update={"spec": baseline(1601).spec}), "but its spec and contents give"),
        (run(test=evaluation(20).model_copy(update={"accuracy": 0.95})), "test.accuracy is 0.95, but its counts give 0.9"),
        (run(test=evaluation(20).model_copy(update={"tp": 91})), "add up to 201, but it says 200 reviews"),
        (run(out_of_domain=evaluation(20).model_copy(update={"f1": 0.0})), "out_of_domain.f1 is 0, but its counts give 0.9"),
        (run(test=evaluation(0).model_copy(update=dict.fromkeys(("reviews", "tp", "tn"), 0))), "it says 0 reviews"),
        (baseline(1600, test=evaluation(20).model_copy(update={"recall": 1.0})), "test.recall is 1, but its counts give 0.9"),
        (run(bytes_to_ship=-1), "bytes_to_ship is a number that cannot be"),
        (run(bytes_to_ship=10**400), "bytes_to_ship"),
        (run(spec={"hyperparameters": {"learning_rate": float("1e300")}}), "spec.hyperparameters.learning_rate"),
        (run(spec={"budget": run().spec.budget.model_copy(update={"amount": 1e300})}), "spec.budget.amount"),
    ],
    ids=lambda value: value[:40] if isinstance(value, str) else "",
)  # fmt: skip
def test_figures_that_cannot_be_are_seen_without_a_checksum(record: Record | Baseline, says: str, tmp_path: Path) -> None:
    path = save(tmp_path, record)
    lines = path.read_text().splitlines(keepends=True)
    path.write_text("".join([lines[0], *lines[2:]]).replace('"schema_version": 5', '"schema_version": 1'))
    (found,) = load(tmp_path)
    assert isinstance(found, Damaged)
    assert says in found.reason
    assert len(found.reason) < 200


def test_the_checksum_is_of_the_other_lines(tmp_path: Path) -> None:
    path = save(tmp_path, run())
    lines = path.read_bytes().splitlines(keepends=True)
    named = json.loads(path.read_text())["checksum"]
    assert hashlib.sha256(b"".join([lines[0], *lines[2:]])).hexdigest() == named
    assert lines[1] == f' "checksum": "{named}",\n'.encode()
    assert checksum_flaw(path) is None
    assert json.loads(schema())["$defs"]["Record"]["properties"]["checksum"]["description"].startswith("SHA-256 of the file")


def test_what_is_damaged_or_no_file_is_named_left_and_not_waited_for(tmp_path: Path) -> None:
    good = save(tmp_path, ended("houlsby", "failed")).read_bytes()
    data = json.loads(good)
    contents = {
        "cut.json": good[: len(good) // 2], "newer.json": json.dumps(data | {"schema_version": 99}).encode(), "empty.json": b"",
        "foreign.json": b'{"some": "thing"}', "binary.json": b"\xff\x00",
        "more.json": json.dumps(data | {"surprise": 1}).encode(),
    }  # fmt: skip
    for name, content in contents.items():
        (tmp_path / name).write_bytes(content)
    os.mkfifo(tmp_path / "pipe.json")
    (tmp_path / "folder.json").mkdir()
    (tmp_path / "loop.json").symlink_to("loop.json")
    (tmp_path / "nowhere.json").symlink_to("nothing")
    with (tmp_path / "large.json").open("wb") as file:
        file.truncate(LARGEST + 1)
    found = list(load(tmp_path))
    damaged = {item.path.name: item.reason for item in found if isinstance(item, Damaged)}
    assert sum(isinstance(item, Record) for item in found) == 1
    assert "schema version is '99'" in damaged.pop("newer.json")
    assert "surprise" in damaged.pop("more.json")
    assert damaged.pop("foreign.json")
    assert damaged.pop("binary.json")
    assert damaged == {
        "cut.json": "it is not whole JSON", "pipe.json": "it is not a file", "folder.json": "it is not a file",
        "empty.json": "it is empty", "loop.json": "it cannot be read (Too many levels of symbolic links)",
        "nowhere.json": "it cannot be read (No such file or directory)",
        "large.json": "it is larger than any record (64 MiB)",
    }  # fmt: skip
    assert {name: (tmp_path / name).read_bytes() for name in contents} == contents


def test_a_run_does_not_write_over_what_is_damaged(tmp_path: Path) -> None:
    path, other = save(tmp_path, run()), save(tmp_path, run(seed=1))
    path.write_bytes(path.read_bytes()[:-3])
    with pytest.raises(RecordError, match=r"not a whole record \(it is not whole JSON\); move it away, or .* --force"):
        finished(tmp_path, run().run_id)
    assert finished(tmp_path, run(seed=1).run_id) == read(other) == run(seed=1)


def test_changed_logits_are_refused(tmp_path: Path) -> None:
    logits = np.ones((3, 2), dtype=np.float32)
    save(tmp_path, ended("houlsby", "failed"), logits)
    name = logits_sha256(logits)
    file = tmp_path / "logits" / f"{name}.npy"
    file.write_bytes(file.read_bytes()[:-1] + b"\x01")
    with pytest.raises(RecordError, match="changed after"):
        load_logits(tmp_path, name)


def test_a_write_that_fails_leaves_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "record.json"
    path.write_bytes(b"old")
    with pytest.raises(TypeError), atomic_write(path) as file:
        file.writelines([b"half of the new", None])  # type: ignore[list-item]
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


def test_a_folder_that_cannot_be_written_is_said_before_anything_runs() -> None:
    with pytest.raises(RecordError, match="choose another --out"):
        prepare_folder(Path("/proc/results"))


def test_a_link_that_leads_nowhere_is_no_folder_for_results(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to("nowhere")
    with pytest.raises(RecordError, match="choose another --out"):
        prepare_folder(tmp_path / "link" / "runs")


def test_a_record_names_no_person_host_or_path(tiny: PretrainedModel) -> None:
    job = job_of(make_spec(), tiny, "data", DATA, "a processor")
    text = record_of(job, "failed", "a reason").model_dump_json()
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
