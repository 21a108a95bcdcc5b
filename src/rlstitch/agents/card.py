"""The card of an agent: what `agent.json` says about it."""

from __future__ import annotations

import dataclasses
import platform
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, JsonValue, field_validator

from rlstitch.storage.workspace import NAME_PATTERN

if TYPE_CHECKING:
    from rlstitch.envs import World

SCHEMA_VERSION = 1

Name = Annotated[str, Field(pattern=NAME_PATTERN)]
Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
Short = Annotated[str, Field(max_length=200)]
Count = Annotated[int, Field(ge=0)]
Pixels = Annotated[int, Field(ge=1, le=4_096)]
Shape = Annotated[tuple[Pixels, Pixels, Pixels], Field(strict=False)]
Interval = Annotated[tuple[float, float], Field(strict=False)]


class _Card(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False)


class WorldCard(_Card):
    """The world that an agent was made for: the fields of `rlstitch.envs.World`."""

    environment: Annotated[str, Field(min_length=1, max_length=200)]
    variation: Short = "standard"
    task: Short = "standard"
    view: Literal["agent", "full"] = "agent"
    tile_size: Annotated[int, Field(ge=1, le=64)] = 8
    backend: Literal["gymnasium", "envpool"] = "gymnasium"
    actions: Literal["own", "discrete", "continuous"] = "own"
    action_repeat: Annotated[int, Field(ge=1, le=100)] = 1
    frame_stack: Annotated[int, Field(ge=1, le=32)] = 1
    size: Pixels | None = None
    crop: Pixels | None = None

    def to_world(self) -> World:
        """Return it as the value that environments are made from.

        Raises:
            RlstitchError: where no such world can be made (an unknown environment, variation or task).
        """
        from rlstitch.envs import World

        return World(**self.model_dump())


class AnchorsCard(_Card):
    """Which anchors a relative agent projects on, and how."""

    identity: Sha256
    count: Annotated[int, Field(ge=1)]
    similarity: Short
    normalization: Short


class TrainingCard(_Card):
    """How an agent was trained, and what it reached then."""

    algorithm: Short
    steps: Count
    seconds: Annotated[float, Field(ge=0)]
    return_mean: float | None = None
    return_interval: Interval | None = None
    """Bootstrap 95 % interval of the mean return."""
    success_rate: Annotated[float, Field(ge=0, le=1)] | None = None
    episodes: Count | None = None
    """Episodes of the evaluation that gave the return."""
    hyperparameters: dict[str, JsonValue] = Field(default_factory=dict)


class ParentCard(_Card):
    """The agent that a stitched agent's part comes from."""

    name: Short
    role: Literal["encoder", "controller"]
    sha256: Sha256
    """Of the part's weights, as `rlstitch.agents.artefact.weights_sha256` gives it."""


def current_versions() -> dict[str, str]:
    """Return the versions of Python and of the packages that decide what an agent does."""
    versions = {"python": platform.python_version()}
    for package in ("rlstitch", "torch", "numpy", "gymnasium", "stable-baselines3", "minigrid"):
        try:
            versions[package] = version(package)
        except PackageNotFoundError:  # a source tree that was never installed
            continue
    return versions


def now() -> str:
    """Return the present moment, ISO 8601, UTC, to the second."""
    return datetime.now(UTC).isoformat(timespec="seconds")


class AgentCard(_Card):
    """What an agent is and where it comes from; change one with `card.model_copy(update={...})`."""

    schema_version: Literal[1] = 1
    name: Name
    world: WorldCard
    """A `rlstitch.envs.World` or a mapping is taken too."""
    seed: Count
    observation_shape: Shape
    """Height, width, channels."""
    encoder: dict[str, JsonValue]
    """What `build_encoder` takes."""
    controller: dict[str, JsonValue]
    """What `build_controller` takes."""
    anchors: AnchorsCard | None = None
    training: TrainingCard | None = None
    parents: Annotated[tuple[ParentCard, ...], Field(strict=False, max_length=16)] = ()
    method: Short | None = None
    """How a stitched agent's parts were joined."""
    versions: dict[str, Short] = Field(default_factory=current_versions)
    command: Annotated[str, Field(max_length=10_000)] = ""
    created: str = Field(default_factory=now)
    """ISO 8601."""

    @field_validator("world", mode="before")
    @classmethod
    def _from_world(cls, value: Any) -> Any:
        is_value = dataclasses.is_dataclass(value) and not isinstance(value, type)
        return dataclasses.asdict(value) if is_value else value

    @field_validator("created")
    @classmethod
    def _is_a_date(cls, value: str) -> str:
        datetime.fromisoformat(value)
        return value
