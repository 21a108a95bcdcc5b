"""The tasks of a matrix: native and random evaluations, and the cells of one encoder; each result is one small file.

Results are written whole as soon as they are measured, and what is on the disk is never measured again.
"""

from __future__ import annotations

import functools
import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Any, Self

import numpy as np
from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    NonNegativeFloat,
    ValidationError,
    model_validator,
)

from rlstitch.agents import Agent, load_agent
from rlstitch.envs import World, import_modules
from rlstitch.errors import ArtefactError, IncompatibleError, InvalidInputError
from rlstitch.evaluation.baselines import evaluate_random
from rlstitch.evaluation.matrix.plan import read_member
from rlstitch.evaluation.options import CellOptions
from rlstitch.jobs.progress import OnProgress
from rlstitch.rollouts.episodes import Outcomes
from rlstitch.rollouts.evaluation import Evaluation, Head, can_share, evaluate_together
from rlstitch.rollouts.views import ViewCollection, Views, collect_views
from rlstitch.stitching.controls import split_control, stitch_control, untrained_agent
from rlstitch.stitching.methods import load_methods
from rlstitch.stitching.pairs import LatentPairs, gather_latents
from rlstitch.stitching.stitch import Stitch
from rlstitch.storage import read_json, write_json

SCHEMA_VERSION = 1
MODULE = "rlstitch.evaluation.matrix.tasks"
Content = dict[str, Any]
_MAX_CELLS = 32
"""Cells of one encoder that are played in one batch of environments."""
_MAX_WEIGHTS = 50_000_000
"""Numbers that the stitched agents of such a batch may hold in memory: 200 MB. Maps of wide latents have millions."""


def cell_path(folder: Path, identity: str) -> Path:
    """Return the file of a cell, native evaluation or random evaluation."""
    return folder / "cells" / f"{identity[:32]}.json"


class _Played(BaseModel):
    """What the file of a cell holds that was played, beside its identity and times."""

    model_config = ConfigDict(strict=True)

    returns: list[Annotated[float, Field(ge=-1e15, le=1e15)]]
    lengths: list[Annotated[int, Field(ge=0, lt=2**53)]]
    successes: list[bool] | None
    seconds: NonNegativeFloat
    diagnostics: dict[str, float | int | str | bool | None] = {}
    fit_seconds: NonNegativeFloat | None = None

    @model_validator(mode="after")
    def _fits(self) -> Self:
        if not self.returns or len({len(x) for x in (self.returns, self.lengths, self.successes or self.returns)}) > 1:
            raise ValueError("expected as many returns, lengths and successes")
        return self


class _Refused(BaseModel):
    """What the file of a cell holds that two agents cannot be put together for."""

    refused: str


def read_cell(folder: Path, identity: str) -> Content | None:
    """Return the content of a cell's file; None where it is missing, damaged, or of another cell."""
    try:
        content: Content = read_json(cell_path(folder, identity), schema_version=SCHEMA_VERSION)
    except ArtefactError:
        return None
    if content.get("identity") != identity:
        return None
    try:
        kind = _Refused if "refused" in content else _Played
        kind.model_validate(content)
    except ValidationError:
        return None
    return content


def stored_evaluation(content: Content, world: World, options: CellOptions) -> Evaluation:
    """Return the evaluation that a cell's file holds."""
    successes = content["successes"]
    outcomes = Outcomes(
        np.asarray(content["returns"], dtype=np.float64),
        np.asarray(content["lengths"], dtype=np.int64),
        None if successes is None else np.asarray(successes, dtype=np.bool_),
    )
    return Evaluation.from_outcomes(world, options.seed, options.greedy, outcomes, content["seconds"])


def play_native(
    folder: str,
    identity: str,
    agent: Sequence[str],
    options: Mapping[str, Any],
    on_progress: OnProgress,
    world: Mapping[str, Any] | None = None,
    modules: Sequence[str] = (),
) -> None:
    """Evaluate an agent in its own world, or in another, where it may be refused as a cell may."""
    import_modules(modules)
    chosen = CellOptions(**options)
    if world is None:
        content = _result(chosen.evaluate(_agent(agent)))
    else:
        content = _played(_agent(agent), World.from_dict(world), chosen)
    _write(Path(folder), identity, content)
    on_progress(1, 1)


def play_random(
    folder: str,
    identity: str,
    world: Mapping[str, Any],
    options: Mapping[str, Any],
    on_progress: OnProgress,
    modules: Sequence[str] = (),
) -> None:
    """Evaluate random actions in a world."""
    import_modules(modules)
    _write(Path(folder), identity, _result(evaluate_random(World.from_dict(world), CellOptions(**options))))
    on_progress(1, 1)


