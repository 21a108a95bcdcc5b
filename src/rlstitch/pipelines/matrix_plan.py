"""What a matrix is made of: its agents, every ordered pair of them, and what is refused before any rollout."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, replace
from fnmatch import fnmatchcase
from itertools import permutations
from pathlib import Path
from typing import Any

from rlstitch.agents.artefact import find_agent, list_agents
from rlstitch.envs import World, cell_world
from rlstitch.errors import ArtefactError, IncompatibleError, InvalidInputError, UnknownNameError
from rlstitch.stitching.stitch import check_method
from rlstitch.storage import canonical_json, read_json

# What an agent's behaviour depends on; the rest of its manifest (command, versions, training) is history.
_IDENTITY = ("files", "world", "observation_shape", "encoder", "controller")


@dataclass(frozen=True)
class Options:
    """How each cell is measured."""

    episodes: int = 100
    pairs: int = 1024
    seed: int = 0
    greedy: bool = False

    def __post_init__(self) -> None:
        for name in ("episodes", "pairs"):
            if getattr(self, name) < 1:
                raise InvalidInputError(f"{name}: expected at least 1, found {getattr(self, name)}")
        if self.seed < 0:
            raise InvalidInputError(f"seed: expected 0 or more, found {self.seed}")


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
    """The encoder of one agent with the controller of another."""

    encoder: Member
    controller: Member
    world: World | None
    """Where the two are played; None where that cannot be made."""
    refused: str = ""
    """Why there is no world."""

    @property
    def same_seed(self) -> bool:
        """Whether both began from the same weights: such pairs flatter every method."""
        return self.encoder.seed == self.controller.seed


@dataclass(frozen=True)
class Plan:
    """All that a matrix will hold."""

    members: tuple[Member, ...]
    methods: tuple[str, ...]
    options: Options
    pairings: tuple[Pairing, ...]

    @property
    def hash8(self) -> str:
        """Eight digits over the agents and options; a method that is added later stays in the same folder."""
        named = {member.name: member.identity for member in self.members}
        return digest("matrix", named, asdict(self.options))[:8]

    @property
    def playable(self) -> list[Pairing]:
        """The pairings that have a world."""
        return [pairing for pairing in self.pairings if pairing.world is not None]


def digest(*parts: Any) -> str:
    """Return the sha256 of JSON values."""
    return hashlib.sha256(canonical_json(parts)).hexdigest()


def cell_identity(encoder: str, controller: str, method: str, options: Options) -> str:
    """Return the identity of a cell: of both agents, the method and how it is measured."""
    return digest("cell", encoder, controller, method, asdict(options))


def native_identity(member: Member, options: Options) -> str:
    """Return the identity of an agent's evaluation in its own world; how many pairs has no part in it."""
    return digest("native", member.identity, options.episodes, options.seed, options.greedy)


def random_identity(world: World, options: Options) -> str:
    """Return the identity of random actions in a world."""
    return digest("random", world.to_dict(), options.episodes, options.seed)


def plain_world(world: World) -> World:
    """Return a world under the standard look: random actions see nothing, so one evaluation serves every look."""
    return replace(world, variation="standard")


def plan_matrix(patterns: Sequence[str], methods: Sequence[str], options: Options) -> Plan:
    """Find the agents and pair them; reads manifests only.

    Args:
        patterns: names of agents with `*`, `?` and `[...]`, or folders of agents.
        methods: stitching methods; one that stands twice counts once.
        options: how each cell is measured.

    Raises:
        UnknownNameError: for a method that is unknown, or a pattern that no agent fits.
        ArtefactError: where the manifest of an agent cannot be read.
        InvalidInputError: for no method, or fewer than two agents.
    """
    methods = tuple(dict.fromkeys(methods))
    if not methods:
        raise InvalidInputError("methods: expected one or more, found none")
    for method in methods:
        check_method(method)
    members = tuple(_member(folder) for folder in _folders(patterns))
    if len(members) < 2:
        found = members[0].name if members else "none"
        raise InvalidInputError(f"agents: a matrix needs two or more, found {found} by {', '.join(patterns)}")
    return Plan(members, methods, options, tuple(_pairings(members)))


def _folders(patterns: Iterable[str]) -> list[Path]:
    entries = {entry.name: entry for entry in list_agents()}
    found: dict[str, Path] = {}
    for pattern in patterns:
        names = [name for name in entries if fnmatchcase(name, pattern)]
        for name in names:
            if entries[name].broken:
                raise ArtefactError(f"agent {name!r} is broken: {entries[name].reason}")
            found[name] = entries[name].path
        if not names:
            if any(sign in pattern for sign in "*?["):
                raise UnknownNameError("agents by the pattern", pattern, entries)
            folder = find_agent(pattern)
            if found.setdefault(folder.name, folder).resolve() != folder.resolve():
                raise InvalidInputError(f"agents: expected different names, found {folder.name!r} twice")
    return [found[name].resolve() for name in sorted(found)]


def _member(folder: Path) -> Member:
    manifest = read_json(folder / "agent.json")
    try:
        identity = digest("agent", {key: manifest[key] for key in _IDENTITY})
        return Member(folder.name, folder, identity, int(manifest["seed"]), World.from_dict(manifest["world"]))
    except (KeyError, TypeError, ValueError) as error:
        raise ArtefactError(f"{folder / 'agent.json'}: not the manifest of an agent: {error}") from None


def _pairings(members: Sequence[Member]) -> list[Pairing]:
    worlds: dict[tuple[World, World], World | str] = {}
    pairings = []
    for encoder, controller in permutations(members, 2):
        both = (encoder.world, controller.world)
        if both not in worlds:
            try:
                worlds[both] = cell_world(*both)
            except IncompatibleError as error:
                worlds[both] = str(error)
        world = worlds[both]
        if isinstance(world, str):
            pairings.append(Pairing(encoder, controller, None, world))
        else:
            pairings.append(Pairing(encoder, controller, world))
    return pairings
