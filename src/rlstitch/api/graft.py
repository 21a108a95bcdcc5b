"""Fit a new encoder for the controller of an agent, from observations of the same states by another sensor or look."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from dataclasses import KW_ONLY, asdict, dataclass, replace
from pathlib import Path
from typing import Any, Literal

from rlstitch.agents import Agent, save_agent
from rlstitch.agents.modules import require_storable
from rlstitch.api.called_with import called_with
from rlstitch.api.environment import AgentLike, placed
from rlstitch.api.options import PlayOptions, ProgressOptions, SaveOptions
from rlstitch.api.run_folder import open_run
from rlstitch.envs import Backend, World, family_of, is_image, named_family, with_sensor
from rlstitch.errors import InvalidInputError, require_known
from rlstitch.evaluation.baselines import Baselines
from rlstitch.evaluation.options import CellOptions
from rlstitch.evaluation.row import Row, make_row
from rlstitch.jobs.progress import ProgressReporter
from rlstitch.jobs.resources import torch_threads
from rlstitch.reporting.tables import MISSING, number, table_text
from rlstitch.rollouts.recording import played_as
from rlstitch.stitching.graft.fit import Divergence
from rlstitch.stitching.graft.graft import METHOD, Graft, Grafting, GraftRound
from rlstitch.storage import (
    command_line,
    file_name,
    remove_folder,
    reserved_agent,
    write_table,
)
from rlstitch.storage.text import fitted

LARGEST, SIZE, STACK = 128, 64, 3
"""Images of an environment that states no size are shrunk to `SIZE` where a side is above `LARGEST`; of a controller
that observes vectors, which know velocities, they are stacked."""

OBSERVED = ("view", "tile_size", "frame_stack", "padding", "size", "crop")
"""Fields of a world that shape observations, beside sensor, look and backend."""


@dataclass(frozen=True)
class GraftOutcome:
    """A grafted agent, its rounds, its results, and the paths of what was written. Its text is what the command prints.

    After Ctrl-C the agent is that of the last round; it was not evaluated, and is in the run's folder.
    """

    agent: Agent | None
    rounds: Sequence[GraftRound]
    cells: Sequence[Row]
    folder: Path | None
    run_folder: Path
    ended: Literal["finished", "interrupted"] = "finished"

    def __str__(self) -> str:
        lines = [*rounds_lines(self.rounds), ""] if self.rounds else []
        if self.cells:
            lines += [
                table_text(self.cells),
                "distilled: the encoder was fitted for this controller, not zero-shot",
                "",
            ]
        lines.append(f"run      {self.run_folder}")
        return "\n".join(lines if self.folder is None else [*lines, f"agent    {self.folder}"])


def rounds_lines(rounds: Sequence[GraftRound]) -> list[str]:
    """Return a table of rounds: the return that followed, and agreement and fit on states that were held out: R² of the
    median latent and of the worst, and of each number of the state vector.
    """
    header = ["round", "states", "held out", "return", "same action", "KL", "R² of latents", "worst", "R² of the state"]
    rows = []
    for place, one in enumerate(rounds, start=1):
        fit = one.fit
        known = sorted(value for value in fit.r2_latents if value is not None)
        rows.append(
            [
                *(str(place), f"{one.states:,}", f"{fit.states:,}", number(one.return_mean)),
                *(f"{fit.agreement:.1%}", f"{fit.kl:.3f}"),
                *(number(known[at]) if known else MISSING for at in (len(known) // 2, 0)),
                " ".join(map(number, fit.r2_state)) or MISSING,
            ]
        )
    return fitted([header, *rows], left=1)


@dataclass(frozen=True)
class GraftOptions(PlayOptions, ProgressOptions, SaveOptions):
    """Arguments of `graft`."""

    controller: AgentLike
    _: KW_ONLY
    sensor: Literal["pixels", "state", "ram", "symbolic"] | None = None
    look: str = "standard"
    backend: Backend | None = None
    world: Mapping[str, Any] | None = None
    rounds: int = 4
    states: int = 20_000
    steps: int = 6_000
    latent_weight: float = 1.0
    action_weight: float = 1.0
    divergence: Divergence = "forward"
    arch: str | None = None
    resume: bool = False


@torch_threads()
@called_with(GraftOptions)
def graft(options: GraftOptions) -> GraftOutcome:
    """Fit a new encoder for a frozen controller from paired observations alone, and evaluate the agent that this makes.

    The encoder is fitted by regression on the latents of the controller's own agent and on its action distribution,
    over the states that the new encoder itself leads to; rewards are not used. The grafted agent is distilled, not
    stitched zero-shot. The run's folder `runs/graft-<name>-<hash8>` holds the rounds and the table.

    Args:
        controller: name, folder or value of the agent that gives the controller.
        env: another environment than the agent's own: its id (`module:Id` imports the module), or an object, see
            `rlstitch.envs.as_world`.
        sensor: what the new encoder observes; None: what the controller's own agent does.
        look: of what the new encoder observes.
        backend: another environment backend than that of the controller's agent, for both: one draws looks that another
            cannot draw.
        world: further fields of its world that shape observations, as `size`, `frame_stack`, `crop`, `view`.
        rounds: of playing and fitting.
        states: steps that are played, in all rounds together.
        steps: of the optimizer, in all rounds together.
        latent_weight: of the errors of latents in the fit; 0: actions alone.
        action_weight: of the divergence of the action distribution in the fit; 0: latents alone.
        divergence: direction of that divergence. `forward`: the new encoder gives every action that the controller may
            take its probability; `reverse`: it leaves out what the controller would not do, which earned more in
            Boxing and Pong (docs/results/atari.md).
        arch: of an encoder of images: convolutions, `small` or `nature`, or `crop`, what squares around one object
            show; None: the default of the environment's family, else `small`.
        episodes: of each evaluation.
        seed: of the states, the fit and the episodes.
        deterministic: greedy actions in evaluations instead of sampled ones.
        name: of the grafted agent; None: the agent's name with `-grafted-`, the sensor and the look.
        save: save the grafted agent in `agents/`.
        resume: continue after the last round of the same graft where it was interrupted.
        force: replace an agent of the same name, and start an interrupted graft anew.
        progress: shows how far each stage of the work is; None: nothing is shown.

    Raises:
        UnknownNameError: for an unknown agent or look.
        InvalidInputError: where an agent of that name exists, an interrupted graft is there (without `resume` or
            `force`), the environment has no such sensor, or it is not deterministic.
    """
    cell_options, progress, look = options.cells, options.reporter, options.look
    policy = placed(options.controller, options.env)
    if options.backend:
        policy = placed(policy, {"backend": options.backend})
    arch = options.arch or named_family(policy.card.world.environment).graft_defaults.get("arch", "small")
    shared = ("rounds", "states", "steps", "latent_weight", "action_weight", "divergence", "seed")
    how = Grafting(**{field: getattr(options, field) for field in shared}, arch=arch)
    if options.save:
        require_storable(policy.controller)
    target = graft_world(policy, options.sensor, look, options.world or {})
    shown = [str(target.sensor), *([look] if look != "standard" else [])]
    title = options.name or file_name("-".join([policy.card.name, "grafted", *shown]), longest=100)
    with reserved_agent(title, force=options.force) if options.save else nullcontext() as folder:
        grafted = Graft(policy, target, how, name=title)
        identity = {**asdict(how), **asdict(cell_options), "world": target.to_dict()}
        run_folder = open_run(f"graft-{title}", {"controller": policy}, identity)
        kept = run_folder / "rounds"
        if kept.exists() and not (options.resume or options.force):
            raise InvalidInputError(
                f"an unfinished graft is there already ({run_folder}); resume=True continues, force=True starts anew"
            )
        try:
            _play_rounds(grafted, kept, progress, resume=options.resume)
            cells = _measure(grafted, cell_options, Baselines(progress.stage("playing", "episodes"), 3))
        except KeyboardInterrupt:
            agent = grafted.agent() if grafted.rounds else None
            where = None if agent is None else save_agent(agent, run_folder / "interrupted" / title, force=True)
            return GraftOutcome(agent, grafted.rounds, (), where, run_folder, "interrupted")
        last = replace(grafted.rounds[-1], return_mean=cells[-1].return_mean, episodes=options.episodes)
        done = (*grafted.rounds[:-1], last)
        write_table([_round_row(place, one) for place, one in enumerate(done, start=1)], run_folder / "curve")
        write_table([cell.to_row() for cell in cells], run_folder / "cells")
        agent = grafted.agent()
        agent.card = agent.card.model_copy(update={"command": command_line()})
        if folder is not None:
            save_agent(agent, folder, force=options.force)
        remove_folder(kept)
    return GraftOutcome(agent, done, cells, folder, run_folder)


def _play_rounds(grafted: Graft, kept: Path, progress: ProgressReporter, *, resume: bool) -> None:
    """Play and fit all rounds, each kept once it is done."""
    if resume and kept.exists():
        progress.stage("observing the episodes of earlier rounds again")
        grafted.load(kept)
    while not grafted.finished:
        grafted.next_round(progress.stage)
        grafted.save(kept)


def _measure(grafted: Graft, options: CellOptions, baselines: Baselines) -> list[Row]:
    """Return the rows of random actions, of the controller's own agent, and of the grafted one."""
    agent, policy = grafted.agent(), grafted.policy
    world = policy.card.world  # random actions depend on no observation: the cheaper ones serve
    returns = baselines.random(world, options).returns, baselines.native(policy, options).returns
    played = options.evaluate(agent, on_progress=baselines.next_part())
    row = make_row(agent.card.name, policy.card.name, METHOD, played, baselines=returns)
    return [baselines.random_row(world, options), baselines.native_row(policy, options), row]


