"""The page: whole in one file, inert whatever stands in records, and usable, in a real browser and without one."""

from __future__ import annotations

import base64
import hashlib
import json
import os
import re
import shutil
from collections import Counter
from collections.abc import Iterator
from html.parser import HTMLParser
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from selenium import webdriver
from selenium.common.exceptions import WebDriverException
from selenium.webdriver.chrome.options import Options
from selenium.webdriver.chrome.service import Service
from selenium.webdriver.common.action_chains import ActionChains
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.remote.webelement import WebElement
from selenium.webdriver.support.wait import WebDriverWait
from sklearn.metrics import confusion_matrix

from bench.analysis.comparison import Group
from bench.analysis.tuning import sensitivities
from bench.records.metrics import confusion
from bench.records.schema import Baseline, Evaluation, Record, pack_bits, pack_classes
from bench.records.spec import Budget
from bench.records.store import save
from bench.report.page import page, sort_key
from bench.report.render import render
from bench.report.tables.columns import columns, rows
from bench.report.tables.comparison import as_json, section, sentences
from bench.report.tables.formatting import run_line
from tests.factories import HOSTILE, MACHINE, ORDER, folder_of, groups, hostile, one_group, run, shared, trial
from tests.report.test_figures import found_in, ugly
from tests.report.test_report import usual

CHROMIUM, DRIVER = shutil.which("chromium"), shutil.which("chromedriver")
in_browser = pytest.mark.skipif(
    (CHROMIUM is None or DRIVER is None) and "REQUIRE_BROWSER" not in os.environ,
    reason="no chromium and chromedriver: apt-get install chromium chromium-driver",
)
WIDTH = 1200
"""Pixels of the usual screen."""
NEXT_FRAME = "const next = () => requestAnimationFrame(() => arguments[arguments.length - 1]());"
BREAKING = (
    "</script><script>alert(1)</script>", "<!--<script>", '"><img src=x onerror=alert(1)>', "' onmouseover='alert(1)",
    "{{ 7 * 7 }}{% raw %}", "&lt;b&gt;", "\u2028\u2029\ufeff", "]]>",
)  # fmt: skip
"""Words that end what they stand in, were it a script, an attribute or a template."""


def records() -> list[Record | Baseline]:
    """Three seeds of some methods, a run that ended early, a second budget, and a tuning trial."""
    short = {"budget": Budget(amount=15, unit="seconds")}
    return [*usual(), run(spec=short), run("lora", wrong=30, spec=short), trial("houlsby", 0.001, 0.8)]


def breaking() -> list[Record | Baseline]:
    """Hostile words in every place of a record that is free text: all as names in one group, and one as everything else."""
    return [*ugly(*BREAKING), *hostile(BREAKING[0])[:4]]


def lengthy() -> list[Record | Baseline]:
    """Three seeds whose machine and versions are as long as they are in practice, and whose states and times differ."""
    libraries = {f"library-number-{i:02}": f"1.{i}.0+cpu" for i in range(12)}
    machine = MACHINE.model_copy(
        update={"device": "Some(R) Vendor(R) Processor @ 2.80GHz", "versions": libraries, "commit": "c" * 40}
    )
    return [
        run(method, seed, 20 + seed, environment=machine, finished=f"2026-01-0{seed + 1}T00:00:00+00:00")
        for method in ("houlsby", "pfeiffer")
        for seed in range(3)
    ]


def written(found: list[Record | Baseline]) -> str:
    return page(groups(*found), sensitivities(found, ORDER))


@pytest.fixture(scope="module")
def html() -> str:
    return written(records())


@pytest.fixture(scope="module")
def hostile_html() -> str:
    return written(breaking())


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


# Without a browser


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
    for name, known in (("group-1-comparison", ["500", "300"]), ("group-1-runs", ["500", "300"])):
        header, *rows = parsed.tables[name]
        assert [row[header.index("memory MiB")] for row in rows[:2]] == known
    assert "500 MiB" in run_line(on_gpu)
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


