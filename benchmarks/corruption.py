"""Ways in which pairs go wrong, to study what a stitch bears: noise, delay, mixed-up rows, too few rows.

Each is a function of its arguments and a seed. Those that move rows return row numbers, for arrays and tensors alike.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from rlstitch.errors import InvalidInputError

Images = npt.NDArray[np.uint8]
Rows = npt.NDArray[np.int64]


def noisy_images(images: Images, deviation: float, *, seed: int = 0) -> Images:
    """Add normal noise of a standard deviation, as a share of the range 0 to 255, to images uint8 `(n, ...)`; clipped.

    Raises:
        InvalidInputError: for a negative or non-finite deviation.
    """
    _check("deviation", deviation, np.inf)
    noise = np.random.default_rng(seed).standard_normal(images.shape, dtype=np.float32)
    return np.clip(np.rint(images + 255.0 * deviation * noise), 0, 255).astype(np.uint8)


def noisy_latents(latents: npt.NDArray[Any], level: float, *, seed: int = 0) -> npt.NDArray[Any]:
    """Add normal noise to latents `(n, d)`: of `level` times the standard deviation of each dimension.

    Raises:
        InvalidInputError: for a negative or non-finite level.
    """
    _check("level", level, np.inf)
    noise = np.random.default_rng(seed).standard_normal(latents.shape)
    noisy: npt.NDArray[Any] = (latents + level * latents.std(axis=0) * noise).astype(latents.dtype)
    return noisy


def shifted_rows(episodes: npt.NDArray[np.int64], steps: int) -> tuple[Rows, Rows]:
    """Pair step t of x with step t + `steps` of y, within each episode: as from two recorders that are out of step.

    Args:
        episodes: `(n,)` the episode of each row; the rows of an episode stand together, in order.
        steps: by how much y is late; negative: early.

    Returns:
        Row numbers of x and of y, equally many; rows without a partner in their episode are left out.

    Raises:
        InvalidInputError: where the rows of an episode do not stand together.
    """
    changes = np.flatnonzero(np.diff(episodes)) + 1
    starts = np.concatenate([[0], changes]) if len(episodes) else changes
    if len(np.unique(episodes)) != len(starts):
        raise InvalidInputError("episodes: expected the rows of an episode to stand together, found one in parts")
    rows = np.arange(len(episodes))
    partner = rows + steps
    inside = (partner >= 0) & (partner < len(episodes))
    rows, partner = rows[inside], partner[inside]
    same = episodes[rows] == episodes[partner]
    return rows[same], partner[same]


def wrong_rows(count: int, share: float, *, seed: int = 0) -> Rows:
    """Mix up a share of `count` rows: `y[wrong_rows(len(y), 0.2)]` pairs a fifth of x with another row of y.

    The rows concerned are drawn at random and passed on in a ring, so that each of them is wrong and none is lost.
    A share that stands for one row concerns two.

    Raises:
        InvalidInputError: for a share outside [0, 1], or a count below 2 where something is to be mixed up.
    """
    _check("share", share, 1.0)
    rows, wrong = np.arange(count), round(share * count)
    if share == 0 or wrong == 0:
        return rows
    if count < 2:
        raise InvalidInputError(f"count: expected at least 2 rows to mix up, found {count}")
    ring = np.random.default_rng(seed).permutation(count)[: max(2, wrong)]
    rows[ring] = np.roll(ring, 1)
    return rows


def few_rows(count: int, few: int, *, seed: int = 0) -> Rows:
    """Draw `few` of `count` rows, all of them where there are no more; in order. Fewer are part of more, by one seed.

    Raises:
        InvalidInputError: for fewer than 1.
    """
    if few < 1:
        raise InvalidInputError(f"few: expected at least 1, found {few}")
    return np.sort(np.random.default_rng(seed).permutation(count)[:few])


def _check(name: str, value: float, most: float) -> None:
    if not (0 <= value <= most and np.isfinite(value)):
        limits = "a finite number of at least 0" if most == np.inf else f"a number in [0, {most:g}]"
        raise InvalidInputError(f"{name}: expected {limits}, found {value}")
