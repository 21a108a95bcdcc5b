"""The report: its page parses, escapes, embeds and stands alone; its tables align; missing figures are dashes."""

from __future__ import annotations

import base64
import hashlib
import json
import math
import re
import subprocess
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from moviepy.config import FFMPEG_BINARY

from rlstitch.errors import ArtefactError, InvalidInputError
from rlstitch.evaluation.row import Row
from rlstitch.reporting.cell_report import Report, render_report, write_report
from rlstitch.reporting.plots import COLOURS
from rlstitch.reporting.tables import markdown_lines, number, percent, table_text
from rlstitch.rollouts.video import write_mp4
from rlstitch.storage import write_table

FIT = {
    "method": "affine",
    "pairs": 1096,
    "held_out": 32,
    "distinct_views": 140,
    "residual": 0.01234,
    "r2": 0.987,
    "mean_cosine": 0.994,
    "condition_number": 38.2,
    "action_agreement": 0.97,
    "kl": 0.00012,
}
HOSTILE = "</title><script>alert('1')</script>\" onload=\"x &amp; $title \x00\u202e\ud800"
VOID = {"meta", "img", "br", "hr", "input", "link"}
SHEET = Path(__file__).parents[2] / "src/rlstitch/reporting/templates/page.css"


def cell(encoder: str, controller: str, method: str, mean: float, **changes: object) -> Row:
    plain = Row(
        encoder=encoder,
        controller=controller,
        method=method,
        world=f"MiniGrid-DoorKey-5x5-v0, {encoder}",
        episodes=100,
        return_mean=mean,
        return_low=mean - 0.01,
        return_high=mean + 0.01,
        recovery=None,
        recovery_low=None,
        recovery_high=None,
        success=1.0,
        success_low=0.963,
        success_high=1.0,
        length_mean=11.04,
        policy="sampled",
    )
    return replace(plain, **changes)


CELLS = [
    cell("–", "–", "random", 0.05, success=0.12, success_low=0.07, success_high=0.198, length_mean=238.4),
    cell("green", "green", "native", 0.964),
    cell(
        "red", "green", "naive", 0.0, recovery=-5.5, recovery_low=-9.0, recovery_high=-2.0, success=0.0, success_low=0.0
    ),
    cell("red", "green", "affine", 0.96, recovery=99.6, recovery_low=99.0, recovery_high=100.2, diagnostics=FIT),
    cell("red", "green", "relative (post-hoc)", 0.7, recovery=71.0, recovery_low=65.0, recovery_high=78.0),
]

GOLDEN = """\
encoder  controller  method                           return     recovery %      success %  length
--------------------------------------------------------------------------------------------------
–        –           random               0.05  [0.04, 0.06]    –             12   [7, 20]   238.4
green    green       native               0.96  [0.95, 0.97]    –            100 [96, 100]    11.0
red      green       naive                0.00 [-0.01, 0.01]   -6  [-9, -2]    0  [0, 100]    11.0
red      green       affine               0.96  [0.95, 0.97]  100 [99, 100]  100 [96, 100]    11.0
red      green       relative (post-hoc)  0.70  [0.69, 0.71]   71  [65, 78]  100 [96, 100]    11.0
100 episodes a row, sampled actions; [95 % interval]"""


