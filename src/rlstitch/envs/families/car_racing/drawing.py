"""What Gymnasium's CarRacing observes, pixel for pixel, drawn without what lies outside the view.

Gymnasium transforms some 700 polygons one by one for each image, of which 40 to 150 are within the view. Here all are
transformed at once and the visible ones are drawn by the same calls in the same order.
"""

from __future__ import annotations

import copy
import functools
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pygame
from gymnasium.envs.box2d import car_racing as gym_car
from pygame import gfxdraw

from rlstitch.envs.looks.pixels import Images
from rlstitch.envs.looks.text import Colour

Points = npt.NDArray[np.float64]

WIDTH, HEIGHT = gym_car.WINDOW_W, gym_car.WINDOW_H
_FIELD: Points = gym_car.PLAYFIELD * np.array([(1, 1), (1, -1), (-1, -1), (-1, 1)])
_CORNERS: Points = gym_car.GRASS_DIM * np.array([(1, 0), (0, 0), (0, 1), (1, 1)])
_GRASS: Points = np.array(
    [gym_car.GRASS_DIM * np.array((x, y)) + _CORNERS for x in range(-20, 20, 2) for y in range(-20, 20, 2)]
)
"""Corners of the lighter patches, `(400, 4, 2)`, in the order in which Gymnasium draws them."""
_VIEW = ((0, 0), (WIDTH, 0), (WIDTH, HEIGHT), (0, HEIGHT))
_EDGE = 2
"""Pixels by which an anti-aliased line may pass the points that it joins."""


class CarDrawing:
    """The image of one car's state, in place of `CarRacing._render`.

    Args:
        car: Gymnasium's environment, unwrapped.
        grounds: colours of background and grass, one pair of which each episode has: a function of its seed that leaves
            the environment's random numbers what they are.
        zoom: of the camera.
    """

    def __init__(self, car: Any, grounds: Sequence[tuple[Colour, Colour]], zoom: float) -> None:
        self._car, self._grounds, self._zoom = car, grounds, zoom
        self._background, self._grass = grounds[0]
        self._return = 0.0
        self._surface, self._flipped = pygame.Surface((WIDTH, HEIGHT)), pygame.Surface((WIDTH, HEIGHT))
        self._track: Any = None
        self._road: Points = np.empty((0, 4, 2))

    def note(self, mode: str = "state_pixels") -> None:
        """Note the return so far, which Gymnasium draws before it subtracts the time cost of a step."""
        self._return = self._car.reward

    def __call__(self, mode: str = "state_pixels") -> Images:
        """Return the image of the present state, as `CarRacing._render` does within a step."""
        self.note()
        return self.image()

    def image(self) -> Images:
        """Return the image of the present state with the return that was noted, uint8 `(96, 96, 3)`."""
        car, hull = self._car, self._car.car.hull
        if self._track is not car.road_poly:
            self._track, self._road = car.road_poly, np.array([points for points, _ in car.road_poly])
            self._background, self._grass = self._grounds[copy.deepcopy(car.np_random).integers(len(self._grounds))]
        # The first second of an episode zooms in.
        zoom = 0.1 * gym_car.SCALE * max(1 - car.t, 0) + self._zoom * gym_car.SCALE * min(car.t, 1)
        angle = -hull.angle
        moved = pygame.math.Vector2(-hull.position[0] * zoom, -hull.position[1] * zoom).rotate_rad(angle)
        centre = (WIDTH / 2 + moved[0], HEIGHT / 4 + moved[1])
        place = functools.partial(_transformed, zoom=zoom, centre=centre, angle=angle)

        corners = [(pygame.math.Vector2(corner) - centre).rotate_rad(-angle) / zoom for corner in _VIEW]
        if max(abs(value) for corner in corners for value in corner) < gym_car.PLAYFIELD - 1:
            self._surface.fill(self._background)
        else:
            self._surface.fill(0)
            self._polygon(place(_FIELD).tolist(), self._background)
        for points in _visible(place(_GRASS))[1]:
            self._polygon(points, self._grass)
        for number, points in zip(*_visible(place(self._road)), strict=True):
            self._polygon(points, [int(channel) for channel in car.road_poly[number][1]])
        car.car.draw(self._surface, zoom, centre, angle, False)

        # Faster than pygame's flip, which takes new memory for each image.
        pygame.surfarray.pixels2d(self._flipped)[:] = pygame.surfarray.pixels2d(self._surface)[:, ::-1]
        car.surf = self._flipped
        car._render_indicators(WIDTH, HEIGHT)
        text = _text(f"{self._return:04.0f}")
        car.surf.blit(text, text.get_rect(center=(60, HEIGHT - HEIGHT * 2.5 / 40.0)))
        return car._create_image_array(car.surf, (gym_car.STATE_W, gym_car.STATE_H))

    def _polygon(self, points: list[Any], colour: Any) -> None:
        gfxdraw.aapolygon(self._surface, points, colour)
        gfxdraw.filled_polygon(self._surface, points, colour)


def _transformed(points: Points, *, zoom: float, centre: tuple[float, float], angle: float) -> Points:
    """Points of the world `(..., 2)` in pixels, by the operations of pygame's `rotate_rad` on doubles."""
    cosine, sine = pygame.math.Vector2(1, 0).rotate_rad(angle)
    x, y = points[..., 0], points[..., 1]
    return np.stack([(cosine * x - sine * y) * zoom + centre[0], (sine * x + cosine * y) * zoom + centre[1]], axis=-1)


def _visible(polygons: Points) -> tuple[list[int], list[Any]]:
    """Numbers and points of the polygons `(N, 4, 2)` whose bounding box meets the view."""
    # Corner by corner: a reduction over so short an axis is much slower.
    corners = polygons.transpose(1, 0, 2)
    low, high = functools.reduce(np.minimum, corners), functools.reduce(np.maximum, corners)
    inside = (high >= -_EDGE) & (low <= np.array((WIDTH, HEIGHT)) + _EDGE)
    numbers = np.flatnonzero(inside.all(axis=1))
    return numbers.tolist(), polygons[numbers].tolist()


@functools.lru_cache(maxsize=1024)
def _text(text: str) -> pygame.Surface:
    pygame.font.init()
    font = pygame.font.Font(pygame.font.get_default_font(), 42)
    return font.render(text, True, (255, 255, 255), (0, 0, 0))
