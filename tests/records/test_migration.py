"""Records of older schema versions are read as the present one, and their files stay as they are."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.records.migrate import STEPS, migrate
from bench.records.schema import SCHEMA_VERSION, Baseline, Record
from bench.records.store import Damaged, checksum_flaw, load, read, seal
from bench.report.render import render
from tests.factories import baseline, run

RATES = {"matmul_before": 90.0, "matmul_after": 80.0, "matmul_quiet": 92.0, "contended": True}
"""What `compute` held until schema version 2."""


def write(folder: Path, record: Record | Baseline, **fields: Any) -> Path:
    """A record as schema version 1 wrote it, with other fields."""
    path = folder / f"{record.run_id}.json"
    path.write_text(json.dumps({**record.model_dump(mode="json"), "schema_version": 1, **fields}, indent=1) + "\n")
    return path


def test_there_is_a_step_from_every_old_version_to_the_present() -> None:
    assert sorted(STEPS) == list(range(1, SCHEMA_VERSION))
    for version in STEPS:
        assert migrate({"schema_version": version})["schema_version"] == SCHEMA_VERSION


def test_a_record_of_version_1_is_read_and_left_as_it_is(tmp_path: Path) -> None:
    made = run(rules_version=2)
    paths = [write(tmp_path, made), write(tmp_path, baseline(22404))]
    before = [path.read_bytes() for path in paths]
    assert sorted(load(tmp_path), key=lambda record: record.kind) == [baseline(22404), made]  # type: ignore[union-attr]
    assert read(paths[0]) == made
    assert all(checksum_flaw(path) is None for path in paths)
    assert "houlsby" in render(tmp_path, reference="houlsby", style="table")
    assert [path.read_bytes() for path in paths] == before
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(path.name for path in paths)


@pytest.mark.parametrize(("rules", "kept"), [(1, False), (2, True)])
def test_the_largest_memory_goes_where_it_was_read_too_late(rules: int, kept: bool, tmp_path: Path) -> None:
    made = run(rules_version=rules)
    found = read(write(tmp_path, made))
    assert isinstance(found, Record)
    assert found.memory is not None
    assert made.memory is not None
    assert found.memory.ru_maxrss == (made.memory.ru_maxrss if kept else None)
    assert found.memory == made.memory.model_copy(update={"ru_maxrss": found.memory.ru_maxrss})


def test_a_run_that_ended_before_memory_was_measured(tmp_path: Path) -> None:
    made = run(memory=None)
    assert read(write(tmp_path, made)) == made


@pytest.mark.parametrize("version", [1, 2])
def test_rates_of_the_machine_go(version: int, tmp_path: Path) -> None:
    made = run(rules_version=2)
    old = {**made.model_dump(mode="json"), "schema_version": version, "compute": {"cpu_seconds": 100, **RATES}}
    text = json.dumps(old, indent=1).encode() + b"\n"
    path = tmp_path / f"{made.run_id}.json"
    path.write_bytes(text if version == 1 else seal(text))
    assert list(load(tmp_path)) == [made]
    assert checksum_flaw(path) is None


@pytest.mark.parametrize("version", [0, 6, 99, -1, None, "1", 1.0, True, [1], {}, 10**400])
def test_a_version_that_no_step_knows_is_named(version: Any, tmp_path: Path) -> None:
    path = write(tmp_path, run(), schema_version=version)
    before = path.read_bytes()
    (found,) = load(tmp_path)
    assert isinstance(found, Damaged)
    assert found.reason.startswith("its schema version is ")
    assert found.reason.endswith("; this suite reads versions 1 to 5")
    assert ("made by a newer version" in found.reason) == (type(version) is int and version > SCHEMA_VERSION)
    assert path.read_bytes() == before


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
)


FIELDS = {"schema_version": st.integers(0, 5) | JSON, "rules_version": JSON, "memory": JSON, "compute": JSON}


@given(st.fixed_dictionaries({}, optional=FIELDS))
def test_migrating_never_fails_and_changes_nothing_that_it_is_given(record: dict[str, Any]) -> None:
    before = repr(record)
    made = migrate(record)
    assert repr(record) == before
    assert made.keys() == record.keys()
    version = record.get("schema_version")
    if type(version) is not int or version not in STEPS:
        assert made is record
