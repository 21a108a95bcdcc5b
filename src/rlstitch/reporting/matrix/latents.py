"""Latents of matched states before and after stitching, in two dimensions, for cells whose agents are still there."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from rlstitch.errors import ArtefactError, InvalidInputError, RlstitchError
from rlstitch.evaluation.matrix.plan import NATIVE
from rlstitch.reporting.matrix.data import CellRow, MatrixData, place_of

if TYPE_CHECKING:
    from torch import Tensor

    from rlstitch.agents.agent import Agent

POINTS = 160
"""Matched states that are drawn, at most."""
UNMAPPED = ("naive", "relative")
"""Methods under which nothing stands between encoder and controller."""
Places = tuple[tuple[float, float], ...]


@dataclass(frozen=True)
class LatentScatter:
    """Matched states of one cell on two principal components of the controller's own latents; places are `(n, 2)`."""

    encoder: str
    controller: str
    method: str
    target: Places
    """Of the controller's own encoder."""
    before: Places | None
    """Of the other encoder, as they are; None where the widths differ."""
    after: Places
    """Of the other encoder, through the map."""
    explained: tuple[float, float]
    """Shares of the target's variance along the two."""


def choose_rows(rows: Sequence[CellRow], count: int) -> list[CellRow]:
    """Return cells worth drawing, at most `count`: spread from the lowest to the highest recovery.

    Cells of the first world that are in the means, and none where nothing is mapped.
    """
    first = [row for row in rows if place_of(row) == place_of(rows[0]) and row["method"] not in (*UNMAPPED, NATIVE)]
    found = [row for row in first if row.get("counted") and row.get("recovery") is not None]
    found.sort(key=lambda row: (row["recovery"], row["encoder"], row["controller"], row["method"]))
    count = min(count, len(found))
    return [found[round((len(found) - 1) * step / max(1, count - 1))] for step in range(count)]


def find_rows(rows: Sequence[CellRow], names: Sequence[str]) -> list[CellRow]:
    """Return the cells of these names, `encoder--controller--method`, as stitched agents are called.

    Raises:
        InvalidInputError: for a name that no cell which is done has.
    """
    done = (row for row in reversed(rows) if row["state"] == "done")  # of several worlds the first stays
    known = {f"{row['encoder']}--{row['controller']}--{row['method']}": row for row in done}
    for name in names:
        if name not in known:
            raise InvalidInputError(
                f"cells: expected ENCODER--CONTROLLER--METHOD of a cell that is done, found {name!r}"
            )
    return [known[name] for name in dict.fromkeys(names)]


def scatter_cell(data: MatrixData, row: CellRow, *, points: int = POINTS) -> LatentScatter:
    """Gather the pairs of a cell again, fit its map, and lay out both sides.

    Raises:
        RlstitchError: where an agent is no longer there, was trained anew, or cannot be joined.
    """
    from rlstitch.agents.artefact import load_agent
    from rlstitch.evaluation.matrix.plan import plan_matrix
    from rlstitch.evaluation.options import CellOptions
    from rlstitch.stitching.pairs import gather_pairs
    from rlstitch.stitching.stitch import stitch_agents

    names = (row["encoder"], row["controller"])
    members = {member.name: member for member in plan_matrix(names, [row["method"]], CellOptions()).members}
    for name in names:
        if name not in members or members[name].identity != data.members.get(name, {}).get("identity"):
            raise ArtefactError(f"agent {name!r} is another than it was when the matrix was measured")
    encoder, policy = (load_agent(members[name].folder) for name in names)
    pairs = gather_pairs(
        encoder, policy, pairs=int(data.options.get("pairs", 1024)), seed=int(data.options.get("seed", 0))
    )
    joined = stitch_agents(encoder, policy, pairs, method=row["method"]).agent
    import torch

    x, y = (torch.cat(sides)[:points] for sides in ((pairs.x_held, pairs.x), (pairs.y_held, pairs.y)))
    return lay_out(row, x, x if row["method"] in UNMAPPED else _mapped(joined, x), y)


def _mapped(joined: Agent, x: Tensor) -> Tensor:
    from rlstitch.agents.encoder import TranslatedEncoder

    # An encoder that is translated itself has its own map in `x` already: this one came last.
    return joined.encoder.translation(x) if isinstance(joined.encoder, TranslatedEncoder) else x


def lay_out(row: CellRow, x: Tensor, mapped: Tensor, y: Tensor) -> LatentScatter:
    """Return a scatter of latents `(n, d_x)`, `(n, d_y)`, `(n, d_y)`: components of `y`, applied to all.

    Principal components after Hotelling (1933), each with its largest entry positive, so that a figure comes out the
    same each time.
    """
    import torch

    x, mapped, y = (side.detach().double().cpu() for side in (x, mapped, y))
    middle = y.mean(dim=0)
    _, values, axes = torch.linalg.svd(y - middle, full_matrices=False)
    axes = axes[:2]
    if len(axes) < 2:
        raise InvalidInputError(f"latents: expected two dimensions and two states or more, found {tuple(y.shape)}")
    axes = axes * axes.gather(1, axes.abs().argmax(dim=1, keepdim=True)).sign()
    shares = values.square() / values.square().sum().clamp_min(torch.finfo(torch.float64).tiny)

    def places(side: Tensor) -> Places:
        return tuple((float(u), float(v)) for u, v in (side - middle) @ axes.T)

    return LatentScatter(
        row["encoder"],
        row["controller"],
        row["method"],
        places(y),
        places(x) if x.shape[1] == y.shape[1] else None,
        places(mapped),
        (float(shares[0]), float(shares[1])),
    )


def scatter_cells(data: MatrixData, rows: Sequence[CellRow]) -> tuple[list[LatentScatter], list[str]]:
    """Return the scatters of these cells, and why the others have none."""
    found, without = [], []
    for row in rows:
        try:
            found.append(scatter_cell(data, row))
        except RlstitchError as error:
            without.append(f"no latents of {row['encoder']} → {row['controller']}, {row['method']}: {error}")
    return found, without
