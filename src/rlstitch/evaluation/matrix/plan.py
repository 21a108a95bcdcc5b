"""The plan of a matrix: its agents, every ordered pair of them, and what is refused before any rollout."""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass, replace
from fnmatch import fnmatchcase
from itertools import permutations
from pathlib import Path
from typing import Any

from rlstitch.agents.manifest import find_agent, list_agents
from rlstitch.envs import World, cell_world, check_task, get_variation, make_vec, task_words
from rlstitch.errors import ArtefactError, IncompatibleError, InvalidInputError, UnknownNameError, require_known
from rlstitch.evaluation.options import CellOptions
from rlstitch.stitching.controls import split_name
from rlstitch.stitching.methods import Method, get_method
from rlstitch.storage import canonical_json, read_json

CELL = "cell"
"""The encoder's look with the controller's task."""


@dataclass(frozen=True)
class Place:
    """A world that every cell is played in: a look and a task that replace those of the cell's own world."""

    text: str
    look: str | None = None
    """None: the encoder's."""
    task: str | None = None
    """None: the controller's."""

    def world(self, own: World) -> World:
        """Return the world of a cell in this place; `own` is the cell's own world.

        A world that is not the cell's own is stepped by Gymnasium, which has every look and task.

        Raises:
            UnknownNameError, InvalidInputError: where the environment has no such task.
        """
        world = replace(own, look=self.look or own.look, task=self.task or own.task)
        return own if world == own else replace(world, backend="gymnasium")


def read_places(worlds: Sequence[str]) -> tuple[Place, ...]:
    """Return the worlds that a user names: `cell`, `LOOK`, `LOOK/TASK`, or `cell/TASK` for the encoder's look.

    A world that is named twice counts once.

    Raises:
        UnknownNameError: for an unknown look or task, with the nearest.
        InvalidInputError: for none, an empty part, or an argument that a look or task does not take.
    """
    if not worlds:
        raise InvalidInputError("worlds: expected one or more, found none")
    return tuple({place.text: place for place in (_read(world.strip()) for world in worlds)}.values())


def _read(text: str) -> Place:
    name, slash, task = (part.strip() for part in text.partition("/"))
    if not name or (slash and not task):
        raise InvalidInputError(f"worlds: expected {CELL}, LOOK or LOOK/TASK, found {text!r}")
    look = None if name == CELL else get_variation(name).name
    if not task:
        return Place(look or CELL, look)
    for word in (part.partition(":")[0] for part in task.split("+")):
        require_known("task", word, task_words())
    check_task(task)
    return Place(f"{look or CELL}/{task}", look, task)


@functools.lru_cache(maxsize=1024)
def why_not(world: World) -> str:
    """Return why a world cannot be made; empty where it can. Not every environment has every look and task."""
    try:
        make_vec(world, 1, seed=0).close()
    except (IncompatibleError, InvalidInputError, UnknownNameError) as error:
        return str(error)
    return ""


NATIVE = "native"
"""The method of rows of agents with their own parts."""

# What an agent's behaviour depends on; the rest of its manifest (command, versions, training) is history.
_IDENTITY = ("files", "world", "observation_shape", "encoder", "controller")


@dataclass(frozen=True)
class Member:
    """An agent of a matrix, from its manifest alone."""

    name: str
    folder: Path
    identity: str
    """sha256 over both parts' weights and specifications, and the world."""
    seed: int
    world: World


@dataclass(frozen=True)
class Pairing:
    """The encoder of one agent with the controller of another, in one world; or an agent with its own parts."""

    encoder: Member
    controller: Member
    world: World | None
    """Where the two are played; None where this world cannot be made."""
    refused: str = ""
    """Why there is no world."""
    place: str = CELL
    """The world as the user named it."""
    home: World | None = None
    """The cell's own world; None where there is none."""

    @property
    def elsewhere(self) -> bool:
        """Whether the world is another than the cell's own."""
        return self.world != self.home

    @property
    def native(self) -> bool:
        """Whether both are one agent."""
        return self.encoder.name == self.controller.name

    @property
    def same_seed(self) -> bool:
        """Whether two agents began from the same weights: such pairs flatter every method."""
        return self.encoder.seed == self.controller.seed and not self.native

    def identity(self, method: str, options: CellOptions) -> str:
        """Return the identity of the result under a method; a native's has none."""
        world = self.world if self.elsewhere else None
        if self.native:
            return native_identity(self.controller, options, world)
        version = base_method(method).version
        named = f"{method}@{version}" if version else method
        return cell_identity(self.encoder.identity, self.controller.identity, named, options, world)


