"""The browser that tests of the page share, and the pages that they open in it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from selenium import webdriver
from selenium.webdriver.chrome.options import Options
from selenium.webdriver.chrome.service import Service

from tests.report.browsing import CHROMIUM, DRIVER
from tests.reports import breaking, lengthy, records, written


@pytest.fixture(scope="session")
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


@pytest.fixture(scope="session")
def files(html: str, hostile_html: str, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("pages")
    found = {name: folder / f"{name}.html" for name in ("usual", "hostile", "lengthy")}
    found["usual"].write_text(html, encoding="utf-8")
    found["hostile"].write_text(hostile_html, encoding="utf-8")
    found["lengthy"].write_text(written(lengthy()), encoding="utf-8")
    return found


@pytest.fixture(scope="session")
def html() -> str:
    return written(records())


@pytest.fixture(scope="session")
def hostile_html() -> str:
    return written(breaking())
