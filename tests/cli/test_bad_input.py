"""Whatever is wrong with a command: one line that says so, exit code 2, no traceback, and nothing written."""

from __future__ import annotations

import gzip
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
from tests.conftest import call
from tests.factories import folder_of
from tests.report.test_report import usual

LORA = ["run", "--method", "lora"]
SMALL = ["--encoder", "{tiny}", "--data", "{small}"]

HEAD, ROWS = b"text,label\n", b"".join(b"review %d,%d\n" % (row, row % 2) for row in range(40))
# What train.csv holds, and what the line must say of it.
TABLES: dict[str, tuple[bytes, str]] = {
    "csv-empty": (b"", "train.csv is empty"),
    "csv-one-each": (HEAD + b"fine,1\ndull,0\n", "has 1 different train reviews of a class; at least 10 are needed"),
    "csv-nan-labels": (HEAD + ROWS + b"fine,NaN\n", "train.csv, row 41: the label is empty"),
    "csv-huge-label": (HEAD + b"fine," + b"9" * 10**6 + b"\n", "label '9999999999"),
    "csv-other-columns": (b"body,stars\na,1\n", "(it has body, stars); name one of its columns with --text-column"),
    "csv-long-columns": (b"a" * 10**6 + b"\n1\n", "(it has aaaaaaaa"),
    "csv-nul": (HEAD + ROWS + b"fi\0ne,1\n", "NUL"),
    "csv-gzip": (gzip.compress(HEAD + ROWS), "train.csv is compressed with gzip; unpack it: gunzip -c < train.csv"),
    "csv-escapes": (b"\x1b[2J,label\na,1\n", "it has \\x1b[2J, label"),
}
# Arguments, with {places} filled in below, and what the line must say.
CASES: list[tuple[list[str], str]] = [
    # Commands and options
    (["compare"], "No such command"),
    (["run"], "Missing option '--method': name a method, several, or all; or name a suite with --suite"),
    ([*LORA, "--colour", "red"], "No such option"),
    ([*LORA, "--batch-size"], "requires an argument"),
    ([*LORA, "extra"], "unexpected extra argument"),
    ([*LORA, "--budget", "5s", "--budget", "9s"], "--budget is given 2 times but takes one value"),
    (["run", "-m", "lora", "-o", "a", "--out", "b"], "--out is given 2 times"),
    (["predict", "a", "b", "--csv", "c", "--csv", "d"], "--csv is given 2 times"),
    (["audit", "{runs}", ""], "a path is empty"),
    (["report", "--results", "{runs}", "--results", ""], "--results is empty; give it a path, or leave it out"),
    (["run", "--suite", "{pipe}"], "cannot be read: it is no file; name a YAML file"),
    # Hyperparameters
    ([*LORA, "--set", "lora.rang=4"], "lora has no hyperparameter 'rang'; did you mean 'rank'?"),
    ([*LORA, "--set", "lorra.rank=4"], "unknown method 'lorra'; did you mean 'lora'?"),
    ([*LORA, "--set", "lora.rank=few"], "lora: rank must be a whole number more than 0, not 'few'"),
    ([*LORA, "--set", "lora.rank=" + "9" * 5000], "lora: rank must be a whole number"),
    ([*LORA, "--set", "lora.rank=100000"], "lora would train 921,600,000 parameters, over 10 times the encoder's own 22,"),
    ([*LORA, "--set", "lora.rank"], "--set 'lora.rank' is not understood; write METHOD.HYPERPARAMETER=VALUE"),
    ([*LORA, "--set", "rank=4"], "--set 'rank=4' is not understood"),
    ([*LORA, "--set", "=4"], "--set '=4' is not understood"),
    ([*LORA, "--set", "lora.rank=4", "--set", "lora.rank=8"], "--set lora.rank is given twice"),
    ([*LORA, "--set", "houlsby.bottleneck=4"], "set for houlsby, which is not run; add it with --method houlsby"),
    ([*LORA, "--set", "lora.learning_rate=1e-3", "--tune", "2"], "tuning chooses the learning rate of lora"),
    (["run", "--suite", "quick", "--set", "houlsby.non_linearity=cube"], "'cube' is not one of relu"),
    # Methods
    (["run", "--method", "houlsbi"], "unknown method 'houlsbi'; did you mean 'houlsby'?"),
    (["run", "--method", ""], "unknown method ''"),
    (["run", "--method", "LORA\x1b[31m"], "unknown method 'LORA\\x1b[31m'"),
    # Budgets, seeds, sizes
    ([*LORA, "--budget", "soon"], "budget 'soon' is not understood; write it as"),
    ([*LORA, "--seeds", "x"], "seeds 'x' are not understood"),
    ([*LORA, "--seeds", "3,0,,3"], "name a seed twice"),
    ([*LORA, "--budget", "5 steps", "--calibration", "a.json"], "--calibration converts seconds and reference tokens"),
    # Tuning
    ([*LORA, "--tune", "few"], "'--tune': Input should be a valid integer"),
    ([*LORA, "--memory", "lots"], "memory 'lots' is not understood"),
    ([*LORA, "--memory", ""], "memory '' is not understood"),
    # Numbers out of range
    ([*LORA, "--batch-size", "0"], "'--batch-size': Input should be greater than or equal to 1"),
    ([*LORA, "--batch-size", "many"], "'--batch-size': Input should be a valid integer"),
    ([*LORA, "--batch-size", "9" * 30], "'--batch-size': Input should be"),
    ([*LORA, "--max-length", "9" * 5000], "'--max-length': "),
    ([*LORA, "--test-limit", "half"], "'--test-limit': Input should be a valid integer"),
    ([*LORA, "--max-length", "4"], "'--max-length': Input should be greater than or equal to 8"),
    ([*LORA, "--truncation", "middle"], "'middle' is not one of"),
    ([*LORA, "--precision", "int4"], "'int4' is not one of"),
    ([*LORA, "--device", "tpu"], "'tpu' is not one of"),
    # Encoders
    ([*LORA, "--encoder", "nope"], "encoder 'nope' is none of minilm, mpnet, a folder or a hub id"),
    ([*LORA, "--encoder", "{empty}"], "has no config.json"),
    ([*LORA, "--encoder", "a\nb"], "encoder 'a\\nb' is none of"),
    ([*LORA, "--encoder", "\udcff\udcfe"], r"encoder '\udcff\udcfe' is none of"),
    ([*LORA, "--encoder", "{no-tokenizer}", "--data", "{small}", "--out", "new/folder"], "tokenizer.json cannot be read"),
    ([*LORA, "--encoder", "{config-pipe}"], "has no config.json"),
    ([*LORA, "--encoder", "{config-folder}"], "has no config.json"),
    ([*LORA, "--encoder", "{weights-folder}"], "has no model.safetensors: weights are only loaded from safetensors"),
    (["methods", "--encoder", "{pipe}"], "is none of minilm"),
    ([*LORA, *SMALL, "--max-length", "513"], "--max-length 513 is more than the 512 positions"),
    # Reviews
    ([*LORA, "--encoder", "{tiny}", "--data", "nowhere"], "is none of embedded, imdb, rotten-tomatoes, a folder, a hub id"),
    ([*LORA, "--encoder", "{tiny}", "--data", "{empty}"], "has no train.csv, .tsv, .jsonl or .parquet"),
    ([*LORA, "--encoder", "{tiny}", "--data", "{\udcff folder}"], "has no train.csv"),
    ([*LORA, "--encoder", "{tiny}", "--data", "{two words, ü 猫}"], "'two words, ü 猫' has no train"),
    ([*LORA, "--encoder", "{tiny}", "--data", "{pipe}"], "is none of embedded"),
    ([*LORA, "--encoder", "{tiny}", "--data", "{csv-pipe}"], "has no train.csv"),
    ([*LORA, "--encoder", "{tiny}", "--data", "{csv-folder}"], "has no train.csv"),
    *[([*LORA, "--encoder", "{tiny}", "--data", f"{{{name}}}"], says) for name, (_, says) in TABLES.items()],
    ([*LORA, "--encoder", "{tiny}", "--data", "no-such.csv"], "there is no file 'no-such.csv'"),
    ([*LORA, *SMALL, "--text-column", "body"], "has no column 'body' (it has text, label)"),
    ([*LORA, *SMALL, "--train-limit", "some"], "--train-limit 'some' is no number of texts"),
    ([*LORA, *SMALL, "--train-limit", "100,100"], "--train-limit 100,100 names a number twice"),
    ([*LORA, *SMALL, "--train-limit", "100,200", "--tune", "2"], "give them one at a time"),
    ([*LORA, *SMALL, "--batch-size", "4096"], "--batch-size 4096 is more than the"),
    ([*LORA, *SMALL, "--test-limit", "1"], "--test-limit 1 must be between 2 and the 200 test reviews"),
    ([*LORA, *SMALL, "--test-limit", "201"], "--test-limit 201 must be between 2 and the 200 test reviews"),
    # Results
    ([*LORA, *SMALL, "--out", "{file}"], "results cannot be written to"),
    ([*LORA, *SMALL, "--out", "{pipe}"], "results cannot be written to"),
    ([*LORA, *SMALL, "--out", "x" * 300], "(File name too long); choose another --out"),
    ([*LORA, *SMALL, "--out", "a\0b"], "Value error, embedded null byte"),
    (["report", "--results", "{file}"], "is not a whole record (it is not whole JSON); name records, or folders of them"),
    (["report", "{runs}", "nowhere"], "there is no file or folder 'nowhere'; make some with"),
    (["report", "--results", "{pipe}"], "holds no records of runs"),
    (["report", "--results", "{runs}", "--reference", ""], "no run here is of the reference ''"),
    (["report", "--results", "{runs}", "--out", "{runs}"], "the report cannot be written to"),
    (["report", "--results", "{runs}", "--out", "x" * 300], "the report cannot be written to"),
    (["report", "--results", "{runs}", "--out", "a\0b"], "Value error, embedded null byte"),
    *[(arguments, "(File name too long); name a shorter one") for arguments in (
        ["report", "--results", "x" * 300], ["watch", "--once", "--out", "x" * 300], ["audit", "x" * 300],
        ["export", "x" * 300], ["convert", "{small}", "x" * 300], [*LORA, "--suite", "d/" * 2500],
        ["report", "--results", "{runs}", "--format", "svg", "--figure", "forest", "--out", "x" * 300],
    )],
    (["convert", "x" * 300, "new"], "is neither a folder nor a hub id"),
    (["convert", "~nobody-of-this-name/x/y", "new"], "is neither a folder nor a hub id"),
    (["report", "--strict", "yes"], "there is no file or folder 'yes'"),
    (["audit"], "name at least one record or folder"),
    (["audit", "nowhere.json"], "there is no record 'nowhere.json'"),
    (["audit", "{pipe}"], "is not a record: it is not a file"),
    (["audit", "{file}"], "is not a record: it is not whole JSON"),
    (["audit", "{loop}"], "is not a record: it cannot be read (Too many levels of symbolic links)"),
    (["convert", "", "new"], "'' is neither a folder nor a hub id"),
    (["audit", "{empty}"], "there is no record in"),
    (["audit", "{deep}"], "is not a record"),
    (["report", "--format", "pdf"], "'pdf' is not one of"),
    (["report", "--view", "colours"], "'colours' is not one of"),
    # Other commands
    *[(["watch", "--once", "--out", "none", *arguments], says) for arguments, says in (
        (["--seeds", "3"], "--seeds needs to know which methods"),
        (["--suite", "quick", "--seeds", "0"], "between 1 and 1000 seeds"),
        (["--suite", "quik"], "did you mean 'quick'"),
        (["--method", "hulsby"], "houlsby"),
        (["--interval", "0"], "--interval"),
    )],
    (["calibrate"], "Missing option '--method'"),
    (["calibrate", "--method", "lora", "--seconds", "0"], "--seconds"),
    (["calibrate", "--method", "nothing"], "unknown method"),
    (["calibrate", "--suite", "quick", "--max-length", "513"], "--max-length 513 is more than the 512 positions"),
    (["export", "--to", "parquet", "{runs}"], "a Parquet file is not text: name one with --out"),
    (["export", "--to", "xlsx", "{runs}"], "'xlsx' is not one of"),
    (["export", "none"], "there is no file or folder 'none'"),
    *[(["report", "--results", "{runs}", *arguments], says) for arguments, says in (
        (["--format", "svg", "--figure", "sweep"], "nothing to draw here as --figure sweep: no runs that differ in the amount"),
        (["--format", "svg", "--figure", "all", "--out", "x.svg"], "--figure all is 6 pictures here (forest-minilm-"),
        (["--format", "png"], "a PNG is not text: name a file or a folder for it with --out"),
        (["--format", "png", "--out", "x.svg"], "--out 'x.svg' is no name for --format png: a picture ends in .png"),
        (["--format", "svg", "--view", "curves"], "--view chooses tables; with --format svg choose a figure"),
        (["--format", "svg", "--wide"], "--wide is for tables; --format svg draws none"),
        (["--figure", "forest"], "--figure needs --format svg or png"),
        (["--format", "svg", "--figure", "pie"], "'pie' is not one of"),
        (["--format", "html"], "name a file for it with --out"),
        (["--format", "svg", "--out", "/dev/null/x.svg"], "the picture cannot be written to '/dev/null/x.svg'"),
    )],
]  # fmt: skip


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
        (folder / name).write_text('{"schema_version": 5}')
    assert call(arguments) == int(strict)
    printed, told = capfd.readouterr()
    assert printed == whole.out, "the rest is reported all the same"
    for name, line in zip(("bad.json", "red\ufffd[31m.json"), told.splitlines()[:2], strict=True):
        assert line.startswith(f"left out {name}: its schema version is '5', made by a newer version; ")
    assert (folder / "bad.json").read_text() == '{"schema_version": 5}'


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


