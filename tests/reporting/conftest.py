"""A real Chromium without a head, and without a network; tests skip, with the reason, where there is none."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from browser_window import Browser
from matrix_samples import benchmark
from selenium import webdriver
from selenium.common.exceptions import SessionNotCreatedException
from selenium.webdriver.chrome.service import Service


@pytest.fixture(scope="session")
def chromium(tmp_path_factory: pytest.TempPathFactory) -> Iterator[webdriver.Chrome]:
    """One browser for all tests, with an empty profile."""
    tools = benchmark()
    for program in (tools.CHROMIUM, tools.DRIVER):
        if not program.is_file():
            pytest.skip(f"{program} is not there (apt-get install chromium chromium-driver)")
    driver = start(tmp_path_factory)
    yield driver
    driver.quit()


def start(places: pytest.TempPathFactory, *, again: int = 2) -> webdriver.Chrome:
    """Start the browser; its driver waits a minute for it, which is not enough on a machine that is very busy."""
    tools = benchmark()
    options = webdriver.ChromeOptions()
    options.binary_location = str(tools.CHROMIUM)
    for flag in (*tools.FLAGS, f"--user-data-dir={places.mktemp('profile')}"):
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    try:
        driver = webdriver.Chrome(options=options, service=Service(executable_path=str(tools.DRIVER)))
    except SessionNotCreatedException:
        if not again:
            raise
        return start(places, again=again - 1)
    driver.set_script_timeout(120)
    return driver


@pytest.fixture
def browser(chromium: webdriver.Chrome) -> Browser:
    """The browser, without what earlier tests emulated."""
    chromium.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": "", "features": []})
    return Browser(chromium)
