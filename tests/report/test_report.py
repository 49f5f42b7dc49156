"""The report in every format: the same figures, and no power to what stands in records."""

from __future__ import annotations

import csv
import html
import io
import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

from bench.records.schema import Baseline, Record
from bench.report.render import render
from bench.report.tables.comparison import HEADERS
from bench.report.tables.formatting import run_line
from bench.report.tables.table import MOST_NOTES
from bench.system.errors import RecordError, SpecError
from tests.factories import HOSTILE, baseline, counted, folder_of, hostile, run, shared
from tests.reports import check_latex, check_markdown, usual

FORMATS = ["table", "markdown", "latex", "csv", "json"]


def report(folder: Path, *records: Record | Baseline, style: str = "table", reference: str = "houlsby") -> str:
    return render(folder_of(folder, *records), reference=reference, style=style)


def test_every_figure_is_the_same_in_json_csv_and_table(tmp_path: Path) -> None:
    (group,) = json.loads(report(tmp_path, *usual(), style="json"))["groups"]
    table = _pipes(render(tmp_path, reference="houlsby", style="markdown", wide=True))
    sheet = list(csv.DictReader(io.StringIO(render(tmp_path, reference="houlsby", style="csv"))))
    assert len(group["table"]) == len(table) == len(sheet) == 8
    for method, line, row in zip(group["methods"], group["table"], sheet, strict=False):
        assert f"{100 * method['accuracy']:.2f}" == line["accuracy %"].split()[0] == f"{float(row['accuracy (%)']):.2f}"
        verdict = method["paired"]["verdict"] if method["paired"] else ""
        assert line["verdict"].split(" on ")[0] == row["verdict"] == verdict
        assert f"{method['trainable_body']:,}" == line["trains: body"]
        assert str(method["trainable_body"]) == row["trainable parameters in the encoder"]
        assert str(len(method["seeds"])) == row["complete runs"]
    for line, row in zip(group["table"], table, strict=True):
        assert [html.unescape(re.sub(r"\\|\*\*", "", cell)) for cell in row] == list(line.values())
    houlsby, pfeiffer, full = group["methods"][:3]
    assert houlsby["accuracy"] == pytest.approx(0.895)
    assert full["accuracy_difference"] == pytest.approx(0.0225)
    assert list(full["states"].values()) == ["out-of-memory"]
    assert group["table"][1]["method"] == "pfeiffer"
    assert pfeiffer["label"] == "pfeiffer"
    assert group["reference"] == "houlsby"
    assert group["table"][-1]["accuracy %"] == "94.16"


def test_a_calibrated_group_shows_the_ratio_of_its_calibration_in_every_format(tmp_path: Path) -> None:
    records = [shared(low=1.0, high=1.0), shared("lora", tokens=800_000, low=0.9), counted("full")]
    found = json.loads(report(tmp_path, *records, style="json"))["groups"]
    group = next(group for group in found if "reference tokens" in group["title"])
    lora = group["methods"][1]
    assert lora["time_a_token"] == {"ratio": 1.25, "low": 0.9, "high": pytest.approx(1.2625)}
    assert (lora["reviews_per_second"], lora["reviews_seen"]) == (None, 1600)
    assert [line["time a token"] for line in group["table"]] == ["1.00", "1.25 [0.90, 1.26]", ""]
    assert "reviews per s" not in group["table"][0]
    sheet = list(csv.DictReader(io.StringIO(render(tmp_path, reference="houlsby", style="csv"))))
    columns = ("reviews per second", *(name for name in HEADERS if name.startswith("time a token")))
    cells = next([row[name] for name in columns] for row in sheet if row["method"] == "lora")
    assert cells == ["", "1.25", "0.9", "1.2625"]
    # A run of plain tokens beside a calibrated one has a dash: its own clock is not shown there either.
    mixed = next(group for group in found if "reference tokens" not in group["title"])
    assert [line["time a token"] for line in mixed["table"]] == ["1.00", "–", ""]
    text = {style: render(tmp_path, reference="houlsby", style=style) for style in ("table", "markdown", "latex")}
    assert "1.25 \\[0.90, 1.26\\]" in text["markdown"]
    assert "$[0.90, 1.26]$" in text["latex"]
    assert "[0.90, 1.26]" in text["table"]
    for shown in text.values():
        assert "per token" in shown
        assert "per s" not in shown


def _pipes(markdown: str) -> list[list[str]]:
    """The cells of a Markdown table, as GitHub splits them: an escaped pipe is none."""
    rows = [line for line in markdown.splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in re.split(r"(?<!\\)\|", row)[1:-1]] for row in rows[2:]]


