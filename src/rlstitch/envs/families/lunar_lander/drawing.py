"""LunarLander drawn straight at the size that agents see, in any colours.

Gymnasium draws 600 x 400 pixels, which are then shrunk by area averaging. Here every cell of the small image gets the
colours of what covers it by exact area, which is the limit of that for ever finer drawings: motion of a tenth of a
pixel changes the image. Look functions that map each pixel by itself are applied to the colours, not to the image,
and so come before shrinking, as elsewhere.
"""

from __future__ import annotations

from collections.abc import Sequence
from types import MappingProxyType
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from rlstitch.envs.families.lunar_lander.coverage import Floats, cover
from rlstitch.envs.families.lunar_lander.lander import CHUNKS, STATES, Scenes, read_scenes
from rlstitch.envs.frames import Observer, Rows
from rlstitch.envs.looks.look import Look, get_look, pixel_part
from rlstitch.envs.looks.pixels import Images
from rlstitch.envs.observation import Shape
from rlstitch.envs.world import World

Colour: TypeAlias = tuple[int, int, int]
WIDTH, HEIGHT, SCALE = 600, 400, 30
"""Of Gymnasium's image, in pixels, and pixels a metre."""

SKIES: MappingProxyType[str, tuple[Colour, Colour]] = MappingProxyType(
    {
        "black": ((0, 0, 0), (255, 255, 255)),
        "white": ((255, 255, 255), (0, 0, 0)),
        "red": ((204, 102, 102), (255, 255, 255)),
        "green": ((102, 204, 102), (255, 255, 255)),
    }
)
"""Sky of each look, and its ground and flagpoles; black is what the environment has of its own."""
HULL, EDGE, FLAG = (128, 102, 230), (77, 77, 128), (204, 204, 0)
HEATS = 100
"""Steps of a spark's heat whose colours are held."""

_LANDER = [(-14, 17), (-17, 0), (-17, -10), (17, -10), (17, 0), (14, 17)]
_LEG = [(-2, 8), (-2, -8), (2, -8), (2, -8), (2, 8), (2, 8)]
_GROWN, _SHRUNK, _SHIFT = 1.0, 0.5, 0.25
"""Pixels that pygame draws beyond an outline, that its line takes from the inside, and by which the line lies off."""
_BELOW = 0.25
"""Pixels by which the sky that pygame draws reaches below the line of the ground."""
_POLES, _PAD, _POLE_HEIGHT = (240, 360), 100, 50
_SPARK = 1.75
"""Half the side of a square as large as the spark that pygame draws."""
_GROUNDS_BYTES = 2**25
"""Of the grounds that are kept; each episode has one of its own."""


def split_sky(name: str) -> tuple[str, Look]:
    """Return the sky of a look, a key of `SKIES`, and what is left: functions of images.

    Raises:
        UnknownNameError: for an unknown look.
        InvalidInputError: for a sky, colours or a camera that LunarLander has not.
    """
    look = get_look(name)
    look.check_camera()
    look.check_tint("LunarLander", "skies", SKIES)
    return look.tint or "black", pixel_part(look)


def _grow(polygon: Sequence[tuple[float, float]], by: float) -> Floats:
    """Return a polygon, counter-clockwise, with its edges moved outwards; corners that are given twice stay so."""
    corners = np.array(polygon, dtype=float)
    apart = [i for i in range(len(corners)) if (corners[i] != corners[i - 1]).any()]
    edges = np.roll(corners[apart], -1, axis=0) - corners[apart]
    normals = np.stack([edges[:, 1], -edges[:, 0]], axis=1) / np.linalg.norm(edges, axis=1, keepdims=True)
    before = np.roll(normals, 1, axis=0)
    corner_moves = (normals + before) / (1 + (normals * before).sum(axis=1, keepdims=True))
    moves = dict(zip(apart, corner_moves, strict=True))
    grown = corners.copy()
    move = corner_moves[0]
    for i in range(len(corners)):
        move = moves.get(i, move)
        grown[i] += by * move
    return grown.astype(np.float32)


_OUTLINES = np.stack(
    [np.stack([_grow(polygon, _GROWN), _grow(polygon, -_SHRUNK)]) for polygon in (_LANDER, _LEG, _LEG)]
)
"""Outside and inside of the edge of lander and legs, `(3, 2, 6, 2)`, in pixels about their centres, y upwards."""


