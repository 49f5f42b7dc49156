"""The hub's path, without a network: caches laid out as the hub's client lays them out, and what is said when there is none."""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pandas as pd
import pytest
from huggingface_hub.utils import reset_sessions

from bench.cli.doctor import diagnose
from bench.data.sources import read
from bench.models.pretrained import find
from bench.records.store import load
from tests.conftest import call, write_encoder
from tests.data.shards import shards
from tests.encoder_folders import as_it_was_saved_once, only_words
from tests.models.hub_server import COMMIT, NAME, Hub


def lay_out(cache: Path, kind: str, name: str, files: Path) -> Path:
    """Move a folder into a cache as one snapshot: contents under blobs, links to them under their names."""
    repository = cache / f"{kind}s--{name.replace('/', '--')}"
    snapshot = repository / "snapshots" / COMMIT
    (repository / "blobs").mkdir(parents=True)
    (repository / "refs").mkdir()
    (repository / "refs" / "main").write_text(COMMIT)
    for number, file in enumerate(sorted(path for path in files.rglob("*") if path.is_file())):
        blob = repository / "blobs" / f"{number:040x}"
        link = snapshot / file.relative_to(files)
        file.rename(blob)
        link.parent.mkdir(parents=True, exist_ok=True)
        link.symlink_to(os.path.relpath(blob, link.parent))
    return snapshot


def command(*arguments: str, home: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    # Read when huggingface_hub is imported, so a process of its own.
    given = {"HF_HOME": str(home), "HF_HUB_CACHE": str(home / "hub"), "HF_DATASETS_CACHE": str(home / "datasets")}
    return subprocess.run(
        [sys.executable, *arguments], env=os.environ | given | environment, capture_output=True, text=True, timeout=580
    )


@pytest.fixture
def home(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[Path], None]]:
    """From now on the hub's client in this process has this home, and no network."""

    def moved(home: Path) -> None:
        monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(home / "hub"))
        monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
        reset_sessions()

    yield moved
    monkeypatch.undo()
    reset_sessions()


IMPORTS = """import json
from bench.data.sources import read
from bench.models.pretrained import find
from bench.records.schema import Record
from bench.records.store import load
from bench.system.errors import BenchError
"""

FIND = f"c = find({NAME!r}); print(json.dumps([c.name, c.revision, c.pooling, c.sha256]))"
Home = Callable[[Path], None]


@pytest.fixture(scope="module")
def roberta_home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    home = tmp_path_factory.mktemp("hf")
    files = write_encoder(tmp_path_factory.mktemp("saved") / "roberta", "Roberta", type_vocab_size=1)
    lay_out(home / "hub", "model", NAME, files)
    return home