# In a browser


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[webdriver.Chrome]:
    assert CHROMIUM
    options = Options()
    options.binary_location = CHROMIUM
    # Who runs the tests may be root in a container, where the browser has no sandbox of its own.
    for argument in ("--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run"):
        options.add_argument(argument)
    options.add_argument(f"--user-data-dir={tmp_path_factory.mktemp('profile')}")
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    driver = webdriver.Chrome(options=options, service=Service(DRIVER))
    yield driver
    driver.quit()


@pytest.fixture(scope="module")
def files(html: str, hostile_html: str, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("pages")
    found = {name: folder / f"{name}.html" for name in ("usual", "hostile", "lengthy")}
    found["usual"].write_text(html, encoding="utf-8")
    found["hostile"].write_text(hostile_html, encoding="utf-8")
    found["lengthy"].write_text(written(lengthy()), encoding="utf-8")
    return found


def drawn(browser: webdriver.Chrome) -> None:
    """Wait until every figure is there."""
    WebDriverWait(browser, 60).until(lambda b: b.find_element(By.TAG_NAME, "body").get_attribute("aria-busy") == "false")


def resized(browser: webdriver.Chrome, width: int, height: int = 900) -> None:
    size = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 600}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
    # A page that is about to be laid out anew may still look as if it had been.
    browser.execute_async_script(f"{NEXT_FRAME} setTimeout(() => requestAnimationFrame(next), 100);")


def as_wide_as_what_holds_it(browser: webdriver.Chrome) -> bool:
    """Whether every figure is drawn at the width that there is for it."""
    found: bool = browser.execute_script(
        "return [...document.querySelectorAll('.plot')].every((plot) => {"
        "  const drawn = plot.querySelector('svg')?.width.baseVal.value;"
        "  return drawn > 0.9 * plot.clientWidth && drawn <= plot.clientWidth + 1;"
        "});"
    )
    return found


def opened(browser: webdriver.Chrome, path: Path) -> None:
    """Show a page, drawn and without a word on the console; one that is shown already stays as it is.

    A test that changed its size or colours sets `shows` to None.
    """
    if getattr(browser, "shows", None) == path:
        return
    resized(browser, WIDTH)
    feature = {"name": "prefers-color-scheme", "value": "light"}
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": "", "features": [feature]})
    browser.get_log("browser")
    browser.get(path.as_uri())
    drawn(browser)
    assert browser.get_log("browser") == []
    browser.shows = path


def visible(browser: webdriver.Chrome, selector: str) -> WebElement:
    """The element in the middle of the screen, with nothing left to scroll."""
    element = browser.find_element(By.CSS_SELECTOR, selector)
    browser.execute_async_script(
        f"arguments[0].scrollIntoView({{block: 'center'}}); {NEXT_FRAME} requestAnimationFrame(next);", element
    )
    return element


def first_group(found: list[Record | Baseline], methods: int) -> tuple[int, Group]:
    """The first group with so many rows, and its number on the page."""
    return next((i, group) for i, group in enumerate(groups(*found), 1) if len(group.rows) == methods)


@in_browser
def test_every_figure_is_drawn_and_nothing_is_or_can_be_fetched(browser: webdriver.Chrome, files: dict[str, Path]) -> None:
    opened(browser, files["usual"])
    assert browser.get_log("browser") == []
    plots = browser.find_elements(By.CSS_SELECTOR, ".plot")
    assert len(plots) == len(browser.find_elements(By.CSS_SELECTOR, ".plot > svg")) == 13
    assert browser.execute_script("return performance.getEntriesByType('resource').length") == 0
    blocked = browser.execute_async_script(
        "const done = arguments[0];"
        "document.addEventListener('securitypolicyviolation', (event) => done(event.effectiveDirective), { once: true });"
        "document.body.append(Object.assign(new Image(), { src: 'http://127.0.0.1:9/a.png' }));"
    )
    assert blocked == "img-src"
    browser.get_log("browser")