class Drawing:
    """Draws scenes as images uint8 `(N, rows, columns, 3)`.

    Args:
        look: its text.
        rows, columns: of the images.
        height: rows of Gymnasium's image, from the top, that they show.

    Raises:
        UnknownNameError, InvalidInputError: as `split_sky`.
    """

    def __init__(self, look: str, rows: int, columns: int, height: int = HEIGHT) -> None:
        sky, pixels = split_sky(look)
        pointwise, self._rest = pixels.split_pixels()
        self._rows, self._columns = rows, columns
        self._cells = np.array([columns / WIDTH, rows / height], dtype=np.float32)
        self._grounds: dict[bytes, Images] = {}
        heats = np.arange(HEATS + 1) / HEATS
        sparks = 255 * np.maximum(0.2, np.stack([0.15 + heats, 0.5 * heats, 0.5 * heats], axis=1))
        colours = np.array([*SKIES[sky], HULL, EDGE, FLAG, *np.minimum(sparks, 255)], dtype=np.uint8)
        drawn = colours[:, None, None] if pointwise is None else pointwise(colours[:, None, None])
        self._sky, self._ground, self._hull, self._edge, self._flag = drawn[:5, 0, 0].astype(np.float32)
        self._sparks = drawn[5:, 0, 0].astype(np.float32)
        self._margin = np.ceil(2 * (np.abs(_OUTLINES).max() + 5) * self._cells).astype(int) + 2
        self._flags = self._flag_cells()

    def __call__(self, scenes: Scenes) -> Images:
        """Return images of scenes `(N, SCENE)`."""
        scene = read_scenes(np.asarray(scenes, dtype=np.float32))
        canvas = np.stack([self._background(ground) for ground in scene.ground])
        self._draw_sparks(canvas, scene.sparks)
        for part in (slice(1), slice(1, None)):  # the lander, then its legs, whose patches are smaller
            self._draw_bodies(canvas, _OUTLINES[part], scene.bodies[:, part])
        top, left = self._margin[::-1]
        images = canvas[:, top : top + self._rows, left : left + self._columns]
        self._draw_flags(images)
        return np.ascontiguousarray(images) if self._rest is None else self._rest(images)

    def _place(self, pixels: Floats) -> Floats:
        """Points `(..., 2)` in pixels, y upwards, in cells of the canvas, y down."""
        return ((pixels * (1, -1) + (0, HEIGHT)).astype(np.float32) * self._cells + self._margin).astype(np.float32)

    def _background(self, ground: Floats) -> Images:
        """Sky and ground, with a margin all around, which nobody sees."""
        key = ground.tobytes()
        if key not in self._grounds:
            rows, columns = self._rows + 2 * int(self._margin[1]), self._columns + 2 * int(self._margin[0])
            if len(self._grounds) * 3 * rows * columns >= _GROUNDS_BYTES:
                self._grounds.clear()
            surface = self._place(np.stack([np.linspace(0, WIDTH, CHUNKS), ground * SCALE - _BELOW], axis=1))
            top, bottom = int(surface[:, 1].min()), int(surface[:, 1].max()) + 1
            corners = np.concatenate([surface, [(surface[-1, 0], bottom), (surface[0, 0], bottom)]], dtype=np.float32)
            corners[:, 1] -= top  # small numbers: single precision is enough
            share = np.ones((max(rows, bottom), columns, 1), dtype=np.float32)
            share[:top] = 0
            share[top:bottom] = cover(corners, bottom - top, columns)[..., None]
            share = share[:rows]
            self._grounds[key] = np.rint(self._sky + share * (self._ground - self._sky)).astype(np.uint8)
        return self._grounds[key]

    def _patches(self, canvas: Images, low: Floats, size: tuple[int, int]) -> tuple[npt.NDArray[np.intp], ...]:
        """Return the upper left cells `(N, K, 2)`, x before y, of patches near `low`, and the index of their cells."""
        last = np.array(canvas.shape[2:0:-1]) - size[::-1]
        corner = np.clip(np.floor(low).astype(np.intp), 0, last)
        rows = corner[..., 1, None] + np.arange(size[0])
        columns = corner[..., 0, None] + np.arange(size[1])
        return corner, rows[..., None], columns[..., None, :]

    def _draw_bodies(self, canvas: Images, outlines: Floats, bodies: Floats) -> None:
        cosine, sine = np.cos(bodies[..., 2])[..., None, None], np.sin(bodies[..., 2])[..., None, None]
        x, y = np.moveaxis(outlines, -1, 0)
        turned = np.stack([x * cosine - y * sine, x * sine + y * cosine], axis=-1)
        corners = self._place(turned + (bodies[..., None, None, :2] * SCALE + _SHIFT))  # (N, K, 2, 6, 2)
        reach = np.linalg.norm(outlines, axis=-1).max() * self._cells
        size = (int(2 * reach[1]) + 2, int(2 * reach[0]) + 2)
        corner, rows, columns = self._patches(canvas, corners[:, :, 0].min(axis=-2), size)
        shares = cover(corners - corner[:, :, None, None].astype(np.float32), *size)[..., None]
        every = np.arange(len(canvas))[:, None, None]
        for i in range(bodies.shape[1]):
            places = (every, rows[:, i], columns[:, i])
            outer, inner = shares[:, i, 0], shares[:, i, 1]
            canvas[places] = np.rint(canvas[places] * (1 - outer) + self._edge * (outer - inner) + self._hull * inner)

    def _draw_sparks(self, canvas: Images, sparks: Floats) -> None:
        lit = sparks[..., 2] >= 0
        most = lit.sum(axis=1).max()  # those that are lit come first
        sparks, lit = sparks[:, :most], lit[:, :most]
        size = (int(2 * _SPARK * self._cells[1]) + 2, int(2 * _SPARK * self._cells[0]) + 2)
        middles = self._place(sparks[..., :2] * SCALE)
        low, high = middles - _SPARK * self._cells, middles + _SPARK * self._cells
        _, rows, columns = self._patches(canvas, low, size)
        across, down = (
            (np.minimum(high[..., axis, None], cells + 1) - np.maximum(low[..., axis, None], cells)).clip(0, 1)
            for axis, cells in ((0, columns[..., 0, :]), (1, rows[..., 0]))
        )
        shares = (down[..., None] * across[..., None, :] * lit[..., None, None]).astype(np.float32)
        colours = self._sparks[np.rint(sparks[..., 2].clip(0) * HEATS).astype(int)]
        every = np.arange(len(canvas))[:, None, None]
        for i in range(sparks.shape[1]):
            places = (every, rows[:, i], columns[:, i])
            drawn = canvas[places]
            canvas[places] = np.rint(drawn + shares[:, i, ..., None] * (colours[:, i, None, None] - drawn))

    def _flag_cells(self) -> tuple[tuple[npt.NDArray[np.intp], ...], Floats, Floats]:
        """The cells that flags and poles cover, what they leave of the image there, and what they add."""
        top = _PAD + _POLE_HEIGHT
        poles = np.array([[(x, top + 1), (x, _PAD), (x + 1, _PAD), (x + 1, top + 1)] for x in _POLES], dtype=np.float32)
        pennants = [_grow([(x, top), (x, top - 10), (x + 25, top - 5)], 0.5) + 0.5 for x in _POLES]
        rows, columns = self._rows, self._columns
        pole, flag = (
            cover(self._place(np.array(shape)) - self._margin, rows, columns).sum(axis=0)[..., None]
            for shape in (poles, pennants)
        )
        left = (1 - pole) * (1 - flag)
        cells = np.nonzero(left[..., 0] < 1)
        added = pole * (1 - flag) * self._ground + flag * self._flag
        return cells, left[cells], added[cells]

    def _draw_flags(self, images: Images) -> None:
        (rows, columns), left, added = self._flags
        images[:, rows, columns] = np.rint(images[:, rows, columns] * left + added)


class SceneObserver(Observer):
    """What an agent sees of scenes: their states, or images of a world's look, crop and size, drawn at that size.

    Raises:
        UnknownNameError, InvalidInputError: as `split_sky` and `seen_shape`.
    """

    def __init__(self, world: World, num_envs: int) -> None:
        self._pixels = world.sensor == "pixels"
        super().__init__(world, world.parsed_look.apply, shown_shape(world), num_envs)
        if self._pixels:
            self._drawing = Drawing(world.look, self.shape[0], self.shape[1], world.crop or HEIGHT)

    def see(self, images: Scenes) -> Images:  # type: ignore[override]
        """Return images uint8 `(N, H', W', 3)` of scenes `(N, SCENE)`."""
        return self._drawing(images)

    def start(self, rows: Rows, shown: Scenes) -> None:
        """Take scenes that begin an episode."""
        super().start(rows, shown if self._pixels else shown[:, :STATES])

    def step(self, shown: Scenes) -> None:
        """Take all scenes after a step."""
        super().step(shown if self._pixels else shown[:, :STATES])


def shown_shape(world: World) -> Shape:
    """Return the shape of Gymnasium's image, or of a state."""
    return (HEIGHT, WIDTH, 3) if world.sensor == "pixels" else (STATES,)
