"""The one definition of a world: section of a config, section of an agent's card, and argument of functions.

Looks and families are imported where they are used: a card is read without NumPy.
"""

from __future__ import annotations

import dataclasses
import inspect
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Annotated, Any, Literal, TypeVar

from pydantic import (
    ConfigDict,
    Field,
    JsonValue,
    TypeAdapter,
    ValidationError,
    ValidationInfo,
    field_validator,
    model_validator,
)
from pydantic.dataclasses import dataclass

from rlstitch.envs.registry import Sensor
from rlstitch.errors import InvalidInputError
from rlstitch.storage.validation import as_rlstitch_error

if TYPE_CHECKING:
    from rlstitch.envs.looks.look import Variation

T = TypeVar("T")
_STANDARD = "standard"
Text = Annotated[str, Field(min_length=1, max_length=200)]
Pixels = Annotated[int, Field(strict=True, ge=1, le=4096)]
Backend = Literal["gymnasium", "envpool"]
Module = Annotated[str, Field(pattern=r"^[A-Za-z_]\w*(\.[A-Za-z_]\w*)*$", max_length=200)]


def _raises_rlstitch_errors(cls: type[T]) -> type[T]:
    """Let a pydantic dataclass raise RlstitchError for wrong values, and take `variation` for `look`."""
    signature, validate = inspect.signature(cls), cls.__init__

    def init(self: T, *args: Any, **fields: Any) -> None:
        if "variation" in fields:
            fields["look"] = fields.pop("variation")
        values = signature.bind(*args, **fields).arguments
        try:
            validate(self, **values)
        except ValidationError as error:
            raise as_rlstitch_error(error) from None

    cls.__init__ = init  # type: ignore[assignment]
    return cls


def _checks_names(info: ValidationInfo) -> bool:
    return bool((info.context or {}).get("check_names", True))


