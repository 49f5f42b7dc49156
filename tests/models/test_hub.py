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
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

import methods
from bench.data.sources import read
from bench.models.pretrained import find
from tests.conftest import write_encoder
from tests.data.shards import shards
from tests.models.test_convert import as_it_was_saved_once, only_words

COMMIT = "e2da8e2f811d1448a5b465c236feacd80ffbac7b"
NAME = "FacebookAI/roberta-base"


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


def evaluated(expression: str, home: Path, **environment: str) -> Any:
    done = command("-c", IMPORTS + expression, home=home, **environment)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


IMPORTS = """import json
from bench.data.sources import read
from bench.models.pretrained import find
from bench.system.errors import BenchError
"""
FIND = f"c = find({NAME!r}); print(json.dumps([c.name, c.revision, c.pooling, c.sha256]))"
READ = "s = read('imdb'); print(json.dumps([s.name, s.revision, s.sha256, len(s.test)]))"


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


@pytest.mark.parametrize("offline", ["0", "1"])
def test_a_cached_encoder_is_pinned_to_its_commit(roberta_home: Path, offline: str) -> None:
    name, revision, pooling, sha256 = evaluated(FIND, roberta_home, HF_HUB_OFFLINE=offline)
    assert (name, revision, pooling, len(sha256)) == (NAME, COMMIT, "own head", 64)


def test_cached_reviews_are_pinned_and_hash_like_the_same_reviews_in_a_folder(imdb_home: Path, small_folder: Path) -> None:
    name, revision, sha256, tests = evaluated(READ, imdb_home, HF_HUB_OFFLINE="1")
    assert (name, revision, tests) == ("imdb", COMMIT, 200)
    assert sha256 == read(str(small_folder)).sha256


NEWS = "fancyzhx/ag_news"
READ_NEWS = f"s = read({NEWS!r}); print(json.dumps([s.name, s.revision, s.labels, s.sha256, len(s.test)]))"


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


def test_any_cached_data_set_is_read_by_its_id_and_pinned(news_home: Path) -> None:
    name, revision, labels, sha256, tests = evaluated(READ_NEWS, news_home, HF_HUB_OFFLINE="1")
    assert (name, revision, labels, tests) == (NEWS, COMMIT, ["World", "Sports", "Tech"], 30)
    folder = next((news_home / "hub").glob("datasets--*/snapshots/*"))
    assert sha256 == read(str(folder)).sha256


@pytest.mark.parametrize(
    ("id_", "says"), [("no/such", "data set 'no/such' is not whole in the hub's cache"), (f"{NEWS}/de", "has no folder 'de'")]
)
def test_an_id_that_is_no_data_set_is_one_line(id_: str, says: str, news_home: Path) -> None:
    done = command("-m", "bench", "run", "--method", "lora", "--data", id_, home=news_home, HF_HUB_OFFLINE="1")
    assert (done.returncode, done.stderr.count("\n")) == (2, 1), done.stderr
    assert says in done.stderr


