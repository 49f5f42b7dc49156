"""The page without a browser: whole in one file, its figures those of every other format, and inert whatever records hold."""

from __future__ import annotations

import base64
import hashlib
import json
import re
from collections import Counter
from html.parser import HTMLParser
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sklearn.metrics import confusion_matrix

from bench.records.metrics import confusion
from bench.records.schema import Baseline, Evaluation, Record, pack_bits, pack_classes
from bench.records.store import save
from bench.report.page import sort_key
from bench.report.render import render
from bench.report.tables.columns import columns, rows
from bench.report.tables.comparison import as_json, section, sentences
from bench.report.tables.formatting import run_line
from tests.factories import folder_of, groups, one_group, run, shared, trial
from tests.reports import BREAKING, first_group, found_in, records, written


class Parsed(HTMLParser):
    """The elements of a page, its tables by id, and its scripts."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.tables: dict[str, list[list[str]]] = {}
        self.scripts: list[str] = []
        self.words: list[str] = []
        self.rows: list[list[str]] = []
        self.cell = False
        self.raw = ""
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        if tag == "table":
            self.rows = self.tables[dict(attrs).get("id") or f"table {len(self.tables)}"] = []
        elif tag == "tr":
            self.rows.append([])
        elif tag in {"td", "th"}:
            self.rows[-1].append("")
            self.cell = True
        elif tag in {"script", "style"}:
            self.raw = tag
            self.scripts += [""] if tag == "script" else []

    def handle_endtag(self, tag: str) -> None:
        self.raw = "" if tag == self.raw else self.raw
        self.cell = self.cell and tag not in {"td", "th"}

    def handle_data(self, data: str) -> None:
        if self.raw == "script":
            self.scripts[-1] += data
        elif not self.raw:
            self.words.append(data)
            if self.cell:
                self.rows[-1][-1] += data

    def attributes(self, name: str) -> list[str]:
        return [attributes[name] or "" for _, attributes in self.elements if name in attributes]


def data_of(parsed: Parsed) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(parsed.scripts[0])
    return found


def points_of(sizes: dict[str, Any]) -> list[dict[str, Any]]:
    """The data of a figure, whatever its size."""
    return [point for data in found_in(sizes, "data") for point in data["values"]]


def test_the_page_is_whole_and_small_and_its_policy_lets_nothing_be_fetched(html: str) -> None:
    assert html.lower().startswith("<!doctype html>")
    assert len(html.encode()) < 3_000_000
    parsed = Parsed(html)
    assert len(parsed.scripts) == 3
    links = [*parsed.attributes("href"), *parsed.attributes("src")]
    assert links
    assert all(re.fullmatch(r"#[a-z0-9-]+", link) for link in links)
    assert {link[1:] for link in links} <= set(parsed.attributes("id"))
    assert not {tag for tag, _ in parsed.elements} & {"link", "img", "iframe", "object", "embed", "base", "form", "video"}
    (policy,) = (found["content"] or "" for _, found in parsed.elements if found.get("http-equiv") == "Content-Security-Policy")
    hashes = [base64.b64encode(hashlib.sha256(script.encode()).digest()).decode() for script in parsed.scripts[1:]]
    scripts = " ".join(f"'sha256-{found}'" for found in hashes)
    assert policy.split("; ") == [
        "default-src 'none'", f"script-src {scripts}", "style-src 'unsafe-inline'", "base-uri 'none'", "form-action 'none'",
    ]  # fmt: skip


def test_the_tables_are_those_of_every_other_format(html: str) -> None:
    tables = Parsed(html).tables
    found = groups(*records())
    for i, group in enumerate(found, 1):
        for name, wide in (("comparison", False), ("columns", True)):
            shown = section(group, wide=wide)
            found_rows = [[cell.replace("\n", " ") for cell in row] for row in (*shown.rows, *shown.below)]
            header, *rows = tables[f"group-{i}-{name}"]
            assert header == [text.replace("\n", " ") for text in shown.headers]
            assert rows == found_rows
        assert [list(row.values()) for row in as_json(group)] == rows
        every = [record for row in group.rows for record in (*row.runs, *row.other_runs)]
        assert {row[0] for row in tables[f"group-{i}-runs"][1:]} == {record.run_id for record in every}
    whole = [row for i in range(len(found)) for row in tables[f"group-{i + 1}-runs"]]
    assert [row[3:5] for row in whole if "out-of-memory" in row] == [["out-of-memory", "why it ended"]]
    assert sum(name.startswith("table ") for name in tables) >= 4


def test_a_calibrated_table_is_sorted_by_the_ratio_of_its_calibration() -> None:
    group = one_group(shared(), shared("lora", tokens=800_000))
    column = next(column for column in columns(group, wide=False) if column.header == "time\nper token")
    assert not column.words
    assert [(column.cell(row).split()[0], sort_key(column, row)) for row in group.rows] == [("1.00", 1.0), ("1.25", 1.25)]
    assert sort_key(column, rows(group)[-1]) == ""


def test_every_point_is_of_runs_that_the_page_knows_and_groups_never_share_a_figure(html: str) -> None:
    data = data_of(Parsed(html))
    named = {run_id for sizes in data["figures"].values() for point in points_of(sizes) for run_id in point["runs"]}
    every = {record.run_id for record in records() if isinstance(record, Baseline) or record.spec.purpose == "run"}
    assert named < set(data["runs"]) == every  # but for the run that ran out of memory
    known = data["runs"][run().run_id]
    assert list(known) == ["run", "method", "settings", "seed", "state", "machine", "versions", "commit", "finished"]
    assert known["settings"] == "learning_rate 0.001"
    assert "torch 2.13.0" in known["versions"]
    figures = data["figures"]
    for i, group in enumerate(groups(*records()), 1):
        own = {record.run_id for row in group.rows for record in row.runs} | {baseline.run_id for baseline in group.baselines}
        of_group = [sizes for name, sizes in figures.items() if name.startswith(f"group-{i}-")]
        assert len(of_group) == 6
        assert {run_id for sizes in of_group for point in points_of(sizes) for run_id in point["runs"]} <= own
    assert [name for name in figures if not name.startswith("group-")] == ["budgets-1-sweep"]


def test_headings_labels_and_captions(html: str) -> None:
    parsed = Parsed(html)
    elements, ids = parsed.elements, parsed.attributes("id")
    assert dict(elements)["html"] == {"lang": "en"}
    assert "aria-busy" not in dict(elements)["body"]  # without a script it would be busy for ever
    assert len(ids) == len(set(ids))
    levels = [int(tag[1]) for tag, _ in elements if re.fullmatch("h[1-6]", tag)]
    assert levels.count(1) == 1
    assert all(after <= before + 1 for before, after in pairwise(levels))
    for name in ("aria-labelledby", "for", "data-table"):
        assert parsed.attributes(name)
        assert set(parsed.attributes(name)) <= set(ids)
    count = Counter(tag for tag, _ in elements)
    assert count["table"] == count["caption"] > 0
    assert count["figure"] == count["figcaption"] == sum("data-figure" in found for _, found in elements) > 0
    assert count["input"] == count["label"] > 0
    assert all("scope" in found for tag, found in elements if tag == "th")
    buttons = sum(tag == "button" for tag, _ in elements)
    assert len(parsed.attributes("aria-sort")) == buttons - 1  # the other one turns the colours over


def test_the_memory_of_a_run_is_what_the_comparison_counts() -> None:
    measured = run().memory
    assert measured
    on_gpu = run(memory=measured.model_copy(update={"cuda_reserved": 500 * 2**20, "cuda_allocated": 400 * 2**20}))
    parsed = Parsed(written([on_gpu, run("lora")]))
    for name, known in (("group-1-comparison", ["400", "300"]), ("group-1-runs", ["400", "300"])):
        header, *rows = parsed.tables[name]
        assert [row[header.index("memory MiB")] for row in rows[:2]] == known
    assert "400 MiB" in run_line(on_gpu)
    assert "300 MiB" in run_line(run())


def test_the_page_leads_with_the_answer(html: str) -> None:
    words = " ".join(" ".join(Parsed(html).words).split())
    number, group = first_group(records(), 5)
    found = sentences(group)
    assert found[1].startswith(
        "pfeiffer: 88.00 ± 0.00 %, not resolved from houlsby (-1.50 points), 1.00 × its time per review, "
    )
    assert [words.index(sentence) for sentence in found] == sorted(words.index(sentence) for sentence in found)
    anchors = [f'id="group-{number}"', found[1], f'id="group-{number}-comparison"', f'data-figure="group-{number}-forest"']
    assert [html.index(anchor) for anchor in anchors] == sorted(html.index(anchor) for anchor in anchors)
    figures = [name for name in data_of(Parsed(html))["figures"] if name.startswith(f"group-{number}-")]
    assert [name.split("-", 2)[2] for name in figures[:3]] == ["forest", "accuracy-time", "accuracy-memory"]
    assert "How to read this" in words
    assert "One seed gives no verdict" in words
    assert "full seed 2 out-of-memory (why it ended)" in words


def test_hostile_words_are_text_and_nothing_else(html: str, hostile_html: str) -> None:
    parsed = Parsed(hostile_html)
    usual_tags = {tag for tag, _ in Parsed(html).elements}
    assert {tag for tag, _ in parsed.elements} <= usual_tags
    assert len(parsed.scripts) == 3
    assert not set("<>&") & set(parsed.scripts[0])
    assert data_of(parsed)["figures"]
    assert not [name for _, found in parsed.elements for name in found if name.startswith("on")]
    assert all(text.replace("\n", "").isprintable() for text in parsed.words)
    own = [value for _, found in parsed.elements for value in found.values() if value]
    assert all(value.isprintable() for value in own)
    words = " ".join(parsed.words)
    for text in BREAKING:
        assert "".join(c if c.isprintable() else "\ufffd" for c in text) in words


def classified(method: str, seed: int, labels: np.ndarray, predictions: np.ndarray, names: list[str]) -> Record:
    """A run on so many classes that predicts these, [200]."""
    counts, right = confusion(labels, predictions, len(names)), predictions == labels
    test = Evaluation(
        reviews=200, **counts.fields(), leaked=[], accuracy_without_leaked=counts.accuracy, correct=pack_bits(right),
        predictions=pack_classes(predictions, len(names)), labels=pack_classes(labels, len(names)),
    )  # fmt: skip
    data = run().data.model_copy(update={"labels": names})
    return run(method, seed, test=test, data=data, out_of_domain=None, spec={"classes": len(names)})


@pytest.mark.parametrize("names", [["a", "<b>", "c"], [f"class {i}" for i in range(21)]], ids=["few", "many"])
def test_confusions_of_more_than_two_classes_are_summed_over_seeds(names: list[str], tmp_path: Path) -> None:
    rng, k = np.random.default_rng(0), len(names)
    labels = np.arange(200) % k
    guesses = {
        (method, seed): np.where(rng.random(200) < 0.7, labels, rng.integers(0, k, 200))
        for method, seed in (("houlsby", 0), ("houlsby", 1), ("lora", 0))
    }
    for (method, seed), predictions in guesses.items():
        save(tmp_path, classified(method, seed, labels, predictions, names))
    houlsby, lora = json.loads(render(tmp_path, reference="houlsby", style="json"))["groups"][0]["confusion"]
    tables = Parsed(render(tmp_path, reference="houlsby", style="html")).tables.values()
    header, *shown = next(table for table in tables if table[0][:2] == ["method", "true class"])
    both = sum(confusion_matrix(labels, guesses["houlsby", seed]) for seed in (0, 1))
    pairs = Counter({(names[i], names[j]): int(both[i, j]) for i in range(k) for j in range(k) if i != j})
    assert [count for *_, count in houlsby["most_confused"]] == [count for _, count in pairs.most_common(20) if count]
    assert all(pairs[true, predicted] == count for true, predicted, count in houlsby["most_confused"])
    assert (houlsby["label"], lora["label"], houlsby["classes"]) == ("houlsby", "lora", names)
    if k == 3:
        assert houlsby["matrix"] == both.tolist()
        assert header == ["method", "true class", *names]
        assert shown[:k] == [["houlsby", name, *map(str, row)] for name, row in zip(names, both.tolist(), strict=True)]
        assert shown[k:] == [["lora", name, *map(str, row)] for name, row in zip(names, lora["matrix"], strict=True)]
    else:
        assert (houlsby["matrix"], header) == (None, ["method", "true class", "predicted", "reviews"])
        every = [["houlsby", *pair] for pair in houlsby["most_confused"]] + [["lora", *pair] for pair in lora["most_confused"]]
        assert shown == [[*words, str(count)] for *words, count in every]


def test_the_report_writes_the_page(tmp_path: Path) -> None:
    text = render(folder_of(tmp_path / "runs", run(), run("lora", wrong=30)), reference="lora", style="html")
    assert Parsed(text).tables["group-1-comparison"][1][:3] == ["lora", "85.00", "ref."]
    trials = folder_of(tmp_path / "trials", trial("houlsby", 0.001, 0.8))
    assert "Tuning trials" in render(trials, reference="houlsby", style="html")
