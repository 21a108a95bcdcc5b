"""Looks: how an environment is drawn, and nothing else.

A look is a pure function of the frame. What it has, any of which may be missing:

- what the environment draws itself: `floor`, the colour *under* the objects of a MiniGrid, so that walls and objects
  keep their own; `palette`, other colours for those objects; `camera`, what only an environment that has a camera can
  draw: from far away, or with a ground of another colour in each episode. `tint` is the floor's name, under which
  another environment may have a ground of its own;
- `pixels`: a function of finished images, uint8 `(..., H, W, C)` to uint8 of the same shape. Where it is `pointwise`
  (each pixel is mapped by itself) it is applied to the ready-drawn tiles once, and costs nothing for each frame.

Looks are given as text: `red`, `hue:120`, `noise:0.05,seed=3`, joined with a plus. What the environment draws comes
first (the last floor named is drawn), pixel functions follow from left to right. The names are in `LOOKS`.
"""

from __future__ import annotations

import functools
from collections.abc import Collection
from dataclasses import dataclass, replace
from types import MappingProxyType

import numpy as np

from rlstitch.envs.looks import colours, drawn, geometry, noise
from rlstitch.envs.looks.drawn import Palette, merge_palettes
from rlstitch.envs.looks.pixels import Chain, FunctionStep, Images, PixelFunction, PointFunctionStep
from rlstitch.envs.looks.text import Colour, LookKind, Values, parse_looks
from rlstitch.errors import InvalidInputError

__all__ = ["LOOKS", "VARIATIONS", "Look", "Variation", "get_look", "get_variation", "pixel_part"]

_STANDARD = "standard"
MAX_LENGTH = 200
"""Characters of a look's text: what the card of an agent holds."""
LOOKS: MappingProxyType[str, LookKind] = MappingProxyType(
    {kind.name: kind for kind in (*drawn.LOOKS, *colours.LOOKS, *geometry.LOOKS, *noise.LOOKS)}
)
"""The kinds of looks by their names; a new one is added in the file of its kind."""
NAMES: MappingProxyType[str, LookKind] = MappingProxyType(
    {name: kind for kind in LOOKS.values() for name in (kind.name, *kind.aliases)}
)
"""The kinds of looks by their names and aliases."""
_LAYERS = ("recolour", "tint", "camera", "pixels")