@pytest.fixture
def silent() -> Iterator[str]:
    """A server that takes a connection and never says a word, as a firewall makes the hub look."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield f"http://127.0.0.1:{server.getsockname()[1]}"


@pytest.mark.parametrize("what", ["encoder", "data"])
@pytest.mark.parametrize("network", ["offline", "refused", pytest.param("silent", marks=pytest.mark.slow)])
def test_what_is_not_cached_is_said_quickly_where_there_is_no_network(
    what: str, network: str, silent: str, tmp_path: Path
) -> None:
    endpoint = {"offline": silent, "refused": "http://127.0.0.1:9", "silent": silent}[network]
    settings = {"HF_ENDPOINT": endpoint, "HF_HUB_OFFLINE": str(int(network == "offline"))}
    name, code = (NAME, FIND) if what == "encoder" else ("stanfordnlp/imdb", READ)
    began = time.monotonic()
    done = command("-c", f"{IMPORTS}try: {code}\nexcept BenchError as error: print(error)", home=tmp_path, **settings)
    # Not a measurement: left to itself the hub's client would wait for minutes.
    assert time.monotonic() - began < 60
    lines = done.stdout.splitlines()
    assert len(lines) == 1, done.stderr
    assert "not whole in the hub's cache and the hub cannot be reached" in lines[0]
    assert "hf download" in lines[0]
    assert name in lines[0]
    assert "Traceback" not in done.stderr


def test_a_cache_without_weights_is_not_taken_for_whole(roberta_home: Path, tmp_path: Path) -> None:
    copy = tmp_path / "hub" / f"models--{NAME.replace('/', '--')}"
    snapshot = copy / "snapshots" / COMMIT
    snapshot.mkdir(parents=True)
    (copy / "refs").mkdir()
    (copy / "refs" / "main").write_text(COMMIT)
    (snapshot / "config.json").write_text("{}")
    done = command("-m", "bench", "methods", "--encoder", NAME, home=tmp_path, HF_HUB_OFFLINE="1")
    assert done.returncode == 2
    assert done.stderr.startswith(f"error: encoder '{NAME}' is not whole in the hub's cache")
    assert done.stderr.count("\n") == 1


class Hub(ThreadingHTTPServer):
    """As much of the hub's protocol as a download takes, over the files of a folder."""

    def __init__(self, files: Path) -> None:
        self.asked: list[str] = []
        asked = self.asked

        class Answers(BaseHTTPRequestHandler):
            def do_HEAD(self) -> None:
                self.answer(body=False)

            def do_GET(self) -> None:
                self.answer(body=True)

            def answer(self, body: bool) -> None:
                asked.append(self.path)
                if self.path.startswith(f"/api/models/{NAME}"):
                    siblings = [{"rfilename": file.name} for file in files.iterdir()]
                    content = json.dumps({"id": NAME, "sha": COMMIT, "siblings": siblings}).encode()
                elif self.path.startswith(f"/{NAME}/resolve/{COMMIT}/"):
                    content = (files / Path(self.path).name).read_bytes()
                else:
                    self.send_response(404)
                    self.send_header("X-Error-Code", "RepoNotFound")
                    self.send_header("Content-Length", "0")
                    self.end_headers()
                    return
                self.send_response(200)
                self.send_header("Content-Length", str(len(content)))
                self.send_header("ETag", f'"{len(content):040x}"')
                self.send_header("X-Repo-Commit", COMMIT)
                self.end_headers()
                if body:
                    self.wfile.write(content)

            def log_message(self, *words: object) -> None:
                pass

        super().__init__(("127.0.0.1", 0), Answers)


@pytest.fixture
def hub(tmp_path: Path) -> Iterator[Hub]:
    with Hub(write_encoder(tmp_path / "files", "Roberta", type_vocab_size=1)) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server
        server.shutdown()


def test_a_download_asks_for_the_branch_once_and_is_found_offline_afterwards(hub: Hub, tmp_path: Path) -> None:
    (tmp_path / "files" / "pytorch_model.bin").write_bytes(b"never to be fetched")
    endpoint = f"http://127.0.0.1:{hub.server_port}"
    fresh = evaluated(FIND, tmp_path, HF_ENDPOINT=endpoint, HF_HUB_OFFLINE="0")
    assert fresh[:2] == [NAME, COMMIT]
    unpinned = [path for path in hub.asked if COMMIT not in path]
    assert unpinned == [f"/api/models/{NAME}"]
    assert not any("pytorch_model.bin" in path for path in hub.asked)
    asked = len(hub.asked)
    assert evaluated(FIND, tmp_path, HF_ENDPOINT=endpoint, HF_HUB_OFFLINE="0") == fresh
    assert len(hub.asked) == asked, "what is cached needs no network"
    assert evaluated(FIND, tmp_path, HF_HUB_OFFLINE="1") == fresh


