"""A real browser for tests: pages are opened, waited for and measured in it."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest
from selenium import webdriver
from selenium.webdriver.common.by import By
from selenium.webdriver.remote.webelement import WebElement
from selenium.webdriver.support.wait import WebDriverWait

CHROMIUM, DRIVER = shutil.which("chromium"), shutil.which("chromedriver")
in_browser = pytest.mark.skipif(
    (CHROMIUM is None or DRIVER is None) and "REQUIRE_BROWSER" not in os.environ,
    reason="no chromium and chromedriver: apt-get install chromium chromium-driver",
)
WIDTH = 1200
"""Pixels of the usual screen."""

NEXT_FRAME = "const next = () => requestAnimationFrame(() => arguments[arguments.length - 1]());"


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


def pixel_of(browser: webdriver.Chrome, element: WebElement) -> tuple[int, int]:
    """A pixel of the screen at which an element is in front: in a crowd the middle of a point may be under its neighbour."""
    x, y = browser.execute_script(
        "const box = arguments[0].getBoundingClientRect(), x = Math.round(box.x + box.width / 2);"
        "for (let y = Math.ceil(box.y); y < box.bottom; y++)"
        "  if (document.elementFromPoint(x, y) === arguments[0]) return [x, y];",
        element,
    )
    return int(x), int(y)
