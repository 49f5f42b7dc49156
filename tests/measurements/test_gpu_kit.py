"""The GPU kit: wrong input, installation from pieces, stages that are resumed, and the whole of it with small numbers."""

from __future__ import annotations

import base64
import hashlib
import json
import os
import subprocess
import sys
import time
import zipfile

import pytest

from tests.measurements.gpu import __main__ as kit
from tests.measurements.gpu import collect, stages
from tests.measurements.gpu.install import InstallError, install


@pytest.fixture
def wheels(tmp_path):
    """Two wheels, of which one is in parts."""
    folder = tmp_path / "wheels"
    folder.mkdir()
    for name in ("first", "second"):
        path = folder / f"{name}_kit-1.0-py3-none-any.whl"
        info = f"{name}_kit-1.0.dist-info"
        files = {
            f"{name}_kit.py": "VALUE = 1\n",
            f"{info}/METADATA": f"Metadata-Version: 2.1\nName: {name}-kit\nVersion: 1.0\n",
            f"{info}/WHEEL": "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
        }
        rows = []
        with zipfile.ZipFile(path, "w") as out:
            for member, text in files.items():
                out.writestr(member, text)
                digest = base64.urlsafe_b64encode(hashlib.sha256(text.encode()).digest()).rstrip(b"=").decode()
                rows.append(f"{member},sha256={digest},{len(text)}\n")
            out.writestr(f"{info}/RECORD", "".join(rows) + f"{info}/RECORD,,\n")
    content = path.read_bytes()
    for i, part in enumerate((content[:100], content[100:])):
        (folder / f"{path.name}.part-{i:02d}").write_bytes(part)
    path.unlink()
    return folder


def test_wheels_and_parts_of_wheels_are_installed_with_the_projects_pins(tmp_path, wheels):
    assert install(wheels, tmp_path / "site", stages.ROOT) == 2
    assert {"first_kit.py", "second_kit.py"} <= {path.name for path in (tmp_path / "site").iterdir()}
    described = next((tmp_path / "site").glob("adapter_bench-*.dist-info/METADATA")).read_text()
    assert "Requires-Dist: transformers==" in described
    (wheels / "second_kit-1.0-py3-none-any.whl.part-00").unlink()
    with pytest.raises(InstallError, match="lacks one of its parts"):
        install(wheels, tmp_path / "site", stages.ROOT)
    assert (tmp_path / "site" / "first_kit.py").exists()


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["--limit", "3"], "--limit"),
        (["--workers", "0"], "--workers"),
        (["--stage", "install"], "--wheels is missing"),
        (["--stage", "install", "--wheels", "/nowhere"], "holds no wheels"),
    ],
)
def test_wrong_input_is_one_line(tmp_path, capsys, words, says):
    assert kit.main(["--out", str(tmp_path / "out"), *words]) == 2
    error = capsys.readouterr().err
    assert says in error
    assert error.count("\n") == 1


def test_a_stage_is_resumed_until_it_is_done(tmp_path, capsys, monkeypatch):
    flag = tmp_path / "flag"
    fails = [sys.executable, "-c", f"import pathlib, sys; sys.exit(0 if pathlib.Path({str(flag)!r}).exists() else 3)"]
    monkeypatch.setattr(kit, "STAGES", (stages.Stage("doctor", "a check", lambda _: [[fails]]),))
    words = ["--out", str(tmp_path / "out"), "--stage", "doctor", "--dry"]
    assert kit.main(words) == 1
    assert json.loads((tmp_path / "out" / "stages" / "doctor.json").read_text())["exit_codes"] == [3]
    flag.touch()
    assert kit.main(words) == 0
    flag.unlink()
    assert kit.main(words) == 0
    assert "done before" in capsys.readouterr().out
    assert kit.main([*words, "--again"]) == 1


def test_a_stage_ends_at_its_limit_with_all_it_started(tmp_path, monkeypatch):
    sleeps = [sys.executable, "-c", "import time; time.sleep(60)"]
    monkeypatch.setattr(kit, "STAGES", (stages.Stage("doctor", "a check", lambda _: [[sleeps, sleeps]]),))
    assert kit.main(["--out", str(tmp_path), "--stage", "doctor", "--limit", str(kit.GRACE + 1)]) == 1
    found = json.loads((tmp_path / "stages" / "doctor.json").read_text())
    assert found["state"] == "unfinished"
    assert found["seconds"] < 30


def test_nothing_outlives_a_kit_that_is_terminated(tmp_path):
    child = ["sh", "-c", f"echo $$ > {tmp_path}/pid; exec sleep 60"]
    script = (
        "from tests.measurements.gpu import __main__ as kit, stages\n"
        f"kit.STAGES = (stages.Stage('doctor', 'a check', lambda _: [[{child!r}]]),)\n"
        f"kit.main(['--out', {str(tmp_path / 'out')!r}, '--stage', 'doctor'])\n"
    )
    process = subprocess.Popen([sys.executable, "-c", script], cwd=stages.ROOT, stderr=subprocess.DEVNULL)
    ends = time.monotonic() + 30
    while not ((tmp_path / "pid").exists() and (tmp_path / "pid").read_text()) and time.monotonic() < ends:
        time.sleep(0.05)
    process.terminate()
    process.wait(30)
    with pytest.raises(ProcessLookupError):
        os.kill(int((tmp_path / "pid").read_text()), 0)


def test_costs_need_records_and_name_the_shortest_run_at_the_target(tmp_path, capsys):
    assert collect.main([str(tmp_path), "--out", str(tmp_path / "costs")]) == 2
    assert "holds no complete run" in capsys.readouterr().err
    for seconds, accuracy in ((15.0, 0.93), (60.0, 0.95), (30.0, 0.945)):
        record = {
            "kind": "run", "state": "complete", "run_id": f"r{seconds:.0f}", "environment": {"device": "a GPU"},
            "spec": {"method": "houlsby", "encoder": "mpnet", "budget": {}, "max_length": 8},
            "test": {"accuracy": accuracy, "reviews": 2},
            "seconds": {"charged": seconds}, "memory": {"peak": 1}, "energy": None, "latency": [],
        }  # fmt: skip
        (tmp_path / f"{seconds}.json").write_text(json.dumps(record))
    assert collect.collect(tmp_path)["run_of_target"] == "r30"
    assert collect.collect(tmp_path, 0.96)["seconds_to_target"] is None


@pytest.mark.slow
def test_every_stage_works_with_small_numbers(tmp_path, wheels, tiny_folder, small_folder):
    out = tmp_path / "out"
    small = ["--encoder", str(tiny_folder), "--data", str(small_folder)]
    assert kit.main(["--out", str(out), "--wheels", str(wheels), "--dry", "--workers", "2", *small]) == 0
    assert {name: json.loads((out / "stages" / f"{name}.json").read_text())["state"] for name in kit.NAMES} == dict.fromkeys(
        kit.NAMES, "done"
    )
    assert len(json.loads((out / "costs.json").read_text())["runs"]) == 6
    assert [found["method"] for found in json.loads((out / "peers.json").read_text())["methods"]] == ["lora"]
    assert len(json.loads((out / "peers-accuracy.json").read_text())["cells"]) == 4
