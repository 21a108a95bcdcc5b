"""The world an agent is placed in, as a value."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any, Literal, cast, get_args

from rlstitch.envs.looks.look import get_variation
from rlstitch.envs.registry import check_task
from rlstitch.errors import InvalidInputError

View = Literal["agent", "full"]
Backend = Literal["gymnasium", "envpool"]
Actions = Literal["own", "discrete", "continuous"]
MAX_TILE_SIZE = 64
_NUMBERS = {"tile_size": MAX_TILE_SIZE, "action_repeat": 100, "frame_stack": 32, "size": 4096, "crop": 4096}
_OPTIONAL = ("size", "crop")
_CHOICES: dict[str, Any] = {"view": View, "backend": Backend, "actions": Actions}


@dataclass(frozen=True)
class World:
    """Environment, look, task and observations.

    `environment` is a Gymnasium id. `variation` is kept as the one text that its look has. `view` and `tile_size`
    (pixels, 1..64) say how a MiniGrid is drawn: what the agent sees, turned its way, or the whole grid. Other
    environments draw themselves, and both are ignored.

    `backend` says who steps it. `actions` chooses where an environment has both kinds (`own`: as it registers itself).
    A decision is repeated for `action_repeat` of the environment's steps. What an environment draws is cut to its first
    `crop` rows, shrunk to a square of side `size` by area averaging, and the last `frame_stack` images are channels of
    one observation, oldest first. See `rlstitch.envs.frames`.

    `task` is a text of words, see `rlstitch.envs.tasks.words`.

    Raises InvalidInputError for a value that cannot be used, UnknownNameError for an unknown variation or task.
    """

    environment: str
    variation: str = "standard"
    task: str = "standard"
    view: View = "agent"
    tile_size: int = 8
    backend: Backend = "gymnasium"
    actions: Actions = "own"
    action_repeat: int = 1
    frame_stack: int = 1
    size: int | None = None
    crop: int | None = None

    def __post_init__(self) -> None:
        for name in ("environment", "variation", "task", *_CHOICES):
            value = getattr(self, name)
            if not isinstance(value, str) or not value:
                raise InvalidInputError(f"{name}: expected a name, found {value!r}")
        for name, choice in _CHOICES.items():
            if (value := getattr(self, name)) not in get_args(choice):
                raise InvalidInputError(f"{name}: expected one of {', '.join(get_args(choice))}, found {value!r}")
        for name, most in _NUMBERS.items():
            value = getattr(self, name)
            if value is None and name in _OPTIONAL:
                continue
            if isinstance(value, bool) or not isinstance(value, int):
                raise InvalidInputError(f"{name}: expected a whole number, found {value!r}")
            if not 1 <= value <= most:
                raise InvalidInputError(f"{name}: expected 1 to {most}, found {value}")
        object.__setattr__(self, "variation", get_variation(self.variation).name)
        check_task(self.task, self.environment)

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