@_raises_rlstitch_errors
@dataclass(frozen=True, config=ConfigDict(extra="forbid", allow_inf_nan=False))
class World:
    """Environment, look, task and observations.

    `variation` is accepted for `look`, as keyword, as attribute and in files; where both are given as keywords, as
    `dataclasses.replace(world, variation=...)` does, `variation` is taken.

    Raises:
        InvalidInputError: for a value that cannot be used.
        UnknownNameError: for an unknown look or task.
    """

    environment: Text
    """Gymnasium id; `module:Id` is read as the id and a module that registers it."""
    look: Text = _STANDARD
    """How the environment is drawn, see `rlstitch.envs.looks`; kept as the canonical text."""
    task: Text = _STANDARD
    """Changes of dynamics, rewards and actions, see `rlstitch.envs.tasks`."""
    view: Literal["agent", "full"] = "agent"
    """What a MiniGrid shows: the agent's field of view, or the whole grid."""
    tile_size: Annotated[int, Field(strict=True, ge=1, le=64)] = 8
    """Side of a MiniGrid's tiles in pixels."""
    backend: Backend = "gymnasium"
    """Library that runs the environment."""
    actions: Literal["own", "discrete", "continuous"] = "own"
    """Which actions, where an environment has both kinds; `own`: as it is registered."""
    action_repeat: Annotated[int, Field(strict=True, ge=1, le=100)] = 1
    """Environment steps for one action."""
    frame_stack: Annotated[int, Field(strict=True, ge=1, le=32)] = 1
    """Number of images in one observation, as channels, the oldest first."""
    size: Pixels | None = None
    """Images are shrunk to squares of this side by area averaging."""
    crop: Pixels | None = None
    """Only the first `crop` rows of an image are kept, before the look and shrinking."""
    sensor: Sensor | None = None
    """What is observed. None: the environment's own observation; `rlstitch.envs.with_sensor` states which that is."""
    keys: tuple[Text, ...] = ()
    """Which keys of a Dict observation are observed, see `rlstitch.envs.parts`; empty: all of them, of a MiniGrid the
    image alone."""
    padding: Literal["first", "zeros"] | None = None
    """What fills the frame stack at the start of an episode: its first image, or zeros as in Stable-Baselines3's
    VecFrameStack. None: the first image, where a model is imported zeros."""
    make_kwargs: dict[str, JsonValue] = dataclasses.field(default_factory=dict, hash=False)
    """Keyword arguments of `gymnasium.make`."""
    look_kwargs: tuple[Text, ...] = ()
    """Names of those arguments that change only what is seen: where two agents meet, each sees its own, as with looks;
    all others are the controller's."""
    modules: tuple[Module, ...] = ()
    """Modules to import before the environment is made. A card names them; only a config or a caller imports them."""
    family: Annotated[str, Field(max_length=200, validate_default=True)] = ""
    """Package that provides the environment's family, empty for rlstitch; filled in, see `rlstitch.envs.registry`."""
    if TYPE_CHECKING:
        variation: str = ""  # so that type checkers know the keyword
    else:

        @property
        def variation(self) -> str:
            """Alias of `look`."""
            return self.look

    @model_validator(mode="before")
    @classmethod
    def _split_module(cls, values: Any) -> Any:
        given = getattr(values, "kwargs", values)  # a call's arguments, or a mapping
        named = given.get("environment") if isinstance(given, Mapping) else None
        if not isinstance(named, str) or ":" not in named:
            return values
        module, _, environment = named.partition(":")
        modules = given.get("modules", ())
        others = [name for name in modules if name != module] if isinstance(modules, (list, tuple)) else modules
        return {**given, "environment": environment, "modules": [module, *others]}

    @field_validator("look")
    @classmethod
    def _canonical_look(cls, value: str, info: ValidationInfo) -> str:
        if value == _STANDARD or not _checks_names(info):
            return value
        from rlstitch.envs.looks.look import get_variation

        return get_variation(value).name

    @field_validator("task")
    @classmethod
    def _known_task(cls, value: str, info: ValidationInfo) -> str:
        if _checks_names(info) and value != _STANDARD:
            from rlstitch.envs.registry import all_families, check_task, named_family

            environment = str(info.data.get("environment", ""))
            # Of an environment that no installed family claims, the task is checked with its family, below.
            if named_family(environment) is not all_families()[-1]:
                check_task(value, environment)
        return value

    @field_validator("family")
    @classmethod
    def _current_family(cls, value: str, info: ValidationInfo) -> str:
        if not _checks_names(info):
            return value
        from rlstitch.envs.registry import check_task, installed_families, provider_of

        environment, task = str(info.data.get("environment", "")), info.data.get("task", _STANDARD)
        provider = provider_of(environment)
        if not provider and value not in installed_families():
            provider = value
        if task != _STANDARD:
            check_task(task, environment, provider)
        return provider

    @property
    def look_in_words(self) -> str:
        """The look, with the arguments that are part of it: `standard+theme=dark`."""
        own = self.make_kwargs
        return "+".join([self.look, *(f"{name}={own[name]}" for name in self.look_kwargs if name in own)])

    def kwargs_in(self, other: World) -> dict[str, Any]:
        """Return the fields `make_kwargs` and `look_kwargs` of another world's environment, seen as in this world."""
        seen = tuple(dict.fromkeys(other.look_kwargs + self.look_kwargs))
        rules = {name: value for name, value in other.make_kwargs.items() if name not in seen}
        own = {name: value for name, value in self.make_kwargs.items() if name in seen}
        return {"make_kwargs": {**rules, **own}, "look_kwargs": seen}

    @property
    def parsed_look(self) -> Variation:
        """The look that the text names; parsed once."""
        from rlstitch.envs.looks.look import get_variation

        return get_variation(self.look)

    def to_dict(self, *, compact: bool = False) -> dict[str, Any]:
        """Return the fields as plain JSON values, under the names that every version reads.

        Fields that came later are left out at their default, so that files and hashes of older versions stay valid.

        Args:
            compact: leave out those of the second release too, and the sensor where it is `pixels`, as the hashes of
                trainings do.
        """
        from rlstitch.envs.registry import named_family

        # A field that a family has a default for is always written: the config that is read back takes the default.
        always = {*_FIRST, *(() if compact else _SECOND), *named_family(self.environment).defaults}
        changed = _ADAPTER.dump_python(self, mode="json", exclude_defaults=True)
        if compact and self.sensor == "pixels":
            changed.pop("sensor")
        return {
            "variation" if name == "look" else name: value
            for name, value in _ADAPTER.dump_python(self, mode="json").items()
            if name in always or name in changed
        }

    @classmethod
    def from_dict(cls, values: Mapping[str, Any], *, check_names: bool = True) -> World:
        """Return the inverse of `to_dict`; fields that are left out take their defaults, `look` is read too.

        Args:
            values: fields by name.
            check_names: whether look and task must be known here. A card is read without: it holds canonical texts,
                and the package that defines them may be missing; the error then comes when the world is used.

        Raises:
            InvalidInputError: for fields that are unknown, missing or of the wrong kind.
            UnknownNameError: for an unknown look or task.
        """
        if not isinstance(values, Mapping):
            raise InvalidInputError(f"world: expected a mapping of fields, found {type(values).__name__}")
        if "variation" in values and "look" in values:
            raise InvalidInputError("look: expected one value, found one under its alias variation too")
        named = {"look" if name == "variation" else name: value for name, value in values.items()}
        try:
            return _ADAPTER.validate_python(named, context={"check_names": check_names})
        except ValidationError as error:
            raise as_rlstitch_error(error, WORLD_KEYS) from None


def require_defaults(world: World, names: Iterable[str], why: str) -> None:
    """Raise InvalidInputError, with the reason, where one of these fields of a world is not at its default."""
    plain = World(world.environment)
    for name in names:
        if getattr(world, name) != getattr(plain, name):
            raise InvalidInputError(f"{name}: {why}; expected {getattr(plain, name)!r}, found {getattr(world, name)!r}")


_ADAPTER: TypeAdapter[World] = TypeAdapter(World)
_FIRST = ("environment", "look", "task", "view", "tile_size")
_SECOND = ("backend", "actions", "action_repeat", "frame_stack", "size", "crop")
WORLD_KEYS = (*(field.name for field in dataclasses.fields(World)), "variation")
"""Names of the fields, and the alias."""