def test_a_name_that_the_hub_does_not_know(hub: Hub, tmp_path: Path) -> None:
    endpoint = f"http://127.0.0.1:{hub.server_port}"
    done = command("-m", "bench", "methods", "--encoder", "no/such", home=tmp_path, HF_ENDPOINT=endpoint, HF_HUB_OFFLINE="0")
    assert done.returncode == 2
    assert done.stderr == "error: the hub has no public encoder 'no/such'; check the name, or use --encoder minilm\n"


def test_an_encoder_of_a_pickle_and_words_is_converted_from_the_hub(hub: Hub, tmp_path: Path) -> None:
    files = tmp_path / "files"
    shutil.rmtree(files)
    write_encoder(files)
    only_words(files)
    as_it_was_saved_once(files)
    online = {"HF_ENDPOINT": f"http://127.0.0.1:{hub.server_port}", "HF_HUB_OFFLINE": "0"}
    refused = command("-m", "bench", "methods", "--encoder", NAME, home=tmp_path, **online)
    assert f"has no tokenizer.json; make a folder that has it with: python -m bench convert {NAME} FOLDER" in refused.stderr
    assert not any("pytorch_model.bin" in path for path in hub.asked)
    done = command("-m", "bench", "convert", NAME, str(tmp_path / "made"), home=tmp_path, **online)
    assert done.returncode == 0, done.stderr
    assert "tokenizer.json: from vocab.txt" in done.stdout
    assert find(str(tmp_path / "made")).shape.parameters == 1_010_304


def test_the_doctor_sees_what_is_cached(roberta_home: Path, imdb_home: Path) -> None:
    assert f"{NAME}: 1,010,336 parameters (hub's cache)" in command("-m", "bench", "doctor", home=roberta_home).stdout
    assert f"imdb: in the hub's cache, commit {COMMIT[:12]}" in command("-m", "bench", "doctor", home=imdb_home).stdout


def end_to_end(home: Path, data: str, out: Path, names: list[str], cache: Path) -> None:
    arguments = [part for name in names for part in ("--method", name)]
    done = command(
        "-m", "bench", "run", *arguments, "--encoder", NAME, "--data", data, "--budget", "3 steps", "--batch-size", "2",
        "--max-length", "16", "--test-limit", "20", "--device", "cpu", "--out", str(out),
        home=home, HF_HUB_OFFLINE="1", ADAPTER_BENCH_CACHE=str(cache),
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    records = [json.loads(path.read_text()) for path in out.glob("*.json")]
    runs = [record for record in records if "encoder" in record]
    assert {record["spec"]["method"] for record in runs} == set(names)
    for record in runs:
        assert record["state"] == "complete"
        assert record["encoder"]["revision"] == COMMIT
        assert record["encoder"]["model_type"] == "roberta"
        assert record["training"]["steps"] == 3


def test_a_method_runs_on_an_encoder_and_reviews_from_the_hub(roberta_home: Path, imdb_home: Path, tmp_path: Path) -> None:
    (tmp_path / "hub").mkdir()
    for home in (roberta_home, imdb_home):
        for repository in (home / "hub").glob("*--*"):
            (tmp_path / "hub" / repository.name).symlink_to(repository)
    end_to_end(tmp_path, "imdb", tmp_path / "out", ["houlsby"], tmp_path / "cache")


@pytest.mark.slow
def test_every_method_runs_on_a_full_size_roberta(small_folder: Path, tmp_path: Path) -> None:
    sizes = {"hidden_size": 768, "num_hidden_layers": 12, "num_attention_heads": 12, "intermediate_size": 3072}
    files = write_encoder(
        tmp_path / "roberta-base", "Roberta", vocab_size=50265, max_position_embeddings=514, type_vocab_size=1, **sizes
    )
    lay_out(tmp_path / "hub", "model", NAME, files)
    end_to_end(tmp_path, str(small_folder), tmp_path / "out", methods.names(), tmp_path / "cache")