class Page(HTMLParser):
    """Reads a page strictly: every element that opens is closed, in order."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.words: list[str] = []
        self.tables: list[list[list[str]]] = []
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_startendtag(tag, attrs)
        if tag not in VOID:
            self.open.append(tag)
        if tag == "table":
            self.tables.append([])
        elif tag == "tr":
            self.tables[-1].append([])
        elif tag in ("td", "th"):
            self.tables[-1][-1].append("")

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        assert len(dict(attrs)) == len(attrs), f"an attribute stands twice in <{tag}>"
        self.elements.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if "style" not in self.open:
            self.words.append(data)
        if {"td", "th"} & set(self.open):
            self.tables[-1][-1][-1] += data

    def all(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.elements if name == tag]

    @property
    def text(self) -> str:
        return "".join(self.words)


def report(**changes: object) -> Report:
    plain = Report(
        title="demo",
        summary="Stitched agents keep 99 % of what the native agents earn.",
        cells=CELLS,
        facts={"seed": "0", "command": "rlstitch demo  --seed 0"},
        next_commands=[("what there is", "rlstitch list")],
    )
    return replace(plain, **changes)


@pytest.fixture(scope="module")
def film(tmp_path_factory: pytest.TempPathFactory) -> Path:
    frames = np.zeros((3, 32, 64, 3), np.uint8)
    frames[:, 8:16, 8:16] = 255
    return write_mp4(frames, tmp_path_factory.mktemp("film") / "film.mp4")


# --- tables as text -------------------------------------------------------------------------------------------------


def test_the_text_table_is_as_it_was() -> None:
    assert table_text(CELLS) == GOLDEN


def test_the_text_table_of_nothing_says_so() -> None:
    assert table_text([]) == "no rows"


def test_missing_figures_are_dashes() -> None:
    nothing = cell(
        "a", "b", "affine", math.nan, success=None, success_low=None, success_high=None, length_mean=math.nan
    )
    row = table_text([nothing]).splitlines()[2]
    assert row.split() == ["a", "b", "affine", "–", "–", "–", "–"]


@settings(max_examples=60, deadline=None)
@given(
    st.lists(
        st.tuples(st.text(max_size=70), st.text(max_size=70), st.text(max_size=70), st.floats(-1e90, 1e90)),
        min_size=1,
        max_size=4,
    )
)
def test_any_text_table_fits_the_terminal_in_one_line_a_row(rows: list[tuple[str, str, str, float]]) -> None:
    cells = [cell(e, c, m, value, recovery=value, recovery_low=value, recovery_high=value) for e, c, m, value in rows]
    lines = table_text(cells).split("\n")
    assert len(lines) == len(rows) + 3
    assert max(map(len, lines)) <= 120
    assert "".join(lines).isprintable()


def test_long_names_keep_both_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "110")
    names = [f"minigrid-doorkey-with-a-long-name-seed-{seed}" for seed in (1, 2)]
    lines = table_text([cell(name, name, "relative (post-hoc)", 0.5) for name in names]).splitlines()
    assert lines[2] != lines[3]
    assert lines[2].startswith("minigrid")
    assert "…" in lines[2]


def test_mixed_conditions_are_named() -> None:
    cells = [CELLS[0], replace(CELLS[1], episodes=2000, policy="greedy")]
    assert "100 to 2,000 episodes a row, sampled or greedy actions" in table_text(cells)


def test_markdown_tables_escape_markup() -> None:
    lines = markdown_lines(("name", "value"), [("a|b", "1"), ("<b>`x`*_", "-2")], names=1)
    assert lines == ["| name | value |", "|---|---:|", r"| a\|b | 1 |", r"| \<b\>\`x\`\*\_ | -2 |"]


# --- numbers --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.964, "0.96"),
        (-0.001, "0.00"),
        (9.994, "9.99"),
        (9.996, "10.0"),
        (99.96, "100"),
        (-621.5, "-622"),
        (12345.6, "12,346"),
        (2.5e6, "2.5e+06"),
        (None, "–"),
        (math.nan, "–"),
        (-math.inf, "–"),
    ],
)
def test_numbers_are_written_in_one_way(value: float | None, text: str) -> None:
    assert number(value) == text


@pytest.mark.parametrize(
    ("value", "text"), [(99.6, "100"), (-0.2, "0"), (3.4, "3"), (1e7, ">9999"), (-1e7, "<-9999"), (None, "–")]
)
def test_percents_are_whole(value: float | None, text: str) -> None:
    assert percent(value) == text


def test_a_mean_and_its_interval_have_equal_decimals() -> None:
    wide = cell("a", "b", "affine", 8.0, return_low=-3.25, return_high=120.0)
    assert "8 [-3, 120]" in table_text([wide])


# --- cells ----------------------------------------------------------------------------------------------------------


def test_verdicts_follow_recovery() -> None:
    assert [c.verdict for c in CELLS] == ["random", "native", "failed", "recovered", "partly"]
    assert cell("a", "b", "affine", 0.5).verdict == "unknown"
    edges = [cell("a", "b", "affine", 0.5, recovery=value).verdict for value in (90.0, 89.9, 50.0, 49.9, math.nan)]
    assert edges == ["recovered", "partly", "partly", "failed", "unknown"]


def test_rows_are_flat_and_can_be_stored(tmp_path: Path) -> None:
    row = CELLS[3].to_row()
    assert (row["method"], row["fit_method"], row["fit_pairs"], row["verdict"]) == (
        "affine",
        "affine",
        1096,
        "recovered",
    )
    assert not any(isinstance(value, (dict, list)) for value in row.values())
    csv_path, json_path = write_table([c.to_row() for c in CELLS], tmp_path / "cells")
    assert len(csv_path.read_text("utf-8").splitlines()) == 1 + len(CELLS)
    assert [r["recovery"] for r in json.loads(json_path.read_text("utf-8"))] == [None, None, -5.5, 99.6, 71.0]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"policy": "eager"}, "policy: expected 'sampled' or 'greedy', found 'eager'"),
        ({"episodes": -1}, "episodes: expected 0 or more, found -1"),
        ({"success": 97.0}, r"success: expected a share in \[0, 1\], found 97.0"),
    ],
)
def test_cells_refuse_what_makes_no_sense(changes: dict[str, object], message: str) -> None:
    with pytest.raises(InvalidInputError, match=message):
        cell("a", "b", "affine", 1.0, **changes)


# --- the page -------------------------------------------------------------------------------------------------------


def test_the_page_is_whole_and_shows_every_row(tmp_path: Path, film: Path) -> None:
    path = write_report(report(panels=[("both", film)]), tmp_path / "deep" / "report.html")
    page = Page(path.read_text("utf-8"))
    assert page.all("html") == [{"lang": "en"}]
    rows = page.tables[0]
    assert len(rows) == 1 + len(CELLS)
    assert {len(row) for row in rows} == {9}
    assert rows[0][:5] == ["result", "method", "encoder", "controller", "world"]
    assert rows[0][5:] == ["return", "recovery\N{NO-BREAK SPACE}%", "success\N{NO-BREAK SPACE}%", "length"]
    assert rows[4] == ["recovered", "affine", "red", "green", "red", "0.96 [0.95, 0.97]", "100 [99, 100]"] + rows[4][7:]
    assert rows[3][0] == "failed"
    assert rows[3][6] == "−6 [−9, −2]"
    assert {a.get("scope") for a in page.all("th")} == {"col", "row"}
    for text in (
        "Stitched agents keep 99\N{NO-BREAK SPACE}% of",
        "rlstitch demo  --seed 0",
        "what there is",
        "rlstitch list",
    ):
        assert text in page.text
    assert list(path.parent.iterdir()) == [path]


def test_the_page_stands_alone_and_is_small(film: Path) -> None:
    text = render_report(report(panels=[("film", film)]))
    plain = re.sub(r"base64,[\w+/=]+", "", text)
    assert not re.search(r"https?://|//[a-z]|url\((?!#)|@import|<script|javascript:", plain, re.IGNORECASE)
    for _, attributes in Page(text).elements:
        link = attributes.get("src") or attributes.get("href") or "#"
        assert link.startswith(("#", "data:video/mp4;base64,"))
    assert len(render_report(report())) < 100_000


def test_its_policy_names_its_style_sheet_and_no_script(film: Path) -> None:
    text = render_report(report(panels=[("film", film)]))
    page = Page(text)
    policy = next(a["content"] for a in page.all("meta") if a.get("http-equiv") == "Content-Security-Policy")
    style = re.search(r"<style>(.*?)</style>", text, re.DOTALL)
    assert style is not None
    digest = base64.b64encode(hashlib.sha256(style[1].encode()).digest()).decode()
    assert policy == (
        f"default-src 'none'; style-src 'sha256-{digest}'; img-src data:; media-src data:; base-uri 'none'; "
        "form-action 'none'"
    )
    assert not [a for _, a in page.elements if "style" in a or any(name.startswith("on") for name in a)]


def test_films_are_embedded_and_play(tmp_path: Path, film: Path) -> None:
    videos = Page(render_report(report(panels=[("one", film), ("two", film)]))).all("video")
    assert [v["aria-label"] for v in videos] == ["one", "two"]
    for video in videos:
        assert {"controls", "muted", "loop", "playsinline"} <= set(video)
        assert (video["width"], video["height"]) == ("64", "32")
        content = base64.b64decode((video["src"] or "").removeprefix("data:video/mp4;base64,"), validate=True)
        assert content == film.read_bytes()
        (tmp_path / "again.mp4").write_bytes(content)
        ffmpeg = [FFMPEG_BINARY, "-v", "error", "-i", str(tmp_path / "again.mp4")]
        done = subprocess.run([*ffmpeg, "-f", "rawvideo", "-pix_fmt", "rgb24", "-"], capture_output=True, check=True)
        frames = np.frombuffer(done.stdout, np.uint8).reshape(3, 32, 64, 3)
        assert frames[:, 10:14, 10:14].min() > 200
        assert frames[:, 20:, 20:].max() < 50


def test_text_is_never_markup(tmp_path: Path, film: Path) -> None:
    hostile = cell(HOSTILE, HOSTILE, HOSTILE, 0.5, world=HOSTILE, diagnostics={HOSTILE: HOSTILE, "pairs": HOSTILE})
    full = report(
        title=HOSTILE,
        summary=HOSTILE,
        cells=[hostile],
        panels=[(HOSTILE, film)],
        facts={HOSTILE: HOSTILE, "command": HOSTILE},
        next_commands=[(HOSTILE, HOSTILE)],
    )
    text = write_report(full, tmp_path / "report.html").read_text("utf-8")
    page, plain = (
        Page(text),
        Page(render_report(report(panels=[("a", film)], cells=CELLS[3:4]))),
    )
    assert {tag for tag, _ in page.elements} == {tag for tag, _ in plain.elements}
    assert {name for _, a in page.elements for name in a} == {name for _, a in plain.elements for name in a}
    assert page.text.count("</title><script>alert('1')</script>") >= 11
    assert "$title" in page.text
    assert "\x00" not in text
    assert "\u202e" not in text


def test_an_empty_report_is_a_page() -> None:
    page = Page(render_report(Report(title="nothing", summary="Nothing was played.", cells=[])))
    assert "No rows." in page.text
    assert page.tables == []
    assert page.all("video") == page.all("details") == []
    assert [a for a in page.all("svg") if "plot" in str(a.get("class"))] == []


def test_missing_figures_are_dashes_on_the_page() -> None:
    nothing = cell(
        "a", "b", "affine", math.nan, success=None, success_low=None, success_high=None, length_mean=math.nan
    )
    page = Page(render_report(report(cells=[nothing])))
    assert page.tables[0][1] == ["no value", "affine", "a", "b", "a", "–", "–", "–", "–"]
    assert not {"nan", "None"} & set(re.findall(r"\w+", page.text))


def test_conditions_that_differ_get_columns() -> None:
    page = Page(
        render_report(report(cells=[CELLS[0], replace(CELLS[1], episodes=7, policy="greedy", world="elsewhere")]))
    )
    assert [row[-2:] for row in page.tables[0]] == [["episodes", "actions"], ["100", "sampled"], ["7", "greedy"]]
    assert page.tables[0][1][4] == "MiniGrid-DoorKey-5x5-v0, –"  # two environments: neither goes without saying


def test_diagnostics_are_shown_by_name() -> None:
    extra = {**FIT, "condition_number": None, "new figure": 1.5, "note": "flat", "exact": True, "unseen": 0.0025}
    extra |= {"episodes": None, "choice": ""}  # no row has a value: no column
    page = Page(render_report(report(cells=[*CELLS, replace(CELLS[3], diagnostics=extra)])))
    header, first, second = page.tables[1]
    assert header[3:] == [
        *["pairs fitted", "held out", "distinct views", "residual", "R²", "cosine", "condition number"],
        *["same action\N{NO-BREAK SPACE}%", "KL (nats)", "unseen\N{NO-BREAK SPACE}%", "new figure", "note", "exact"],
    ]
    assert first[3:] == ["1,096", "32", "140", "0.012", "0.987", "0.994", "38.2", "97", "0.00012", "–", "–", "–", "–"]
    assert second[9:] == ["–", "97", "0.00012", "0.25", "1.500", "flat", "yes"]


@pytest.mark.parametrize(
    "content", [b"", b"GIF89a", b"\x00\x00\x00\x20ftypisom", b"\x00\x00\x00\x20ftypisom\x00\x00\x00\x01tkhd"]
)
def test_what_is_no_video_is_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "x").write_bytes(content)
    with pytest.raises(InvalidInputError, match="panels: expected an MP4 file"):
        write_report(report(panels=[("a", tmp_path / "x")]), tmp_path / "report.html")
    assert not (tmp_path / "report.html").exists()


def test_a_film_that_is_not_there_leaves_the_older_page(tmp_path: Path) -> None:
    path = write_report(report(), tmp_path / "report.html")
    before = path.read_bytes()
    with pytest.raises(ArtefactError, match=r"none\.mp4"):
        write_report(report(panels=[("a", tmp_path / "none.mp4")]), path)
    assert path.read_bytes() == before


# --- the chart ------------------------------------------------------------------------------------------------------


def test_the_chart_names_every_row_and_its_references_for_wide_and_narrow_screens() -> None:
    wide, narrow = re.findall(r'<svg class="plot (?:wide|narrow)".*?</svg>', render_report(report()), re.DOTALL)
    for text in ("affine, red → green", "native, green", "random 0.05", "native 0.96"):
        assert f">{text}<" in wide
        assert f">{text}<" in narrow
    assert ">0.96 [0.95, 0.97]<" in wide
    assert ">0.00 [−0.01, 0.01]<" in wide


def test_the_chart_leaves_out_rows_without_a_finite_interval() -> None:
    endless = cell("a", "b", "affine", 0.5, return_high=math.inf)
    assert "<h2>Return" not in render_report(report(cells=[endless]))
    assert ">affine, a → b<" not in render_report(report(cells=[*CELLS, endless]))


def test_the_style_sheet_defines_the_colours_of_the_plots() -> None:
    sheet = SHEET.read_text(encoding="utf-8")
    light, dark = (
        dict(re.findall(r"--([\w-]+): (#\w+);", block)) for block in re.findall(r":root \{(.*?)\}", sheet, re.S)
    )
    assert {
        name: value.replace("#fff", "#ffffff") if value == "#fff" else value for name, value in light.items()
    } == COLOURS
    assert set(dark) == set(COLOURS)