@dataclass(frozen=True)
class Plan:
    """All cells of a matrix."""

    members: tuple[Member, ...]
    methods: tuple[str, ...]
    options: CellOptions
    pairings: tuple[Pairing, ...]
    left_out: tuple[str, ...] = ()
    """Stitched and relativized agents that match a pattern and are not in the matrix."""
    places: tuple[str, ...] = (CELL,)
    """The worlds that every cell is played in, as the user named them."""
    natives: tuple[Pairing, ...] = ()
    """Every agent with its own parts in each of these worlds but `cell`, which is its own."""

    @property
    def hash8(self) -> str:
        """Eight digits over the agents and options; methods and worlds that come later stay in the same folder."""
        named = {member.name: member.identity for member in self.members}
        return digest("matrix", named, asdict(self.options))[:8]


def digest(*parts: Any) -> str:
    """Return the sha256 of JSON values."""
    return hashlib.sha256(canonical_json(parts)).hexdigest()


def cell_identity(encoder: str, controller: str, method: str, options: CellOptions, world: World | None = None) -> str:
    """Return the identity of a cell; `world` is given where it is not the cell's own."""
    where = () if world is None else (world.to_dict(),)
    return digest("cell", encoder, controller, method, asdict(options), *where)


def native_identity(member: Member, options: CellOptions, world: World | None = None) -> str:
    """Return the identity of an agent's evaluation; `world` is given where it is not the agent's own."""
    where = () if world is None else (world.to_dict(),)
    return digest("native", member.identity, options.episodes, options.seed, options.greedy, *where)


def random_identity(world: World, options: CellOptions) -> str:
    """Return the identity of random actions in a world."""
    return digest("random", world.to_dict(), options.episodes, options.seed)


def plan_matrix(
    patterns: Sequence[str],
    methods: Sequence[str],
    options: CellOptions,
    *,
    without: Sequence[str] = (),
    derived: bool = False,
    worlds: Sequence[str] = (CELL,),
    place: Callable[[Path], Path] | None = None,
) -> Plan:
    """Find the agents and pair them; reads manifests only.

    A pattern matches trained and imported agents. Stitched and relativized ones are left out unless they are named in
    full, or `derived` is set.

    Args:
        patterns: names of agents with `*`, `?` and `[...]`, or folders of agents.
        methods: stitching methods, by name or `module:name`, such with rounds of refinement (`affine-refined-2`), and
            controls (see `rlstitch.stitching.controls`); one that is named twice counts once.
        options: how each cell is measured.
        without: patterns of names to leave out; an agent that is named in full stays.
        derived: let patterns match stitched and relativized agents, too.
        worlds: where every cell is played, see `read_places`.
        place: gives the folder of an agent that is taken instead of the one in a folder.

    Raises:
        UnknownNameError: for a method, look or task that is unknown, or a pattern that matches no agent.
        ArtefactError: where the manifest of an agent cannot be read.
        InvalidInputError: for no method, fewer than two agents, or a world that none of their environments has.
    """
    if not methods:
        raise InvalidInputError("methods: expected one or more, found none")
    methods = tuple(dict.fromkeys(map(_full_name, methods)))
    places = read_places(worlds)
    folders, left_out = _folders(patterns, without, derived)
    members = tuple(read_member(place(folder) if place else folder) for folder in folders)
    if len(members) < 2:
        matched = members[0].name if members else "none"
        hint = f" ({left_out_text(left_out)})" if left_out else ""
        raise InvalidInputError(
            f"agents: a matrix needs two or more, found {matched} by {', '.join(patterns) or 'no name'}{hint}"
        )
    own = _pairings(members)
    homes = [Pairing(member, member, member.world, home=member.world) for member in members]
    pairings = tuple(pairing for place in places for pairing in _place_all(own, place))
    natives = tuple(home for place in places if place.text != CELL for home in _place_all(homes, place))
    return Plan(members, methods, options, pairings, left_out, tuple(place.text for place in places), natives)


