"""The commands that make one cell of a matrix, as its page shows them."""

from __future__ import annotations

import functools
import shlex
from collections.abc import Mapping, Sequence
from typing import Any

from rlstitch.envs import World
from rlstitch.evaluation.matrix.plan import CELL, NATIVE, base_method, read_places
from rlstitch.reporting.matrix.data import CellRow, MatrixData, place_of
from rlstitch.stitching.controls import split_name
from rlstitch.stitching.stitch import joined_name

ENCODER, CONTROLLER = "ENCODER", "CONTROLLER"
_AGENTS = f"{ENCODER} {CONTROLLER}"
_VALUES = {"--env": 1, "--look-kwargs": 1, "--make-kwargs": 100, "--gym-packages": 100}
"""Options of `rlstitch matrix` that say what the environment is, and how many values each takes at most."""


def cell_commands(data: MatrixData, row: CellRow) -> list[str]:
    """Return the commands that make a cell, and diagnose it, with `ENCODER` and `CONTROLLER` for its agents.

    `rlstitch stitch` plays a cell in its own world, and no control of a refined method; there it is `rlstitch matrix`.
    There is no command where a method is not known, such as one of a module that was named to the matrix alone.
    """
    method, place, environment = row["method"], place_of(row), _environment(data.command)
    played: dict[str, Any] = {key: data.options.get(key) for key in ("episodes", "seed")}
    played["greedy"] = bool(data.options.get("greedy"))
    pairs = data.options.get("pairs")
    try:
        if method == NATIVE:
            own = World.from_dict(data.members[row["encoder"]]["world"])
            changed = _changes(own, read_places([place])[0].world(own))
            return [_command("evaluate", ENCODER, changed | played, environment)]
        base_method(method)
        base, rounds, control = split_name(method)
    except (KeyError, ValueError):
        return []
    if place != CELL or (rounds and control):
        named = {"methods": method, "worlds": None if place == CELL else place, "pairs": pairs}
        return [_command("matrix", _AGENTS, named | played, environment)]
    fitted = {"method": base, "pairs": pairs}
    if control:
        return [_command("stitch", _AGENTS, fitted | played | {"controls": True}, environment)]
    if rounds:  # without a name of their own, agent and video would take that of the method before refinement
        name = joined_name(row["encoder"], row["controller"], method)
        name = name.replace(f"{row['encoder']}--{row['controller']}--", f"{ENCODER}--{CONTROLLER}--")
        refined = fitted | {"refine": rounds} | played | {"video": True, "name": name}
        return [_command("stitch", _AGENTS, refined, environment)]
    return [
        _command("stitch", _AGENTS, fitted | played | {"video": True}, environment),
        _command("diagnose", _AGENTS, fitted | {"seed": played["seed"]}, environment),
    ]


def _changes(own: World, world: World) -> dict[str, Any]:
    keys = ("look", "task", "backend")
    return {key: getattr(world, key) for key in keys if getattr(world, key) != getattr(own, key)}


def _command(name: str, agents: str, options: Mapping[str, Any], environment: Sequence[str]) -> str:
    """Return a command with the options that have a value; of True it is the name alone."""
    given = {f"--{key}": value for key, value in options.items() if value is not None and value is not False}
    words = [word for key, value in given.items() for word in ([key] if value is True else [key, str(value)])]
    return f"rlstitch {name} {agents} {shlex.join([*words, *environment])}".strip()


@functools.lru_cache(maxsize=1)
def _environment(command: str) -> tuple[str, ...]:
    """Return the options by which a matrix was measured in another environment than the agents' own."""
    try:
        words = shlex.split(command)
    except ValueError:
        return ()
    kept, left = [], 0
    for word in words:
        name, given, _ = word.replace("_", "-").partition("=")
        if name.startswith("--"):
            left = 1 + (0 if given else _VALUES[name]) if name in _VALUES else 0
        if left:
            kept.append(word)
            left -= 1
    return tuple(kept)
