"""The page of `rlstitch watch` in a real Chromium, served by uvicorn."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from browser_window import PHONE, WIDE, Browser
from rooms import DISCRETE, registered, untrained
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.support.ui import WebDriverWait
from stitch_samples import untrained_cart

from rlstitch.agents import Agent
from rlstitch.api.watch.app import make_server
from rlstitch.api.watch.joiner import Joiner
from rlstitch.api.watch.viewer import Choice, Studio
from rlstitch.envs import World

FITS = "return document.documentElement.scrollWidth <= innerWidth"
UNNAMED = """return [...document.querySelectorAll("button, select, input, img, progress, svg[role]")]
    .filter((one) => !(one.labels?.length || one.textContent.trim() || one.alt || one.getAttribute("aria-label")))
    .map((one) => one.id)"""


@pytest.fixture
def address(request: pytest.FixtureRequest, workplace: Path) -> Iterator[str]:
    """Where the agent that a test names is watched, paused."""
    agent: Agent = request.param()
    studio = Studio(Joiner(agent), agent, Choice(agent.card.name, playing=False))
    with registered(), socket.create_server(("127.0.0.1", 0)) as listening, studio.fitting:
        server, address = make_server(studio, listening)
        thread = threading.Thread(target=server.run, args=([listening],))
        thread.start()
        yield address
        server.should_exit = True
        thread.join()


def room() -> Agent:
    with registered():
        return untrained(World(DISCRETE))


def text_of(browser: Browser, name: str) -> str:
    return browser.driver.find_element(By.ID, name).text


def wait(browser: Browser, name: str, text: str) -> None:
    WebDriverWait(browser.driver, 60, 0.05).until(lambda _: text in text_of(browser, name))


@pytest.mark.parametrize("address", [room], indirect=True)
def test_an_agent_is_watched_by_keyboard_alone_on_a_desk_and_on_a_phone(address: str, browser: Browser) -> None:
    for size in (WIDE, PHONE):
        browser.visit(address, size=size)
        wait(browser, "outcome", "playing")
        assert browser.script(FITS)
        assert browser.script(UNNAMED) == []
    assert browser.script("return document.getElementById('frame').naturalWidth") == 40
    assert text_of(browser, "pause") == "Play"
    driver = browser.driver
    driver.find_element(By.CSS_SELECTOR, "[data-do=step]").send_keys(Keys.ENTER)
    wait(browser, "steps", "1")
    assert len(driver.find_elements(By.CSS_SELECTOR, "#bars .chosen")) == 1
    look = driver.find_element(By.ID, "look")
    look.send_keys(Keys.CONTROL, "a")
    look.send_keys("gren", Keys.ENTER)
    wait(browser, "error", "unknown look 'gren'; did you mean green")
    before = browser.script("return document.getElementById('seen').src")
    look.send_keys(Keys.CONTROL, "a")
    look.send_keys("inverted", Keys.ENTER)
    WebDriverWait(driver, 60, 0.05).until(
        lambda _: browser.script("return document.getElementById('seen').src") != before
    )
    assert (text_of(browser, "error"), text_of(browser, "steps")) == ("", "1")
    driver.find_element(By.ID, "pause").send_keys(Keys.SPACE)
    wait(browser, "episode", "1")
    assert browser.logged() == []


@pytest.mark.parametrize("address", [untrained_cart], indirect=True)
def test_a_vector_is_plotted_and_a_wrong_token_is_refused(address: str, browser: Browser) -> None:
    browser.visit(address)
    wait(browser, "range", "4 numbers")
    assert browser.script("return document.querySelector('#vector .values').getBBox().width") > 3
    assert browser.script("return getComputedStyle(document.getElementById('seen')).display") == "none"
    assert not browser.driver.find_element(By.ID, "look").is_enabled()
    browser.visit(address.replace("token=", "token=x"))
    assert "the address must hold the token" in browser.driver.find_element(By.TAG_NAME, "body").text
