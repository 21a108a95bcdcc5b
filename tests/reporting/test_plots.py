"""Plots show their values, in the same bytes each time, and their SVG fits the page's style sheet and policy."""

from __future__ import annotations

import io
import math
import re
from collections.abc import Callable
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pytest
from PIL import Image

from rlstitch.reporting.plots import (
    COLOURS,
    MAX_POINTS,
    RAMP,
    SERIES,
    Interval,
    Plot,
    curves_plot,
    heat_plot,
    interval_plot,
    matched_plot,
    scatter_plot,
    table_plot,
)

HOSTILE = "</svg><script>alert(1)</script>\"'& $\\frac$ _x \x00\u202e\ud800 日本"
CURVES = {"first": [(1.0, 0.0), (10.0, 0.5), (100.0, 1.0)], "second": [(1.0, 0.5, 0.4, 0.6), (100.0, 0.7, 0.6, 0.8)]}
PLOTS: dict[str, Callable[[str], Plot | None]] = {
    "intervals": lambda name: interval_plot(
        [Interval(name, 1.0, 0.5, 1.5, text=name)], name, references={"native": [1]}
    ),
    "narrow": lambda name: interval_plot([Interval(name, 1.0, 0.5, 1.5, "failed")], name, narrow=True),
    "curves": lambda name: curves_plot({name: CURVES["first"]}, name, name, levels={name: 0.5}, log=True),
    "shares": lambda name: curves_plot({name: CURVES["second"]}, name, name, shares=True),
    "scatter": lambda name: scatter_plot({name: [(0.0, 0.0), (1.0, 1.0)], "none": []}, name, name),
    "matched": lambda name: matched_plot([(0.0, 0.0), (1.0, 2.0)], {name: [(0.1, 0.0), (1.0, 1.9)]}),
    "heat": lambda name: heat_plot([[1.0, None], [0.25, 0.0]], ([name, "b"], ["c", "d"]), name, (0.0, 1.0)),
}


def drawn(plot: Plot | None) -> Plot:
    assert plot is not None
    return plot


def line(method: str, value: float, half: float) -> dict[str, Any]:
    return {"method": method, "accuracy": value, "low": value - half, "high": value + half}


def markers(plot: Plot, colour: str) -> list[list[float]]:
    """Places of the markers of a colour, in the units of the data."""
    (axes,) = plot.figure.axes[:1]
    lines = [each for each in axes.lines if each.get_color() == colour and each.get_marker() not in ("None", "|", "")]
    return [list(map(float, point)) for each in lines for point in np.asarray(each.get_xydata())]


@pytest.mark.parametrize("make", PLOTS.values(), ids=PLOTS.keys())
def test_svg_holds_hostile_names_as_text_and_only_colours_of_the_page(make: Callable[[str], Plot | None]) -> None:
    text = drawn(make(HOSTILE)).svg("name", HOSTILE)
    root = ElementTree.fromstring(text)
    assert {element.tag for element in root.iter()} <= {
        "svg",
        "g",
        "path",
        "use",
        "text",
        "defs",
        "clipPath",
        "rect",
        "image",
    }
    assert "alert(1)" in "".join(root.itertext())
    assert root.get("role") == "img"
    assert "</svg><script>" in str(root.get("aria-label"))
    plain = re.sub(r'href="data:image/png;base64,[^"]*"', "", text)
    assert not re.search(r"style=|http|date|\bid=\"\w+_\d+\"", plain, re.IGNORECASE)
    inside = re.sub(
        r"<text[^>]*font-size=\"9\"[^>]*>", "", plain
    )  # numbers on a heat map stand on colours of their own
    values = {value for key in ("fill", "stroke") for value in re.findall(rf' {key}="([^"]*)"', inside)}
    assert values <= {"none", *(f"var(--{name})" for name in COLOURS)}


@pytest.mark.parametrize("make", PLOTS.values(), ids=PLOTS.keys())
def test_each_format_is_the_same_bytes_each_time(make: Callable[[str], Plot | None]) -> None:
    first, second = drawn(make("a")), drawn(make("a"))
    assert first.png() == second.png() == first.png()
    assert first.svg("x", "y") == second.svg("x", "y") == first.svg("x", "y")
    np.testing.assert_array_equal(first.array(), second.array())
    assert first.array().dtype == np.uint8
    with Image.open(io.BytesIO(first.png())) as image:
        assert image.format == "PNG"


def test_pdf_is_the_same_bytes_each_time_and_embeds_its_fonts() -> None:
    first, second = (drawn(PLOTS["curves"]("a")).pdf() for _ in range(2))
    assert first == second
    assert first.startswith(b"%PDF")
    assert b"/FontFile2" in first


def test_names_of_elements_differ_between_plots_of_a_page() -> None:
    one, two = (set(re.findall(r' id="([^"]*)"', drawn(PLOTS["shares"]("a")).svg(name, ""))) for name in "ab")
    assert one
    assert not one & two


