"""Saving and loading agents as folders: `agent.json` (see `manifest`) and the weights of both parts, no pickle."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Literal, TypeVar

from pydantic import ValidationError
from torch import Tensor, nn

from rlstitch.agents.agent import Agent
from rlstitch.agents.card import AgentCard, ParentCard
from rlstitch.agents.controller import build_controller
from rlstitch.agents.encoder import build_encoder
from rlstitch.agents.half_precision import stored_tensors, widened
from rlstitch.agents.manifest import MANIFEST, PARTS, OpenAgent, find_agent, manifest_checksum, one_line, opened_agent
from rlstitch.agents.modules import require_storable
from rlstitch.errors import ArtefactError, InvalidInputError, RlstitchError
from rlstitch.storage import (
    NAME_PATTERN,
    first_problem,
    pack_tensors,
    staged_folder,
    unpack_tensors,
    write_bytes,
    write_json,
)

# What building a module from a wrong specification, or filling it with wrong tensors, may raise.
_BUILD_ERRORS = (ArithmeticError, AttributeError, LookupError, MemoryError, RuntimeError, TypeError, ValueError)

Module = TypeVar("Module", bound=nn.Module)


def save_agent(agent: Agent, folder: Path | str, *, force: bool = False) -> Path:
    """Write an agent as a folder, atomically; the folder's name becomes the agent's.

    The card is written with the agent's own specifications and shape, so that the two cannot disagree. Weights that
    float16 holds exactly (`half_precision`) are stored as such.

    Args:
        agent: a native or a stitched agent.
        folder: the folder to make, usually `agents/<name>`.
        force: replace an agent that is there; a folder that holds no agent is never replaced.

    Returns:
        The folder.

    Raises:
        InvalidInputError: where the name is not usable, the folder exists, a weight is NaN or infinite, or a part is a
            module of a user's own, or it is no Agent.
        ArtefactError: where the operating system refuses.
    """
    if not isinstance(agent, Agent):
        raise InvalidInputError(f"agent: expected an Agent, found {type(agent).__name__} (import_agent takes a model)")
    require_storable(agent.encoder, agent.controller)
    path = Path(folder).absolute()
    card = _final_card(agent, path.name)
    with staged_folder(path, force=force, marker=MANIFEST) as stage:
        files: dict[str, str] = {}
        for part in PARTS:
            content = pack_tensors(stored_tensors(getattr(agent, part)))
            write_bytes(stage / f"{part}.safetensors", content)
            files[f"{part}.safetensors"] = hashlib.sha256(content).hexdigest()
        manifest = {**card.model_dump(mode="json"), "files": files}
        write_json(stage / MANIFEST, {**manifest, "checksum": manifest_checksum(manifest)})
    return path


def load_agent(name_or_folder: Path | str, *, roots: Iterable[Path] | None = None) -> Agent:
    """Read an agent by its name or its folder.

    Args:
        name_or_folder: a name is looked for in `./agents`, then among the agents that came with the package.
        roots: look for names in these folders instead.

    Raises:
        UnknownNameError: where no agent has this name.
        ArtefactError: where the folder is not a whole, unaltered agent; the message says in one line what is wrong.
    """
    folder = find_agent(name_or_folder, roots=roots)
    with opened_agent(folder) as opened:
        card = opened.card
        encoder = _load_part(opened, "encoder", lambda most: build_encoder(card.encoder, most=most))
        controller = _load_part(opened, "controller", lambda most: build_controller(card.controller, most=most))
    if tuple(encoder.observation_shape) != card.observation_shape:
        raise ArtefactError(
            f"{folder / MANIFEST}: observation_shape is {card.observation_shape}, "
            f"but the encoder takes {tuple(encoder.observation_shape)}"
        )
    try:
        return Agent(encoder, controller, card)
    except RlstitchError as error:
        raise ArtefactError(f"{folder}: {one_line(error)}") from None


def as_agent(agent: Path | str | Agent) -> Agent:
    """Return an agent that is given as a value, or read it by its name or its folder; errors as for `load_agent`."""
    return agent if isinstance(agent, Agent) else load_agent(agent)


def weights_sha256(module: nn.Module) -> str:
    """Return the sha256 that the weights of an encoder or controller have as a file: the identity of a part.

    Raises:
        InvalidInputError: where a weight is NaN or infinite.
    """
    return hashlib.sha256(pack_tensors(stored_tensors(module))).hexdigest()


def parent_card(agent: Agent, role: Literal["encoder", "controller"]) -> ParentCard:
    """Return what the card of an agent says of another that gives it a part."""
    part = agent.encoder if role == "encoder" else agent.controller
    return ParentCard(name=agent.card.name, role=role, sha256=weights_sha256(part))


def _final_card(agent: Agent, name: str) -> AgentCard:
    if not re.fullmatch(NAME_PATTERN, name):
        raise InvalidInputError(
            f"agent name: expected letters, digits, '.', '_' and '-' (at most 100, the first a letter or digit), "
            f"found {name[:120]!r}"
        )
    changes = {
        "name": name,
        "observation_shape": tuple(agent.encoder.observation_shape),
        "encoder": agent.encoder.spec(),
        "controller": agent.controller.spec(),
    }
    try:
        # `model_copy` checks nothing: the card goes through its schema once more before it is written.
        return AgentCard.model_validate(agent.card.model_copy(update=changes).model_dump(mode="json"))
    except ValidationError as error:
        raise InvalidInputError(f"card of agent {name!r}: {first_problem(error)}") from None


def _load_part(agent: OpenAgent, part: str, build: Callable[[int], Module]) -> Module:
    content, path, manifest = agent.weights(part), agent.path(part), agent.folder / MANIFEST
    tensors = widened(unpack_tensors(content, str(path))[0])
    try:
        module = build(len(content))  # no number of a file takes less than a byte
    except (RlstitchError, *_BUILD_ERRORS) as error:
        raise ArtefactError(f"{manifest}: {part}: {one_line(error)}") from None
    check_shapes(module.state_dict(), tensors, path)
    module.load_state_dict(tensors)
    return module


def check_shapes(expected: dict[str, Tensor], tensors: dict[str, Tensor], path: Path) -> None:
    """Refuse tensors that differ from what a module expects in name, type or shape; ArtefactError names the first."""
    for name in sorted(expected.keys() | tensors.keys()):
        ours = _describe(expected[name]) if name in expected else "none"
        theirs = _describe(tensors[name]) if name in tensors else "none"
        if ours != theirs:
            raise ArtefactError(f"{path}: tensor {name[:100]!r}: expected {ours}, found {theirs}")


def _describe(tensor: Tensor) -> str:
    return f"{str(tensor.dtype).removeprefix('torch.')} {tuple(tensor.shape)}"