@pytest.mark.parametrize("width", [40, 80, 100, 140])
def test_the_columns_that_decide_fit_every_terminal(tmp_path: Path, width: int) -> None:
    lora = (shared("lora", seed, 800_000, low=0.9) for seed in range(3))
    calibrated = folder_of(tmp_path / "calibrated", shared(low=1.0, high=1.0), *lora, baseline(22404))
    for folder, last in ((calibrated, "time per token"), (folder_of(tmp_path / "usual", *usual()), "reviews per s")):
        text = render(folder, reference="houlsby", style="table", width=width)
        lines = text.splitlines()
        assert max(map(len, lines)) <= width
        table = text.split("\n- ")[0]
        words = " ".join(table.split())
        for name in ("accuracy %", "Δ points", "verdict", "F1 %", "trainable + head", "memory MiB", last):
            assert all(part in words for part in name.split())
        # A list says each name before its cell; a table has a rule below its headers.
        assert ("\n  accuracy %: " in table) == (width <= 80) != ("───" in table)
        assert "precision" not in text
        assert "p (Holm)" not in text
        assert 0 < sum(line.startswith("- ") for line in lines) <= MOST_NOTES
    houlsby = next(line for line in lines if line.startswith("houlsby"))
    assert width <= 80 or houlsby.split()[1:3] == ["89.50", "ref."] or houlsby.split()[1:4] == ["89.50", "±1.24", "ref."]


def test_wide_shows_every_column_and_markdown_names_the_reference(tmp_path: Path) -> None:
    report(tmp_path, *usual())
    text = render(tmp_path, reference="houlsby", style="markdown", wide=True)
    header = next(line for line in text.splitlines() if line.startswith("|"))
    assert [cell.strip() for cell in header.split("|")[1:-1]] == [
        "method", "accuracy %", "Δ points", "verdict", "p (Holm)", "precision %", "recall %", "F1 %", "trainable: encoder",
        "head", "memory MiB", "reviews seen", "reviews per s", "seeds",
    ]  # fmt: skip
    assert "precision" in render(tmp_path, reference="houlsby", style="table", wide=True, width=80)
    lines = report(tmp_path, *usual(), style="markdown").splitlines()
    assert any(line.startswith("| **houlsby** ") for line in lines)


def test_several_groups(tmp_path: Path) -> None:
    records = [run(), run("lora"), run(spec={"max_length": 256}), run("lora", spec={"max_length": 256})]
    assert len(json.loads(report(tmp_path, *records, style="json"))["groups"]) == 2
    sheet = list(csv.DictReader(io.StringIO(render(tmp_path, reference="houlsby", style="csv"))))
    assert len({row["group"] for row in sheet}) == 2
    assert [row["role"] for row in sheet] == ["reference", "method", "published"] * 2
    assert render(tmp_path, reference="houlsby", style="latex").count(r"\begin{table}") == 2


def test_csv_holds_plain_numbers(tmp_path: Path) -> None:
    rows = list(csv.reader(io.StringIO(report(tmp_path, *usual(), style="csv"))))
    assert tuple(rows[0]) == HEADERS
    assert len(set(HEADERS)) == len(HEADERS)
    assert {len(row) for row in rows} == {len(HEADERS)}
    words = {"group", "role", "method", "verdict", "unconditional verdict", "runs in other states"}
    words |= {name for name in HEADERS if name.startswith("seeds")}
    for row in rows[1:]:
        numbers = [cell for name, cell in zip(HEADERS, row, strict=True) if name not in words]
        assert all(re.fullmatch(r"(-?[0-9]+(\.[0-9]+)?(e-[0-9]+)?)?", cell) for cell in numbers), row
    cells = dict(zip(HEADERS, rows[2], strict=True))
    assert cells["method"] == "pfeiffer"
    assert cells["accuracy minus reference (points)"] == "-1.5"
    assert cells["peak memory (MiB)"] == "300"
    assert (cells["verdict"], cells["seeds compared"], cells["seeds collapsed"]) == ("not resolved", "0 1 2", "")
    assert (cells["unconditional verdict"], cells["collapsed runs"]) == ("too few seeds", "0")
    of_full = dict(zip(HEADERS, rows[3], strict=True))
    assert (of_full["verdict"], of_full["seeds compared"], of_full["seeds not compared"]) == ("incomplete", "0 1", "2")


