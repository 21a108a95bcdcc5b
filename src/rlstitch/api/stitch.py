"""Stitch two agents, measure the result beside its baselines, save it, and write a video."""

from __future__ import annotations

import math
from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import KW_ONLY, asdict, dataclass
from itertools import pairwise
from pathlib import Path

from rlstitch.agents import Agent, save_agent
from rlstitch.agents.modules import require_storable
from rlstitch.api.called_with import called_with
from rlstitch.api.environment import AgentLike, placed
from rlstitch.api.options import PlayOptions, ProgressOptions, SaveOptions
from rlstitch.api.run_folder import open_run
from rlstitch.api.videos import try_video, video_lines
from rlstitch.envs import cell_world, made_otherwise
from rlstitch.errors import InvalidInputError
from rlstitch.evaluation.baselines import Baselines
from rlstitch.evaluation.cell import measure_with_baselines
from rlstitch.evaluation.row import Row
from rlstitch.jobs.progress import OnProgress, silent
from rlstitch.jobs.resources import torch_threads
from rlstitch.reporting.tables import percent, table_text
from rlstitch.rollouts.drivers import PerturbedAgent
from rlstitch.rollouts.video import require_recordable
from rlstitch.stitching.controls import (
    chance_controls,
    split_control,
    stitch_control,
    untrained_agent,
    with_controls,
)
from rlstitch.stitching.methods import DEFAULT, get_method
from rlstitch.stitching.pair_files import given_pairs, read_pairs
from rlstitch.stitching.pairs import LatentPairs, cell_drivers, gather_latents
from rlstitch.stitching.refine import check_rounds, refine_stitch
from rlstitch.stitching.report import StitchReport
from rlstitch.stitching.stitch import Stitch, joined_name, stitch_agents
from rlstitch.storage import reserved_agent, sha256_of, write_table


@dataclass(frozen=True)
class StitchOutcome:
    """A stitched agent, its results, and the paths of what was written. Its text is what the command prints."""

    agent: Agent
    report: StitchReport
    cells: list[Row]
    folder: Path | None
    table: Path
    videos: list[Path]
    video_problem: str = ""
    """Why there is no video where one was asked for."""
    note: str = ""
    """What the encoder's world was made with, where the controller's was made otherwise."""

    def __str__(self) -> str:
        r = self.report
        lines = [
            f"{f'{r.pairs} pairs of' if r.pairs else 'nothing fitted;'} {r.distinct_views} distinct views; on "
            f"{r.held_out} held out: "
            f"residual {r.residual:.3f}, R² {r.r2:.3f}, cosine {r.mean_cosine:.3f}, "
            f"same action {r.action_agreement:.1%} [{100 * r.agreement.low:.1f}, {100 * r.agreement.high:.1f}], "
            f"KL {r.kl:.3f}" + _conditioning(r),
            *coverage_lines(r),
            *([f"auto {r.choice}"] if r.choice else []),
            *([self.note] if self.note else []),
            "",
            table_text(self.cells),
            *control_lines(self.cells),
            *gain_lines(self.cells),
            "",
            f"table    {self.table}",
        ]
        if self.folder is not None:
            lines.append(f"agent    {self.folder}")
        return "\n".join(lines + video_lines(self.videos, self.video_problem))


def _conditioning(report: StitchReport) -> str:
    if report.condition_number is None:
        return ""
    if math.isinf(report.condition_number):
        return f", map of rank {report.rank}"
    return f", condition number {report.condition_number:.3g}"


def coverage_lines(report: StitchReport) -> list[str]:
    """Return what is known of the views that were not met; nothing for pairs that the user brought."""
    if report.unseen is None:
        return []
    others = f"an estimated {report.unseen:.2%} of observations show other views (Good-Turing: as if observations were "
    others = "no view was met twice" if report.unseen == 1 else f"{others}independent)"
    lines = [f"collected in {report.observations:,} observations of {report.episodes:,} episodes; {others}"]
    if report.met_later:
        lines.append(f"{report.met_later} of those held out were met only in further steps: they are rarer than most")
    return lines