@dataclass(frozen=True)
class Look:
    """One look. `floor` is RGB in 0..255; `pixels` maps uint8 images to uint8 images of the same shape.

    `camera` joins with a plus what only an environment with a camera can draw: `far`, `multicolour`; None: neither.
    `tint` is the name of the floor. `palette` holds colours of objects by name.
    """

    name: str
    floor: Colour | None = None
    pixels: PixelFunction | None = None
    pointwise: bool = True
    description: str = ""
    camera: str | None = None
    tint: str | None = None
    palette: Palette = ()

    @property
    def chain(self) -> Chain:
        """The pixel function as steps."""
        if self.pixels is None or isinstance(self.pixels, Chain):
            return self.pixels or Chain(())
        return Chain((PointFunctionStep(self.pixels) if self.pointwise else FunctionStep(self.pixels),))

    def apply(self, images: Images) -> Images:
        """Return finished images, uint8 `(..., H, W, C)`, of any environment under the look.

        Raises:
            InvalidInputError: where the look has more than a function of finished images (see `check_finished`), or
                for anything but such images.
        """
        self.check_finished()
        if images.dtype != np.uint8:
            raise InvalidInputError(f"images: expected uint8, found {images.dtype}")
        if images.ndim < 3:
            raise InvalidInputError(f"images: expected (..., H, W, C), found {images.shape}")
        return images if self.pixels is None else self.pixels(images)

    def check_finished(self) -> None:
        """Check that the look is a function of finished images.

        Raises:
            InvalidInputError: where it has a floor or a palette, which only an environment that is drawn from tiles has
                (in a finished image a floor looks like the rest), or moves the camera.
        """
        self.check_camera()
        if self.floor is not None or self.palette:
            does = "tints the floor" if self.floor is not None else "changes the colours"
            raise InvalidInputError(
                f"look: {self.name!r} {does} of MiniGrid tiles; finished images take one of "
                f"{', '.join(kind.usage for kind in LOOKS.values() if kind.layer in ('none', 'pixels'))}"
            )

    def check_camera(self, remedy: str = "") -> None:
        """Check that the look leaves the camera where it is, and the ground the same in every episode.

        Args:
            remedy: what the message names as the way to have such a look, if there is one.

        Raises:
            InvalidInputError: where it does not; for environments and backends that cannot draw it.
        """
        if self.camera is not None:
            does = "moves the camera" if "far" in self.camera.split("+") else "changes the ground with the episode"
            raise InvalidInputError(
                f"look: {self.name!r} {does}, which this environment or its backend cannot do{remedy and f'; {remedy}'}"
            )

    def check_tint(self, family: str, kind: str, known: Collection[str]) -> None:
        """Check that a family that draws floors of its own has the look's, and that no objects change their colours.

        Args:
            family: its name.
            kind: what it calls its floors, in the plural.
            known: names of those that it has.

        Raises:
            InvalidInputError: where it has not.
        """
        if self.palette:
            raise InvalidInputError(f"look: {self.name!r} changes the colours of MiniGrid's objects")
        if self.tint is not None and self.tint not in known:
            raise InvalidInputError(
                f"look: {family} has the {kind} {', '.join(known)}, found {self.tint!r} in {self.name!r}"
            )

    def then(self, other: Look) -> Look:
        """Return this look and then the other: a later floor replaces an earlier one, pixel functions are chained."""
        words = [(one.name, one.description) for one in (self, other) if one.name != _STANDARD]
        if not words:
            return self
        steps = (*self.chain.steps, *other.chain.steps)
        return Look(
            name="+".join(name for name, _ in words),
            floor=self.floor if other.floor is None else other.floor,
            pixels=Chain(steps) if steps else None,
            pointwise=self.pointwise and other.pointwise,
            description="; ".join(description for _, description in words),
            camera="+".join(one.camera for one in (self, other) if one.camera) or None,
            tint=self.tint if other.floor is None else other.tint,
            palette=merge_palettes(self.palette, other.palette),
        )

    def split_pixels(self) -> tuple[Chain | None, Chain | None]:
        """Return the pixel functions that can be applied to single tiles, and those that come after; None for none."""
        return self.chain.split()


Variation = Look
"""The name of version 0.1."""


def pixel_part(look: Look) -> Look:
    """Return what is left for finished images once the environment has drawn floor, colours and camera itself.

    A family of environments with a palette of its own looks up `look.tint` there, and applies this.
    """
    return replace(look, floor=None, camera=None, tint=None, palette=())


def _make(kind: LookKind, values: Values) -> Look:
    return Look(name=kind.text(values), description=kind.description, **kind.make(**values))


@functools.lru_cache(maxsize=256)
def get_look(name: str) -> Look:
    """Return the look of a text: names with arguments, joined with a plus. Its own `name` is the canonical text.

    Raises:
        UnknownNameError: for a name, an argument or a choice that is not known.
        InvalidInputError: where an argument is missing, no number or out of range, or the text is too long.
    """
    layers: dict[str, list[tuple[LookKind, Values]]] = {}
    for kind, values in parse_looks(name, NAMES):
        layers.setdefault(kind.layer, []).append((kind, values))
    if colours := layers.get("recolour"):
        merged = {key: value for _, values in colours for key, value in values.items() if value is not None}
        layers["recolour"] = [(colours[0][0], {**colours[0][1], **merged})]
    layers["tint"] = layers.get("tint", [])[-1:]
    cameras = {kind.name: (kind, values) for kind, values in layers.get("camera", [])}
    layers["camera"] = [cameras[name] for name in sorted(cameras)]
    parts = [_make(*part) for layer in _LAYERS for part in layers.get(layer, [])]
    look = functools.reduce(Look.then, parts, VARIATIONS[_STANDARD])
    if len(look.name) > MAX_LENGTH:
        raise InvalidInputError(f"look: expected at most {MAX_LENGTH} characters, found {len(look.name)}")
    return look


get_variation = get_look


VARIATIONS = MappingProxyType(
    {kind.name: _make(kind, {}) for kind in LOOKS.values() if not kind.parameters and kind.layer != "camera"}
)
"""Looks without arguments that need no camera."""
