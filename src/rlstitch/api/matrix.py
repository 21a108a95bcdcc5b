"""The stitching matrix: every encoder with every other agent's controller, under several methods."""

from __future__ import annotations

import functools
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import KW_ONLY, dataclass, replace
from pathlib import Path
from typing import Any

from rlstitch.agents import Agent, save_agent
from rlstitch.api.called_with import called_with
from rlstitch.api.environment import AgentLike, placed
from rlstitch.api.options import PlayOptions
from rlstitch.api.run_folder import open_run
from rlstitch.envs import make_vec
from rlstitch.errors import InvalidInputError, RlstitchError
from rlstitch.evaluation.matrix.plan import CELL, plan_matrix
from rlstitch.evaluation.matrix.run import Execution, MatrixOutcome, measure_matrix
from rlstitch.evaluation.matrix.videos import record_cells, worst_cells
from rlstitch.jobs.progress import OnProgress, ProgressReporter, silent
from rlstitch.jobs.resources import torch_threads
from rlstitch.stitching.controls import with_controls
from rlstitch.storage.workspace import RUNS

DEFAULT_METHODS = ("naive", "affine", "auto")


@dataclass(frozen=True)
class MatrixOptions(PlayOptions, Execution):
    """Arguments of `matrix`."""

    agents: Sequence[AgentLike]
    _: KW_ONLY
    methods: Sequence[str] = DEFAULT_METHODS
    pairs: int = 1024
    same_seed: bool = False
    controls: bool = False
    without: Sequence[str] = ()
    derived: bool = False
    worlds: Sequence[str] = (CELL,)
    video: int = 0
    out: Path | None = None
    on_progress: OnProgress | None = None


@torch_threads()
@called_with(MatrixOptions)
def matrix(options: MatrixOptions) -> MatrixOutcome:
    """Measure every encoder with every other agent's controller; results on the disk are not measured again.

    Args:
        agents: names of agents with `*`, `?` and `[...]`, folders, or values of agents. Values, and all agents where
            `env` is given, are written to `runs/agent-<name>-<hash8>`, from where the results are measured.
        env: another environment than the agents' own: its id (`module:Id` imports the module), or an object, see
            `rlstitch.envs.as_world`, which other processes (`workers`, `ray`) do not have.
        methods: names of stitching methods.
        episodes: of each evaluation.
        pairs: paired observations that a translation is fitted on, at most.
        seed: random seed of pairs and episodes.
        deterministic: greedy actions instead of sampled ones.
        workers: processes; 1: this one. Results are the same (but for the last bits, which depend on threads).
        same_seed: count pairs of agents of one seed in the means; they are always measured and marked.
        controls: measure the controls of each method, too: on shuffled pairs, with an untrained encoder, and with the
            controller's own encoder (see `rlstitch.stitching.controls`).
        without: patterns of names to leave out.
        derived: let patterns match stitched and relativized agents, too.
        worlds: where every cell is played: `cell` (the encoder's look with the controller's task), `LOOK` or
            `LOOK/TASK`. In each world but `cell`, agents are also played with their own parts.
        video: record so many cells of the method with the highest mean recovery, the worst first, into `videos`.
        out: folder of the matrix; None: `runs/matrix-<hash8>`.
        ray: address of a Ray cluster (`auto`, `local`, ...), used instead of `workers`.
        resources: what a task occupies there; None: one processor, and no folder that all nodes see.
        on_progress: called with the number of results measured and to be measured; a ProgressReporter shows the
            recording of videos, too.

    Returns:
        The results of all cells on the disk; the folder has them as `matrix.json`, `cells.csv`, `cells.json` and
        `summary.md`.

    Raises:
        UnknownNameError: for an unknown method, look or task, or a pattern that matches no agent.
        ArtefactError: where an agent cannot be read.
        InvalidInputError: for fewer than two agents, no method, or an option out of range.
        BusyError: another process is working on the same folder.
    """
    if options.video < 0:
        raise InvalidInputError(f"video: expected 0 or more cells, found {options.video}")
    on_progress = options.on_progress
    plan = plan_matrix(
        list(_names(options.agents)),
        with_controls(options.methods) if options.controls else options.methods,
        replace(options.cells, pairs=options.pairs),
        without=options.without,
        derived=options.derived,
        worlds=options.worlds,
        place=None if options.env is None else functools.partial(_placed, env=options.env),
    )
    folder = RUNS / f"matrix-{plan.hash8}" if options.out is None else Path(options.out)
    outcome = measure_matrix(plan, folder, execution=options, same_seed=options.same_seed, on_progress=on_progress)
    if not options.video or outcome.interrupted:
        return outcome
    try:
        cells = worst_cells(outcome.results, options.video)
        drawing = on_progress.stage("recording", "episodes") if isinstance(on_progress, ProgressReporter) else silent
        return replace(outcome, videos=tuple(record_cells(outcome, cells, drawing)))
    except RlstitchError as error:
        return replace(outcome, video_problem=str(error))


def _names(agents: Iterable[AgentLike]) -> Iterator[str]:
    """Names and folders as they are, and folders of values; of two agents of one name the second gets a number."""
    taken: set[str] = set()
    for place, agent in enumerate(agents, start=1):
        if isinstance(agent, str | Path):
            yield str(agent)
            continue
        value = placed(agent)
        name = value.card.name if value.card.name not in taken else f"{value.card.name}-{place}"
        taken.add(name)
        yield str(_written(value, name))


def _placed(folder: Path, env: Any) -> Path:
    """Write an agent in another environment, which is made once before anything is measured."""
    agent = placed(folder, env)
    make_vec(agent.card.world, 1, seed=0).close()
    return _written(agent)


def _written(agent: Agent, name: str = "") -> Path:
    """Write an agent beside the runs, for tasks to read."""
    name = name or agent.card.name
    return save_agent(agent, open_run(f"agent-{name}", {"agent": agent}, {}) / name, force=True)
