"""Looks on torch tensors, wherever they lie: the same whole numbers as NumPy gives, bit for bit.

Everything is integer arithmetic, or a float64 matrix product of whole numbers that float64 holds exactly. What depends
on the look and the size alone (tables, weights, patterns) is made once with NumPy.
"""

from __future__ import annotations

import functools
from typing import Any

import numpy as np
import torch
from torch import Tensor

from rlstitch.envs.looks import noise as looks_noise
from rlstitch.envs.looks.colours import UNIT, Mix, Order, Table
from rlstitch.envs.looks.geometry import FIRST_BITS, SECOND_BITS, Geometry, fill_values
from rlstitch.envs.looks.look import Look, get_look
from rlstitch.envs.looks.noise import FACTORS, Noise, Texture, check_rgb
from rlstitch.envs.looks.pixels import Chain, Step
from rlstitch.errors import InvalidInputError

_WORD = 0xFFFFFFFF


def apply_torch(look: Look | str, images: Tensor) -> Tensor:
    """Return finished images, a uint8 tensor `(..., H, W, C)` on any device, under a look: equal to `Look.apply`.

    Raises:
        InvalidInputError: as `Look.apply`, and for a look whose pixels are a function of NumPy arrays.
        UnknownNameError: for an unknown look.
    """
    look = get_look(look) if isinstance(look, str) else look
    look.check_finished()
    if images.dtype != torch.uint8:
        raise InvalidInputError(f"images: expected uint8, found {str(images.dtype).removeprefix('torch.')}")
    if images.ndim < 3:
        raise InvalidInputError(f"images: expected (..., H, W, C), found {tuple(images.shape)}")
    if look.pixels is None:
        return images
    if not isinstance(look.pixels, Chain):
        raise _no_torch(look.name)
    if not images.numel():
        return images.clone()
    for step in look.pixels.steps:
        images = _apply(step, images)
    return images


@functools.singledispatch
def _apply(step: Step, images: Tensor) -> Tensor:
    raise _no_torch(type(step).__name__)


def _no_torch(name: str) -> InvalidInputError:
    return InvalidInputError(f"look: expected one that is made of named looks, found {name!r}, a function of arrays")


@_apply.register
def _table(step: Table, images: Tensor) -> Tensor:
    return _tensor(np.frombuffer(step.levels, dtype=np.uint8), images)[images.int()]


@_apply.register
def _order(step: Order, images: Tensor) -> Tensor:
    if images.shape[-1] % 3:
        return images.clone()
    return _split_rgb(images)[..., list(step.channels)].reshape(images.shape)


@_apply.register
def _mix_channels(step: Mix, images: Tensor) -> Tensor:
    if images.shape[-1] % 3:
        return images.clone()
    red, green, blue = _split_rgb(images).int().unbind(-1)
    made = [(red * row[0] + green * row[1] + blue * row[2] + UNIT // 2) >> 16 for row in step.rows]
    return torch.stack(made, dim=-1).clamp_(0, 255).byte().reshape(images.shape)


@_apply.register
def _geometry(step: Geometry, images: Tensor) -> Tensor:
    height, width, channels = images.shape[-3:]
    rows, columns = step.sides(height, width)
    out = images.reshape(-1, height, width, channels)
    if rows.places is not None and columns.places is not None:
        out = out[:, _tensor(rows.places, images)[:, None], _tensor(columns.places, images)]
    elif rows.weights is not None and columns.weights is not None:
        out = _weighted(out, _tensor(rows.weights, images).double(), _tensor(columns.weights, images).double())
    else:
        out = out.clone()
    values = _tensor(fill_values(step.fill, channels), images)
    out[:, : rows.inside.start] = out[:, rows.inside.stop :] = values
    out[:, :, : columns.inside.start] = out[:, :, columns.inside.stop :] = values
    return out.reshape(images.shape)


def _weighted(images: Tensor, rows: Tensor, columns: Tensor) -> Tensor:
    sums = _round(images.permute(0, 3, 1, 2).double() @ columns.T, FIRST_BITS)
    return _round(rows @ sums, SECOND_BITS).byte().permute(0, 2, 3, 1).contiguous()


def _round(sums: Tensor, bits: int) -> Tensor:
    return sums.add_(1 << bits - 1).mul_(0.5**bits).floor_()


@_apply.register
def _noise(step: Noise, images: Tensor) -> Tensor:
    height, width, channels = images.shape[-3:]
    depth = 3 if channels % 3 == 0 else 1
    weights, places, levels = _noise_tables(height * width * depth, step, images.device)
    pictures = images.reshape(-1, height * width, channels // depth, depth).transpose(1, 2)
    flat = pictures.reshape(-1, channels // depth, height * width * depth).long()
    digest = (flat * weights).sum(dim=-1, keepdim=True) & _WORD
    chosen = _scramble((places + _scramble(digest)).bitwise_and_(_WORD)).bitwise_right_shift_(16)
    noisy = (levels[chosen] + flat).clamp_(0, 255).byte()
    stacked = noisy.reshape(-1, channels // depth, height * width, depth).transpose(1, 2)
    return stacked.reshape(images.shape)


@functools.lru_cache(maxsize=8)
def _noise_tables(count: int, step: Noise, device: torch.device) -> tuple[Tensor, Tensor, Tensor]:
    weights, places = looks_noise.keys(count, step.seed)
    tables = (weights.astype(np.int64), places.astype(np.int64), looks_noise.levels_of(step.sigma))
    return tuple(torch.tensor(table, device=device) for table in tables)  # type: ignore[return-value]


def _scramble(words: Tensor) -> Tensor:
    """As `looks_noise.mix`, in words of 64 bits of which the lower 32 are used; no product overflows."""
    out = words ^ (words >> 16)
    for factor in FACTORS:
        out.mul_(factor).bitwise_and_(_WORD)
        out.bitwise_xor_(out >> 15)
    return out


@_apply.register
def _texture(step: Texture, images: Tensor) -> Tensor:
    check_rgb(tuple(images.shape))
    height, width = images.shape[-3:-1]
    pictures = _split_rgb(images)
    background, ink = (torch.tensor(colour, device=images.device) for colour in (step.background, step.ink))
    near = ((pictures.int() - background).abs() <= step.tolerance).all(dim=-1)
    painted = near & _tensor(looks_noise.pattern(step, height, width), images)[..., None]
    return torch.where(painted[..., None], ink.byte(), pictures).reshape(images.shape)


def _split_rgb(images: Tensor) -> Tensor:
    return images.reshape(*images.shape[:-1], images.shape[-1] // 3, 3)


def _tensor(array: np.ndarray[Any, Any], like: Tensor) -> Tensor:
    return torch.tensor(array, device=like.device)
