"""Whatever is wrong with a command: one line that says so, exit code 2, no traceback, and nothing written."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from bench.cli import main

LORA = ["run", "--method", "lora"]
SMALL = ["--encoder", "{tiny}", "--data", "{small}"]

# Arguments, with {places} filled in below, and what the line must say.
CASES: list[tuple[list[str], str]] = [
    # Commands and options
    (["compare"], "No such command"),
    (["run"], "Missing option '--method'"),
    ([*LORA, "--colour", "red"], "No such option"),
    ([*LORA, "--batch-size"], "requires an argument"),
    ([*LORA, "extra"], "unexpected extra argument"),
    # Methods
    (["run", "--method", "houlsbi"], "unknown method 'houlsbi'; did you mean 'houlsby'?"),
    (["run", "--method", ""], "unknown method ''"),
    (["run", "--method", "LORA\x1b[31m"], "unknown method 'LORA\\x1b[31m'"),
    # Budgets, seeds, sizes
    ([*LORA, "--budget", "soon"], "budget 'soon' is not understood; write it as"),
    ([*LORA, "--budget", "60"], "budget '60' is not understood"),
    ([*LORA, "--budget", "0s"], "must be more than zero"),
    ([*LORA, "--budget", "10 parsecs"], "no known unit"),
    ([*LORA, "--budget", "9999999h"], "more than the most that can be asked for"),
    ([*LORA, "--seeds", "0"], "between 1 and 1000 seeds"),
    ([*LORA, "--seeds", "1,1"], "name a seed twice"),
    ([*LORA, "--seeds", "x"], "seeds 'x' are not understood"),
    ([*LORA, "--budget", "60s,1m"], "budgets '60s' and '1m' are the same; name each once"),
    ([*LORA, "--budget", "15s,"], "budget '' is not understood"),
    # Tuning
    ([*LORA, "--tune", "1"], "--tune 1: a choice needs at least 2 learning rates"),
    ([*LORA, "--tune", "4"], "--tune 4 is more than the 3 learning rates that lora declares"),
    ([*LORA, "--tune", "few"], "'--tune': Input should be a valid integer"),
    ([*LORA, "--tune", "2", "--seeds", "4294967295,"], "seed 4294967295 is kept for the tuning trials"),
    ([*LORA, "--trials-only"], "--trials-only needs trials; ask for them with --tune 3"),
    ([*LORA, "--memory", "lots"], "memory 'lots' is not understood"),
    ([*LORA, "--memory", "1KiB"], "must be between 1MiB and 1024TiB"),
    # Numbers out of range
    ([*LORA, "--batch-size", "0"], "'--batch-size': Input should be greater than or equal to 1"),
    ([*LORA, "--batch-size", "many"], "'--batch-size': Input should be a valid integer"),
    ([*LORA, "--max-length", "4"], "'--max-length': Input should be greater than or equal to 8"),
    ([*LORA, "--truncation", "middle"], "'middle' is not one of"),
    ([*LORA, "--precision", "int4"], "'int4' is not one of"),
    ([*LORA, "--device", "tpu"], "'tpu' is not one of"),
    # Encoders
    ([*LORA, "--encoder", "nope"], "encoder 'nope' is none of minilm, a folder or a hub id"),
    ([*LORA, "--encoder", "{empty}"], "has no config.json"),
    ([*LORA, "--encoder", "{llama}"], "model type 'llama'; known are bert"),
    ([*LORA, "--encoder", "{cut-off}"], "model.safetensors cannot be read"),
    ([*LORA, "--encoder", "a\nb"], "encoder 'a\\nb' is none of"),
    ([*LORA, "--encoder", "{no-tokenizer}", "--data", "{small}", "--out", "new/folder"], "tokenizer.json cannot be read"),
    (["methods", "--encoder", "nope"], "encoder 'nope' is none of"),
    ([*LORA, *SMALL, "--max-length", "513"], "--max-length 513 is more than the 512 positions"),
    # Reviews
    ([*LORA, "--encoder", "{tiny}", "--data", "nowhere"], "data 'nowhere' is neither 'embedded', 'imdb' nor a folder"),
    ([*LORA, "--encoder", "{tiny}", "--data", "{empty}"], "has no train.parquet or train.csv"),
    ([*LORA, "--encoder", "{tiny}", "--data", "{one-class}"], "both classes are needed"),
    ([*LORA, "--encoder", "{tiny}", "--data", "{few}"], "at least 10 are needed"),
    ([*LORA, *SMALL, "--batch-size", "4096"], "--batch-size 4096 is more than the"),
    ([*LORA, *SMALL, "--test-limit", "1"], "--test-limit 1 must be between 2 and the 200 test reviews"),
    ([*LORA, *SMALL, "--test-limit", "201"], "--test-limit 201 must be between 2 and the 200 test reviews"),
    # Results
    ([*LORA, *SMALL, "--out", "{file}"], "results cannot be written to"),
    ([*LORA, *SMALL, "--out", "/proc/nowhere"], "results cannot be written to '/proc/nowhere'"),
    (["report", "--results", "{empty}"], "holds no records of runs; make some with"),
    (["report", "--results", "nowhere"], "holds no records of runs"),
    (["report", "--format", "pdf"], "'pdf' is not one of"),
    (["report", "--view", "colours"], "'colours' is not one of"),
]  # fmt: skip


@pytest.fixture(scope="module")
def places(tiny_folder: Path, small_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    base = tmp_path_factory.mktemp("places")
    (base / "empty").mkdir()
    (base / "file").write_text("not a folder")
    for name in ("one-class", "few"):
        (base / name).mkdir()
        labels = [1] * 40 if name == "one-class" else [0, 1] * 9
        rows = "".join(f"review {row},{label}\n" for row, label in enumerate(labels))
        for split in ("train", "test"):
            (base / name / f"{split}.csv").write_text(f"text,label\n{rows}")
    for name in ("llama", "cut-off", "no-tokenizer"):
        shutil.copytree(tiny_folder, base / name)
    (base / "llama" / "config.json").write_text('{"model_type": "llama"}')
    (base / "no-tokenizer" / "tokenizer.json").write_text("{}")
    weights = base / "cut-off" / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1])
    return {path.name: str(path) for path in base.iterdir()} | {"tiny": str(tiny_folder), "small": str(small_folder)}


def filled(arguments: list[str], places: dict[str, str]) -> list[str]:
    return [re.sub(r"^\{(.+)\}$", lambda match: places[match[1]], argument) for argument in arguments]


@pytest.mark.parametrize(
    ("arguments", "says"), CASES, ids=[" ".join(case[0]).encode("unicode_escape").decode() for case in CASES]
)
def test_bad_input_is_one_line_and_exit_code_2(
    arguments: list[str],
    says: str,
    places: dict[str, str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit) as caught:
        main(filled(arguments, places))
    printed, line = capfd.readouterr()
    assert caught.value.code == 2
    assert re.fullmatch(r"error: [^\n]+\n", line), line
    assert says in line
    assert "Traceback" not in line
    assert printed == ""
    assert list(tmp_path.iterdir()) == [], "nothing is written, not even an empty folder"


def bench(*arguments: str, folder: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-m", "bench", *arguments], cwd=folder, capture_output=True, text=True, timeout=120)


@pytest.mark.parametrize(("arguments", "says"), [CASES[0], CASES[5], CASES[10], (["report"], "holds no records of runs")])
def test_the_same_in_a_process_of_its_own(arguments: list[str], says: str, tmp_path: Path) -> None:
    done = bench(*arguments, folder=tmp_path)
    assert done.returncode == 2
    assert re.fullmatch(r"error: [^\n]+\n", done.stderr), done.stderr
    assert says in done.stderr
    assert done.stdout == ""
    assert list(tmp_path.iterdir()) == []


def imported_by(arguments: list[str], folder: Path) -> tuple[set[str], int | str | None]:
    """The modules that a command has imported when it ends, and its exit code."""
    script = (
        f"import sys\nfrom bench.cli import main\ntry:\n main({arguments!r})\nexcept SystemExit as end: code = end.code\n"
        "print('MODULES', code, *sorted(name for name in sys.modules if '.' not in name))"
    )
    done = subprocess.run([sys.executable, "-c", script], cwd=folder, capture_output=True, text=True, timeout=120)
    last = done.stdout.splitlines()[-1].split()
    assert last[0] == "MODULES", done.stderr
    return set(last[2:]), int(last[1])


HEAVY = {"torch", "transformers", "adapters", "peft", "pandas", "datasets", "evaluate", "sklearn", "tokenizers"}


@pytest.mark.parametrize("arguments", [["--help"], [], ["run", "--help"], ["--version"]])
def test_help_imports_nothing_heavy(arguments: list[str], tmp_path: Path) -> None:
    modules, code = imported_by(arguments, tmp_path)
    assert code == 0
    assert not modules & (HEAVY | {"numpy"})
    # typer itself checks the numbers of `run` with pydantic.
    assert "pydantic" not in modules or arguments[:1] == ["run"]


@pytest.mark.parametrize("arguments", [["methods"], ["schema"], ["report"], ["doctor"]])
def test_commands_that_only_read_import_no_torch(arguments: list[str], tmp_path: Path) -> None:
    if arguments == ["report"]:
        results = Path(__file__).parent.parent / "results" / "reference"
        arguments = ["report", "--results", str(results)]
        if not any(results.glob("*.json")):
            pytest.skip("no results are committed yet")
    modules, code = imported_by(arguments, tmp_path)
    assert code == 0
    if arguments == ["doctor"] and any(Path(node).exists() for node in ("/dev/nvidiactl", "/dev/dxg", "/dev/nvidia0")):
        return  # there torch is what tells of the GPU
    assert not modules & HEAVY