def control_lines(cells: Sequence[Row]) -> list[str]:
    """Return for each row with controls whether it counts, a line for each: it has to be above all of them."""
    lines = []
    for cell in cells:
        if cell.above_controls is None or cell.recovery_low is None:
            continue
        highs = {row.method: row.recovery_high for row in cells if row.method in chance_controls(cell.method)}
        near = [name for name, high in highs.items() if high is not None and high >= cell.recovery_low]
        names = " and ".join(near or highs)
        lines.append(f"{cell.method} is {'not ' if near else ''}above {names} (intervals of recovery)")
    return lines


def gain_lines(cells: Sequence[Row]) -> list[str]:
    """Return what each round of refinement met and gained, a line for each."""
    lines = []
    for before, cell in pairwise(cell for cell in cells if not split_control(cell.method)[1]):
        fit = cell.diagnostics or {}
        if fit.get("round"):
            gain = None if cell.recovery is None or before.recovery is None else cell.recovery - before.recovery
            lines.append(
                f"round {fit['round']}: {fit['met']:,} states met, the same action on {fit['met_agreement']:.1%} of "
                f"them; recovery {percent(before.recovery)} → {percent(cell.recovery)} % after the fit on "
                f"{fit['pairs']:,} pairs" + ("" if gain is None else f" ({gain:+.1f} points)")
            )
    return lines


@dataclass(frozen=True)
class StitchOptions(PlayOptions, ProgressOptions, SaveOptions):
    """Arguments of `stitch`."""

    encoder: AgentLike
    policy: AgentLike
    _: KW_ONLY
    method: str = DEFAULT
    pairs: int | str | Path | None = None
    refine: int = 0
    perturb: float = 0.0
    controls: bool = False
    video: bool = False


@torch_threads()
@called_with(StitchOptions)
def stitch(options: StitchOptions) -> StitchOutcome:
    """Join the encoder of one agent to the controller of another, and evaluate the agent that this makes.

    The table is `runs/stitch-<name>-<hash8>/cells.csv`; the hash covers every option that changes it.

    Args:
        encoder: name, folder or value of the agent whose encoder is used.
        policy: name, folder or value of the agent whose controller is used.
        env: another environment than the agents' own: its id (`module:Id` imports the module), or an object, see
            `rlstitch.envs.as_world`.
        method: name of a stitching method; see `rlstitch.stitching.methods`.
        pairs: number of views that a translation is fitted on, at most; or an `.npz` file of pairs (see
            `rlstitch.stitching.pair_files`); None: 1,024, or 4,096 where these leave views unseen (see
            `rlstitch.stitching.pairs`).
        episodes: of each evaluation.
        seed: random seed of pairs and episodes.
        refine: rounds in which the map is fitted again on states that the stitched agent meets; each has a row. The
            agent of the last round is kept, whatever its return: no reward chooses.
        perturb: share of random actions, each held for some steps, where the two agents play to collect pairs: states
            beside their paths.
        controls: measure the method's controls, too: on shuffled pairs, with an untrained encoder, with the
            controller's own encoder, and after rounds with an untrained encoder that is refined as often (see
            `rlstitch.stitching.controls`).
        deterministic: greedy actions instead of sampled ones, in every row alike.
        video: write a video of the stitched agent beside the naive and the native one.
        name: of the stitched agent; None: made of its parents' names.
        save: save the stitched agent in `agents/`.
        force: replace an agent of the same name.
        progress: shows how far each stage of the work is; None: nothing is shown.

    Raises:
        UnknownNameError: for an unknown agent or method.
        IncompatibleError: where the two cannot be joined by the method.
        ArtefactError: where a file of pairs cannot be read.
        InvalidInputError: where an agent of that name exists, there are too few pairs, or a video is asked for of
            images that cannot be shown; for a share of random actions that is not in [0, 1), or one beside a file of
            pairs.
    """
    method, pairs, refine = get_method(options.method).name, options.pairs, options.refine
    cell_options, progress, seed = options.cells, options.reporter, options.seed
    check_rounds(refine, method)
    if options.perturb and isinstance(pairs, str | Path):
        raise InvalidInputError(f"perturb: expected 0 where pairs are read from a file, found {options.perturb}")
    source = placed(options.encoder, options.env)
    target = placed(options.policy, options.env)
    if options.video:
        for agent in (source, target):
            require_recordable(agent.card.world, agent.card.observation_shape)
    if options.save:
        require_storable(source.encoder, target.controller)
    title = options.name or joined_name(source.card.name, target.card.name, method)
    with reserved_agent(title, force=options.force) if options.save else nullcontext() as folder:
        drivers = _drivers(source, target, options.perturb)
        collecting = progress.stage("collecting pairs", "steps")
        refined = f"{method}-refined-{refine}" if refine else method
        controls = with_controls([refined])[1:] if options.controls else []
        encoders = [source, untrained_agent(source)] if controls else [source]
        latents, *untrained = load_pairs(encoders, target, pairs, seed, drivers=drivers, on_progress=collecting)
        refining = progress.stage("refining", "states") if refine else progress.stage(f"fitting {method}")
        *before, joined = refine_stitch(
            source, target, latents, rounds=refine, method=method, seed=seed, name=title, on_progress=refining
        )
        fitting = progress.stage("fitting controls", *(["states"] if refine else [])) if controls else silent
        joined_controls = {
            name: stitch_control(source, target, latents, name, *untrained, seed=seed, on_progress=fitting)
            for name in controls
        }
        baselines = Baselines(progress.stage("playing", "episodes"), 4 + refine + len(joined_controls))
        cells = measure_with_baselines(
            source, target, joined, latents, cell_options, baselines, before=before, controls=joined_controls
        )
        run_folder = open_run(
            f"stitch-{title}",
            {"encoder": source, "controller": target},
            {"method": method, **asdict(cell_options), "pairs": _pairs_identity(pairs)}
            | ({"refine": refine} if refine else {})
            | ({"perturb": options.perturb} if options.perturb else {})
            | ({"controls": True} if options.controls else {}),
        )
        table, _ = write_table([cell.to_row() for cell in cells], run_folder / "cells")
        if folder is not None:
            save_agent(joined.agent, folder, force=options.force)
    videos: list[Path] = []
    problem = ""
    if options.video:
        naive = any(cell.method == "naive" and not cell.reason for cell in cells)
        shown = _shown(source, target, joined, latents, naive=naive)
        videos, problem = try_video(shown, title, seed=seed, deterministic=options.deterministic, progress=progress)
    note = made_otherwise(source.card.world, target.card.world)
    return StitchOutcome(joined.agent, joined.report, cells, folder, table, videos, problem, note)


