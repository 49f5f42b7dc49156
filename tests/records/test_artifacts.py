"""What a run trained is kept whole or not at all, says what it belongs to, and is of use without this suite."""

from __future__ import annotations

from pathlib import Path

import pytest

import methods
from bench.models.pretrained import PretrainedModel
from bench.records.artifacts import CARD, HEAD, Saved, find, find_folder, publish, saved_runs, stage, write
from bench.records.store import save
from bench.system.errors import RecordError
from tests.classifiers import EVERY, attached, keep, record_of
from tests.conftest import make_spec
from tests.factories import baseline, ended, evaluation, run


@pytest.fixture
def houlsby(tiny: PretrainedModel, tmp_path: Path) -> Saved:
    return keep(tmp_path, tiny, attached(tiny, "houlsby"), make_spec("houlsby"))


@pytest.mark.parametrize("name", EVERY)
def test_a_folder_holds_its_card_and_names_no_path(name: str, tiny: PretrainedModel, tmp_path: Path) -> None:
    spec = make_spec(name)
    saved = keep(tmp_path, tiny, attached(tiny, name), spec).verified()
    assert saved.folder == tmp_path / "adapters" / saved.card.run_id
    assert [path.name for path in (tmp_path / "adapters").iterdir()] == [saved.card.run_id], "no hidden folder stays"
    files = {path.name for path in saved.folder.iterdir()}
    assert files == {*saved.card.files, CARD}
    assert HEAD in files
    assert {Path(file).suffix for file in files} <= {".json", ".safetensors"}
    assert saved.card.spec == spec
    assert saved.card.encoder.sha256 == tiny.sha256
    assert saved.card.labels == ("negative", "positive")
    for path in saved.folder.glob("*.json"):
        text = path.read_text()
        assert str(tmp_path.parent) not in text
        assert str(tiny.folder) not in text
        assert str(Path.home()) not in text


def test_a_later_execution_takes_the_place_of_an_earlier(tiny: PretrainedModel, tmp_path: Path) -> None:
    first, second = attached(tiny, "houlsby", seed=1), attached(tiny, "houlsby", seed=2)
    before = keep(tmp_path, tiny, first, make_spec("houlsby"))
    after = keep(tmp_path, tiny, second, make_spec("houlsby"))
    assert before.folder == after.folder
    assert before.card.files[HEAD] != after.card.files[HEAD]
    after.verified()
    assert len(list((tmp_path / "adapters").iterdir())) == 1


def test_nothing_stays_of_what_was_not_published(tiny: PretrainedModel, tmp_path: Path) -> None:
    classifier = attached(tiny, "lora")

    def interrupted() -> None:
        with stage(tmp_path, "a" * 16) as folder:
            write(methods.get("lora"), classifier, folder)
            assert saved_runs(tmp_path) == [], "a folder that is not whole is not found"
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert list((tmp_path / "adapters").iterdir()) == []


def test_a_folder_that_cannot_be_made_is_said(tmp_path: Path) -> None:
    (tmp_path / "adapters").write_text("a file")
    with pytest.raises(RecordError, match=r"nothing can be saved in .*; choose another --out"), stage(tmp_path, "a" * 16):
        pass


