"""What a training run is made from: a preset in YAML and overrides, checked together into one `TrainConfig`.

`load_config` reads; the models say what is allowed. Every problem of a config is reported at once, in one error,
so that a wrong file is put right in one go. Below the pipelines nobody sees these objects, only plain arguments.
"""

from __future__ import annotations

import copy
import hashlib
import json
import re
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, Self

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationError,
    field_validator,
    model_validator,
)

from rlstitch.config.presets import find_config
from rlstitch.config.text import parse_yaml, parse_yaml_file, set_dotted
from rlstitch.envs.registry import named_family
from rlstitch.envs.world import WORLD_KEYS, World, name_look
from rlstitch.errors import InvalidInputError, UnknownNameError
from rlstitch.storage.validation import describe_problems

# Where a run is executed, not what it trains: a run may be resumed on another machine.
_NOT_IDENTITY = ("device", "threads", "processes")
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")


def _refuse_bool(value: object) -> object:
    # YAML reads `yes` and `on` as booleans, and Python counts booleans as integers.
    if isinstance(value, bool):
        raise ValueError(f"expected a number, found {str(value).lower()}")
    return value


Integer = Annotated[int, BeforeValidator(_refuse_bool)]
Number = Annotated[float, BeforeValidator(_refuse_bool), Field(allow_inf_nan=False)]
Count = Annotated[Integer, Field(ge=1, le=10**12)]
Fraction = Annotated[Number, Field(ge=0, le=1)]
NonNegative = Annotated[Number, Field(ge=0)]
Text = Annotated[str, Field(min_length=1, max_length=200)]


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, validate_default=True)


class PPOConfig(_Section):
    """Proximal policy optimisation (1707.06347); the defaults are those of R3L and SAPS for pixels."""

    n_steps: Annotated[Count, Field(le=10**6)] = 128
    n_epochs: Annotated[Count, Field(le=1000)] = 4
    n_minibatches: Annotated[Count, Field(le=10**6)] = 4
    learning_rate: Annotated[Number, Field(gt=0, le=1)] = 2.5e-4
    lr_schedule: Literal["constant", "linear"] = "linear"
    gamma: Fraction = 0.99
    gae_lambda: Fraction = 0.95
    clip: Annotated[Number, Field(gt=0, le=1)] = 0.1
    entropy: NonNegative = 0.01
    value: NonNegative = 0.5
    max_grad_norm: Annotated[Number, Field(gt=0)] = 0.5
    reward_scale: Annotated[Number, Field(gt=0)] = 1.0
    """Factor on the rewards that are learned from; returns are reported as they are."""


class EncoderConfig(_Section):
    """Observation to latent; `arch` names the convolutions, `latent_dim` the width of what leaves the encoder.

    With `r3l` (arXiv 2404.12917) no linear map follows: the width is that of the convolutions, `latent_dim` is null.
    """

    arch: Literal["small", "nature", "r3l"] = "small"
    latent_dim: Annotated[Count, Field(le=65536)] | None = 256

    frames: Literal["channels", "separate"] = "channels"
    """Stacked frames are the channels of one image, or each is encoded alone and their latents stand side by side."""

    @model_validator(mode="before")
    @classmethod
    def _width_follows(cls, values: Any) -> Any:
        if isinstance(values, Mapping) and values.get("arch") == "r3l":
            return {"latent_dim": None, **values}
        return values

    @model_validator(mode="after")
    def _width_fits(self) -> Self:
        if (self.arch == "r3l") != (self.latent_dim is None):
            expected = "null with arch r3l (its convolutions decide)" if self.arch == "r3l" else "a number"
            raise ValueError(f"latent_dim: expected {expected}, found {self.latent_dim or 'null'}")
        return self


class ControllerConfig(_Section):
    """Latent to action and value; `hidden` may be empty (one linear layer)."""

    hidden: Annotated[tuple[Annotated[Count, Field(le=65536)], ...], Field(max_length=16)] = (64,)
    norm: Literal["layer", "none"] = "layer"
    activation: Literal["relu", "tanh"] = "relu"


class RelativeConfig(_Section):
    """How a relative agent projects (2209.15430, R3L); without effect where `representation` is absolute."""

    anchors: Annotated[Count, Field(le=65536)] = 128
    selection: Literal["random", "farthest", "farthest_cosine", "kmedoids"] = "farthest"
    similarity: Text = "cosine"
    normalization: Literal["identity", "center", "standardize", "whiten"] = "standardize"
    shrinkage: Fraction = 0.1
    alpha: Fraction = 0.99

    @field_validator("similarity")
    @classmethod
    def _known_similarity(cls, value: str) -> str:
        if value != "cosine":  # the usual one needs no torch to be checked
            from rlstitch.latent import SIMILARITIES

            for similarity in value.split("+"):
                if similarity not in SIMILARITIES:
                    raise UnknownNameError("similarity", similarity, SIMILARITIES)
        return value


