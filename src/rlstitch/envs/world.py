"""The world an agent is placed in, as a value."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields, replace
from typing import Any, Literal, cast, get_args

from rlstitch.envs.tasks import check_task
from rlstitch.envs.variations import get_variation
from rlstitch.errors import IncompatibleError, InvalidInputError

View = Literal["agent", "full"]
MAX_TILE_SIZE = 64


@dataclass(frozen=True)
class World:
    """Environment, look, task and observations.

    `environment` is a Gymnasium id. `view` and `tile_size` (pixels, 1..64) say how a MiniGrid is drawn: what the agent
    sees, turned its way, or the whole grid. Other environments draw themselves, and both are ignored.

    Raises InvalidInputError for a value that cannot be used, UnknownNameError for an unknown variation or task.
    """

    environment: str
    variation: str = "standard"
    task: str = "standard"
    view: View = "agent"
    tile_size: int = 8

    def __post_init__(self) -> None:
        for name in ("environment", "variation", "task", "view"):
            value = getattr(self, name)
            if not isinstance(value, str) or not value:
                raise InvalidInputError(f"{name}: expected a name, found {value!r}")
        if self.view not in get_args(View):
            raise InvalidInputError(f"view: expected one of {', '.join(get_args(View))}, found {self.view!r}")
        if isinstance(self.tile_size, bool) or not isinstance(self.tile_size, int):
            raise InvalidInputError(f"tile_size: expected a whole number, found {self.tile_size!r}")
        if not 1 <= self.tile_size <= MAX_TILE_SIZE:
            raise InvalidInputError(f"tile_size: expected 1 to {MAX_TILE_SIZE}, found {self.tile_size}")
        get_variation(self.variation)
        check_task(self.task)

    def to_dict(self) -> dict[str, Any]:
        """The fields as plain JSON values."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> World:
        """The inverse of `to_dict`; fields that are left out take their defaults.

        Raises InvalidInputError for fields that are unknown, missing or of the wrong kind, UnknownNameError for an
        unknown variation or task.
        """
        if not isinstance(values, Mapping):
            raise InvalidInputError(f"world: expected a mapping of fields, found {type(values).__name__}")
        known = [field.name for field in fields(cls)]
        unknown = sorted(str(name) for name in values if name not in known)
        if unknown:
            raise InvalidInputError(f"world: expected the fields {', '.join(known)}; found {', '.join(unknown)}")
        if "environment" not in values:
            raise InvalidInputError(f"world: the field 'environment' is missing, found {', '.join(values) or 'none'}")
        return cls(**cast("dict[str, Any]", dict(values)))


def cell_world(encoder_world: World, controller_world: World) -> World:
    """The world where one agent's encoder drives another's controller: what the encoder sees, what the controller does.

    The variation, view and tile size are the encoder's; the environment and task the controller's.

    Raises IncompatibleError where the two environments have no observations in common: their images differ in shape
    or in kind. UnknownNameError where an environment is not registered.
    """
    cell = replace(encoder_world, environment=controller_world.environment, task=controller_world.task)
    if encoder_world.environment == controller_world.environment:
        return cell
    from rlstitch.envs.registry import observation_kind

    encoder_kind, encoder_shape = observation_kind(encoder_world)
    controller_kind, controller_shape = observation_kind(cell)
    if (encoder_kind, encoder_shape) != (controller_kind, controller_shape):
        raise IncompatibleError(
            f"{encoder_world.environment} and {controller_world.environment} have no common observations: the encoder "
            f"sees {encoder_kind} images {encoder_shape}, the controller's environment gives {controller_kind} images "
            f"{controller_shape}"
        )
    return cell