@in_browser
def test_a_point_says_which_run_it_is(browser: webdriver.Chrome, files: dict[str, Path]) -> None:
    opened(browser, files["usual"])
    number, group = first_group(records(), 5)
    plot = f"[data-figure='group-{number}-accuracy-parameters']"
    tip = browser.find_element(By.ID, "tip")
    assert not tip.is_displayed()
    ActionChains(browser).move_to_element(visible(browser, f"{plot} path[aria-label^='pfeiffer: 88.00']")).perform()
    WebDriverWait(browser, 10).until(lambda _: tip.is_displayed())
    said = tip.text
    for record in group.rows[1].runs:
        assert record.run_id in said
    assert "learning_rate 0.001" in said
    assert "Some CPU, 2 threads" in said
    assert "torch 2.13.0" in said
    assert "complete" in said
    ActionChains(browser).send_keys(Keys.ESCAPE).perform()
    assert not tip.is_displayed()
    # From the middle of the small point away from the large one.
    single = visible(browser, f"{plot} path[aria-label^='houlsby, seed 0: 90.00']")
    ActionChains(browser).move_to_element_with_offset(single, 0, -2).perform()
    WebDriverWait(browser, 10).until(lambda _: tip.is_displayed())
    assert group.rows[0].runs[0].run_id in tip.text
    assert group.rows[0].runs[1].run_id not in tip.text


@in_browser
@pytest.mark.parametrize(("width", "height", "named"), [(390, 844, 3), (1366, 465, 1)], ids=["telephone", "slit"])
def test_what_a_point_says_is_all_on_the_screen(
    browser: webdriver.Chrome, files: dict[str, Path], width: int, height: int, named: int
) -> None:
    opened(browser, files["lengthy"])
    try:
        resized(browser, width, height)
        WebDriverWait(browser, 30).until(as_wide_as_what_holds_it)
        drawn(browser)
        mean = "[data-figure='group-1-accuracy-parameters'] path[aria-label^='pfeiffer: 89.50']"
        ActionChains(browser).move_to_element(visible(browser, mean)).perform()
        tip = browser.find_element(By.ID, "tip")
        WebDriverWait(browser, 10).until(lambda _: tip.is_displayed())
        inside = browser.execute_script(
            "const inside = (at) => at.left >= 0 && at.top >= 0 && at.right <= innerWidth && at.bottom <= innerHeight;"
            "return [arguments[0], ...arguments[0].querySelectorAll('*')].map((part) => inside(part.getBoundingClientRect()));",
            tip,
        )
        assert len(inside) > 10
        assert all(inside)
        runs = [record for record in lengthy() if isinstance(record, Record) and record.spec.method == "pfeiffer"]
        assert [record.run_id in tip.text for record in runs] == [True] * named + [False] * (3 - named)
        assert tip.text.count("library-number-07") == 1
        assert ("Not named here: 2 of its runs" in tip.text) == (named == 1)
    finally:
        browser.shows = None


