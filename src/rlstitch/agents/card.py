"""The card of an agent: what `agent.json` says about it."""

from __future__ import annotations

import platform
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from typing import Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    JsonValue,
    field_serializer,
    field_validator,
    model_validator,
)

from rlstitch.envs.world import World
from rlstitch.storage.validation import refuse_controls
from rlstitch.storage.workspace import NAME_PATTERN

SCHEMA_VERSION = 1

Name = Annotated[str, Field(pattern=NAME_PATTERN)]
Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
Short = Annotated[str, Field(max_length=200)]
Count = Annotated[int, Field(ge=0)]
Width = Annotated[int, Field(ge=1, le=2**22)]


def _is_observation(shape: tuple[int, ...]) -> tuple[int, ...]:
    if len(shape) not in (1, 3) or (len(shape) == 3 and max(shape) > 4_096):
        raise ValueError(f"expected height, width and channels, 1 to 4,096 each, or one number, found {shape}")
    return shape


Shape = Annotated[tuple[Width, ...], Field(strict=False), AfterValidator(_is_observation)]
Interval = Annotated[tuple[float, float], Field(strict=False)]


class _Card(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False)


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
    """The agent that a part comes from, or started from."""

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
    world: World
    seed: Count
    observation_shape: Shape
    """Height, width, channels; or the length of vectors."""
    encoder: dict[str, JsonValue]
    """What `build_encoder` takes."""
    controller: dict[str, JsonValue]
    """What `build_controller` takes."""
    anchors: AnchorsCard | None = None
    training: TrainingCard | None = None
    parents: Annotated[tuple[ParentCard, ...], Field(strict=False, max_length=16)] = ()
    method: Short | None = None
    """How the parts were joined, or which of them a training kept; None where it began with fresh weights."""
    versions: dict[str, Short] = Field(default_factory=current_versions)
    command: Annotated[str, Field(max_length=10_000)] = ""
    created: str = Field(default_factory=now)
    """ISO 8601."""

    @property
    def derived(self) -> bool:
        """Whether its parts were joined, grafted or relativized, and not trained together since."""
        return self.method == "relativized" or (bool(self.parents) and self.training is None)

    @model_validator(mode="before")
    @classmethod
    def _is_printable(cls, value: Any) -> Any:
        refuse_controls(value)
        return value

    @field_validator("world", mode="before")
    @classmethod
    def _read_world(cls, value: Any) -> World:
        return value if isinstance(value, World) else World.from_dict(value, check_names=False)

    @field_serializer("world")
    def _write_world(self, world: World) -> dict[str, Any]:
        return world.to_dict()

    @field_validator("created")
    @classmethod
    def _is_a_date(cls, value: str) -> str:
        datetime.fromisoformat(value)
        return value