def test_intervals_stand_where_their_values_are() -> None:
    rows = [Interval("a", 0.9, 0.8, 1.0, "recovered"), Interval("b", 0.1, 0.0, 0.2, "failed", "0.1 [0, 0.2]")]
    plot = drawn(interval_plot([*rows, Interval("c", 1.0, 0.0, math.inf)], "return"))
    assert markers(plot, COLOURS["good"]) == [[0.9, 0.0]]
    assert markers(plot, COLOURS["bad"]) == [[0.1, 1.0]]
    text = plot.svg("x", "")
    assert ">a<" in text
    assert ">0.1 [0, 0.2]<" in text
    assert ">c<" not in text
    assert interval_plot([Interval("c", 1.0, 0.0, math.inf)], "return") is None
    assert interval_plot([], "return") is None


@pytest.mark.parametrize(
    ("natives", "labels"), [((0.96, 0.97), ["native 0.96 to 0.97"]), ((0.3, 0.3), ["native 0.30"])]
)
def test_references_of_one_kind_have_one_label(natives: tuple[float, ...], labels: list[str]) -> None:
    plot = drawn(interval_plot([Interval("a", 0.5, 0.0, 1.0)], "return", references={"native": natives}))
    assert re.findall(r">(native [^<]*)<", plot.svg("x", "")) == labels


def test_a_study_table_is_drawn_with_its_names_and_the_value_of_no_stitch() -> None:
    plot = drawn(table_plot([line("no-stitch", 0.9, 0.05), line("absolute", 0.1, 0.02), line("affine", 0.5, 0.0)]))
    assert markers(plot, COLOURS["native"]) == [[0.9, 0.0], [0.1, 1.0], [0.5, 2.0]]
    text = plot.svg("x", "")
    assert all(f">{name}<" in text for name in ("no-stitch", "absolute", "affine", "accuracy", "native 0.90"))
    known, unknown = line("a", 1.0, 0.0), {"method": "b", "accuracy": None, "low": None, "high": None}
    assert drawn(table_plot([known, unknown])).png() == drawn(table_plot([known])).png()


@pytest.mark.parametrize(
    "table",
    [
        [],
        [{"method": "a", "accuracy": 0.5}],
        [{"low": 0.1, "high": 0.2, "accuracy": 0.15}],
        [{"models": "all", "pearson": 0.5, "pearson low": 0.4, "pearson high": 0.6}],
        [{"method": "a", "accuracy": None, "low": None, "high": None}],
        [line("a", math.nan, 0.1)],
    ],
)
def test_a_table_without_values_and_intervals_has_no_plot(table: list[dict[str, Any]]) -> None:
    assert table_plot(table) is None


def test_curves_go_through_their_points_and_have_a_legend() -> None:
    plot = curves_plot(CURVES, "pairs", "accuracy", levels={"no-stitch": 2.4}, log=True)
    assert markers(plot, SERIES[0]) == [list(point) for point in CURVES["first"]]
    assert markers(plot, SERIES[1]) == [[1.0, 0.5], [100.0, 0.7]]
    text = plot.svg("x", "")
    assert all(f">{name}<" in text for name in ("first", "second", "pairs", "accuracy", "no-stitch", "1", "10", "100"))


def test_scatter_groups_can_be_addressed_point_by_point_and_many_points_are_an_image() -> None:
    def places(count: int) -> str:
        points = [(float(i), float(i % 7)) for i in range(count)]
        return scatter_plot({"a": points, "b": [(0.0, 1.0)]}, "kl", "recovery", name="scatter-kl").svg("kl", "")

    groups = {element.get("id"): element for element in ElementTree.fromstring(places(MAX_POINTS - 1)).iter("g")}
    assert len([*groups["scatter-kl-0"].iter("use")]) == MAX_POINTS - 1
    assert len([*groups["scatter-kl-1"].iter("use")]) == 1
    many = places(MAX_POINTS)
    assert many.count("<use") < 10
    assert many.count("data:image/png") == 1


def test_a_heat_map_shows_each_value_and_its_colours_keep_their_order_without_hue() -> None:
    table = [[0.0, 50.0, None], [100.0, 25.0, 75.0]]
    plot = heat_plot(table, (["x", "y"], ["a", "b", "c"]), "recovery %", (0.0, 100.0))
    shown = np.ma.filled(plot.figure.axes[0].images[0].get_array(), math.nan)
    np.testing.assert_array_equal(shown, np.array(table, dtype=float))
    assert all(f">{name}<" in plot.svg("x", "") for name in ("x", "y", "a", "b", "c", "0", "50", "100", "25", "75"))
    large = heat_plot(np.zeros((50, 50)).tolist(), (["name"] * 50,) * 2, "recovery %", (0.0, 100.0))
    assert "name" not in large.svg("x", "")
    light = [int(c[1:3], 16) * 0.299 + int(c[3:5], 16) * 0.587 + int(c[5:7], 16) * 0.114 for c in RAMP]
    assert light == sorted(light)