@in_browser
def test_points_are_reached_by_keys(browser: webdriver.Chrome, files: dict[str, Path]) -> None:
    opened(browser, files["usual"])
    number, _ = first_group(records(), 5)
    tip = browser.find_element(By.ID, "tip")

    def focused() -> tuple[str, str]:
        """The figure and the point that have the focus."""
        script = "const e = document.activeElement; return [e.closest('[data-figure]')?.dataset.figure, e.ariaLabel]"
        found: list[str] = browser.execute_script(script)
        return found[0], found[1]

    def pressed(*keys: str) -> tuple[str, str]:
        ActionChains(browser).send_keys(*keys).perform()
        return focused()

    stops = "return [...document.querySelectorAll('.plot')].map((plot) => plot.querySelectorAll('[tabindex=\"0\"]').length)"
    assert set(browser.execute_script(stops)) == {1}
    # A figure is one stop of Tab, and its words, folded, are the next.
    browser.execute_script(f"document.querySelector('#group-{number}-columns').closest('details').firstElementChild.focus()")
    assert pressed(Keys.TAB)[0] == f"group-{number}-forest"
    ActionChains(browser).send_keys(Keys.TAB).perform()
    assert pressed(Keys.TAB)[0] == f"group-{number}-accuracy-time"
    browser.execute_script(
        f"document.querySelector(\"[data-figure='group-{number}-accuracy-parameters'] [tabindex='0']\").focus()"
    )
    figure, first = focused()
    assert figure == f"group-{number}-accuracy-parameters"
    passed = [first]
    while (point := pressed(Keys.ARROW_RIGHT)[1]) != first:
        assert point not in passed
        passed.append(point)
    every = f"[data-figure='{figure}'] :is(path, line)[role='graphics-symbol'][aria-label]"
    assert len(passed) == len(browser.find_elements(By.CSS_SELECTOR, every)) > 8
    assert pressed(Keys.ARROW_LEFT) == (figure, passed[-1])
    while not point.startswith("pfeiffer: 88.00"):
        point = pressed(Keys.ARROW_LEFT)[1]
    WebDriverWait(browser, 10).until(lambda _: tip.is_displayed())
    for seed in range(3):
        assert run("pfeiffer", seed, 24).run_id in tip.text
    assert browser.execute_script("return document.activeElement.getAttribute('aria-describedby')") == "tip"
    assert set(browser.execute_script(stops)) == {1}
    ActionChains(browser).send_keys(Keys.ESCAPE).perform()
    assert not tip.is_displayed()
    assert focused() == (figure, point)
    # Down a forest are its methods.
    browser.execute_script(f"document.querySelector(\"[data-figure='group-{number}-forest'] [tabindex='0']\").focus()")
    below = [pressed(Keys.ARROW_DOWN)[1].split(":")[0] for _ in range(4)]
    assert below[:3] == ["pfeiffer", "full", "head-only (learning_rate 0.001)"]
    WebDriverWait(browser, 10).until(lambda _: tip.is_displayed())
    browser.execute_script("document.activeElement.blur()")
    assert not tip.is_displayed()
    assert browser.get_log("browser") == []


@in_browser
def test_on_paper_nothing_is_folded_dark_or_cut(browser: webdriver.Chrome, files: dict[str, Path]) -> None:
    opened(browser, files["usual"])
    dark = [{"name": "prefers-color-scheme", "value": "dark"}]
    number, _ = first_group(records(), 5)
    field = browser.find_element(By.ID, f"group-{number}-filter")
    label = ".plot .role-axis-label text"

    def colour(selector: str, name: str) -> str:
        script = "return getComputedStyle(document.querySelector(arguments[0]))[arguments[1]]"
        found: str = browser.execute_script(script, selector, name)
        return found

    try:
        browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": "", "features": dark})
        WebDriverWait(browser, 30, ignored_exceptions=[WebDriverException]).until(
            lambda _: colour(label, "fill") == "rgb(230, 232, 235)"
        )
        drawn(browser)
        browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": "print", "features": dark})
        ink = "rgb(27, 31, 36)"
        assert (colour("body", "color"), colour("body", "backgroundColor")) == (ink, "rgb(255, 255, 255)")
        drawings = "[...document.querySelectorAll('.plot svg *')].map((part) => getComputedStyle(part))"
        used = set(browser.execute_script(f"return {drawings}.flatMap((style) => [style.fill, style.stroke])"))
        assert ink in used
        assert not used & {"rgb(230, 232, 235)", "rgb(139, 147, 158)", "rgb(58, 64, 72)"}
        assert colour("figure", "breakInside") == "avoid"
        assert not field.is_displayed()
        field_is_shown = "return arguments[0].checkVisibility()"
        browser.execute_script("arguments[0].value = 'pfeiffer'; arguments[0].dispatchEvent(new Event('input'))", field)
        assert browser.execute_script(field_is_shown, field)
        browser.execute_script("arguments[0].value = ''; arguments[0].dispatchEvent(new Event('input'))", field)
        assert not browser.execute_script(field_is_shown, field)
        # A page of A4 within the margins that browsers take.
        resized(browser, 718)
        drawn(browser)
        assert browser.execute_script("return document.documentElement.scrollWidth") <= 718
        folds = "[...document.querySelectorAll('details')].map((part) => part.open)"
        before = browser.execute_script(f"return {folds}")
        assert False in before
        browser.execute_script(f"addEventListener('beforeprint', () => (window.printed = {folds}), {{ once: true }})")
        browser.execute_cdp_cmd("Page.printToPDF", {})
        assert set(browser.execute_script("return window.printed")) == {True}
        assert browser.execute_script(f"return {folds}") == before
        assert browser.get_log("browser") == []
    finally:
        browser.shows = None