@pytest.fixture(scope="module")
def imdb_home(small_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    home = tmp_path_factory.mktemp("hf")
    files = tmp_path_factory.mktemp("saved") / "plain_text"
    files.mkdir()
    train = pd.read_csv(small_folder / "train.csv")
    # In two shards, as larger splits come.
    train[:100].to_parquet(files / "train-00000-of-00002.parquet", index=False)
    train[100:].to_parquet(files / "train-00001-of-00002.parquet", index=False)
    pd.read_parquet(small_folder / "test.parquet").to_parquet(files / "test-00000-of-00001.parquet", index=False)
    lay_out(home / "hub", "dataset", "stanfordnlp/imdb", files.parent)
    return home


def test_a_cached_encoder_is_pinned_to_its_commit(roberta_home: Path, home: Home) -> None:
    home(roberta_home)
    found = find(NAME)
    assert (found.name, found.revision, found.pooling, len(found.sha256)) == (NAME, COMMIT, "own head", 64)
    assert f"{NAME}: 1,010,336 parameters (hub's cache)" in diagnose()[0]


def test_cached_reviews_are_pinned_and_hash_like_the_same_reviews_in_a_folder(
    imdb_home: Path, small_folder: Path, home: Home
) -> None:
    home(imdb_home)
    found = read("imdb")
    assert (found.name, found.revision, len(found.test)) == ("imdb", COMMIT, 200)
    assert found.sha256 == read(str(small_folder)).sha256
    assert f"imdb: in the hub's cache, commit {COMMIT[:12]}" in diagnose()[0]


NEWS = "fancyzhx/ag_news"


@pytest.fixture(scope="module")
def news_home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Four classes in two shards, with their names, as the hub keeps ag_news."""
    home, files = tmp_path_factory.mktemp("hf"), tmp_path_factory.mktemp("saved")
    rows = [(f"text {i}", i % 3) for i in range(30)]
    shards(files / "data", "train", rows, 2)
    shards(files / "data", "test", rows)
    (files / "README.md").write_text("not to be read")
    lay_out(home / "hub", "dataset", NEWS, files)
    return home


def test_any_cached_data_set_is_read_by_its_id_and_pinned(news_home: Path, home: Home) -> None:
    home(news_home)
    found = read(NEWS)
    assert (found.name, found.revision, len(found.test)) == (NEWS, COMMIT, 30)
    assert found.labels == ["World", "Sports", "Tech"]
    folder = next((news_home / "hub").glob("datasets--*/snapshots/*"))
    assert found.sha256 == read(str(folder)).sha256


@pytest.mark.parametrize(
    ("id_", "says"), [("no/such", "data set 'no/such' is not whole in the hub's cache"), (f"{NEWS}/de", "has no folder 'de'")]
)
def test_an_id_that_is_no_data_set_is_one_line(
    id_: str, says: str, news_home: Path, home: Home, capfd: pytest.CaptureFixture[str]
) -> None:
    home(news_home)
    assert call(["run", "--method", "lora", "--data", id_]) == 2
    line = capfd.readouterr().err
    assert line.count("\n") == 1
    assert says in line


@pytest.fixture
def silent() -> Iterator[str]:
    """A server that takes a connection and never says a word, as a firewall makes the hub look."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield f"http://127.0.0.1:{server.getsockname()[1]}"


@pytest.mark.parametrize("network", ["refused", pytest.param("silent", marks=pytest.mark.slow)])
def test_what_is_not_cached_is_said_quickly_where_there_is_no_network(network: str, silent: str, tmp_path: Path) -> None:
    settings = {"HF_ENDPOINT": silent if network == "silent" else "http://127.0.0.1:9", "HF_HUB_OFFLINE": "0"}
    both = "".join(f"try: {code}\nexcept BenchError as error: print(error)\n" for code in (FIND, "read('imdb')"))
    began = time.monotonic()
    done = command("-c", IMPORTS + both, home=tmp_path, **settings)
    # Not a measurement: left to itself the hub's client would wait for minutes.
    assert network != "silent" or time.monotonic() - began < 120
    lines = done.stdout.splitlines()
    assert len(lines) == 2, done.stderr
    for name, line in zip((NAME, "stanfordnlp/imdb"), lines, strict=True):
        assert "not whole in the hub's cache and the hub cannot be reached" in line
        assert "hf download" in line
        assert name in line
    assert "Traceback" not in done.stderr


def test_a_cache_without_weights_is_not_taken_for_whole(tmp_path: Path, home: Home, capfd: pytest.CaptureFixture[str]) -> None:
    copy = tmp_path / "hub" / f"models--{NAME.replace('/', '--')}"
    snapshot = copy / "snapshots" / COMMIT
    snapshot.mkdir(parents=True)
    (copy / "refs").mkdir()
    (copy / "refs" / "main").write_text(COMMIT)
    (snapshot / "config.json").write_text("{}")
    home(tmp_path)
    assert call(["methods", "--encoder", NAME]) == 2
    line = capfd.readouterr().err
    assert line.startswith(f"error: encoder '{NAME}' is not whole in the hub's cache")
    assert line.count("\n") == 1


@pytest.fixture
def hub(tmp_path: Path) -> Iterator[Hub]:
    with Hub(write_encoder(tmp_path / "files", "Roberta", type_vocab_size=1)) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server
        server.shutdown()


def test_a_download_asks_for_the_branch_once_and_is_found_offline_afterwards(hub: Hub, tmp_path: Path, home: Home) -> None:
    (tmp_path / "files" / "pytorch_model.bin").write_bytes(b"never to be fetched")
    endpoint = f"http://127.0.0.1:{hub.server_port}"
    done = command("-c", IMPORTS + FIND, home=tmp_path, HF_ENDPOINT=endpoint, HF_HUB_OFFLINE="0")
    assert done.returncode == 0, done.stderr
    unpinned = [path for path in hub.asked if COMMIT not in path]
    assert unpinned == [f"/api/models/{NAME}"]
    assert not any("pytorch_model.bin" in path for path in hub.asked)
    home(tmp_path)
    found = find(NAME)
    assert json.loads(done.stdout) == [NAME, COMMIT, "own head", found.sha256]
    assert (found.name, found.revision, found.pooling) == (NAME, COMMIT, "own head")


CALL = """from bench.cli.app import main
def call(*words):
    try: main(list(words))
    except SystemExit as end: print("CODE", end.code)
"""


def test_an_encoder_of_a_pickle_and_words_is_converted_from_the_hub_and_a_name_that_it_does_not_know_is_said(
    hub: Hub, tmp_path: Path
) -> None:
    files = tmp_path / "files"
    shutil.rmtree(files)
    write_encoder(files)
    only_words(files)
    as_it_was_saved_once(files)
    asked = [f"call('methods', '--encoder', {name!r})" for name in (NAME, "no/such")]
    asked.append(f"call('convert', {NAME!r}, {str(tmp_path / 'made')!r})")
    online = {"HF_ENDPOINT": f"http://127.0.0.1:{hub.server_port}", "HF_HUB_OFFLINE": "0"}
    done = command("-c", CALL + "\n".join(asked), home=tmp_path, **online)
    refused, unknown = done.stderr.splitlines()[:2]
    assert f"has no tokenizer.json; make a folder that has it with: python -m bench convert {NAME} FOLDER" in refused
    assert unknown == "error: the hub has no public encoder 'no/such'; check the name, or use --encoder minilm"
    ends = [line for line in done.stdout.splitlines() if line.startswith("CODE")]
    assert ends == ["CODE 2", "CODE 2", "CODE 0"], done.stderr
    first_pickle = next(i for i, path in enumerate(hub.asked) if "pytorch_model.bin" in path)
    assert any("no/such" in path for path in hub.asked[:first_pickle]), "only the conversion fetches it"
    assert "tokenizer.json: from vocab.txt" in done.stdout
    assert find(str(tmp_path / "made")).shape.parameters == 1_010_304


@pytest.mark.usefixtures("short_runs")
def test_a_method_runs_on_an_encoder_and_reviews_from_the_hub(
    roberta_home: Path, imdb_home: Path, tmp_path: Path, home: Home
) -> None:
    (tmp_path / "hub").mkdir()
    for each in (roberta_home, imdb_home):
        for repository in (each / "hub").glob("*--*"):
            (tmp_path / "hub" / repository.name).symlink_to(repository)
    home(tmp_path)
    assert call([
        "run", "--method", "houlsby", "--encoder", NAME, "--data", "imdb", "--budget", "3 steps", "--batch-size", "2",
        "--max-length", "16", "--test-limit", "20", "--device", "cpu", "--out", str(tmp_path / "out"),
    ]) == 0  # fmt: skip
    (record,) = load(tmp_path / "out")
    assert (record.state, record.training.steps) == ("complete", 3)
    assert (record.encoder.revision, record.encoder.model_type) == (COMMIT, "roberta")
