"""Agents as one file: a program that PyTorch or onnxruntime runs, or the weights with all that rebuilds the agent.

What is about to be written is read first, and the agent in it compared with the one that is exported.
"""

from __future__ import annotations

import hashlib
import io
import json
from pathlib import Path
from typing import Any, Literal, TypeAlias

import torch
from numpy.typing import NDArray
from pydantic import ValidationError
from torch import Tensor, nn

from rlstitch.agents.agent import Agent
from rlstitch.agents.artefact import check_shapes
from rlstitch.agents.card import AgentCard
from rlstitch.agents.controller import build_controller
from rlstitch.agents.encoder import Encoder, RelativeEncoder, TranslatedEncoder, build_encoder, encoder_input
from rlstitch.agents.manifest import one_line
from rlstitch.agents.modules import require_storable
from rlstitch.agents.onnx_program import OnnxPolicy, require_onnx, to_onnx
from rlstitch.envs.observation import is_image
from rlstitch.errors import ArtefactError, InvalidInputError, RlstitchError
from rlstitch.latent import RelativeProjection
from rlstitch.storage import limits, pack_tensors, read_bytes, sha256_of, unpack_tensors, write_bytes
from rlstitch.storage.json_files import parse_json
from rlstitch.storage.validation import first_problem
from rlstitch.storage.workspace import require_new_file

Format: TypeAlias = Literal["torch-export", "onnx", "safetensors"]
Input: TypeAlias = Literal["uint8", "float32"]

SUFFIXES: dict[str, str] = {"torch-export": ".pt2", "onnx": ".onnx", "safetensors": ".safetensors"}
TOLERANCE = 1e-5
"""Greatest difference of outputs that an export may have, in units of the greatest output (1 where that is less)."""
_NOT_TRACEABLE = ("geodesic",)  # a search in a graph
_BATCH = torch.export.Dim("batch", min=1, max=2**16)
_KIND = "rlstitch agent"
_VERSION = "1"


class Policy(nn.Module):
    """What an exported program computes: observations -> `(action parameters (N, A), values (N,))`.

    Observations are uint8 `(N, H, W, C)`, or float32 `(N, C, H, W)` in [0, 1]; vectors are float32 `(N, D)`. Action
    parameters are those of `Controller`: logits where actions are discrete, means where they are continuous (to be
    clipped to the bounds, or squashed).
    """

    def __init__(self, agent: Agent, observations: Input) -> None:
        super().__init__()
        self.encoder, self.controller = _traceable(agent.encoder), agent.controller
        self._takes_observations = observations == "uint8" or not is_image(agent.encoder.observation_shape)

    def forward(self, observations: Tensor) -> tuple[Tensor, Tensor]:
        """Return action parameters and values."""
        inputs = encoder_input(observations) if self._takes_observations else observations
        parameters, values = self.controller(self.encoder(inputs))
        return parameters, values


class _Plain(nn.Module):
    """The agent itself, as exported programs are compared with it."""

    def __init__(self, agent: Agent) -> None:
        super().__init__()
        self._agent = agent

    def forward(self, observations: Tensor) -> tuple[Tensor, Tensor]:
        parameters, values = self._agent.controller(self._agent.encoder(self._agent.inputs(observations.numpy())))
        return parameters, values


class _Similarities(nn.Module):
    """What a relative encoder does to normalised latents."""

    def __init__(self, encoder: RelativeEncoder) -> None:
        super().__init__()
        names = str(encoder.spec()["similarity"]).split("+")
        if refused := [name for name in names if name in _NOT_TRACEABLE]:
            raise InvalidInputError(f"similarity: a program cannot hold {refused[0]!r}; use safetensors")
        # The anchors are normalised already: the layers' own normalization stays the identity.
        anchors = encoder.normalization(encoder.anchors)
        self._parts = nn.ModuleList(
            [RelativeProjection(anchors, similarity=name, normalization="identity") for name in names]
        )
        self._scales = encoder.scales.tolist() if len(names) > 1 else [1.0]

    def forward(self, latents: Tensor) -> Tensor:
        parts = [part(latents) / scale for part, scale in zip(self._parts, self._scales, strict=True)]
        return torch.cat(parts, dim=1)


def _traceable(encoder: Encoder) -> nn.Module:
    """The encoder without the checks of values, which a program cannot hold."""
    if isinstance(encoder, RelativeEncoder):
        return nn.Sequential(_traceable(encoder.base), encoder.normalization, _Similarities(encoder))
    if isinstance(encoder, TranslatedEncoder):
        return nn.Sequential(_traceable(encoder.base), encoder.translation)
    return encoder


