"""The report of a matrix in a real browser: it loads without messages, mouse and keys work, its videos play."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from browser_window import PHONE, Browser
from matrix_samples import METHODS, made_up_matrix, play_elsewhere
from selenium.webdriver.common.action_chains import ActionChains
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.remote.webelement import WebElement
from selenium.webdriver.support.ui import Select

from rlstitch.api.report import report as report_matrix
from rlstitch.rollouts.video import write_mp4

pytestmark = pytest.mark.filterwarnings("ignore::ResourceWarning")  # selenium's sockets
ROWS = "#cells-body tr"


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory):
    """A made-up matrix of eight agents with a film of one cell; its page."""
    folder = made_up_matrix(tmp_path_factory.mktemp("matrix"), agents=8)
    rows = json.loads((folder / "cells.json").read_text(encoding="utf-8"))
    filmed = next(row for row in rows if row["state"] == "done" and row["method"] == "affine")
    frames = np.random.default_rng(0).integers(0, 255, (40, 64, 64, 3), dtype=np.uint8)
    write_mp4(frames, folder / "videos" / f"{name_of(filmed)}.mp4", fps=10)
    return report_matrix(folder, latents=0, tensorboard=False)


@pytest.fixture
def page(browser: Browser, report) -> Browser:
    browser.open(report.page)
    return browser


def name_of(row: Any) -> str:
    return f"{row['encoder']}--{row['controller']}--{row['method']}"


def find(page: Browser, selector: str) -> WebElement:
    return page.driver.find_element(By.CSS_SELECTOR, selector)


def column(page: Browser, place: int) -> list[str]:
    """The first words of a column of the table, as they are shown."""
    texts = page.script(
        f"return [...document.querySelectorAll('{ROWS}')].map((row) => row.cells[{place}].firstChild.data)"
    )
    assert isinstance(texts, list)
    return texts


def title(page: Browser) -> str:
    return find(page, "#cell-title").text


def called(row: Any) -> str:
    return f"{row['encoder']} → {row['controller']}, {row['method']}"


def heat_cell(page: Browser, method: str, encoder: int, controller: int) -> WebElement:
    """The cell of a heat map at a place in its order."""
    figure = page.driver.find_elements(By.CSS_SELECTOR, ".heat")[METHODS.index(method)]
    return figure.find_element(By.CSS_SELECTOR, f"tbody tr:nth-child({encoder + 1}) td:nth-child({controller + 2})")


def heat_values(page: Browser) -> list[tuple[str, str]]:
    """Texts and colours of the first heat map."""
    cells = page.script(
        "return [...document.querySelector('.heat tbody').rows].flatMap((row) => [...row.cells].slice(1))"
        ".map((cell) => [cell.textContent, cell.style.backgroundColor])"
    )
    return [tuple(cell) for cell in cells]


def test_it_loads_without_a_word_in_the_console_and_without_a_request(page):
    assert page.logged() == []
    events = [json.loads(entry["message"])["message"] for entry in page.driver.get_log("performance")]
    sent = [e["params"]["request"]["url"] for e in events if e["method"] == "Network.requestWillBeSent"]
    assert [url for url in sent if not url.startswith(("file://", "data:"))] == []
    assert len([url for url in sent if url.startswith("file://")]) == 1
    assert find(page, "#heat").is_displayed()


def test_the_policy_refuses_scripts_that_are_not_its_own(page):
    page.script(
        "const s = document.createElement('script'); s.textContent = 'window.strange = 1'; document.body.append(s);"
        "const i = document.createElement('img'); i.src = 'https://example.org/x.png'; document.body.append(i)"
    )
    page.drawn()
    assert page.script("return window.strange === undefined")
    refused = " ".join(page.logged())
    assert "script-src" in refused
    assert "img-src" in refused


def test_columns_sort_by_mouse_both_ways_and_what_has_no_figure_stands_last(page, report):
    head = find(page, '#cells-head th[data-key="recovery"]')
    known = sorted(row["recovery"] for row in report.data.rows if row["recovery"] is not None)
    for sort, values in (("ascending", known), ("descending", known[::-1])):
        head.find_element(By.TAG_NAME, "button").click()
        assert head.get_attribute("aria-sort") == sort
        shown = [float(text.replace("−", "-")) for text in column(page, 3)]
        assert shown == [float(f"{value:.0f}") + 0.0 for value in values[: len(shown)]]
    while find(page, "#next").is_enabled():
        find(page, "#next").click()
    assert column(page, 3)[-1] == "–"


def test_the_table_is_worked_by_keys_alone(page, report):
    button = find(page, '#cells-head th[data-key="kl"] button')
    page.script("arguments[0].focus()", button)
    button.send_keys(Keys.ENTER)
    lowest = min((row for row in report.data.rows if row["kl"] is not None), key=lambda row: row["kl"])
    assert column(page, 0)[0] == lowest["encoder"]
    page.script(f"document.querySelector('{ROWS}').focus()")
    ActionChains(page.driver).send_keys(Keys.ARROW_DOWN, Keys.ARROW_DOWN, Keys.ARROW_UP, Keys.ENTER).perform()
    chosen = page.driver.find_elements(By.CSS_SELECTOR, f"{ROWS}[aria-selected=true]")
    assert [line.text.split()[:2] for line in chosen] == [[column(page, 0)[1], column(page, 1)[1]]]
    assert title(page).startswith(f"{column(page, 0)[1]} → {column(page, 1)[1]}, ")
    ActionChains(page.driver).send_keys(Keys.PAGE_DOWN).perform()
    assert find(page, "#where").text.startswith("26–50 of ")


def test_rows_are_filtered_and_counted(page, report):
    rows = report.data.rows
    find(page, "#search").send_keys("lavagap red-s0")
    expected = [row for row in rows if "red-s0" in f"{row['encoder']} {row['controller']}"]
    expected = [row for row in expected if "lavagap" in f"{row['encoder']} {row['controller']} {row['world']}"]
    assert f"of {len(expected)} cells" in find(page, "#where").text
    find(page, "#search").clear()
    find(page, "#search").send_keys(" ")
    Select(find(page, "#only-kind")).select_by_value("refused")
    assert f"of {sum(row['state'] == 'refused' for row in rows)} cells" in find(page, "#where").text
    Select(find(page, "#only-method")).select_by_visible_text("auto")
    assert find(page, "#where").text == "no cell matches"


def test_a_cell_of_a_heat_map_is_chosen_by_mouse(page, report):
    data = report.data
    cell = heat_cell(page, "affine", len(data.encoders) - 1, 0)
    page.script("arguments[0].scrollIntoView({block: 'center'})", cell)
    ActionChains(page.driver).move_to_element(cell).perform()
    words = cell.find_element(By.XPATH, "ancestor::figure//output").text
    assert words.startswith(f"{data.encoders[-1]} → {data.controllers[0]}, affine: ")
    ActionChains(page.driver).click().perform()
    assert words.startswith(f"{title(page)}: ")
    assert "recovery %" in find(page, "#cell dl").text
    assert "chosen" in str(cell.get_attribute("class"))


def test_a_heat_map_is_worked_by_keys(page, report):
    data = report.data
    corner = heat_cell(page, "auto", 0, 0)
    page.script("arguments[0].focus()", corner)
    assert "the native agent" in corner.find_element(By.XPATH, "ancestor::figure//output").text
    keys = (Keys.END, Keys.ARROW_DOWN, Keys.ARROW_DOWN, Keys.ARROW_LEFT, Keys.ENTER)
    ActionChains(page.driver).send_keys(*keys).perform()
    assert title(page) == f"{data.encoders[2]} → {data.controllers[-2]}, auto"


def test_a_heat_map_shows_the_table_in_colours_of_their_order(page, report):
    table = report.data.table(METHODS[0], "recovery")
    values = [value for line in table for value in line]
    shown = heat_values(page)
    known = [(value, text, colour) for value, (text, colour) in zip(values, shown, strict=True) if value is not None]
    assert [float(text.replace("−", "-")) for _, text, _ in known] == [
        float(f"{value:.0f}") + 0.0 for value, *_ in known
    ]
    light = [sum(map(int, re.findall(r"\d+", colour))) for _, _, colour in sorted(known)]
    assert light == sorted(light)
    assert {text for value, (text, _) in zip(values, shown, strict=True) if value is None} <= {"n", "×", "?"}


def test_metrics_and_orders_are_drawn_anew(page):
    seen = [heat_values(page)]
    Select(find(page, "#metric")).select_by_visible_text("return")
    seen.append(heat_values(page))
    Select(find(page, "#order")).select_by_value("mean")
    seen.append(heat_values(page))
    find(page, "#numbers").click()
    seen.append(heat_values(page))
    assert len({tuple(each) for each in seen}) == len(seen)


@pytest.mark.parametrize(("metric", "label", "lowest"), [("kl", "KL (nats)", True), ("recovery", "recovery %", False)])
def test_means_of_stitched_cells_order_the_agents(browser, tmp_path, metric, label, lowest):
    folder = made_up_matrix(tmp_path, agents=6)
    rows = json.loads((folder / "cells.json").read_text(encoding="utf-8"))
    first = rows[0]["encoder"]
    # Beside its stitched cells, an agent has a control and a native, and one cell of its own seed, all of them extreme.
    done = next(row for row in rows if row["encoder"] == first and row["counted"])
    same = next(row for row in rows if row["encoder"] == first and row["same_seed"] and row["state"] == "done")
    rows += [done | {"method": "affine-shuffled", metric: 1e6}, done | {"method": "native", metric: 1e6}]
    same[metric] = 1e6
    (folder / "cells.json").write_text(json.dumps(rows), encoding="utf-8")
    report = report_matrix(folder, latents=0, tensorboard=False)
    browser.open(report.page)
    Select(find(browser, "#metric")).select_by_visible_text(label)
    Select(find(browser, "#order")).select_by_value("mean")
    assert Select(find(browser, "#order")).first_selected_option.text == (
        f"by mean, {'lowest' if lowest else 'highest'} first"
    )
    means = {}
    for name in report.data.encoders:
        own = [row for row in rows if row["encoder"] == name and row["method"] in METHODS and row["counted"]]
        means[name] = np.mean([row[metric] for row in own if row[metric] is not None])
    shown = browser.script(
        "return [...document.querySelectorAll('.heat:first-child tbody th')].map((e) => e.textContent)"
    )
    assert shown == sorted(means, key=means.__getitem__, reverse=not lowest)


def test_the_chosen_cell_shows_the_commands_that_make_it(page, report):
    find(page, '#cells-head th[data-key="kl"] button').click()
    find(page, ROWS).click()
    row = min((row for row in report.data.rows if row["kl"] is not None), key=lambda row: row["kl"])
    shown = [each.text for each in page.driver.find_elements(By.CSS_SELECTOR, "#cell pre")]
    assert shown == [
        f"rlstitch {command} {row['encoder']} {row['controller']} --method {row['method']} --pairs 1024 {options}"
        for command, options in (("stitch", "--episodes 100 --seed 0 --video"), ("diagnose", "--seed 0"))
    ]


def test_a_point_of_a_diagnostic_chooses_its_cell(page, report):
    rows = [row for row in report.data.rows if row["method"] == "affine" and row["kl"] is not None]
    points = page.driver.find_elements(By.CSS_SELECTOR, "#scatter-0-kl-1 g > use, g#scatter-0-kl-1 > use")
    assert len(points) == len(rows)
    lowest = max(range(len(rows)), key=lambda index: rows[index]["kl"])
    page.script("arguments[0].scrollIntoView({block: 'center'})", points[lowest])
    page.script("arguments[0].dispatchEvent(new MouseEvent('mouseover', {bubbles: true}))", points[lowest])
    assert called(rows[lowest]) in find(page, ".diagnostics output").text
    page.script("arguments[0].dispatchEvent(new MouseEvent('click', {bubbles: true}))", points[lowest])
    assert title(page) == called(rows[lowest])
    assert "chosen" in str(points[lowest].get_attribute("class"))


def test_the_address_names_the_cell_and_its_film_plays(browser, report):
    row = report.data.rows[report.videos[0].row]
    address = "#cell=" + "/".join((row["encoder"], row["controller"], row["method"]))
    browser.open(report.page, address=address)
    assert title(browser) == called(row)
    reached = browser.driver.execute_async_script(
        "const done = arguments[0], film = document.querySelector('#cell video');"
        "film.addEventListener('error', () => done(-1));"
        "film.addEventListener('timeupdate', () => { if (film.currentTime > 0.5) done(film.currentTime); });"
        "film.play().catch((error) => done(String(error)))"
    )
    assert isinstance(reached, float)
    assert reached > 0.5
    assert browser.script("return document.querySelector('#cell video').videoWidth") == 64
    assert browser.logged() == []


def test_other_methods_of_a_pair_are_one_step_away(page):
    find(page, ROWS).click()
    before = title(page)
    find(page, ".alike button").click()
    after = title(page)
    assert after != before
    assert after.rpartition(", ")[0] == before.rpartition(", ")[0]


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_it_fits_a_phone_in_light_and_dark(browser, report, scheme):
    feature = {"name": "prefers-color-scheme", "value": scheme}
    browser.driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": [feature]})
    browser.open(report.page, size=PHONE)
    assert browser.script("return document.documentElement.scrollWidth") == PHONE[0]
    texts, page_colour = browser.script(
        "const style = getComputedStyle(document.body);"
        "return [style.color, style.backgroundColor].map((colour) => colour.match(/\\d+/g).map(Number))"
    )
    assert (sum(texts) > sum(page_colour)) == (scheme == "dark")
    small = browser.script(
        "return [...document.querySelectorAll('button, select, input')].filter((e) => e.checkVisibility())"
        ".filter((e) => e.type !== 'checkbox' && !e.closest('th') && e.getBoundingClientRect().height < 32).length"
    )
    assert small == 0
    assert browser.logged() == []


def test_it_prints_every_heat_map_whole(browser, tmp_path):
    folder = made_up_matrix(tmp_path, agents=32, methods=METHODS[:1])
    browser.open(report_matrix(folder, latents=0, tensorboard=False).page)
    box = (
        "const b = document.querySelector('.heat-box');"
        "return [b.scrollWidth > b.clientWidth + 1, b.scrollHeight > b.clientHeight + 1]"
    )
    browser.script("document.getElementById('numbers').click()")
    browser.drawn()
    assert browser.script(box) == [True, True]
    browser.driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": "print"})
    assert browser.script(box) == [False, False]
    browser.driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": ""})
    assert browser.script(box) == [True, True]
    assert browser.driver.print_page().startswith("JVBERi0")  # %PDF-


def test_without_a_script_the_results_by_method_and_plots_are_there(report):
    text = Path(report.page).read_text(encoding="utf-8")
    visible = re.sub(r"<(script|style)\b.*?</\1>", "", text, flags=re.S)
    assert all(f'<th scope="row">{method}</th>' in visible for method in METHODS)
    assert "<noscript>" in visible
    assert visible.count('<svg class="plot"') == 2 + 3, "two profiles, and a plot for each diagnostic"


def test_a_world_is_chosen_and_shown_everywhere(browser, tmp_path):
    report = report_matrix(play_elsewhere(made_up_matrix(tmp_path, agents=5)), latents=0, tensorboard=False)
    browser.open(report.page)
    elsewhere = [row for row in report.data.rows if row.get("place") == "red/scrambled"]
    assert len(browser.driver.find_elements(By.CSS_SELECTOR, ".heat")) == len(
        METHODS
    )  # natives have no map of their own
    before = heat_values(browser)
    Select(find(browser, "#place")).select_by_visible_text("red/scrambled")
    assert heat_values(browser) != before
    shown = browser.script(
        "return [...document.querySelectorAll('.diagnostics')].map((each) => each.checkVisibility())"
    )
    assert shown == [False, True]
    corner = heat_cell(browser, "affine", 0, 0)  # an agent with its own parts
    page_script = "arguments[0].scrollIntoView({block: 'center'}); arguments[0].click()"
    browser.script(page_script, corner)
    native = next(row for row in elsewhere if row["method"] == "native" and row["encoder"] == report.data.encoders[0])
    assert title(browser) == f"{called(native)}, in red/scrambled"
    assert "42" in find(browser, "#cell dl").text
    Select(find(browser, "#only-place")).select_by_visible_text("red/scrambled")
    assert f"of {len(elsewhere)} cells" in find(browser, "#where").text
    # A step to the same cell in the other world takes the heat maps there.
    stitched = next(row for row in elsewhere if row["state"] == "done")
    address = "#cell=" + "/".join((*(stitched[key] for key in ("encoder", "controller", "method")), "red%2Fscrambled"))
    browser.open(report.page, address=address)
    assert title(browser) == f"{called(stitched)}, in red/scrambled"
    assert Select(find(browser, "#place")).first_selected_option.text == "red/scrambled"
    find(browser, ".alike:last-of-type button").click()
    assert title(browser) == f"{called(stitched)}, in cell"
    assert Select(find(browser, "#place")).first_selected_option.text == "cell"
    assert browser.logged() == []
