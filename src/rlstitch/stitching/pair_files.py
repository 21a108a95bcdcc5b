"""Pairs that the user brings: two arrays in one `.npz` file, row by row the same meaning.

`x` is what the encoder's agent sees, `y` what the controller's agent sees: images uint8 `(n, H, W, C)` of the agent's
own size, or its latents, floats `(n, d)`. Nothing is unpickled.
"""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from rlstitch.agents.agent import Agent
from rlstitch.errors import InvalidInputError
from rlstitch.rollouts.evaluation import check_counts
from rlstitch.stitching.pairs import LatentPairs
from rlstitch.storage import limits, open_archive, printable, read_array, read_bytes, write_bytes

Rows = npt.NDArray[Any]
"""Images uint8 `(n, H, W, C)` or latents, floats `(n, d)`."""


def write_pairs(path: str | Path, x: Rows, y: Rows) -> Path:
    """Write pairs as a compressed `.npz` file, whole or not at all; equal arrays give equal bytes.

    Raises:
        InvalidInputError: where x and y are no images or latents, differ in length, or hold NaN; or the name does not
            end in `.npz`.
        ArtefactError: where the operating system refuses.
    """
    path = Path(path)
    if path.suffix != ".npz":
        raise InvalidInputError(f"pairs: expected a file name that ends in .npz, found {str(path)!r}")
    check_rows(x, y, "pairs")
    buffer = io.BytesIO()
    np.savez_compressed(buffer, x=x, y=y)
    write_bytes(path, buffer.getvalue())
    return path


def read_pairs(path: str | Path) -> tuple[Rows, Rows]:
    """Read the pairs of an `.npz` file: x and y, equally long; other arrays in the file are left alone.

    Raises:
        ArtefactError: where the file is missing, too large, damaged, no `.npz` file, or holds pickled objects.
        InvalidInputError: where x or y is missing or not what this module's description says.
    """
    path = Path(path)
    content = read_bytes(path, max_bytes=limits.PAIRS_BYTES)
    with open_archive(content, f"{path}: not a usable .npz file") as archive:
        names = [name.removesuffix(".npy") for name in archive.namelist()]
        if not {"x", "y"} <= set(names):
            arrays = printable(", ".join(sorted(names)), limit=200) or "nothing"
            raise InvalidInputError(f"{path}: expected the arrays x and y, found {arrays}")
        x, y = read_array(archive, "x"), read_array(archive, "y")
    check_rows(x, y, str(path))
    return x, y


def check_rows(x: Rows, y: Rows, where: str) -> None:
    """Check that two arrays are pairs.

    Raises:
        InvalidInputError: naming the array, what was expected and what was found.
    """
    for name, side in (("x", x), ("y", y)):
        problem = f"{where}: {name}: expected images uint8 (n, H, W, C) or latents, floats (n, d), found"
        images, latents = side.dtype == np.uint8 and side.ndim == 4, side.dtype.kind == "f" and side.ndim == 2
        if not (images or latents):
            raise InvalidInputError(f"{problem} {side.dtype} {side.shape}")
        if side.size == 0:
            raise InvalidInputError(f"{problem} none: {side.shape}")
        bad = 0 if images else int((~np.isfinite(side)).sum())
        if bad:
            raise InvalidInputError(f"{where}: {name}: expected finite latents, found {bad} NaN or infinite value(s)")
    if len(x) != len(y):
        raise InvalidInputError(f"{where}: expected x and y to be equally long, found {len(x)} and {len(y)} rows")


def given_pairs(
    encoder: Agent, policy: Agent, x: Rows, y: Rows, *, held: int = 128, seed: int = 0, where: str = "pairs"
) -> LatentPairs:
    """Return latents of given pairs, split so that no row of x is on both sides.

    Equal pairs count once, and distinct views are counted by the bytes of x: the same row of x with several rows of y
    is one view. At most `held` views, and at most a fifth of them, are held out: no map is fitted on these.

    Args:
        encoder, policy: the agents whose encoder and controller are to be joined.
        x: images as `encoder` sees them, or its latents.
        y: images as `policy` sees them, or latents that its controller takes.
        held: views to judge on, at most.
        seed: of the split.
        where: what the errors call the pairs.

    Raises:
        InvalidInputError: where they are no pairs, not of the agents' sizes, or fewer than two distinct views.
    """
    check_counts(held=held)
    check_rows(x, y, where)
    for name, side, agent, width in (
        ("x", x, encoder, encoder.encoder.latent_dim),
        ("y", y, policy, policy.controller.latent_dim),
    ):
        expected = tuple(agent.encoder.observation_shape) if side.ndim == 4 else (width,)
        if side.shape[1:] != expected:
            kind = "images" if side.ndim == 4 else "latents"
            raise InvalidInputError(
                f"{where}: {name}: agent {agent.card.name!r} has {kind} of shape {expected}, found {side.shape[1:]}"
            )
    views: dict[bytes, int] = {}
    pairs: dict[tuple[int, bytes], int] = {}
    for row in range(len(x)):
        view = views.setdefault(x[row].tobytes(), len(views))
        pairs.setdefault((view, y[row].tobytes()), row)
    if len(views) < 2:
        raise InvalidInputError(
            f"{where}: expected at least 2 distinct rows of x to fit and to judge, found {len(views)}"
        )
    aside = min(held, max(1, len(views) // 5))
    out = np.zeros(len(views), dtype=np.bool_)
    out[np.random.default_rng(seed).permutation(len(views))[:aside]] = True
    rows, judged = np.array(list(pairs.values())), np.array([out[view] for view, _ in pairs])
    split = (rows[~judged], rows[judged])
    (fit_x, held_x), (fit_y, held_y) = (
        [_latents(agent, side[chosen]) for chosen in split] for agent, side in ((encoder, x), (policy, y))
    )
    return LatentPairs(fit_x, fit_y, held_x, held_y, distinct_views=len(views))


def _latents(agent: Agent, rows: Rows) -> Tensor:
    if rows.ndim == 4:
        return agent.encode(rows)
    return torch.from_numpy(np.ascontiguousarray(rows, dtype=np.float32)).to(agent.device)