def graft_world(policy: Agent, sensor: str | None, look: str, fields: Mapping[str, Any]) -> World:
    """Return the world in which a new encoder drives the controller of an agent.

    Its environment and task are the agent's. What shapes observations is the agent's where the sensor is, too, else
    the default of the environment's family; images that are large without a size are shrunk.

    Raises:
        InvalidInputError: where the environment has no such sensor.
        UnknownNameError: for an unknown look or field.
    """
    for field in fields:
        require_known("field of an observation", field, OBSERVED)
    own = with_sensor(policy.card.world)
    if sensor in (None, own.sensor):
        return replace(own, look=look, **fields)
    family = named_family(own.environment)
    defaults = dict(family.defaults_for(sensor))
    if sensor == "pixels":
        defaults |= {name: value for name, value in family.graft_defaults.items() if name != "arch"}
        if own.frame_stack == 1 and own.sensor != "symbolic":  # vectors hold velocities
            defaults.setdefault("frame_stack", STACK)
    made = {"make_kwargs": own.make_kwargs, "look_kwargs": own.look_kwargs}
    shaped = {"environment": own.environment, "sensor": sensor, "look": look, **made, **defaults, **fields}
    world = played_as(World(**shaped), own)
    shape = family_of(world).observation_kind(world)[1]
    if is_image(shape) and world.size is None and max(shape[:2]) > LARGEST:
        world = replace(world, size=SIZE)
    return world


def _round_row(place: int, one: GraftRound) -> dict[str, Any]:
    """Return a flat row for a table."""
    fit = one.fit
    row: dict[str, Any] = {
        "round": place,
        "states": one.states,
        "held_out": fit.states,
        "agreement": fit.agreement,
        "kl": fit.kl,
    }
    row |= {"return": one.return_mean, "episodes": one.episodes}
    row |= {f"r2_state_{at}": value for at, value in enumerate(fit.r2_state)}
    return row | {f"r2_latent_{at}": value for at, value in enumerate(fit.r2_latents)}
