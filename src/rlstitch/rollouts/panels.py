"""Frames of a video, one at a time: enlarged, captioned, set side by side."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import zip_longest

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw, ImageFont

from rlstitch.errors import InvalidInputError
from rlstitch.rollouts.display import Frame

PANEL = 256
"""Pixels of the shorter side below which frames are enlarged."""
_BACKGROUND = 24
_GAP = 8
_DIMMED = 0.45
_SHOWN_WIDTH = 830
"""Pixels that a wide video has on a page, such as README."""
_TEXT = 14
"""Size of text there."""
_BAR = 1.7
"""Height of a line of text in sizes of it."""


def check_frames(frames: Iterable[Frame], name: str = "frames") -> Iterator[Frame]:
    """Yield frames as they are.

    Raises:
        InvalidInputError: where there is none, or one is not uint8 `(H, W, 3)` or of another size than the first.
    """
    shape = None
    for frame in frames:
        if frame.dtype != np.uint8 or frame.ndim != 3 or frame.shape[2] != 3 or 0 in frame.shape:
            raise InvalidInputError(f"{name}: expected uint8 (H, W, 3) each, found {frame.dtype} {frame.shape}")
        if shape not in (None, frame.shape):
            raise InvalidInputError(f"{name}: expected frames of one shape, found {shape} and {frame.shape}")
        shape = frame.shape
        yield frame
    if shape is None:
        raise InvalidInputError(f"{name}: expected at least one, found none")


def enlarge(frame: Frame, shortest: int = PANEL) -> Frame:
    """Enlarge by a whole factor, nearest neighbour, until the shorter side has at least `shortest` pixels."""
    factor = max(1, -(-shortest // min(frame.shape[:2])))
    return frame if factor == 1 else frame.repeat(factor, axis=0).repeat(factor, axis=1)


def pad_even(frame: Frame) -> Frame:
    """Add a row and a column in the edge's colour where needed: 4:2:0 chroma wants even sizes."""
    return np.pad(frame, ((0, frame.shape[0] % 2), (0, frame.shape[1] % 2), (0, 0)), mode="edge")


def inset(frame: Frame, view: Frame) -> Frame:
    """Set the agent's own view `(h, w, 3)` to the right of the frame `(H, W, 3)`, as high as that is."""
    height = len(frame)
    size = (round(view.shape[1] * height / len(view)), height)
    beside = np.asarray(Image.fromarray(view).resize(size, Image.Resampling.NEAREST))
    return np.hstack([frame, np.full((height, _GAP, 3), _BACKGROUND, dtype=np.uint8), beside])


def side_by_side(
    panels: Sequence[Iterable[Frame]],
    captions: Sequence[str] | None = None,
    *,
    notes: Sequence[Iterable[str]] = (),
    scale: int = PANEL,
) -> Iterator[Frame]:
    """Set videos of any lengths and sizes side by side, each under its caption; no more is kept than one frame each.

    Four panels or more stand in rows. Text is as large as it has to be where the video is 830 pixels wide.

    A video that is shorter than the longest holds its last frame, dimmed, so that one sees that it is over.

    Args:
        panels: uint8 `(H_i, W_i, 3)` frames each.
        captions: one for each panel, or None for no captions; too long ones are cut with an ellipsis.
        notes: for each panel, a text for each frame, which stands below the panel; none: no notes.
        scale: pixels that the shorter side of each panel has at least.

    Returns:
        Frames uint8 `(H, W, 3)`, as many as the longest panel has.

    Raises:
        InvalidInputError: for no panels, a panel without frames, or another number of captions or notes.
    """
    if not panels:
        raise InvalidInputError("panels: expected at least one, found none")
    if captions is not None and len(captions) != len(panels):
        raise InvalidInputError(f"captions: expected one for each of the {len(panels)} panels, found {len(captions)}")
    if notes and len(notes) != len(panels):
        raise InvalidInputError(f"notes: expected texts for each of the {len(panels)} panels, found {len(notes)}")
    checked = [check_frames(panel, f"panels[{i}]") for i, panel in enumerate(panels)]
    return _compose(checked, captions, [iter(texts) for texts in notes], scale)


def _compose(
    panels: Sequence[Iterator[Frame]], captions: Sequence[str] | None, notes: Sequence[Iterator[str]], scale: int
) -> Iterator[Frame]:
    windows: list[_Window] = []
    canvas: Frame = np.empty(0, dtype=np.uint8)
    over = [False] * len(panels)
    for frames in zip_longest(*panels):
        if not windows:
            canvas, windows = _layout([enlarge(frame, scale).shape for frame in frames], captions, bool(notes))
        for i, (frame, window) in enumerate(zip(frames, windows, strict=True)):
            if frame is not None:
                window.image[...] = enlarge(frame, scale)
                if notes:
                    window.note[...] = _text_bar(next(notes[i], ""), window.note.shape[1], window.note.shape[0])
            elif not over[i]:
                over[i] = True
                window.image[...] = (window.image * _DIMMED).astype(np.uint8)
        yield canvas.copy()


@dataclass(frozen=True)
class _Window:
    """The parts of a canvas that one panel is drawn on."""

    image: Frame
    note: Frame


def _layout(
    shapes: Sequence[tuple[int, ...]], captions: Sequence[str] | None, noted: bool
) -> tuple[Frame, list[_Window]]:
    """Return a canvas with captions, and the windows of the panels in it."""
    columns = len(shapes) if len(shapes) < 4 else math.ceil(math.sqrt(len(shapes)))
    rows = [range(first, min(first + columns, len(shapes))) for first in range(0, len(shapes), columns)]
    width = max(sum(shapes[i][1] for i in row) + _GAP * (len(row) - 1) for row in rows)
    bar = math.ceil(_BAR * max(_TEXT, _TEXT * width / _SHOWN_WIDTH))
    above, below = bar * (captions is not None), bar * noted
    heights = [above + max(shapes[i][0] for i in row) + below for row in rows]
    canvas = np.full((sum(heights) + _GAP * (len(rows) - 1), width, 3), _BACKGROUND, dtype=np.uint8)
    windows, top = [], 0
    for row, height in zip(rows, heights, strict=True):
        left = 0
        for i in row:
            right, under = left + shapes[i][1], top + above + shapes[i][0]
            if captions is not None:
                canvas[top : top + above, left:right] = _text_bar(captions[i], right - left, bar)
            windows.append(_Window(canvas[top + above : under, left:right], canvas[under : under + below, left:right]))
            left = right + _GAP
        top += height + _GAP
    return canvas, windows


@lru_cache(maxsize=64)
def _text_bar(text: str, width: int, height: int) -> npt.NDArray[np.uint8]:
    """Draw light text on a dark bar `(height, width, 3)`."""
    image = Image.new("RGB", (width, height), (_BACKGROUND,) * 3)
    draw = ImageDraw.Draw(image)
    font = _font(max(8, round(height / _BAR)))
    shown = text
    while shown and draw.textlength(shown, font=font) > width - 8:
        shown = shown[:-2] + "…" if shown.endswith("…") else shown[:-1] + "…"
        if shown == "…":
            break
    draw.text((width / 2, height / 2), shown, font=font, fill=(235, 235, 235), anchor="mm")
    return np.asarray(image)


@lru_cache(maxsize=8)
def _font(size: int) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    return ImageFont.load_default(size)
