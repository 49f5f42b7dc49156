"""Points of the page's figures in a real browser: which run one is, by pointer and by keys, on any screen."""

from __future__ import annotations

from pathlib import Path

import pytest
from selenium import webdriver
from selenium.webdriver.common.action_chains import ActionChains
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.support.wait import WebDriverWait

from bench.records.schema import Record
from tests.factories import run
from tests.report.browsing import as_wide_as_what_holds_it, drawn, in_browser, opened, resized, visible
from tests.reports import first_group, lengthy, records


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
