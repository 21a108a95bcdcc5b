"""Stitch two agents, measure the result beside its baselines, save and film it."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path

from rlstitch.agents.agent import Agent
from rlstitch.agents.artefact import load_agent, save_agent
from rlstitch.errors import InvalidInputError
from rlstitch.evaluation.cell import measure_with_baselines
from rlstitch.evaluation.options import CellOptions
from rlstitch.evaluation.row import Row
from rlstitch.reporting.write import table_text
from rlstitch.rollouts.video import video_side_by_side
from rlstitch.stitching.methods import get_method
from rlstitch.stitching.pair_files import given_pairs, read_pairs
from rlstitch.stitching.pairs import LatentPairs, gather_pairs
from rlstitch.stitching.report import StitchReport
from rlstitch.stitching.stitch import joined_name, stitch_agents
from rlstitch.storage import write_table
from rlstitch.storage.workspace import RUNS, VIDEOS, new_agent_folder

_REFITTED = (
    "(the world shows no other views: the map was then fitted on all of them and errs less than these figures say)"
)


@dataclass(frozen=True)
class StitchOutcome:
    """A stitched agent, its figures, and where everything lies. Its text is what the command prints."""

    agent: Agent
    report: StitchReport
    cells: list[Row]
    folder: Path | None
    table: Path
    videos: list[Path]

    def __str__(self) -> str:
        r = self.report
        lines = [
            f"{r.pairs} pairs of {r.distinct_views} distinct views; on {r.held_out} held out: "
            f"residual {r.residual:.3f}, R² {r.r2:.3f}, cosine {r.mean_cosine:.3f}, "
            f"same action {r.action_agreement:.1%}, KL {r.kl:.3f}" + _conditioning(r),
            *([_REFITTED] if r.refitted else []),
            "",
            table_text(self.cells),
            "",
            f"table    {self.table}",
        ]
        if self.folder is not None:
            lines.append(f"agent    {self.folder}")
        lines += [f"video    {path}" for path in self.videos]
        return "\n".join(lines)


def _conditioning(report: StitchReport) -> str:
    if report.condition_number is None:
        return ""
    if math.isinf(report.condition_number):
        return f", map of rank {report.rank}"
    return f", condition number {report.condition_number:.3g}"


def stitch(
    encoder: str | Path | Agent,
    policy: str | Path | Agent,
    *,
    method: str = "affine",
    pairs: int | str | Path = 1024,
    episodes: int = 100,
    seed: int = 0,
    deterministic: bool = False,
    video: bool = False,
    name: str | None = None,
    save: bool = True,
    force: bool = False,
) -> StitchOutcome:
    """Join the encoder of one agent to the controller of another and see what the stitched agent does.

    Args:
        encoder: name, folder or value of the agent whose encoder is used.
        policy: name, folder or value of the agent whose controller is used.
        method: naive, relative, auto or a map (orthogonal, linear, affine, robust, ...); see `stitch_agents`.
        pairs: how many views a translation is fitted on, at most; or an `.npz` file of pairs (see
            `rlstitch.stitching.pair_files`).
        episodes: of each evaluation.
        seed: of pairs and episodes.
        deterministic: greedy actions instead of sampled ones, in every row alike.
        video: film the stitched agent beside the naive and the native one.
        name: of the stitched agent; made of its parents' names where it is not given.
        save: keep the stitched agent among the agents.
        force: replace an agent of the same name.

    Raises:
        UnknownNameError: for an unknown agent or method.
        IncompatibleError: where the two cannot be joined so.
        ArtefactError: where a file of pairs cannot be read.
        InvalidInputError: where an agent of that name is there already, or there are too few pairs.
    """
    get_method(method)
    source = encoder if isinstance(encoder, Agent) else load_agent(encoder)
    target = policy if isinstance(policy, Agent) else load_agent(policy)
    folder = None
    if save:
        folder = new_agent_folder(name or joined_name(source.card.name, target.card.name, method), force=force)
    found = find_pairs(source, target, pairs, seed)
    joined = stitch_agents(source, target, found, method=method, name=name)
    title = joined.agent.card.name
    options = CellOptions(episodes=episodes, seed=seed, greedy=deterministic)
    cells = measure_with_baselines(source, target, joined, found, options)
    run_folder = RUNS / f"stitch-{title}"
    table, _ = write_table([cell.to_row() for cell in cells], run_folder / "cells")
    if folder is not None:
        save_agent(joined.agent, folder, force=force)
    videos = []
    if video:
        shown = [("native controller", target), (f"stitched ({joined.report.method})", joined.agent)]
        if joined.report.method != "naive" and any(cell.method == "naive" for cell in cells):
            shown.insert(1, ("naive", stitch_agents(source, target, found, method="naive").agent))
        videos = video_side_by_side(shown, VIDEOS / title, seed=seed, deterministic=deterministic)
    return StitchOutcome(joined.agent, joined.report, cells, folder, table, videos)


def find_pairs(encoder: Agent, policy: Agent, pairs: int | str | Path, seed: int) -> LatentPairs:
    """Collect so many pairs, or read them from an `.npz` file."""
    if isinstance(pairs, int):
        return gather_pairs(encoder, policy, pairs=pairs, seed=seed)
    if Path(pairs).suffix != ".npz":
        raise InvalidInputError(f"pairs: expected a whole number or an .npz file, found {str(pairs)!r}")
    return given_pairs(encoder, policy, *read_pairs(pairs), seed=seed, where=str(pairs))