def play_cells(
    folder: str,
    encoder: Sequence[str],
    controllers: Sequence[Mapping[str, Any]],
    options: Mapping[str, Any],
    on_progress: OnProgress,
    modules: Sequence[str] = (),
    methods: Sequence[str] = (),
) -> None:
    """Measure cells of one encoder, with several controllers under several methods in one world or several.

    Pairs are gathered once for all methods of two agents, which are joined once for all worlds. In a world that allows
    it, several cells share one batch of environments, and each distinct view is encoded once. A combination that cannot
    be joined (other widths or anchor sets, too few views) is written as refused, with the reason.

    Args:
        folder: of the matrix.
        encoder: folder and identity of the agent whose encoder is used.
        controllers: `{"agent": [folder, identity], "cells": [{"identity": ..., "method": ..., "world": ...}]}` each.
        options: fields of `CellOptions`.
        on_progress: called with the number of cells done and of all cells.
        modules: that the user named, to import first.
        methods: that the user named by `module:name`, to load first.

    Raises:
        ArtefactError: where an agent cannot be read, or a result cannot be written.
    """
    import_modules(modules)
    load_methods(methods)
    total = sum(len(entry["cells"]) for entry in controllers)
    group = _Group(Path(folder), _agent(encoder), CellOptions(**options), lambda done: on_progress(done, total))
    unreadable = []
    for entry in controllers:
        missing = [cell for cell in entry["cells"] if read_cell(group.folder, cell["identity"]) is None]
        group.done += len(entry["cells"]) - len(missing)
        try:
            group.add(_agent(entry["agent"]), missing)
        except ArtefactError as error:
            unreadable.append(str(error))  # cells of the other controllers are measured nevertheless
    group.play()
    if unreadable:
        raise ArtefactError("; ".join(unreadable))


@dataclass(frozen=True)
class _Cell:
    """An encoder joined to a controller, to be played in a world."""

    identity: str
    world: World
    stitch: Stitch
    control: str = ""
    """The control that it is of its method, if any."""

    @property
    def shares_encoder(self) -> bool:
        """Whether its encoder is that of its group."""
        return self.control not in ("untrained", "self")

    @property
    def size(self) -> int:
        """How many numbers it holds in memory."""
        parts = (self.stitch.agent.encoder, self.stitch.agent.controller)
        return sum(tensor.numel() for part in parts for tensor in part.state_dict().values())


class _Group:
    """Joins one encoder to controllers, and plays their cells batch by batch."""

    def __init__(self, folder: Path, encoder: Agent, options: CellOptions, on_done: Callable[[int], None]) -> None:
        self.folder, self.encoder, self.options = folder, encoder, options
        self.done, self._on_done = 0, on_done
        self._waiting: list[_Cell] = []

    def add(self, policy: Agent, cells: Sequence[Mapping[str, Any]]) -> None:
        """Join a controller by the method of each cell, and play when a batch is full."""
        if not cells:
            return
        encoders = [self.encoder]
        if any(split_control(cell["method"])[1] == "untrained" for cell in cells):
            encoders.append(untrained_agent(self.encoder))
        try:
            options: dict[str, Any] = {"pairs": self.options.pairs, "seed": self.options.seed}
            pairs, *untrained = gather_latents(encoders, policy, collector=_views_once, **options)
        except (IncompatibleError, InvalidInputError) as error:
            self._refuse(cells, error)
            return
        for method in dict.fromkeys(cell["method"] for cell in cells):
            of_method, control = [cell for cell in cells if cell["method"] == method], split_control(method)[1]
            try:
                stitch = stitch_control(self.encoder, policy, pairs, method, *untrained, seed=self.options.seed)
            except (IncompatibleError, InvalidInputError) as error:
                self._refuse(of_method, error)
                continue
            for cell in of_method:
                # With its own encoder a controller is at home in no world but its own.
                world = policy.card.world if control == "self" else World.from_dict(cell["world"])
                self._waiting.append(_Cell(cell["identity"], world, stitch, control))
            if self._full():
                self.play()

    def _full(self) -> bool:
        joined = {id(cell.stitch): cell.size for cell in self._waiting}
        most = _MAX_CELLS if any(can_share(cell.world) for cell in self._waiting) else 1
        return len(joined) >= most or sum(joined.values()) > _MAX_WEIGHTS

    def play(self) -> None:
        """Evaluate all cells that wait, world by world."""
        cells, self._waiting = self._waiting, []
        for world in dict.fromkeys(cell.world for cell in cells):
            self._play_in(world, [cell for cell in cells if cell.world == world])

    def _play_in(self, world: World, cells: Sequence[_Cell]) -> None:
        cells = sorted(cells, key=lambda cell: not cell.shares_encoder)
        left, options = dict(enumerate(cells)), self.options
        heads = [
            Head(stitch.translation, stitch.agent.controller, stitch.agent.card.name)
            for stitch in (cell.stitch for cell in cells if cell.shares_encoder)
        ]
        if len(heads) > 1 and can_share(world):
            try:
                for number, result in evaluate_together(
                    self.encoder,
                    heads,
                    world,
                    episodes=options.episodes,
                    seed=options.seed,
                    deterministic=options.greedy,
                ):
                    cell = left.pop(number)
                    self._write(cell.identity, _result(result, cell.stitch))
            except (IncompatibleError, InvalidInputError):
                pass  # one of them cannot be played: playing them one by one shows which, and why
        for cell in left.values():
            self._write(cell.identity, _played(cell.stitch.agent, world, options, cell.stitch))

    def _refuse(self, cells: Sequence[Mapping[str, Any]], error: Exception) -> None:
        for cell in cells:
            self._write(cell["identity"], {"refused": str(error)})

    def _write(self, identity: str, content: Content) -> None:
        _write(self.folder, identity, content)
        self.done += 1
        self._on_done(self.done)