def base_method(name: str) -> Method:
    """Return the method that a name stands for without its control or its rounds of refinement."""
    return get_method(split_name(name)[0])


def _full_name(name: str) -> str:
    """Return the name of a method, its refinement or a control of either, whose method may be `module:name`."""
    base = split_name(name)[0]
    return get_method(base).name + name.removeprefix(base)


def _folders(patterns: Iterable[str], without: Sequence[str], derived: bool) -> tuple[list[Path], tuple[str, ...]]:
    """Return the folders of the matching agents, and the names of stitched and relativized ones that are left out."""
    entries = {entry.name: entry for entry in list_agents()}
    folders: dict[str, Path] = {}
    left_out: set[str] = set()
    for pattern in patterns:
        names = [pattern] if pattern in entries else [name for name in entries if fnmatchcase(name, pattern)]
        for name in names:
            entry = entries[name]
            if name != pattern and any(fnmatchcase(name, other) for other in without):
                continue
            if entry.card is None:
                raise ArtefactError(f"agent {name!r} is broken: {entry.reason}")
            if name != pattern and not derived and entry.card.derived:
                left_out.add(name)
                continue
            folders[name] = entry.path
        if not names:
            if any(sign in pattern for sign in "*?["):
                raise UnknownNameError("agents by the pattern", pattern, entries)
            folder = find_agent(pattern)
            if folders.setdefault(folder.name, folder).resolve() != folder.resolve():
                raise InvalidInputError(f"agents: expected different names, found {folder.name!r} twice")
    return [folders[name].resolve() for name in sorted(folders)], tuple(sorted(left_out - folders.keys()))


def left_out_text(names: Sequence[str]) -> str:
    """Describe the stitched and relativized agents that match a pattern and are left out."""
    return f"{len(names)} stitched or relativized agents left out, as {names[0]}: name them, or --derived takes all"


def read_member(folder: Path) -> Member:
    """Read what a matrix knows of an agent; raises ArtefactError where its manifest is none."""
    manifest = read_json(folder / "agent.json")
    try:
        identity = digest("agent", {key: manifest[key] for key in _IDENTITY})
        return Member(folder.name, folder, identity, int(manifest["seed"]), World.from_dict(manifest["world"]))
    except (KeyError, TypeError, ValueError) as error:
        raise ArtefactError(f"{folder / 'agent.json'}: not the manifest of an agent: {error}") from None


def _pairings(members: Sequence[Member]) -> list[Pairing]:
    pairings = []
    for encoder, controller in permutations(members, 2):
        world, refused = _common_world(encoder.world, controller.world)
        pairings.append(Pairing(encoder, controller, world, refused, home=world))
    return pairings


@functools.lru_cache(maxsize=1024)
def _common_world(encoder: World, controller: World) -> tuple[World | None, str]:
    """Return the world of a cell, or why there is none."""
    try:
        return cell_world(encoder, controller), ""
    except IncompatibleError as error:
        return None, str(error)


def _place_all(pairings: Sequence[Pairing], place: Place) -> list[Pairing]:
    """Return pairings of their own worlds in a place.

    Raises:
        InvalidInputError: where none of their environments has such a world.
    """
    placed = [_placed(pairing, place) for pairing in pairings]
    reasons = [pairing.refused for pairing in placed if pairing.home is not None]
    if reasons and all(reasons):
        raise InvalidInputError(f"worlds: {place.text!r} cannot be made for any of these agents: {reasons[0]}")
    return placed


def _placed(pairing: Pairing, place: Place) -> Pairing:
    own = pairing.world
    if own is None:
        return replace(pairing, place=place.text)
    try:
        world = place.world(own)
    except (InvalidInputError, UnknownNameError) as error:
        return replace(pairing, world=None, refused=str(error), place=place.text)
    reason = "" if world == own else why_not(world)
    return replace(pairing, world=None if reason else world, refused=reason, place=place.text)
