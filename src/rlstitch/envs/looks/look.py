"""Looks: what changes in the picture and in nothing else.

A variation is a pure function of the picture. What it has, any of which may be missing:

- what the environment draws itself: `floor`, the colour *under* the objects of a MiniGrid, so that walls and objects
  keep their own; `palette`, other colours for those objects; `camera`, which only an environment that has one can move.
  `tint` is the floor's name, under which another environment may have a ground of its own (CarRacing: `red`);
- `pixels`: a function of finished images, uint8 `(..., H, W, C)` to uint8 of the same shape. Where it is `pointwise`
  (each pixel is mapped by itself) it is applied to the ready-drawn tiles once, and costs nothing for each frame.

Looks are given as text: `red`, `hue:120`, `noise:0.05,seed=3`, joined with a plus. What the environment draws comes
first (the last floor named is drawn), pixel functions follow from left to right. The names are in `LOOKS`.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass, replace
from types import MappingProxyType

import numpy as np

from rlstitch.envs.looks.catalogue import LOOKS, NAMES
from rlstitch.envs.looks.palette import Palette, merge_palettes
from rlstitch.envs.looks.pixels import Chain, FunctionStep, Images, PixelFunction, PointFunctionStep
from rlstitch.envs.looks.text import Colour, LookKind, Values, parse_looks
from rlstitch.errors import InvalidInputError

__all__ = ["CAMERAS", "LOOKS", "VARIATIONS", "Variation", "canonical_name", "get_variation", "pixel_part"]

_STANDARD = "standard"
MAX_LENGTH = 200
"""Characters of a look's text: what the card of an agent holds."""
_LAYERS = ("recolour", "tint", "camera", "pixels")


@dataclass(frozen=True)
class Variation:
    """One look. `floor` is RGB in 0..255; `pixels` maps uint8 images to uint8 images of the same shape.

    `camera` names where an environment draws from; None: from where it always does. `tint` is the name of the floor.
    `palette` holds colours of MiniGrid's objects by name.
    """

    name: str
    floor: Colour | None = None
    pixels: PixelFunction | None = None
    pointwise: bool = True
    description: str = ""
    camera: str | None = None
    tint: str | None = None
    palette: Palette = ()

    def apply(self, images: Images) -> Images:
        """The look of finished images, uint8 `(..., H, W, C)`, of any environment.

        Raises InvalidInputError where the look has a floor or a palette: only an environment that is drawn from tiles
        has them, and finished pictures do not tell a floor from the rest. Or where it moves the camera.
        """
        self.check_finished()
        if images.dtype != np.uint8:
            raise InvalidInputError(f"images: expected uint8, found {images.dtype}")
        if images.ndim < 3:
            raise InvalidInputError(f"images: expected (..., H, W, C), found {images.shape}")
        return images if self.pixels is None else self.pixels(images)

    def check_finished(self) -> None:
        """Raises InvalidInputError where the look is more than a function of finished images."""
        self.check_camera()
        if self.floor is not None or self.palette:
            does = "tints the floor" if self.floor is not None else "changes the colours"
            raise InvalidInputError(
                f"variation: {self.name!r} {does} of MiniGrid tiles; finished images take one of "
                f"{', '.join(kind.usage for kind in LOOKS.values() if kind.layer in ('none', 'pixels'))}"
            )

    def check_camera(self) -> None:
        """Raises InvalidInputError where the look moves a camera: of an environment that has none to be moved."""
        if self.camera is not None:
            raise InvalidInputError(
                f"variation: {self.name!r} moves the camera, which CarRacing by the backend gymnasium alone can do"
            )

    def then(self, other: Variation) -> Variation:
        """This look and then the other; a later floor replaces an earlier one, pixel functions are chained."""
        words = [(one.name, one.description) for one in (self, other) if one.name != _STANDARD]
        if not words:
            return self
        if self.pixels is None or other.pixels is None:
            pixels = self.pixels or other.pixels
        else:
            pixels = Chain((*_chain(self).steps, *_chain(other).steps))
        return Variation(
            name="+".join(name for name, _ in words),
            floor=self.floor if other.floor is None else other.floor,
            pixels=pixels,
            pointwise=self.pointwise and other.pointwise,
            description="; ".join(description for _, description in words),
            camera=self.camera or other.camera,
            tint=self.tint if other.floor is None else other.tint,
            palette=merge_palettes(self.palette, other.palette),
        )

    def split_pixels(self) -> tuple[PixelFunction | None, PixelFunction | None]:
        """The pixel functions that can be applied to tiles before they are put together, and those that come after."""
        if self.pixels is None:
            return None, None
        return _chain(self).split()


def _chain(variation: Variation) -> Chain:
    function = variation.pixels
    if isinstance(function, Chain):
        return function
    if function is None:
        return Chain(())
    return Chain((PointFunctionStep(function) if variation.pointwise else FunctionStep(function),))


def pixel_part(variation: Variation) -> Variation:
    """What is left for finished images once the environment has drawn floor, colours and camera itself.

    A family of environments with a palette of its own looks up `variation.tint` there, and applies this.
    """
    if variation.floor is None and variation.camera is None and not variation.palette:
        return variation
    if variation.pixels is None:
        return VARIATIONS[_STANDARD]
    kinds = {part: NAMES.get(part.partition(":")[0]) for part in variation.name.split("+")}
    if None not in kinds.values():
        texts = [part for part in variation.name.split("+") if getattr(kinds[part], "layer", "") == "pixels"]
        named = get_variation("+".join(texts) or _STANDARD)
        if named.pixels == variation.pixels:
            return named
    return replace(variation, floor=None, camera=None, tint=None, palette=())


def _make(kind: LookKind, values: Values) -> Variation:
    return Variation(name=kind.text(values), description=kind.description, **kind.make(**values))


@functools.lru_cache(maxsize=256)
def get_variation(name: str) -> Variation:
    """The variation of that text: names with arguments, joined with a plus. Its own `name` is the canonical text.

    Raises UnknownNameError where a name, an argument or a choice is not known, InvalidInputError where an argument is
    missing, no number or out of range, or the text is too long.
    """
    layers: dict[str, list[tuple[LookKind, Values]]] = {}
    for kind, values in parse_looks(name, NAMES):
        layers.setdefault(kind.layer, []).append((kind, values))
    if colours := layers.get("recolour"):
        merged = {key: value for _, values in colours for key, value in values.items() if value is not None}
        layers["recolour"] = [(colours[0][0], {**colours[0][1], **merged})]
    for layer in ("tint", "camera"):
        layers[layer] = layers.get(layer, [])[-1:]
    parts = [_make(*part) for layer in _LAYERS for part in layers.get(layer, [])]
    variation = functools.reduce(Variation.then, parts, VARIATIONS[_STANDARD])
    if len(variation.name) > MAX_LENGTH:
        raise InvalidInputError(f"variation: expected at most {MAX_LENGTH} characters, found {len(variation.name)}")
    return variation


def canonical_name(name: str) -> str:
    """The one text of a look. Raises as `get_variation`."""
    return get_variation(name).name


def _plain(*layers: str) -> MappingProxyType[str, Variation]:
    kinds = [kind for kind in LOOKS.values() if kind.parameters == () and kind.layer in layers]
    return MappingProxyType({kind.name: _make(kind, {}) for kind in kinds})


VARIATIONS = _plain("none", "tint", "pixels")
"""Looks without arguments."""
CAMERAS = _plain("camera")
"""Looks that an environment has to draw itself."""