def test_a_pickle_is_not_kept(tiny: PretrainedModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    method, classifier = methods.get("full"), attached(tiny, "full")
    (tmp_path / "pytorch_model.bin").write_bytes(b"")
    with pytest.raises(methods.MethodError, match=r"full saves pytorch_model\.bin, which cannot be kept"):
        write(method, classifier, tmp_path)


def test_a_changed_or_missing_file_is_named(houlsby: Saved) -> None:
    weights = houlsby.folder / "adapter.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1] + b"?")
    with pytest.raises(RecordError, match=r"adapter\.safetensors was changed after it was saved; --force --save"):
        houlsby.verified()
    weights.unlink()
    with pytest.raises(RecordError, match=r"adapter\.safetensors is not in its folder"):
        houlsby.verified()


@pytest.mark.parametrize("name", ["pytorch_adapter.bin", "../head.safetensors"])
def test_a_card_that_names_another_kind_of_file_is_refused(name: str, houlsby: Saved) -> None:
    card = houlsby.card.model_copy(update={"files": {name: "0" * 64}})
    with pytest.raises(RecordError, match=r"only \.json and \.safetensors are loaded"):
        Saved(houlsby.folder, card).verified()


@pytest.mark.parametrize("content", ["", "{}", '{"schema_version": 2}', "\udcff"])
def test_a_card_that_cannot_be_read_is_said_and_left_out(content: str, houlsby: Saved, tmp_path: Path) -> None:
    (houlsby.folder / CARD).write_bytes(content.encode("utf-8", "surrogateescape"))
    with pytest.raises(RecordError, match=r"card\.json in .* cannot be read"):
        find(str(houlsby.folder), tmp_path)
    assert saved_runs(tmp_path) == []


def test_a_run_is_found_by_id_record_and_folder(houlsby: Saved, tiny: PretrainedModel, tmp_path: Path) -> None:
    identity = houlsby.card.run_id
    assert find(identity[:4], tmp_path) == houlsby
    record = record_of(tiny, make_spec("houlsby"))
    path = save(tmp_path, record)
    assert path.name == houlsby.card.record
    assert find_folder(tmp_path, record) == houlsby.folder
    for way in (identity, identity[:4], str(path), str(houlsby.folder)):
        assert find(way, tmp_path) == houlsby
    moved = tmp_path / "moved"
    houlsby.folder.rename(moved)
    assert find(str(moved), tmp_path).card == houlsby.card


def test_what_cannot_be_found_is_said(houlsby: Saved, tiny: PretrainedModel, tmp_path: Path) -> None:
    record = record_of(tiny, make_spec("houlsby"))
    later = record.model_copy(update={"test": evaluation(41)})
    assert find_folder(tmp_path, later) is None
    not_saved = run("lora")
    cases = {
        "ab": "neither a run id",
        "nothing/here": "neither a run id",
        "\0": "neither a run id",
        "x" * 5000: "neither a run id",
        "ffffffff": "has an id that begins with ffffffff",
        str(tmp_path): r"is no saved folder: it has no card\.json",
        str(save(tmp_path, baseline(100))): "the record of a baseline",
        str(save(tmp_path, not_saved)): "was finished without --save; --force --save runs it again",
        not_saved.run_id: "was finished without --save",
        str(save(tmp_path, ended("full", "diverged"))): "is diverged, which has no saved weights",
        str(save(tmp_path, run("full", spec={"purpose": "trial"}, test=None))): "is a tuning trial",
        str(save(tmp_path, later)): "was finished without --save",
        later.run_id: "was finished without --save",
        __file__: "is not a record",
    }
    for asked, says in cases.items():
        with pytest.raises(RecordError, match=says) as caught:
            find(asked, tmp_path)
        assert "\n" not in str(caught.value)


def test_digits_that_begin_several_ids_are_refused(houlsby: Saved, tmp_path: Path) -> None:
    beside = houlsby.card.run_id[:8] + "0" * 8
    card = houlsby.card.model_copy(update={"run_id": beside})
    (tmp_path / "adapters" / beside).mkdir()
    (tmp_path / "adapters" / beside / CARD).write_text(card.model_dump_json())
    with pytest.raises(RecordError, match=f"could be .*{beside}.*; give more digits"):
        find(houlsby.card.run_id[:6], tmp_path)
    assert find(houlsby.card.run_id, tmp_path) == houlsby


def test_a_disk_that_is_full_is_said(tiny: PretrainedModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*arguments: object) -> None:
        raise OSError(28, "No space left on device")

    record = record_of(tiny, make_spec("houlsby"))
    monkeypatch.setattr("os.fsync", full)
    with (
        stage(tmp_path, "b" * 16) as folder,
        pytest.raises(RecordError, match=r"the weights of houlsby cannot be saved \(No space left"),
    ):
        publish(folder, tmp_path, record)
    assert list((tmp_path / "adapters").iterdir()) == []
