"""Frames of a video, one at a time: enlarged, captioned, set side by side."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
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
    """Set the agent's own view `(h, w, 3)` to the right of the frame `(H, W, 3)`, as high as it allows."""
    height, width = frame.shape[:2]
    view = enlarge(view, max(1, height // 2))
    canvas = np.full((max(height, len(view)), width + _GAP + view.shape[1], 3), _BACKGROUND, dtype=np.uint8)
    canvas[:height, :width] = frame
    canvas[: len(view), width + _GAP :] = view
    return canvas


def side_by_side(
    panels: Sequence[Iterable[Frame]], captions: Sequence[str] | None = None, *, scale: int = PANEL
) -> Iterator[Frame]:
    """Set videos of any lengths and sizes side by side, each under its caption; no more is kept than one frame each.

    A video that is shorter than the longest holds its last frame, dimmed, so that one sees that it is over.

    Args:
        panels: uint8 `(H_i, W_i, 3)` frames each.
        captions: one for each panel, or None for no captions; too long ones are cut with an ellipsis.
        scale: pixels that the shorter side of each panel has at least.

    Returns:
        Frames uint8 `(H, W, 3)`, as many as the longest panel has.

    Raises:
        InvalidInputError: for no panels, a panel without frames, or another number of captions.
    """
    if not panels:
        raise InvalidInputError("panels: expected at least one, found none")
    if captions is not None and len(captions) != len(panels):
        raise InvalidInputError(f"captions: expected one for each of the {len(panels)} panels, found {len(captions)}")
    return _compose([check_frames(panel, f"panels[{i}]") for i, panel in enumerate(panels)], captions, scale)


def _compose(panels: Sequence[Iterator[Frame]], captions: Sequence[str] | None, scale: int) -> Iterator[Frame]:
    bar = 0 if captions is None else max(20, scale // 10)
    windows: list[Frame] = []
    canvas: Frame = np.empty(0, dtype=np.uint8)
    over = [False] * len(panels)
    for frames in zip_longest(*panels):
        if not windows:
            canvas, windows = _layout([enlarge(frame, scale).shape for frame in frames], captions, bar)
        for i, frame in enumerate(frames):
            if frame is not None:
                windows[i][...] = enlarge(frame, scale)
            elif not over[i]:
                over[i] = True
                windows[i][...] = (windows[i] * _DIMMED).astype(np.uint8)
        yield canvas.copy()


def _layout(shapes: Sequence[tuple[int, ...]], captions: Sequence[str] | None, bar: int) -> tuple[Frame, list[Frame]]:
    """Return a canvas with captions, and the part of it that each panel is drawn on."""
    width = sum(shape[1] for shape in shapes) + _GAP * (len(shapes) - 1)
    canvas = np.full((bar + max(shape[0] for shape in shapes), width, 3), _BACKGROUND, dtype=np.uint8)
    windows, left = [], 0
    for i, shape in enumerate(shapes):
        right = left + shape[1]
        if captions is not None:
            canvas[:bar, left:right] = _caption(captions[i], shape[1], bar)
        windows.append(canvas[bar : bar + shape[0], left:right])
        left = right + _GAP
    return canvas, windows


def _caption(text: str, width: int, height: int) -> npt.NDArray[np.uint8]:
    """Draw light text on a dark bar `(height, width, 3)`."""
    image = Image.new("RGB", (width, height), (_BACKGROUND,) * 3)
    draw = ImageDraw.Draw(image)
    font = _font(max(8, height * 6 // 10))
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
