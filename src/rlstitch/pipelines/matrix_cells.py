"""The work of a matrix, as tasks for `run_tasks`; each result is one small file, written whole as soon as it is there.

A task is a native evaluation, random actions in a world, or one encoder in one world with several controllers. What is
on the disk already is never done again.
"""

from __future__ import annotations

import functools
import math
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from rlstitch.agents.agent import Agent
from rlstitch.agents.artefact import load_agent
from rlstitch.envs import World, make_vec
from rlstitch.errors import ArtefactError, IncompatibleError, InvalidInputError
from rlstitch.pipelines.grid_worker import report
from rlstitch.pipelines.matrix_plan import Options
from rlstitch.rollouts.actors import RandomAgent
from rlstitch.rollouts.evaluation import Evaluation, evaluate
from rlstitch.stitching.pairs import LatentPairs, gather_pairs
from rlstitch.stitching.stitch import stitch_agents
from rlstitch.storage import read_json, write_json

SCHEMA_VERSION = 1
MODULE = "rlstitch.pipelines.matrix_cells"
Tell = Callable[[int, int], None]


def cell_path(folder: Path, identity: str) -> Path:
    """Return the file of a cell, native evaluation or random evaluation."""
    return folder / "cells" / f"{identity[:32]}.json"


def read_cell(folder: Path, identity: str) -> dict[str, Any] | None:
    """Return what a file of a cell says; None where it is not there, damaged, or another's."""
    try:
        found: dict[str, Any] = read_json(cell_path(folder, identity), schema_version=SCHEMA_VERSION)
    except ArtefactError:
        return None
    whole = found.get("identity") == identity and ("refused" in found or "returns" in found)
    return found if whole else None


def play_native(folder: str, identity: str, agent: str, options: Mapping[str, Any], tell: Tell = report) -> None:
    """Evaluate an agent in its own world."""
    chosen = Options(**options)
    outcome = evaluate(_agent(agent), episodes=chosen.episodes, seed=chosen.seed, deterministic=chosen.greedy)
    _write(Path(folder), identity, _figures(outcome))
    tell(1, 1)


def play_random(
    folder: str, identity: str, world: Mapping[str, Any], options: Mapping[str, Any], tell: Tell = report
) -> None:
    """Evaluate random actions in a world."""
    chosen, place = Options(**options), World.from_dict(world)
    environments = make_vec(place, 1, seed=0)
    actions = environments.single_action_space
    environments.close()
    outcome = evaluate(RandomAgent(actions), place, episodes=chosen.episodes, seed=chosen.seed)
    _write(Path(folder), identity, _figures(outcome))
    tell(1, 1)


def play_group(
    folder: str,
    encoder: str,
    world: Mapping[str, Any],
    controllers: Sequence[Mapping[str, Any]],
    options: Mapping[str, Any],
    tell: Tell = report,
) -> None:
    """Measure one encoder in one world with several controllers, under several methods each.

    Pairs are gathered once for all methods of a pair of agents. A combination that cannot be made (widths or anchor
    sets that differ, too few views) is written down as refused, with the reason.

    Args:
        folder: of the matrix.
        encoder: folder of the agent whose encoder is used.
        world: of all these cells.
        controllers: `{"agent": folder, "cells": {method: identity}}` each.
        options: fields of `Options`.
        tell: told of cells done and wanted.

    Raises:
        ArtefactError: where an agent cannot be read, or a result not be written.
    """
    chosen, place, target = Options(**options), World.from_dict(world), Path(folder)
    source, unreadable = _agent(encoder), []
    done, total = 0, sum(len(entry["cells"]) for entry in controllers)
    for entry in controllers:
        wanted = {method: key for method, key in entry["cells"].items() if read_cell(target, key) is None}
        try:
            policy = _agent(entry["agent"])
        except ArtefactError as error:
            unreadable.append(str(error))  # the other controllers are none the worse for it
            continue
        pairs = _gather(source, policy, chosen) if wanted else ""
        done += len(entry["cells"]) - len(wanted)
        for method, identity in wanted.items():
            _write(target, identity, _cell(source, policy, pairs, method, place, chosen))
            done += 1
            tell(done, total)
    if unreadable:
        raise ArtefactError("; ".join(unreadable))


# One process plays an encoder with many controllers, and most of these under the next encoder again.
@functools.lru_cache(maxsize=32)
def _agent(folder: str) -> Agent:
    return load_agent(Path(folder))


def forget_agents() -> None:
    """Let go of the agents that this process has read: their folders may be written anew."""
    _agent.cache_clear()


def _gather(encoder: Agent, policy: Agent, options: Options) -> LatentPairs | str:
    try:
        return gather_pairs(encoder, policy, pairs=options.pairs, seed=options.seed)
    except (IncompatibleError, InvalidInputError) as error:
        return str(error)


def _cell(
    encoder: Agent, policy: Agent, pairs: LatentPairs | str, method: str, world: World, options: Options
) -> dict[str, Any]:
    if isinstance(pairs, str):
        return {"refused": pairs}
    try:
        stitch = stitch_agents(encoder, policy, pairs, method=method)
        outcome = evaluate(
            stitch.agent, world, episodes=options.episodes, seed=options.seed, deterministic=options.greedy
        )
    except (IncompatibleError, InvalidInputError) as error:
        return {"refused": str(error)}
    diagnostics = stitch.report.to_dict()
    return {**_figures(outcome), "diagnostics": {key: _finite(value) for key, value in diagnostics.items()}}


def _figures(outcome: Evaluation) -> dict[str, Any]:
    return {
        "returns": outcome.returns,
        "lengths": outcome.lengths,
        "successes": outcome.successes,
        "seconds": round(outcome.seconds, 3),
    }


def _finite(value: Any) -> Any:
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _write(folder: Path, identity: str, content: Mapping[str, Any]) -> None:
    written = int(time.time())
    path = cell_path(folder, identity)
    write_json(path, {"identity": identity, **content, "written": written}, schema_version=SCHEMA_VERSION)