def write_exported(
    agent: Agent,
    path: Path,
    *,
    form: Format,
    images: NDArray[Any],
    observations: Input = "uint8",
    force: bool = False,
) -> float:
    """Write an agent as one file, after comparing its outputs with the agent's.

    Args:
        agent: native, relative, translated, stitched or imported.
        path: the file; it appears whole or not at all.
        form: `torch-export`: a `torch.export` program (`Policy`) of batches of any size. `onnx`: the same program as
            an ONNX file (extra `onnx`), its input called `observations`, its outputs `action_parameters` and `values`.
            `safetensors`: the weights of both parts, with their specifications and the card as metadata, for
            `load_exported`.
        images: observations `(n, ...)`, n ≥ 2, to compare on.
        observations: what the program takes.
        force: replace a file.

    Returns:
        The greatest difference of an action parameter or a value.

    Raises:
        InvalidInputError: where the file is there already, a weight is NaN or infinite, or a program cannot hold the
            similarity (geodesic).
        MissingExtraError: `onnx` without the packages of this extra.
        ArtefactError: where the operating system refuses, or the file does not act as the agent.
    """
    require_new_file(path, force=force)
    if form == "onnx":
        require_onnx()
    before = agent.device
    agent.to("cpu")
    try:
        native = _outputs(_Plain(agent), torch.from_numpy(images))
        if form == "safetensors":
            content, batch = _pack(agent), torch.from_numpy(images)
            again: nn.Module = _Plain(_unpack(content, path))
        else:
            batch = _batch(images, observations)
            program = _program(Policy(agent, observations), batch)
            content = to_onnx(program, _BATCH) if form == "onnx" else _saved(program)
            again = (
                OnnxPolicy(content) if form == "onnx" else torch.export.load(io.BytesIO(content)).module()
            )  # our own
        difference = _compare(path, native, _outputs(again, batch))
    finally:
        agent.to(before)
    write_bytes(path, content)
    if sha256_of(path) != hashlib.sha256(content).hexdigest():
        raise ArtefactError(f"{path}: what was read again is not what was written")
    return difference


def greatest_difference(agent: Agent, other: Agent, images: NDArray[Any]) -> float:
    """Return the greatest difference of an action parameter or a value of two agents on observations `(n, ...)`."""
    batch = torch.from_numpy(images)
    pairs = zip(_outputs(_Plain(agent), batch), _outputs(_Plain(other), batch), strict=True)
    return max(float((ours - theirs).abs().max()) for ours, theirs in pairs)


def load_exported(path: Path | str) -> Agent:
    """Read an agent from a file that `write_exported` wrote as safetensors.

    Raises:
        ArtefactError: where the file is missing, damaged, or no agent.
    """
    path = Path(path)
    return _unpack(read_bytes(path, max_bytes=2 * limits.WEIGHTS_BYTES), path)


def _unpack(content: bytes, path: Path) -> Agent:
    tensors, metadata = unpack_tensors(content, str(path))
    if metadata.get("kind") != _KIND or metadata.get("schema_version") != _VERSION:
        raise ArtefactError(
            f"{path}: expected an exported agent of schema version {_VERSION}, found "
            f"{str(metadata.get('kind'))[:40]!r} of version {str(metadata.get('schema_version'))[:40]!r}"
        )
    try:
        card = AgentCard.model_validate(parse_json(metadata.get("card", ""), str(path)))
        encoder = build_encoder(card.encoder, most=len(content))
        controller = build_controller(card.controller, most=len(content))
        parts = nn.ModuleDict({"encoder": encoder, "controller": controller})
        check_shapes(parts.state_dict(), tensors, path)
        parts.load_state_dict(tensors)
        return Agent(encoder, controller, card)
    except ValidationError as error:
        raise ArtefactError(f"{path}: its card: {first_problem(error)}") from None
    except (RlstitchError, ArithmeticError, LookupError, RuntimeError, TypeError, ValueError) as error:
        raise ArtefactError(f"{path}: {one_line(error)}") from None


def _pack(agent: Agent) -> bytes:
    require_storable(agent.encoder, agent.controller)
    changes = {
        "observation_shape": tuple(agent.encoder.observation_shape),
        "encoder": agent.encoder.spec(),
        "controller": agent.controller.spec(),
    }
    card = agent.card.model_copy(update=changes).model_dump(mode="json")
    tensors = nn.ModuleDict({"encoder": agent.encoder, "controller": agent.controller}).state_dict()
    metadata = {"kind": _KIND, "schema_version": _VERSION, "card": json.dumps(card, sort_keys=True)}
    return pack_tensors(tensors, metadata=metadata)


def _program(policy: Policy, example: Tensor) -> torch.export.ExportedProgram:
    with torch.no_grad():
        program = torch.export.export(policy.eval(), (example[:2].clone(),), dynamic_shapes=({0: _BATCH},))
    for node in program.graph.nodes:
        node.meta.pop("stack_trace", None)  # holds paths of this machine
    return program


def _saved(program: torch.export.ExportedProgram) -> bytes:
    buffer = io.BytesIO()
    torch.export.save(program, buffer)
    return buffer.getvalue()


def _batch(images: NDArray[Any], observations: Input) -> Tensor:
    tensor = torch.from_numpy(images)
    plain = observations == "uint8" or not is_image(images.shape[1:])
    return tensor if plain else encoder_input(tensor).contiguous()


@torch.no_grad()
def _outputs(policy: nn.Module, batch: Tensor) -> tuple[Tensor, Tensor]:
    """Outputs of a batch, half of it as one and the rest one by one: every size has to do."""
    half = len(batch) // 2
    parts = [policy(batch[:half]), *(policy(batch[i : i + 1]) for i in range(half, len(batch)))]
    return torch.cat([parameters for parameters, _ in parts]), torch.cat([values for _, values in parts])


def _compare(path: Path, native: tuple[Tensor, Tensor], exported: tuple[Tensor, Tensor]) -> float:
    greatest = 0.0
    for ours, theirs in zip(native, exported, strict=True):
        difference = float((ours - theirs).abs().max())
        if ours.shape != theirs.shape or not difference <= TOLERANCE * max(1.0, float(ours.abs().max())):
            raise ArtefactError(f"{path}: the exported agent differs from the agent by {difference:.2g}; not written")
        greatest = max(greatest, difference)
    return greatest