def join_cell(encoder: Agent, policy: Agent, method: str, options: CellOptions) -> tuple[Stitch, LatentPairs]:
    """Join two agents as their cell under a method, refined or not, or under a control was joined.

    Returns:
        The stitch, and the first pairs of the encoder that it is of.

    Raises:
        UnknownNameError, IncompatibleError, InvalidInputError: as `gather_latents` and `stitch_control`.
    """
    control = split_control(method)[1]
    encoders = [encoder, untrained_agent(encoder)] if control == "untrained" else [encoder]
    pairs, *untrained = gather_latents(encoders, policy, pairs=options.pairs, seed=options.seed)
    stitch = stitch_control(encoder, policy, pairs, method, *untrained, seed=options.seed)
    if control == "self":
        return stitch, replace(pairs, x=pairs.y, x_held=pairs.y_held)
    return stitch, (*untrained, pairs)[0]


# One process plays an encoder with many controllers, and most of these under the next encoder again.
@functools.lru_cache(maxsize=32)
def _load(folder: Path, written: int) -> Agent:
    return load_agent(folder)


@functools.lru_cache(maxsize=16)
def _collected(
    world: World, agents: tuple[Agent, ...], known: bytes, shape: tuple[int, ...], **numbers: Any
) -> ViewCollection:
    views = np.frombuffer(known, dtype=np.uint8).reshape(shape) if shape else None
    return collect_views(world, agents=agents, known=views, **numbers)


def _views_once(
    world: World, *, agents: Sequence[Agent], on_progress: OnProgress, known: Views | None = None, **numbers: Any
) -> ViewCollection:
    """`collect_views`, once for all encoders of other environments: these do not drive, and all meet the same."""
    shown, shape = (b"", ()) if known is None else (known.tobytes(), known.shape)
    return _collected(world, tuple(agents), shown, shape, **numbers)


def _agent(named: Sequence[str]) -> Agent:
    """Return the agent in a folder, which must still be the one of this identity: results are stored under it."""
    folder, identity = named
    path = Path(folder).absolute()
    manifest = path / "agent.json"  # a process may meet another agent at the same path later
    agent = _load(path, manifest.stat().st_mtime_ns if manifest.is_file() else 0)
    if read_member(path).identity != identity:
        raise ArtefactError(f"{path}: the agent was replaced while the matrix is measured; run rlstitch matrix again")
    return agent


def forget_agents() -> None:
    """Free the memory of the agents that this process has read, and of the views that they met."""
    _load.cache_clear()
    _collected.cache_clear()


def _played(agent: Agent, world: World, options: CellOptions, stitch: Stitch | None = None) -> Content:
    """Evaluate an agent; return the content of its file, a refusal where it cannot be played."""
    try:
        return _result(options.evaluate(agent, world), stitch)
    except (IncompatibleError, InvalidInputError) as error:
        return {"refused": str(error)}


def _result(result: Evaluation, stitch: Stitch | None = None) -> Content:
    content = {
        "returns": result.returns,
        "lengths": result.lengths,
        "successes": result.successes,
        "seconds": round(result.seconds, 3),
    }
    if stitch is None:
        return content
    diagnostics = stitch.report.to_dict().items()
    finite = {key: None if isinstance(v, float) and not math.isfinite(v) else v for key, v in diagnostics}
    return {**content, "diagnostics": finite, "fit_seconds": round(stitch.fit_seconds, 4)}


def _write(folder: Path, identity: str, content: Content) -> None:
    written = int(time.time())
    path = cell_path(folder, identity)
    write_json(path, {"identity": identity, **content, "written": written}, schema_version=SCHEMA_VERSION)