class EvaluationConfig(_Section):
    """The evaluation while training, and after it."""

    every_steps: Count = 50_000
    episodes: Annotated[Count, Field(le=10**6)] = 100
    video: bool = False


class CheckpointConfig(_Section):
    """How often a run writes what `--resume` continues from."""

    every_steps: Count = 100_000


class TrainConfig(_Section):
    """Everything that decides a training run.

    `name` is the name of the agent; where it is not given it is made of the preset (or the environment), the
    representation where relative, variation and task where not standard or asked for, and the seed.
    """

    name: Annotated[str, Field(pattern=rf"^{_NAME.pattern}$")] = ""
    world: World
    """In a file its fields may stand at the top, as `environment:`, `variation:`, ...; they are written so."""
    seed: Annotated[Integer, Field(ge=0, lt=2**31)] = 0
    representation: Literal["absolute", "relative"] = "absolute"
    device: Annotated[str, Field(pattern=r"^(auto|cpu|cuda(:\d+)?)$")] = "auto"
    precision: Literal["float32", "bfloat16"] = "float32"
    total_steps: Count = 300_000
    num_envs: Annotated[Count, Field(le=4096)] = 16
    stop_at_success: Annotated[Number, Field(gt=0, le=1)] | None = None
    """End once `stop_patience` evaluations in a row reach this success rate."""
    stop_patience: Annotated[Count, Field(le=10**6)] = 1
    processes: bool = False
    """Whether each environment runs in a process of its own (not MiniGrids, nor those of envpool)."""
    threads: Annotated[Integer, Field(ge=1, le=1024)] | None = None
    ppo: PPOConfig = PPOConfig()
    encoder: EncoderConfig = EncoderConfig()
    controller: ControllerConfig = ControllerConfig()
    relative: RelativeConfig = RelativeConfig()
    evaluation: EvaluationConfig = EvaluationConfig()
    checkpoint: CheckpointConfig = CheckpointConfig()

    @model_validator(mode="before")
    @classmethod
    def _complete(cls, values: Any) -> Any:
        if not isinstance(values, Mapping):
            return values
        values = group_world(values)
        if isinstance(world := values.get("world"), Mapping):
            values["world"] = {**named_family(str(world.get("environment", ""))).defaults, **world}
        if values.get("name") is None:
            values["name"] = default_name(environment_stem(values), values)
        return values

    @model_validator(mode="after")
    def _minibatches_fit(self) -> Self:
        batch = self.ppo.n_steps * self.num_envs
        if batch % self.ppo.n_minibatches or batch < 2 * self.ppo.n_minibatches:
            raise ValueError(
                f"ppo.n_minibatches: expected a divisor of ppo.n_steps * num_envs = {batch} that leaves 2 samples or "
                f"more to a minibatch, found {self.ppo.n_minibatches}"
            )
        return self

    if not TYPE_CHECKING:

        def __getattr__(self, name: str) -> Any:
            """Return a field of the world: `config.environment` was how configs had it."""
            return getattr(self.world, name) if name in WORLD_KEYS else super().__getattr__(name)

    def resolved(self, *, compact: bool = False) -> dict[str, Any]:
        """Return all values, defaults too, as plain JSON that `load_config` reads back.

        Args:
            compact: leave out fields of the world that are at their default, see `World.to_dict`.
        """
        values = self.model_dump(mode="json", exclude={"world"})
        return {"name": values.pop("name"), **self.world.to_dict(compact=compact), **values}

    @property
    def hash8(self) -> str:
        """Eight hexadecimal digits of the SHA-256 over what is trained (device and threads left out)."""
        identity = {key: value for key, value in self.resolved(compact=True).items() if key not in _NOT_IDENTITY}
        if self.encoder.frames == "channels":
            identity["encoder"].pop("frames")
        if self.ppo.reward_scale == 1:
            identity["ppo"].pop("reward_scale")
        text = json.dumps(identity, sort_keys=True, separators=(",", ":"), allow_nan=False)
        return hashlib.sha256(text.encode()).hexdigest()[:8]


def load_config(source: str | Path, overrides: Mapping[str, object] | Iterable[str] = ()) -> TrainConfig:
    """Read a preset or a YAML file, lay overrides over it and check the whole.

    Args:
        source: path of a YAML file, or the name of a preset (`minigrid-doorkey`; `configs/` and `.yaml` may stand).
        overrides: dotted keys to values, or texts `key=value` whose value is read as YAML.

    Raises:
        UnknownNameError: no such file and no such preset.
        InvalidInputError: the file cannot be read, or something in it is wrong; all problems are in the one message.
    """
    path = find_config(source)
    given = dict(overrides) if isinstance(overrides, Mapping) else parse_overrides(overrides)
    return build_config(parse_yaml_file(path), given, path)


