"""Frames of a film as arrays: enlarged, captioned, set side by side."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from rlstitch.errors import InvalidInputError

if TYPE_CHECKING:
    from PIL import ImageFont

Frames = npt.NDArray[np.uint8]
"""`(T, H, W, 3)`"""

PANEL = 256
"""Pixels of the shorter side below which frames are enlarged."""
_BACKGROUND = 24
_GAP = 8
_DIMMED = 0.45


def check_frames(frames: npt.ArrayLike, name: str = "frames") -> Frames:
    """Return frames as they are, or raise InvalidInputError where they are not uint8 `(T >= 1, H, W, 3)`."""
    array = np.asarray(frames)
    if array.dtype != np.uint8 or array.ndim != 4 or array.shape[3] != 3 or 0 in array.shape:
        raise InvalidInputError(f"{name}: expected uint8 (T, H, W, 3) with T >= 1, found {array.dtype} {array.shape}")
    return array


def enlarge(frames: Frames, shortest: int = PANEL) -> Frames:
    """Enlarge by a whole factor, nearest neighbour, until the shorter side has at least `shortest` pixels."""
    frames = check_frames(frames)
    factor = max(1, -(-shortest // min(frames.shape[1:3])))
    return frames if factor == 1 else frames.repeat(factor, axis=1).repeat(factor, axis=2)


def pad_even(frames: Frames) -> Frames:
    """Add a row and a column in the edge's colour where needed: 4:2:0 chroma wants even sizes."""
    frames = check_frames(frames)
    odd = [size % 2 for size in frames.shape[1:3]]
    if not any(odd):
        return frames
    return np.pad(frames, ((0, 0), (0, odd[0]), (0, odd[1]), (0, 0)), mode="edge")


def inset(frames: Frames, views: Frames) -> Frames:
    """Set the agent's own views `(T, h, w, 3)` to the right of the frames `(T, H, W, 3)`, as high as they allow."""
    frames, views = check_frames(frames), check_frames(views, "views")
    if len(frames) != len(views):
        raise InvalidInputError(f"views: expected one for each of the {len(frames)} frames, found {len(views)}")
    height = frames.shape[1]
    views = enlarge(views, max(1, height // 2))
    size = (len(frames), max(height, views.shape[1]), frames.shape[2] + _GAP + views.shape[2], 3)
    canvas = np.full(size, _BACKGROUND, dtype=np.uint8)
    canvas[:, :height, : frames.shape[2]] = frames
    canvas[:, : views.shape[1], frames.shape[2] + _GAP :] = views
    return canvas


def side_by_side(panels: Sequence[Frames], captions: Sequence[str] | None = None, *, scale: int = PANEL) -> Frames:
    """Set films of any lengths and sizes side by side, each under its caption.

    A film that is shorter than the longest holds its last frame, dimmed, so that one sees that it is over.

    Args:
        panels: uint8 `(T_i, H_i, W_i, 3)` each.
        captions: one for each panel, or None for no captions; too long ones are cut with an ellipsis.
        scale: pixels that the shorter side of each panel has at least.

    Returns:
        uint8 `(max T_i, H, W, 3)`.

    Raises:
        InvalidInputError: for no panels, a panel that is not a film, or another number of captions.
    """
    if not panels:
        raise InvalidInputError("panels: expected at least one, found none")
    if captions is not None and len(captions) != len(panels):
        raise InvalidInputError(f"captions: expected one for each of the {len(panels)} panels, found {len(captions)}")
    films = [enlarge(check_frames(panel, f"panels[{i}]"), scale) for i, panel in enumerate(panels)]
    length = max(len(film) for film in films)
    bar = 0 if captions is None else max(20, scale // 10)
    height = bar + max(film.shape[1] for film in films)
    width = sum(film.shape[2] for film in films) + _GAP * (len(films) - 1)
    canvas = np.full((length, height, width, 3), _BACKGROUND, dtype=np.uint8)
    left = 0
    for i, film in enumerate(films):
        right = left + film.shape[2]
        if captions is not None:
            canvas[:, :bar, left:right] = _caption(captions[i], film.shape[2], bar)
        window = canvas[:, bar : bar + film.shape[1], left:right]
        window[: len(film)] = film
        window[len(film) :] = (film[-1] * _DIMMED).astype(np.uint8)
        left = right + _GAP
    return canvas


def _caption(text: str, width: int, height: int) -> npt.NDArray[np.uint8]:
    """Draw light text on a dark bar `(height, width, 3)`."""
    from PIL import Image, ImageDraw

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
    from PIL import ImageFont

    return ImageFont.load_default(size)