def test_latex_is_a_booktabs_table(tmp_path: Path) -> None:
    text = report(tmp_path, *usual(), style="latex")
    assert text.startswith("% needs \\usepackage{booktabs}\n\\begin{table}")
    _check_latex(text)
    rows = [line.strip() for line in text.splitlines() if line.endswith(r"\\")]
    assert rows[2].startswith("houlsby & 89.50 & ref. &")
    assert rows[3].startswith(r"& $\pm$1.24 &")
    assert rows[4].startswith(r"pfeiffer & 88.00 & $-1.50$ & not resolved &")
    assert re.match(r"& \$\\pm\$0.00 & \$\[-[0-9.]+, -?[0-9.]+\]\$ &", rows[5])
    assert text.index(r"\caption{minilm on embedded-v1") < text.index(r"\toprule") < text.index("full seed 2")


def _check_latex(text: str) -> None:
    """As `check_latex`, and as many columns in each row as the comparison has."""
    bare = check_latex(text)
    rows = [line for line in bare.splitlines() if line.endswith("\\\\")]
    assert {row.count("&") for row in rows} == {7}
    assert bare.count("&") == 7 * len(rows)


@pytest.mark.parametrize("text", HOSTILE, ids=repr)
@pytest.mark.parametrize("style", FORMATS)
def test_names_from_records_are_inert(tmp_path: Path, style: str, text: str) -> None:
    written = report(tmp_path, *hostile(text), style=style)
    assert all(c.isprintable() or c == "\n" for c in written)
    if style == "json":
        assert text in {method["method"] for group in json.loads(written)["groups"] for method in group["methods"]}
    elif style == "csv":
        rows = list(csv.reader(io.StringIO(written)))
        assert {len(row) for row in rows} == {len(HEADERS)}
        names = [row[i] for row in rows for i in (0, 1, 2, HEADERS.index("runs in other states"))]
        assert not any(name.lstrip().startswith(("=", "+", "-", "@", "\t", "\r", "＝")) for name in names)
    elif style == "latex":
        _check_latex(written)
    elif style == "markdown":
        _check_markdown(written)


def _check_markdown(text: str) -> None:
    assert {len(cells) for cells in _pipes(text)} == {8}
    check_markdown(text)


@pytest.mark.parametrize("text", HOSTILE, ids=repr)
def test_one_line_a_run_is_one_line(text: str) -> None:
    for record in hostile(text):
        assert isinstance(record, Baseline) or run_line(record).isprintable()


def test_a_folder_without_records(tmp_path: Path) -> None:
    for folder, says in ((tmp_path, "holds no records of runs"), (tmp_path / "none", "there is no file or folder")):
        with pytest.raises(RecordError, match=f"{says}.*; make some with: python -m bench run --method all"):
            render(folder, reference="houlsby", style="table")


def test_any_method_can_be_the_reference_and_an_unknown_one_is_said(tmp_path: Path) -> None:
    (group,) = json.loads(report(tmp_path, run(wrong=20), run("lora", wrong=30), style="json", reference="lora"))["groups"]
    assert [method["method"] for method in group["methods"]] == ["lora", "houlsby"]
    assert group["methods"][1]["accuracy_difference"] == pytest.approx(0.05)
    with pytest.raises(SpecError, match=r"reference 'hulsby'; did you mean 'houlsby'\? There are: houlsby, lora"):
        report(tmp_path, run(), run("lora"), reference="hulsby")


def test_every_format_is_written_without_a_library_of_models_and_tables_without_what_draws(tmp_path: Path) -> None:
    folder_of(tmp_path / "runs", *usual())
    script = (
        "import sys; from bench.cli.app import main\n"
        "def call(*words):\n"
        "    try: main(list(words))\n"
        "    except SystemExit as end: assert end.code in (0, None), end\n"
        "folder, drawing = sys.argv[1], {'altair', 'vl_convert', 'jinja2', 'bench.report.figures'}\n"
        "for style in sys.argv[2:]:\n"
        "    if style == 'html': print(sorted(drawing & sys.modules.keys()))\n"
        "    call('report', '--results', f'{folder}/runs', '--format', style, '--out', f'{folder}/{style}')\n"
        "print(sorted({'torch', 'transformers', 'sklearn', 'pandas'} & sys.modules.keys()), 'vl_convert' in sys.modules)\n"
    )
    command = [sys.executable, "-c", script, str(tmp_path), *FORMATS, "html"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert (done.stdout, done.stderr, done.returncode) == ("[]\n[] True\n", "", 0)
    for style in FORMATS:
        assert (tmp_path / style).read_text() == render(tmp_path / "runs", reference="houlsby", style=style) + "\n"
