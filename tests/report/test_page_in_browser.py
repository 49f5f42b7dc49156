"""The page in a real browser: figures, points, keys, paper, filters, colours and widths; hostile words stay inert."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from selenium import webdriver
from selenium.common.exceptions import WebDriverException
from selenium.webdriver.common.action_chains import ActionChains
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.support.wait import WebDriverWait

from bench.report.tables.comparison import section
from tests.factories import HOSTILE
from tests.report.browsing import as_wide_as_what_holds_it, drawn, in_browser, opened, pixel_of, resized, visible
from tests.reports import BREAKING, breaking, first_group, records


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
