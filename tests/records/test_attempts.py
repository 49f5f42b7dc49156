"""What --force replaces is kept, whatever ends the process in between, and is told and audited."""

from __future__ import annotations

from pathlib import Path

import pytest

from bench.records import attempts as module
from bench.records.attempts import ATTEMPTS, attempts, save_anew
from bench.records.audit import audit
from bench.records.store import checksum_of, load, load_logits, path_of
from bench.report.render import render
from tests.factories import guesses, kept, logits_for, run, whole


def replaced_by_force(folder: Path, times: int = 1) -> list[Path]:
    """A run that was made again `times` times; where each attempt is, the last first."""
    path = kept(folder, whole(20))
    for again in range(1, times + 1):
        made = whole(20 + again).model_copy(update={"replaced": checksum_of(path)})
        save_anew(folder, made, logits_for(guesses(20 + again)))
    return [path, *sorted((folder / ATTEMPTS).glob("*.json"))]


def test_the_earlier_record_is_kept_with_its_logits(tmp_path: Path) -> None:
    first = whole(20)
    checksum = checksum_of(kept(tmp_path, first))
    paths = replaced_by_force(tmp_path)
    assert list(attempts(tmp_path)) == [first]
    assert paths[1].name == f"{path_of(tmp_path, first).stem}-{checksum[:16]}.json"
    assert first.test is not None
    assert first.test.logits_sha256 is not None
    load_logits(tmp_path, first.test.logits_sha256)
    (now,) = load(tmp_path)
    assert now == whole(21).model_copy(update={"replaced": checksum})


def test_every_attempt_is_kept_and_audited(tmp_path: Path) -> None:
    paths = replaced_by_force(tmp_path, times=3)
    assert len(paths) == 4
    outcomes = audit([tmp_path])
    assert [outcome.path for outcome in outcomes] == paths
    assert [outcome.failed for outcome in outcomes] == [None] * 4
    shown = " ".join(render(tmp_path, reference="houlsby", style="table").split())
    assert "replaced by --force and kept in attempts/: 3." in shown


def test_an_attempt_under_another_name_or_taken_away_is_found(tmp_path: Path) -> None:
    paths = replaced_by_force(tmp_path)
    other = paths[1].rename(paths[1].with_name(paths[1].name.replace("houlsby", "lora")))
    assert [outcome.failed and outcome.failed[0] for outcome in audit([tmp_path])] == [None, "file name"]
    other.unlink()
    assert [outcome.failed and outcome.failed[0] for outcome in audit([tmp_path])] == ["earlier attempt"]


def test_a_process_that_is_killed_in_between_loses_neither(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = whole(20)
    path = kept(tmp_path, first)

    def killed(*arguments: object) -> None:
        raise SystemExit

    monkeypatch.setattr(module, "save", killed)
    with pytest.raises(SystemExit):
        save_anew(tmp_path, whole(21))
    monkeypatch.undo()
    assert list(load(tmp_path)) == [first] == list(attempts(tmp_path))
    assert "earlier attempt" not in render(tmp_path, reference="houlsby", style="table")
    made = whole(21).model_copy(update={"replaced": checksum_of(path)})
    save_anew(tmp_path, made, logits_for(guesses(21)))
    assert list(load(tmp_path)) == [made]
    assert list(attempts(tmp_path)) == [first]
    assert [outcome.failed for outcome in audit([tmp_path])] == [None, None]


def test_the_same_run_under_another_name_of_its_encoder(tmp_path: Path) -> None:
    first = run()
    old = kept(tmp_path, first)
    again = run(wrong=30, spec={"encoder": "my-copy"})
    assert again.run_id == first.run_id
    path = save_anew(tmp_path, again)
    assert [found.name for found in tmp_path.glob("*.json")] == [path.name]
    assert path.name != old.name
    assert list(attempts(tmp_path)) == [first]