@in_browser
def test_a_filter_filters(browser: webdriver.Chrome, files: dict[str, Path]) -> None:
    opened(browser, files["usual"])
    number, group = first_group(records(), 5)
    field = visible(browser, f"#group-{number}-filter")
    output = browser.find_element(By.CSS_SELECTOR, f"output[for='group-{number}-filter']")
    every = sum(len(row.runs) + len(row.other_runs) for row in group.rows)

    def shown() -> list[str]:
        rows = f"[...document.querySelectorAll('#group-{number}-runs tbody tr')]"
        script = f"return {rows}.filter((row) => row.offsetParent).map((row) => row.cells[1].innerText)"
        found: list[str] = browser.execute_script(script)
        return found

    assert (len(shown()), output.text) == (every, f"{every} of {every}")
    field.send_keys("FULL out-of")
    assert (shown(), output.text) == (["full"], f"1 of {every}")
    field.send_keys(" nothing like it")
    assert (shown(), output.text) == ([], f"0 of {every}")
    field.send_keys(Keys.CONTROL, "a")
    field.send_keys(Keys.DELETE, "complete", Keys.ENTER)
    assert len(shown()) == every - 1


@in_browser
def test_a_sort_sorts_by_pointer_and_by_keys(browser: webdriver.Chrome, files: dict[str, Path]) -> None:
    opened(browser, files["usual"])
    number, group = first_group(records(), 5)
    table = f"#group-{number}-columns"
    browser.execute_script("document.querySelector(arguments[0]).closest('details').open = true", table)
    heads = [text.replace("\n", " ") for text in section(group, wide=True).headers]
    place = heads.index("accuracy %")

    def column(index: int, body: int = 0) -> list[str]:
        rows = "[...document.querySelector(arguments[0]).tBodies[arguments[1]].rows]"
        script = f"return {rows}.map((row) => row.cells[arguments[2]].innerText)"
        found: list[str] = browser.execute_script(script, table, body, index)
        return found

    below = column(0, body=1)
    heading = browser.find_elements(By.CSS_SELECTOR, f"{table} thead th")[place]
    visible(browser, f"{table} thead")
    heading.find_element(By.TAG_NAME, "button").click()
    assert heading.get_attribute("aria-sort") == "ascending"
    accuracies = sorted(row.accuracy or 0 for row in group.rows)
    assert [text.split()[0] for text in column(place)] == [f"{100 * accuracy:.2f}" for accuracy in accuracies]
    ActionChains(browser).send_keys(Keys.ENTER).perform()  # the button has the focus
    assert heading.get_attribute("aria-sort") == "descending"
    assert [text.split()[0] for text in column(place)] == [f"{100 * accuracy:.2f}" for accuracy in reversed(accuracies)]
    names = browser.find_elements(By.CSS_SELECTOR, f"{table} thead th")[0]
    names.find_element(By.TAG_NAME, "button").click()
    assert (names.get_attribute("aria-sort"), heading.get_attribute("aria-sort")) == ("ascending", "none")
    assert column(0) == sorted(column(0))
    assert column(0, body=1) == below
    # p is not known of the reference and of methods without a verdict: they stay below those of which it is.
    p = heads.index("p (Holm)")
    button = browser.find_elements(By.CSS_SELECTOR, f"{table} thead button")[p]
    for _ in range(2):
        button.click()
        known = [bool(re.match(r"[<0-9]", text)) for text in column(p)]
        assert any(known)
        assert known == sorted(known, reverse=True)