def imported_by(folder: Path, *commands: list[str]) -> list[set[str]]:
    """The modules that one process has imported by the end of each of these commands, all of which end well."""
    script = (
        "import sys\nfrom bench.cli.app import main\n"
        f"for arguments in {commands!r}:\n"
        " try:\n  main(arguments)\n"
        " except SystemExit as end:\n  print('\\nMODULES', end.code, *(name for name in sys.modules if '.' not in name))"
    )
    done = subprocess.run([sys.executable, "-c", script], cwd=folder, capture_output=True, text=True, timeout=120)
    ends = [line.split()[1:] for line in done.stdout.splitlines() if line.startswith("MODULES ")]
    assert [code for code, *_ in ends] == ["0"] * len(commands), done.stderr
    return [set(modules) for _, *modules in ends]


HEAVY = {"torch", "transformers", "adapters", "peft", "pandas", "datasets", "evaluate", "sklearn", "tokenizers"}


def test_help_imports_nothing_heavy_and_commands_that_only_read_import_no_torch(tmp_path: Path) -> None:
    *others, of_run = imported_by(tmp_path, ["--help"], [], ["--version"], ["run", "--help"])
    assert not of_run & (HEAVY | {"numpy"})
    assert "pydantic" not in others[-1], "typer itself checks the numbers of `run` with it"
    results = Path(__file__).parents[2] / "results" / "reference"
    reading = [["methods"], ["schema"], ["report", "--results", str(results)]]
    if not any(Path(node).exists() for node in ("/dev/nvidiactl", "/dev/dxg", "/dev/nvidia0")):  # there torch tells of the GPU
        reading.append(["doctor"])
    assert not imported_by(tmp_path, *reading)[-1] & HEAVY
