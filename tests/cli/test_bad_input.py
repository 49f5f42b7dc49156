"""Whatever is wrong with a command: one line that says so, exit code 2, no traceback, and nothing written."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest

import bench.system.device
from bench.data.sources import read
from bench.data.tokenization import open_tokenizer, tokenize
from bench.models.weight_files import WEIGHTS
from bench.system.files import cache_dir
from tests.cli.refusals import CASES, HEAD, LORA, ROWS, TABLES
from tests.conftest import call
from tests.factories import folder_of
from tests.reports import usual
from tests.work import HEAVY, imported_by


@pytest.fixture(scope="module")
def places(tiny_folder: Path, small_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    base = tmp_path_factory.mktemp("places")
    for name in ("empty", "\udcff folder", "two words, ü 猫"):
        (base / name).mkdir()
    (base / "file").write_text("not a folder")
    (base / "deep").write_text("[" * 100_000)
    for name, (content, _) in TABLES.items():
        (base / name).mkdir()
        (base / name / "train.csv").write_bytes(content)
        (base / name / "test.csv").write_bytes(HEAD + ROWS)
    os.mkfifo(base / "pipe")
    (base / "loop").symlink_to("loop")
    for name in ("csv-pipe", "csv-folder"):
        (base / name).mkdir()
    os.mkfifo(base / "csv-pipe" / "train.csv")
    (base / "csv-folder" / "train.csv").mkdir()
    folder_of(base / "runs", *usual())
    for name in ("config-pipe", "config-folder", "weights-folder", "no-tokenizer"):
        shutil.copytree(tiny_folder, base / name)
    for name, file in (("config-pipe", "config.json"), ("config-folder", "config.json"), ("weights-folder", WEIGHTS)):
        (base / name / file).unlink()
        os.mkfifo(base / name / file) if name == "config-pipe" else (base / name / file).mkdir()
    (base / "no-tokenizer" / "tokenizer.json").write_text("{}")
    return {path.name: str(path) for path in base.iterdir()} | {"tiny": str(tiny_folder), "small": str(small_folder)}


def filled(arguments: list[str], places: dict[str, str]) -> list[str]:
    return [re.sub(r"^\{(.+)\}$", lambda match: places[match[1]], argument) for argument in arguments]


@pytest.mark.parametrize(
    ("arguments", "says"), CASES, ids=[" ".join(case[0]).encode("unicode_escape").decode() for case in CASES]
)
def test_bad_input_is_one_line_and_exit_code_2(
    arguments: list[str], says: str, places: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    assert call(filled(arguments, places)) == 2
    printed, line = capfd.readouterr()
    assert re.fullmatch(r"error: [^\n]+\n", line), line
    assert says in line
    assert line.removesuffix("\n").isprintable()
    assert len(line) < 1500
    assert "Traceback" not in line
    assert printed == ""
    assert list(tmp_path.iterdir()) == [], "nothing is written, not even an empty folder"


NO_NETWORK = {"HF_ENDPOINT": "http://127.0.0.1:9", "HF_HUB_OFFLINE": "0"}
ASCII = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
NO_CACHE = {"HF_HOME": "/proc/none", "HF_HUB_CACHE": "/proc/none", "ADAPTER_BENCH_CACHE": "/proc/none"}


# What surrounds a command: variables that libraries read early, arguments, and what the line must say.
SURROUNDINGS: dict[str, tuple[dict[str, str], list[str], str]] = {
    "no cache": ({**NO_CACHE, "HF_HUB_OFFLINE": "1"}, [*LORA, "--encoder", "no/such"], "is not whole in the hub's cache"),
    "C locale": (ASCII, [*LORA, "--encoder", "ü 猫"], r"encoder '\udcc3\udcbc \udce7\udc8c\udcab' is none of"),
    "a narrow, coloured terminal": (
        {"COLUMNS": "10", "FORCE_COLOR": "1", "TERM": "xterm-256color"}, [*LORA, "--precision", "int4"], "'int4' is not one of",
    ),
    "Latin-1 output": ({"PYTHONIOENCODING": "latin-1:strict"}, [*LORA, "--encoder", "猫"], r"encoder '\u732b' is none of"),
}  # fmt: skip


@pytest.mark.parametrize("name", SURROUNDINGS)
def test_whatever_surrounds_it_bad_input_is_one_line(name: str, tmp_path: Path) -> None:
    variables, arguments, says = SURROUNDINGS[name]
    done = subprocess.run(
        [sys.executable, "-m", "bench", *arguments],
        cwd=tmp_path, env=os.environ | variables, capture_output=True, encoding="utf-8", timeout=120,
    )  # fmt: skip
    assert done.returncode == 2, done.stderr
    assert re.fullmatch(r"error: [^\n]+\n", done.stderr), done.stderr
    assert says in done.stderr
    assert done.stdout == ""
    assert list(tmp_path.iterdir()) == []


def test_a_working_folder_that_is_gone(tmp_path: Path) -> None:
    gone = tmp_path / "gone"
    gone.mkdir()
    script = f"cd {gone} && rmdir {gone} && exec {sys.executable} -m bench report"
    environment = {**os.environ, "PYTHONPATH": str(Path.cwd())}
    done = subprocess.run(["sh", "-c", script], env=environment, capture_output=True, text=True, timeout=120)
    assert (done.returncode, done.stdout) == (2, "")
    assert (
        done.stderr
        == "error: there is no file or folder 'results/reference'; make some with: python -m bench run --method all\n"
    )


def test_output_that_cannot_be_written(places: dict[str, str], tmp_path: Path) -> None:
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(
            [sys.executable, "-m", "bench", "report", "--results", places["runs"]],
            cwd=tmp_path, stdout=full, stderr=subprocess.PIPE, text=True, timeout=120,
        )  # fmt: skip
    assert (done.returncode, done.stderr) == (2, "error: the output cannot be written (No space left on device)\n")


def test_no_gpu(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(bench.system.device, "shows_gpu", lambda: False)
    assert call([*LORA, "--device", "cuda"]) == 2
    assert capfd.readouterr().err == "error: --device cuda: this machine shows no CUDA device to torch; use --device cpu\n"


def test_without_a_home_there_is_no_cache_and_no_error(
    places: dict[str, str], monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    def ignore_progress() -> Path:
        raise RuntimeError("Could not determine home directory.")

    for name in ("ADAPTER_BENCH_CACHE", "XDG_CACHE_HOME", "HOME"):
        monkeypatch.delenv(name, raising=False)
    for name, value in (("XDG_CACHE_HOME", "/proc/none"), ("HOME", places["file"])):
        with monkeypatch.context() as patch:
            patch.setenv(name, value)
            assert call([*LORA, "--data", places["csv-nul"]]) == 2
            assert "NUL" in capfd.readouterr().err
    monkeypatch.setattr(Path, "home", ignore_progress)
    assert cache_dir() is None


@pytest.mark.parametrize("strict", [False, True])
def test_a_report_that_leaves_something_out_says_so_and_with_strict_exits_1(
    strict: bool, places: dict[str, str], tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "runs"
    shutil.copytree(places["runs"], folder)
    arguments = ["report", "--results", str(folder), *(["--strict"] if strict else [])]
    assert call(arguments) == 0
    whole = capfd.readouterr()
    assert whole.err == ""
    for name in ("bad.json", "red\x1b[31m.json"):
        (folder / name).write_text('{"schema_version": 99}')
    assert call(arguments) == int(strict)
    printed, told = capfd.readouterr()
    assert printed == whole.out, "the rest is reported all the same"
    for name, line in zip(("bad.json", "red\ufffd[31m.json"), told.splitlines()[:2], strict=True):
        assert line.startswith(f"left out {name}: its schema version is '99', made by a newer version; ")
    assert (folder / "bad.json").read_text() == '{"schema_version": 99}'


@pytest.mark.slow
def test_a_review_of_ten_megabytes_is_read_and_tokenized(tiny_folder: Path, tmp_path: Path) -> None:
    long = f"long, {'o' * 200} film " * (10 * 2**20 // 212)
    for split in ("train", "test"):
        pd.DataFrame({"text": [long, "short"], "label": [1, 0]}).to_csv(tmp_path / f"{split}.csv", index=False)
    reviews = read(str(tmp_path)).train
    assert reviews.texts == [long, "short"]
    split_ = tokenize(open_tokenizer(tiny_folder / "tokenizer.json"), reviews)
    assert len(split_.ids) == 4 * (10 * 2**20 // 212) + 1, "a word of more than 100 letters is one unknown token"


@pytest.mark.slow
def test_a_run_in_the_worst_surroundings(tiny_folder: Path, small_folder: Path, tmp_path: Path) -> None:
    """No home, no cache, no network, a C locale, and folders whose names are no ASCII or no text at all."""
    encoder, data, out = (tmp_path / name for name in ("an encoder, ü 猫", "\udcff reviews", "results, ü"))
    shutil.copytree(tiny_folder, encoder)
    shutil.copytree(small_folder, data)
    environment = {key: value for key, value in os.environ.items() if key not in {"HOME", "XDG_CACHE_HOME"}}
    done = subprocess.run(
        [
            sys.executable, "-m", "bench", *LORA, "--encoder", str(encoder), "--data", str(data), "--out", str(out),
            "--budget", "1 steps", "--test-limit", "2", "--max-length", "8", "--batch-size", "1", "--device", "cpu",
        ],
        cwd=tmp_path, env=environment | NO_CACHE | NO_NETWORK | ASCII, capture_output=True, text=True, timeout=300,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "Traceback" not in done.stderr
    (path,) = out.glob("*.json")
    spec = json.loads(path.read_text(encoding="utf-8"))["spec"]
    assert (spec["encoder"], spec["data"]) == ("an encoder, ü 猫", "\ufffd reviews")


def test_help_imports_nothing_heavy_and_commands_that_only_read_import_no_torch(tmp_path: Path) -> None:
    *others, of_run = imported_by(tmp_path, ["--help"], [], ["--version"], ["run", "--help"])
    assert not of_run & (HEAVY | {"numpy"})
    assert "pydantic" not in others[-1], "typer itself checks the numbers of `run` with it"
    results = Path(__file__).parents[2] / "results" / "reference"
    reading = [["methods"], ["schema"], ["report", "--results", str(results)]]
    if not any(Path(node).exists() for node in ("/dev/nvidiactl", "/dev/dxg", "/dev/nvidia0")):  # there torch tells of the GPU
        reading.append(["doctor"])
    assert not imported_by(tmp_path, *reading)[-1] & HEAVY