@in_browser
def test_light_and_dark_follow_the_system_and_then_the_button(browser: webdriver.Chrome, files: dict[str, Path]) -> None:
    def colours() -> tuple[str, str]:
        ground = browser.execute_script("return getComputedStyle(document.body).backgroundColor")
        label = "return getComputedStyle(document.querySelector('.plot .role-axis-label text')).fill"
        return ground, browser.execute_script(label)

    def changed_from(before: tuple[str, str]) -> tuple[str, str]:
        WebDriverWait(browser, 30, ignored_exceptions=[WebDriverException]).until(lambda _: colours()[1] != before[1])
        drawn(browser)
        return colours()

    opened(browser, files["usual"])
    button = browser.find_element(By.ID, "theme")
    light = colours()
    assert (light[0], button.text) == ("rgb(255, 255, 255)", "Dark colours")
    dark_system = {"features": [{"name": "prefers-color-scheme", "value": "dark"}]}
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", dark_system)
    dark = changed_from(light)
    assert (dark[0], button.text) == ("rgb(20, 23, 27)", "Light colours")
    button.click()
    assert changed_from(dark) == light
    assert button.text == "Dark colours"
    assert browser.get_log("browser") == []


@in_browser
@pytest.mark.parametrize("width", [390, 1920], ids=["telephone", "projector"])
def test_the_page_follows_the_width_of_the_screen(browser: webdriver.Chrome, files: dict[str, Path], width: int) -> None:
    opened(browser, files["usual"])
    try:
        resized(browser, width)
        WebDriverWait(browser, 30).until(as_wide_as_what_holds_it)
        drawn(browser)
        assert as_wide_as_what_holds_it(browser)
        assert browser.execute_script("return document.documentElement.scrollWidth") <= width
        # The columns that decide are all visible, and a row of runs is a line.
        fits = "return [...document.querySelectorAll('.cards')].every((t) => t.scrollWidth <= t.parentElement.clientWidth)"
        assert browser.execute_script(fits)
        script = "return [...document.querySelectorAll('.runs tbody tr')].map((row) => row.offsetHeight)"
        line = browser.execute_script("return parseFloat(getComputedStyle(document.querySelector('.runs')).lineHeight)")
        assert 0 < max(browser.execute_script(script)) < 2 * line
        assert browser.get_log("browser") == []
    finally:
        browser.shows = None


def pixel_of(browser: webdriver.Chrome, element: WebElement) -> tuple[int, int]:
    """A pixel of the screen at which an element is in front: in a crowd the middle of a point may be under its neighbour."""
    x, y = browser.execute_script(
        "const box = arguments[0].getBoundingClientRect(), x = Math.round(box.x + box.width / 2);"
        "for (let y = Math.ceil(box.y); y < box.bottom; y++)"
        "  if (document.elementFromPoint(x, y) === arguments[0]) return [x, y];",
        element,
    )
    return int(x), int(y)


@in_browser
def test_hostile_words_stay_inert_in_a_browser(browser: webdriver.Chrome, files: dict[str, Path]) -> None:
    opened(browser, files["hostile"])
    assert browser.get_log("browser") == []
    count = "return document.querySelectorAll(arguments[0]).length"
    assert [browser.execute_script(count, tag) for tag in ("script", "img", "[onerror]", "[onmouseover]")] == [3, 0, 0, 0]
    for tag in ("figure svg a", "figure svg image", "figure svg foreignObject"):
        assert browser.execute_script(count, tag) == 0
    number, _ = first_group(breaking(), 1 + len(HOSTILE) + len(BREAKING))
    point = f"[data-figure='group-{number}-accuracy-parameters'] path[aria-label^='<script>alert(1)']"
    actions = ActionChains(browser)
    actions.w3c_actions.pointer_action.move_to_location(*pixel_of(browser, visible(browser, point)))
    actions.perform()
    tip = browser.find_element(By.ID, "tip")
    WebDriverWait(browser, 10).until(lambda _: tip.is_displayed())
    assert "<script>alert(1)</script>" in tip.text
    assert browser.execute_script("return document.querySelectorAll('#tip :not(p, dl, dt, dd)').length") == 0
