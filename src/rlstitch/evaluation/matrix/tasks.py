"""The work of a matrix, as tasks for `run_tasks`; each result is one small file, written whole as soon as it is there.

A task is a native evaluation, random actions in a world, or one encoder in one world with several controllers. What is
on the disk already is never done again.
"""

from __future__ import annotations

import functools
import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rlstitch.agents.agent import Agent
from rlstitch.agents.artefact import load_agent
from rlstitch.envs import World, make_vec
from rlstitch.errors import ArtefactError, IncompatibleError, InvalidInputError
from rlstitch.evaluation.matrix.plan import Options
from rlstitch.jobs.worker import report
from rlstitch.rollouts.actors import RandomAgent
from rlstitch.rollouts.evaluation import Evaluation, evaluate
from rlstitch.rollouts.shared_encoder import Head, can_share, evaluate_together
from rlstitch.stitching.pairs import LatentPairs, gather_pairs
from rlstitch.stitching.stitch import Stitch, stitch_agents
from rlstitch.storage import read_json, write_json

SCHEMA_VERSION = 1
MODULE = "rlstitch.evaluation.matrix.tasks"
Tell = Callable[[int, int], None]
_TOGETHER = 32
"""Cells of one encoder that step one batch of environments; so many are made before the first of them is played."""
_NUMBERS = 50_000_000
"""Weights of such cells that may be in memory: 200 MB. Maps of wide latents have millions of them."""


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


def play_native(
    folder: str,
    identity: str,
    agent: str,
    options: Mapping[str, Any],
    world: Mapping[str, Any] | None = None,
    tell: Tell = report,
) -> None:
    """Evaluate an agent in its own world, or in another; there it may be refused, as a cell may."""
    chosen, place = Options(**options), None if world is None else World.from_dict(world)
    try:
        content = _figures(
            evaluate(_agent(agent), place, episodes=chosen.episodes, seed=chosen.seed, deterministic=chosen.greedy)
        )
    except (IncompatibleError, InvalidInputError) as error:
        if place is None:
            raise
        content = {"refused": str(error)}
    _write(Path(folder), identity, content)
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
    worlds: Sequence[Mapping[str, Any]],
    controllers: Sequence[Mapping[str, Any]],
    options: Mapping[str, Any],
    tell: Tell = report,
) -> None:
    """Measure one encoder with several controllers, under several methods each, in one world or several.

    Pairs are gathered once for all methods of a pair of agents, and joined once for all worlds. Where states can be
    told apart cheaply, all cells of a world step one batch of environments, and each distinct view is encoded once. A
    combination that cannot be made (widths or
    anchor sets that differ, too few views) is written down as refused, with the reason.

    Args:
        folder: of the matrix.
        encoder: folder of the agent whose encoder is used.
        worlds: where all these cells are played.
        controllers: `{"agent": folder, "cells": {method: identities}}` each, an identity or None for each world.
        options: fields of `Options`.
        tell: told of cells done and wanted.

    Raises:
        ArtefactError: where an agent cannot be read, or a result not be written.
    """
    chosen, target = Options(**options), Path(folder)
    places = [World.from_dict(world) for world in worlds]
    source, unreadable, waiting = _agent(encoder), [], list[_Made]()
    total = sum(len(_given(keys)) for entry in controllers for keys in entry["cells"].values())
    done = 0

    def write(identity: str, content: Mapping[str, Any]) -> None:
        nonlocal done
        _write(target, identity, content)
        done += 1
        tell(done, total)

    def play(made: Sequence[_Made]) -> None:
        for number, place in enumerate(places):
            here = [(entry, key) for entry in made if (key := entry.identities.get(number)) is not None]
            _play(source, here, place, chosen, write)

    together = _TOGETHER if any(map(can_share, places)) else 1
    for entry in controllers:
        missing = {method: _missing(target, keys) for method, keys in entry["cells"].items()}
        wanted = {method: keys for method, keys in missing.items() if keys}
        done += sum(len(_given(keys)) - len(missing[method]) for method, keys in entry["cells"].items())
        try:
            policy = _agent(entry["agent"])
        except ArtefactError as error:
            unreadable.append(str(error))  # the other controllers are none the worse for it
            continue
        pairs = _gather(source, policy, chosen) if wanted else ""
        for method, identities in wanted.items():
            made = _make(source, policy, pairs, method)
            if isinstance(made, str):
                for identity in identities.values():
                    write(identity, {"refused": made})
                continue
            waiting.append(_Made(identities, method, made))
            if len(waiting) >= together or sum(entry.size for entry in waiting) > _NUMBERS:
                play(waiting)
                waiting = []
    play(waiting)
    if unreadable:
        raise ArtefactError("; ".join(unreadable))


def _given(identities: Sequence[str | None]) -> list[str]:
    return [identity for identity in identities if identity is not None]


def _missing(folder: Path, identities: Sequence[str | None]) -> dict[int, str]:
    """Return the identities whose results are not on the disk, by the place of their world."""
    return {n: key for n, key in enumerate(identities) if key is not None and read_cell(folder, key) is None}


@dataclass(frozen=True)
class _Made:
    """An encoder joined to a controller, ready to be played."""

    identities: Mapping[int, str]
    """Of its cells, by the place of the world."""
    method: str
    stitch: Stitch

    @property
    def size(self) -> int:
        """How many numbers it holds in memory."""
        parts = (self.stitch.agent.encoder, self.stitch.agent.controller)
        return sum(tensor.numel() for part in parts for tensor in part.state_dict().values())


def _play(
    source: Agent,
    made: Sequence[tuple[_Made, str]],
    world: World,
    options: Options,
    write: Callable[[str, Mapping[str, Any]], None],
) -> None:
    """Evaluate cells of one encoder in one world, each with its identity, and write each as soon as it is there."""
    left = dict(enumerate(made))
    try:
        if len(made) > 1 and can_share(world):
            heads = [_head(entry) for entry, _ in made]
            for number, outcome in evaluate_together(
                source, heads, world, episodes=options.episodes, seed=options.seed, deterministic=options.greedy
            ):
                entry, identity = left.pop(number)
                write(identity, _content(entry, outcome))
    except (IncompatibleError, InvalidInputError):
        pass  # one of them cannot be played: which one, and why, is found out one by one
    for entry, identity in left.values():
        try:
            outcome = evaluate(
                entry.stitch.agent, world, episodes=options.episodes, seed=options.seed, deterministic=options.greedy
            )
        except (IncompatibleError, InvalidInputError) as error:
            write(identity, {"refused": str(error)})
        else:
            write(identity, _content(entry, outcome))


def _head(made: _Made) -> Head:
    agent = made.stitch.agent
    # Of a translation that the source had before, naive and relative stitching have nothing to add.
    between = None if made.method in ("naive", "relative") else getattr(agent.encoder, "translation", None)
    return Head(between, agent.controller, agent.card.name)


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


def _make(encoder: Agent, policy: Agent, pairs: LatentPairs | str, method: str) -> Stitch | str:
    """Return the stitch, or the reason why there is none."""
    if isinstance(pairs, str):
        return pairs
    try:
        return stitch_agents(encoder, policy, pairs, method=method)
    except (IncompatibleError, InvalidInputError) as error:
        return str(error)


def _content(made: _Made, outcome: Evaluation) -> dict[str, Any]:
    diagnostics = made.stitch.report.to_dict()
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