def build_config(
    values: Mapping[str, Any], overrides: Mapping[str, object], path: Path, stem: str | None = None
) -> TrainConfig:
    """Apply overrides to the values of a file and check the whole.

    Args:
        values: what the file holds.
        overrides: dotted keys to values.
        path: the file, named by errors.
        stem: first part of the default name; where None, the stem of the file.

    Raises:
        InvalidInputError: something is wrong; all problems are in the one message.
    """
    values, problems = apply_overrides(values, overrides)
    if values.get("name") is None:
        values["name"] = default_name(path.stem.removeprefix("minigrid-") if stem is None else stem, values)
    try:
        config = TrainConfig.model_validate(values)
    except ValidationError as error:
        problems += describe_problems(error, config_keys(), inline="world")
    if problems:
        count = "1 problem" if len(problems) == 1 else f"{len(problems)} problems"
        raise InvalidInputError(f"{path}: {count}: " + "; ".join(problems))
    return config


def apply_overrides(values: Mapping[str, Any], overrides: Mapping[str, object]) -> tuple[dict[str, Any], list[str]]:
    """Return the values of a config with dotted keys set, the fields of its world grouped, and what is wrong."""
    problems: list[str] = []
    try:
        merged = group_world(values)
    except InvalidInputError as error:
        merged, problems = {key: value for key, value in values.items() if key not in WORLD_KEYS}, [str(error)]
    merged, seen = copy.deepcopy(merged), set[str]()
    for key, value in overrides.items():
        full = full_key(key)
        problem = f"{key}: expected one value, found one under its alias too" if full in seen else None
        problem = problem or set_dotted(merged, full, value)
        seen.add(full)
        problems += [problem] if problem else []
    return merged, problems


def full_key(key: str) -> str:
    """Return the dotted key that a short one stands for: `variation` and `look` are `world.look`."""
    name = key.removeprefix("world.")
    if name.partition(".")[0] not in WORLD_KEYS:
        return key
    return "world.look" if name == "variation" else f"world.{name}"


def group_world(values: Mapping[str, Any]) -> dict[str, Any]:
    """Return a config's values with the fields of its world that stand at the top moved to `world`.

    Raises:
        InvalidInputError: where a field is given in both places, or under its alias too.
    """
    world = values.get("world", {})
    if isinstance(world, World):
        world = world.to_dict()
    if not isinstance(world, Mapping):
        return dict(values)
    fields = name_look({key: value for key, value in values.items() if key in WORLD_KEYS})
    world = name_look(world)
    if twice := sorted(fields.keys() & world.keys()):
        raise InvalidInputError(f"{twice[0]}: expected one value, found one at the top and one under world")
    return {**{key: value for key, value in values.items() if key not in WORLD_KEYS}, "world": {**world, **fields}}


def config_keys() -> list[str]:
    """Return every key that a config can have: `section.key` for a section's, the world's without its section."""
    keys = [key for key in dotted_keys(TrainConfig) if key != "world"]
    return [*keys[:1], *WORLD_KEYS, *keys[1:]]


def dotted_keys(model: type[BaseModel], prefix: str = "") -> Iterator[str]:
    """Yield every key of a model, `section.key` for those of its sections."""
    for name, field in model.model_fields.items():
        yield prefix + name
        if isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel):
            yield from dotted_keys(field.annotation, f"{prefix}{name}.")


def parse_overrides(items: Iterable[str]) -> dict[str, object]:
    """Read texts `key=value`, the value as YAML (`ppo.learning_rate=1e-3`, `controller.hidden=[64, 64]`).

    Raises:
        InvalidInputError: names each text that is not `key=value`, whose value is no YAML or whose key is given twice.
    """
    values: dict[str, object] = {}
    problems = []
    for item in items:
        key, equals, text = item.partition("=")
        key = key.strip()
        if not equals or not key:
            problems.append(f"expected key=value, found {item!r}")
        elif key in values:
            problems.append(f"{key} is given twice")
        else:
            try:
                values[key] = parse_yaml(text)
            except InvalidInputError as error:
                problems.append(f"{key}: {error}")
    if problems:
        raise InvalidInputError("overrides: " + "; ".join(problems))
    return values


def default_name(stem: str, values: Mapping[str, Any]) -> str:
    """Return `<stem>[-relative]-<look>[-<task>]-s<seed>`, in characters that a folder's name can hold.

    Args:
        stem: first part.
        values: of a config, its world grouped; they may be wrong.
    """
    world = _world_values(values)
    parts = [stem]
    if values.get("representation") == "relative":
        parts.append("relative")
    parts.append(str(world.get("look", "standard")))
    if world.get("task", "standard") != "standard":
        parts.append(str(world["task"]))
    parts.append(f"s{values.get('seed', 0)}")
    return re.sub(r"[^A-Za-z0-9._-]+", "-", "-".join(parts)).strip("-._")[:100] or "agent"


def environment_stem(values: Mapping[str, Any]) -> str:
    """Return what stands for the environment in a default name."""
    environment = str(_world_values(values).get("environment", ""))
    return named_family(environment).stem(environment)


def _world_values(values: Mapping[str, Any]) -> Mapping[str, Any]:
    world = values.get("world")
    return world if isinstance(world, Mapping) else {}
