"""The figures of a matrix as pictures, uint8 `(H, W, 3)`: for TensorBoard, which shows no pages."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TypeAlias

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw, ImageFont

from rlstitch.evaluation.matrix.worlds import CELL
from rlstitch.reporting.matrix.data import RAMP, Figure, MatrixData, place_of
from rlstitch.reporting.matrix.latents import LatentScatter, Places
from rlstitch.reporting.matrix.tables import written
from rlstitch.reporting.rows import shorten

Picture = npt.NDArray[np.uint8]
Colour = tuple[int, int, int]
Font: TypeAlias = ImageFont.FreeTypeFont | ImageFont.ImageFont
SERIES: tuple[Colour, ...] = ((0, 114, 178), (213, 94, 0), (0, 158, 115), (176, 87, 141), (138, 109, 0), (59, 143, 196))
_INK, _SOFT, _LINE, _EMPTY = (26, 29, 33), (86, 93, 102), (213, 217, 222), (240, 241, 243)
_NAME = 22  # characters of an agent's name
_NUMBERED = 40  # agents up to which numbers stand in the cells


def ramp(share: float) -> Colour:
    """Return the colour of a share in [0, 1]; beyond, that of the nearer end."""
    at = min(1.0, max(0.0, share)) * (len(RAMP) - 1)
    below = min(len(RAMP) - 2, int(at))
    low, high = RAMP[below], RAMP[below + 1]
    red, green, blue = (round(a + (at - below) * (b - a)) for a, b in zip(low, high, strict=True))
    return red, green, blue


def heat_picture(data: MatrixData, method: str, figure: Figure, place: str | None = None) -> Picture:
    """Draw a figure of a method in a world (None: the first), encoders down and controllers across."""
    table = data.table(method, figure.key, place)
    known = [value * figure.scale for line in table for value in line if value is not None]
    low, high = figure.ends or (min(known, default=0.0), max(known, default=1.0))
    numbered = max(len(data.encoders), len(data.controllers)) <= _NUMBERED
    cell, font = (34 if numbered else 9), _font(11)
    left, top = (150, 150) if numbered else (8, 24)
    image = Image.new("RGB", (left + cell * len(data.controllers) + 8, top + cell * len(data.encoders) + 30), "white")
    draw = ImageDraw.Draw(image)
    for i, line in enumerate(table):
        for j, value in enumerate(line):
            x, y = left + j * cell, top + i * cell
            shown = None if value is None else value * figure.scale
            colour = _EMPTY if shown is None else ramp((shown - low) / ((high - low) or 1.0))
            draw.rectangle((x, y, x + cell - 2, y + cell - 2), fill=colour)
            if numbered and value is not None:
                text = written(value, figure, decimals=0 if high - low > 20 else 2)
                draw.text((x + cell / 2 - 1, y + cell / 2 - 1), text, fill=_ink_on(colour), font=font, anchor="mm")
    if numbered:
        for i, name in enumerate(data.encoders):
            draw.text((left - 6, top + (i + 0.5) * cell), shorten(name, _NAME), fill=_INK, font=font, anchor="rm")
        for j, name in enumerate(data.controllers):
            _turned(image, shorten(name, _NAME), (left + (j + 0.5) * cell, top - 6), font)
    ends = f"{low:.4g} (dark) to {high:.4g} (light)"
    what = method if place in (None, CELL) else f"{method} in {place}"
    draw.text((8, image.height - 22), f"{what}: {figure.label}, {ends}", fill=_INK, font=_font(13))
    return np.asarray(image)


def scatter_picture(data: MatrixData, fit: Figure, outcome: Figure) -> Picture | None:
    """Draw one figure of the first world's cells against another, one colour a method; None where no cell has both."""
    found = [
        (index, _clipped(row[fit.key], fit), _clipped(row[outcome.key], outcome))
        for index, method in enumerate(data.methods)
        for row in data.rows
        if row["method"] == method
        and place_of(row) == data.places[0]
        and row.get(fit.key) is not None
        and row.get(outcome.key) is not None
    ]
    if not found:
        return None
    image = Image.new("RGB", (640, 480), "white")
    draw, font = ImageDraw.Draw(image), _font(13)
    box = (60, 20, 620, 400)
    _, xs, ys = zip(*found, strict=True)
    for index, x, y in zip(*_placed(found, (min(xs), max(xs)), (min(ys), max(ys)), box), strict=True):
        _marker(draw, index, x, y)
    draw.rectangle((box[0] - 8, box[1] - 8, box[2] + 8, box[3] + 8), outline=_LINE)
    for text, place, anchor in (
        (f"{min(xs):.3g}", (box[0], 412), "la"), (f"{max(xs):.3g}", (box[2], 412), "ra"),
        (f"{min(ys):.3g}", (box[0] - 12, box[3]), "rs"), (f"{max(ys):.3g}", (box[0] - 12, box[1]), "ra"),
        (f"{outcome.label} against {fit.label}".replace("²", "2"), (340, 412), "ma"),
    ):  # fmt: skip
        draw.text(place, text, fill=_SOFT, font=font, anchor=anchor)
    for index, method in enumerate(data.methods):
        x, y = 64 + 140 * (index % 4), 436 + 20 * (index // 4)
        _marker(draw, index, x, y + 9)
        draw.text((x + 10, y), method, fill=_INK, font=font)
    return np.asarray(image)


def _clipped(value: float, figure: Figure) -> float:
    low, high = figure.edges or (-math.inf, math.inf)
    return min(high, max(low, value * figure.scale))


def _marker(draw: ImageDraw.ImageDraw, index: int, x: float, y: float) -> None:
    """Draw a method's marker: a shape of its own besides its colour."""
    colour, box = SERIES[index % len(SERIES)], (x - 4, y - 4, x + 4, y + 4)
    if index % 4 == 0:
        draw.ellipse(box, outline=colour, width=2)
    elif index % 4 == 1:
        draw.rectangle(box, outline=colour, width=2)
    else:
        sign = 1 if index % 4 == 2 else -1
        draw.polygon([(x, y - 5 * sign), (x - 5, y + 4 * sign), (x + 5, y + 4 * sign)], outline=colour, width=2)


def latents_picture(scatter: LatentScatter) -> Picture:
    """Draw matched states before and after stitching side by side: circles the target, dots the source."""
    panels: list[Places] = [own for own in (scatter.before, scatter.after) if own is not None]
    places = [*scatter.target, *(place for own in panels for place in own)]
    spans = [(min(values), max(values)) for values in zip(*places, strict=True)]
    image = Image.new("RGB", (20 + 340 * len(panels), 390), "white")
    draw, font = ImageDraw.Draw(image), _font(13)
    for index, own in enumerate(panels):
        box = (10 + 340 * index, 10, 330 + 340 * index, 330)
        draw.rectangle((box[0] - 5, 5, box[2] + 5, 335), outline=_LINE)
        for points, colour, filled in ((scatter.target, SERIES[0], False), (own, SERIES[1], True)):
            for x, y in zip(*_placed([(0, *place) for place in points], spans[0], spans[1], box)[1:], strict=True):
                draw.ellipse((x - 3, y - 3, x + 3, y + 3), outline=colour, fill=colour if filled else None)
        word = "after" if index == len(panels) - 1 else "before"
        draw.text(((box[0] + box[2]) / 2, 340), f"{word} stitching", fill=_SOFT, font=font, anchor="ma")
    title = f"{scatter.encoder} -> {scatter.controller}, {scatter.method}"
    draw.text((10, 366), shorten(title, 48 * len(panels)), fill=_INK, font=font)
    return np.asarray(image)


def _placed(
    points: Sequence[tuple[int, float, float]],
    xs: tuple[float, float],
    ys: tuple[float, float],
    box: tuple[int, int, int, int],
) -> tuple[list[int], list[float], list[float]]:
    """Return series, x and y in pixels, the highest y at the top."""
    across = [box[0] + (x - xs[0]) / ((xs[1] - xs[0]) or 1.0) * (box[2] - box[0]) for _, x, _ in points]
    down = [box[3] - (y - ys[0]) / ((ys[1] - ys[0]) or 1.0) * (box[3] - box[1]) for _, _, y in points]
    return [index for index, _, _ in points], across, down


def _ink_on(colour: Colour) -> Colour:
    red, green, blue = colour
    return (17, 17, 17) if 0.299 * red + 0.587 * green + 0.114 * blue > 118 else (255, 255, 255)


def _font(size: int) -> Font:
    return ImageFont.load_default(size)


def _turned(image: Image.Image, text: str, foot: tuple[float, float], font: Font) -> None:
    """Write a text upwards that ends at `foot`."""
    strip = Image.new("RGB", (140, 14), "white")
    ImageDraw.Draw(strip).text((0, 7), text, fill=_INK, font=font, anchor="lm")
    image.paste(strip.rotate(90, expand=True), (round(foot[0] - 7), round(foot[1] - 140)))
