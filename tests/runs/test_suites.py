"""Suites say what to run: the shipped ones are sound, a bad one is one line, and each run is that of the spelt-out command."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

import methods
from bench.runs.plan import Request, plan
from bench.runs.suite import Suite, load_suite, matrices, overridden, shipped, suites_text
from bench.system.errors import BenchError, SpecError
from tests.conftest import call
from tests.measurements.readme import ROOT

GOOD = """
description: A test.
encoders: [minilm]
data: [embedded]
methods: [lora]
budgets: [60s]
"""


CROSSED = {"description": "x", "encoders": ["a", "b"], "data": ["c", "d"], "methods": ["lora"], "budgets": ["1s", "2s"]}


def written(folder: Path, text: str) -> str:
    path = folder / "mine.yaml"
    path.write_text(text)
    return str(path)


@pytest.fixture
def tiny_suite(tmp_path: Path, tiny_folder: Path, small_folder: Path) -> str:
    return written(
        tmp_path,
        f"""
description: A small one.
encoders: ["{tiny_folder}"]
data: ["{small_folder}"]
methods:
  - lora
  - houlsby: {{bottleneck: 5, non_linearity: relu, learning_rate: 3e-4}}
budgets: [2 steps, 60s]
seeds: [0, 3]
max_length: 16
truncation: head
batch_size: 8
dropout: 0.1
attention_dropout: 0.2
precision: fp32
test_limit: 40
""",
    )


def test_shipped_suites_are_sound_and_documented() -> None:
    study = {"study-budgets", "study-main", "study-tokens"}
    assert set(shipped()) == {"base", "base-long", "headline", "official", "quick", "seed", *study}
    for name, path in shipped().items():
        assert load_suite(name) == load_suite(str(path))
        assert load_suite(name).requests()
    listed = suites_text()
    assert "quick: What make demo runs" in listed
    assert re.findall(r"^([\w-]+): ", listed, flags=re.M) == sorted(shipped())
    fields = (ROOT / "suites" / "README.md").read_text()
    assert not [field for field in Suite.model_fields if f"`{field}`" not in fields]
    assert set(re.findall(r"`--suite (\w+)`|--suite (\w+)", (ROOT / "Makefile").read_text())[0]) >= {"quick"}


def test_quick_is_what_the_command_that_spells_it_out_runs() -> None:
    (matrix,) = matrices("quick", "cpu")
    spelt = plan(Request(["all"], budget="24s", test_limit=200, device="cpu"))
    assert [job.run_id for job in matrix.jobs] == [job.run_id for job in spelt.jobs]
    assert matrix.with_baseline


def test_the_published_recipe_in_the_terms_of_the_suite() -> None:
    (request,) = load_suite("seed").requests()
    houlsby = methods.configured("houlsby", request.hyperparameters["houlsby"])
    shape = methods.EncoderShape("roberta", 50265, 514, 1, 768, 12, 3072)
    assert houlsby.trainable_parameters(shape) == 2_379_264
    assert (request.max_length, request.batch_size, request.dropout, request.attention_dropout) == (256, 12, 0.1, 0.1)


def test_settings_reach_the_runs(tiny_suite: str) -> None:
    (matrix,) = matrices(tiny_suite)
    assert len(matrix.jobs) == 2 * 2 * 2
    spec = matrix.jobs[1].spec
    assert (spec.method, spec.seed, str(spec.budget)) == ("houlsby", 0, "2 steps")
    assert spec.hyperparameters == {"bottleneck": 5, "non_linearity": "relu", "learning_rate": 3e-4}
    assert (spec.max_length, spec.truncation, spec.batch_size, spec.test_limit) == (16, "head", 8, 40)
    assert (spec.dropout, spec.attention_dropout, spec.precision) == (0.1, 0.2, "fp32")
    assert {job.spec.seed for job in matrix.jobs} == {0, 3}
    assert matrix.jobs[0].spec.hyperparameters == methods.get("lora").hyperparameters()


def test_encoders_data_and_train_limits_are_crossed_and_those_that_an_option_makes_equal_run_once() -> None:
    suite = Suite.model_validate(CROSSED)
    asked = suite.requests("cpu")
    assert [(one.encoder, one.data) for one in asked] == [("a", "c"), ("a", "d"), ("b", "c"), ("b", "d")]
    assert {(one.budget, one.device) for one in asked} == {("1s,2s", "cpu")}
    assert [(one.encoder, one.data) for one in overridden(suite.requests(), {"encoder": "e"})] == [("e", "c"), ("e", "d")]
    fields = {"description": "x", "encoders": ["a"], "data": ["c"], "methods": ["lora"], "budgets": ["1s"]}
    (request,) = Suite.model_validate({**fields, "train_limit": [100, 1000], "text_column": "body"}).requests()
    assert (request.train_limit, request.text_column, request.label_column) == ("100,1000", "body", None)


def test_all_and_one_of_them_with_its_own_settings(tmp_path: Path) -> None:
    text = GOOD.replace("[lora]", "[all, {houlsby: {bottleneck: 8}}, bitfit]")
    suite = load_suite(written(tmp_path, text))
    assert list(suite.settings) == [*methods.names(core=True), "bitfit"]
    assert suite.settings["houlsby"] == {"bottleneck": 8}


def change(old: str, new: str) -> str:
    assert old in GOOD
    return GOOD.replace(old, new)


BAD: dict[str, tuple[str, str]] = {
    "empty": ("", "must hold fields, such as description"),
    "a list": ("- quick", "must hold fields"),
    "numbers for names": ("1: 2", "must hold fields"),
    "no YAML": ("methods: [lora", "line 1"),
    "a tab": (GOOD + "\tseeds: 1", "line 7"),
    "a tag that makes an object": ("a: !!python/object/apply:os.system [ls]", "line 1: could not determine a constructor"),
    "an alias": ("a: &x [1]\nb: *x", "line 2: aliases"),
    "a date": ("a: 2026-13-45", "is no YAML"),
    "very deep": ("a: " + "[" * 5000, "is no YAML"),
    "very large": ("#" * 70_000, "is larger than"),
    "no text": ("a: \x01", "is no YAML"),
    "a field twice": (GOOD + "budgets: [10s]", "'budgets' is repeated"),
    "a misspelt field": (GOOD + "max_lenght: 256", "no field 'max_lenght'; did you mean 'max_length'?"),
    "an unknown field": (GOOD + "colour: red", "no field 'colour'; there are description, encoders"),
    "a missing field": (change("methods: [lora]", ""), 'methods is missing; write it like methods: ["all"'),
    "no methods": (change("[lora]", "[]"), "methods []: list should have at least 1 item"),
    "methods as text": (change("[lora]", "lora"), "methods 'lora': input should be a valid list; write it like methods: ["),
    "an unknown method": (change("[lora]", "[lorra]"), "methods: unknown method 'lorra'; did you mean 'lora'?"),
    "a method twice": (change("[lora]", "[lora, {lora: {rank: 4}}]"), "methods: 'lora' is repeated"),
    "settings at the wrong depth": (change("[lora]", "[{lora: , rank: 4}]"), "methods[0] None"),
    "an unknown setting": (change("[lora]", "[{lora: {rang: 4}}]"), "lora has no hyperparameter 'rang'; did you mean 'rank'?"),
    "a setting of no use": (change("[lora]", "[{lora: {rank: 0}}]"), "lora: rank must be a whole number more than 0, not '0'"),
    "a setting that is no number": (change("[lora]", "[{lora: {rank: high}}]"), "lora: rank must be a whole number"),
    "two that exclude each other": (
        change("[lora]", "[{pfeiffer: {bottleneck: 4, reduction_factor: 2}}]"),
        "pfeiffer: reduction_factor does not count beside bottleneck",
    ),
    "a non-linearity of no use": (change("[lora]", "[{houlsby: {non_linearity: cube}}]"), "'cube' is not one of relu"),
    "a number for a budget": (change("[60s]", "[60]"), "budgets[0] 60: input should be a valid string"),
    "a bad budget": (change("60s", "soon"), "budgets: budget 'soon' is not understood"),
    "two budgets in one": (change("60s", "'10s,60s'"), "budgets: budget '10s,60s' is not understood"),
    "a budget twice": (change("60s", "60s, 60s"), "budgets: '60s' is repeated"),
    "an encoder twice": (change("minilm", "minilm, minilm"), "encoders: 'minilm' is repeated"),
    "a text for a number": (GOOD + "batch_size: many", "batch_size 'many': input should be a valid integer"),
    "yes for a number": (GOOD + "batch_size: yes", "batch_size True: input should be a valid integer"),
    "too long": (GOOD + "max_length: 9000", "max_length 9000: input should be less than or equal to 8192"),
    "an unknown truncation": (GOOD + "truncation: middle", "truncation 'middle': input should be 'head'"),
    "a dropout of one": (GOOD + "dropout: 1", "dropout 1: input should be less than 1"),
    "no seeds": (GOOD + "seeds: 0", "seeds: seeds '0': between 1 and 1000"),
    "a seed twice": (GOOD + "seeds: [1, 1]", "name a seed twice"),
    "bad memory": (GOOD + "memory: lots", "memory: memory 'lots'"),
    "too many trials": (GOOD + "tune: 9", "tune: --tune 9 is more than the 3 learning rates"),
}


@pytest.mark.parametrize("case", BAD)
def test_a_suite_that_is_not_one_is_refused_in_one_line(case: str, tmp_path: Path) -> None:
    text, says = BAD[case]
    path = written(tmp_path, text)
    with pytest.raises(SpecError) as caught:
        load_suite(path)
    line = str(caught.value)
    assert says in line
    assert line.startswith(f"suite {path}")
    assert "\n" not in line
    assert len(line) < 500


def test_a_suite_that_cannot_be_read(tmp_path: Path) -> None:
    listed = r"there are base, base-long, headline, official, quick, seed, study-budgets, study-main, study-tokens\. A file is"
    for name, says in (
        (str(tmp_path / "absent.yaml"), "cannot be read"), (str(tmp_path), "cannot be read"),
        ("quik", "no suite is called 'quik'; did you mean 'quick'"), ("mine.yaml", listed),
    ):  # fmt: skip
        with pytest.raises(SpecError, match=says):
            load_suite(name)


def test_what_the_machine_lacks_is_said_of_the_suite(tmp_path: Path) -> None:
    path = written(tmp_path, change("minilm", "nowhere"))
    with pytest.raises(SpecError, match=r"^suite .*mine\.yaml: encoder 'nowhere' is none of"):
        matrices(path)
    path = written(tmp_path, change("[lora]", "[{lora: {learning_rate: 1e-3}}]") + "tune: 2")
    with pytest.raises(SpecError, match="tuning chooses the learning rate of lora"):
        matrices(path)


def test_options_override_the_file(tiny_suite: str) -> None:
    notes: list[str] = []

    def ids(**overrides: Any) -> set[str]:
        return {
            job.run_id for matrix in matrices(tiny_suite, "cpu", overrides=overrides, say=notes.append) for job in matrix.jobs
        }

    whole = ids()
    assert notes == []
    assert ids(budget="2 steps", seeds="3,", methods=["lora"]) < whole, "a run is the same whichever way it is asked for"
    assert ids(hyperparameters={"houlsby": {"bottleneck": 5}}) == whole
    assert ids(max_length=24).isdisjoint(whole)
    (matrix,) = matrices(tiny_suite, "cpu", overrides={"hyperparameters": {"houlsby": {"bottleneck": 7}, "lora": {"rank": 3}}})
    settings = {job.spec.method: job.spec.hyperparameters for job in matrix.jobs}
    assert (settings["houlsby"]["bottleneck"], settings["houlsby"]["non_linearity"], settings["lora"]["rank"]) == (7, "relu", 3)
    assert notes == [
        "--budget 2 steps overrides the suite's 2 steps,60s; --seeds 3, overrides the suite's 0,3,; "
        "--method lora overrides the suite's lora, houlsby",
        "--set houlsby.bottleneck=5 overrides the suite's 5",
        "--max-length 24 overrides the suite's 16",
    ]
    with pytest.raises(BenchError, match="hyperparameters are set for bitfit, which is not run; add it with --method bitfit"):
        matrices(tiny_suite, overrides={"hyperparameters": {"bitfit": {"learning_rate": 1e-3}}})


def test_an_override_through_the_command(tiny_suite: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The line is the only one on the error stream; a bad value is one line too."""
    where = ["watch", "--once", "--device", "cpu", "-o", str(tmp_path / "none"), "--suite", tiny_suite]
    assert call([*where, "--budget", "4 steps", "-m", "houlsby", "--set", "houlsby.bottleneck=6"]) == 0
    printed, told = capsys.readouterr()
    assert "2 of 2 to do" in printed
    assert told.count("\n") == 1
    assert "--budget 4 steps overrides the suite's 2 steps,60s" in told
    assert call([*where, "--budget", "soon"]) == 2
    assert capsys.readouterr().err.count("\n") == 1


def test_every_matrix_is_done_even_after_one_that_was_not_complete(
    tiny_suite: str, small_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import bench.runs.scheduler

    text = Path(tiny_suite).read_text().replace(f'["{small_folder}"]', f'["{small_folder}", embedded]')
    text = text.replace("[2 steps, 60s]", "[2 steps]")  # counted: nothing is calibrated
    calls: list[Any] = []

    def carry_out(matrix: Any, out: Path, *, force: bool, **rest: Any) -> bool:
        calls.append((matrix.data.cut, matrix.device, out, force))
        return len(calls) > 1

    monkeypatch.setattr(bench.runs.scheduler, "carry_out", carry_out)
    arguments = ["run", "--suite", written(tmp_path, text), "--out", str(tmp_path / "out"), "--device", "cpu", "--force"]
    assert call(arguments) == 1
    assert [(device, out, force) for _, device, out, force in calls] == [("cpu", tmp_path / "out", True)] * 2
    assert [cut for cut, *_ in calls] == [f"{small_folder.name}-v2", "embedded-v2"]