def _shown(
    encoder: Agent, policy: Agent, joined: Stitch, latents: LatentPairs, *, naive: bool
) -> list[tuple[str, Agent]]:
    """Return captions and agents of the video; the naive one where it is asked for and is not the stitched one."""
    shown = [("native controller", policy), (f"stitched ({joined.report.method})", joined.agent)]
    if naive and joined.translation is not None:
        shown.insert(1, ("naive", stitch_agents(encoder, policy, latents, method="naive").agent))
    return shown


def _pairs_identity(pairs: int | str | Path | None) -> int | str:
    if pairs is None:
        return "by coverage"
    return pairs if isinstance(pairs, int) else f"sha256:{sha256_of(Path(pairs))}"


def _drivers(encoder: Agent, policy: Agent, perturb: float) -> list[Agent]:
    """Return the agents that play when pairs are collected, with a share of random actions."""
    agents = cell_drivers(encoder, policy, cell_world(encoder.card.world, policy.card.world))
    if not perturb:
        return agents
    return [PerturbedAgent(agent.encoder, agent.controller, agent.card, perturb) for agent in agents]


def load_pairs(
    encoders: Sequence[Agent],
    policy: Agent,
    pairs: int | str | Path | None,
    seed: int,
    *,
    drivers: Sequence[Agent] | None = None,
    on_progress: OnProgress = silent,
) -> list[LatentPairs]:
    """Collect this number of pairs (None: by coverage), or read them from an `.npz` file; for each encoder."""
    if pairs is None or isinstance(pairs, int):
        return gather_latents(encoders, policy, pairs=pairs, seed=seed, drivers=drivers, on_progress=on_progress)
    if Path(pairs).suffix != ".npz":
        raise InvalidInputError(f"pairs: expected a whole number or an .npz file, found {str(pairs)!r}")
    x, y = read_pairs(pairs)
    if len(encoders) > 1 and x.ndim == 2:
        raise InvalidInputError(f"controls: an untrained encoder needs pairs of images, found latents in {pairs}")
    return [given_pairs(encoder, policy, x, y, seed=seed, where=str(pairs)) for encoder in encoders]
