"""The config of a training: a preset in YAML and overrides, checked together into one `TrainConfig`.

All problems of a config are reported at once, in one error.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
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

from rlstitch.config.files import find_config, parse_yaml, parse_yaml_file, preset_stem
from rlstitch.config.keys import flatten, full_keys, nest
from rlstitch.envs import WORLD_KEYS, World, named_family
from rlstitch.errors import InvalidInputError, RlstitchError, require_known
from rlstitch.storage import NAME_PATTERN, describe_problems, dotted_keys, file_name, limits

# Where a training runs; it may be resumed on another machine.
_NOT_IDENTITY = ("device", "threads", "processes")


_OF_IMAGES = {"frames"}
_OF_VECTORS = {"hidden", "activation", "normalize"}
_VECTOR_DEFAULTS: dict[str, Any] = {"encoder.arch": "mlp", "encoder.latent_dim": 64}
_SYMBOLIC_DEFAULTS: dict[str, Any] = {**_VECTOR_DEFAULTS, "encoder.normalize": False}
"""Codes are zeros and ones already; PPO is that of pixels, since the states are the same."""
_STATE_DEFAULTS: dict[str, Any] = {
    **_VECTOR_DEFAULTS,
    "ppo.n_epochs": 10,
    "ppo.n_minibatches": 8,
    "ppo.learning_rate": 1e-3,
    "ppo.clip": 0.2,
    "ppo.entropy": 0.0,
}
"""What is not given takes these values where vectors are observed: networks are small, and each sample is used more."""


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
    """Proximal policy optimisation (arXiv:1707.06347); the defaults are those of R3L and SAPS for pixels."""

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
    """Factor on the rewards that the algorithm sees; reported returns are unscaled."""
    reward_clip: Annotated[Number, Field(gt=0)] | None = None
    """Limit of the absolute rewards that the algorithm sees, before the factor; reported returns are unclipped."""
    terminal_on_life_loss: bool = False
    """Whether the algorithm sees an end where a game goes on with a life less; evaluations play whole games."""


class EncoderConfig(_Section):
    """Architecture of the encoder."""

    arch: Literal["small", "nature", "r3l", "grid", "mlp"] = "small"
    """Convolutions of images; `r3l` (arXiv:2404.12917) has no linear layer after them, `grid` takes images of a few
    pixels a side. `mlp` takes vectors."""
    latent_dim: Annotated[Count, Field(le=65536)] | None = 256
    """Width of the latents; null with `r3l`, where the convolutions decide."""
    frames: Literal["channels", "separate", "differences"] = "channels"
    """Stacked frames are channels of one image (vectors: one vector), or each image is encoded separately and the
    latents are concatenated, or each vector but the newest is taken as its difference from the next."""
    hidden: Annotated[tuple[Annotated[Count, Field(le=65536)], ...], Field(max_length=16)] = (64,)
    """Hidden layers of `mlp`."""
    activation: Literal["relu", "tanh"] = "tanh"
    """Of `mlp`."""
    normalize: bool = True
    """Whether `mlp` takes its vectors in units of their running standard deviations."""

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
    """Architecture of the controller; without `hidden` layers it is linear."""

    hidden: Annotated[tuple[Annotated[Count, Field(le=65536)], ...], Field(max_length=16)] = (64,)
    norm: Literal["layer", "none"] = "layer"
    activation: Literal["relu", "tanh"] = "relu"


class RelativeConfig(_Section):
    """Relative projection (arXiv:2209.15430, R3L); without effect where `representation` is absolute."""

    anchors: Annotated[Count, Field(le=65536)] = 128
    selection: Literal["random", "farthest", "farthest_cosine", "kmedoids"] = "farthest"
    similarity: Text = "cosine"
    normalization: Literal["identity", "center", "standardize", "whiten"] = "standardize"
    shrinkage: Fraction = 0.1
    alpha: Fraction = 0.99

    @field_validator("similarity")
    @classmethod
    def _known_similarity(cls, value: str) -> str:
        if value != "cosine":  # the default is checked without loading torch
            from rlstitch.latent import SIMILARITIES

            for similarity in value.split("+"):
                require_known("similarity", similarity, SIMILARITIES)
        return value


class StartConfig(_Section):
    """Agents whose parts a training starts from; what is not given has fresh weights."""

    encoder: Text | None = None
    """Name or folder of the agent that gives the encoder, which then decides its architecture."""
    controller: Text | None = None
    """Name or folder of the agent that gives the controller, which then decides its architecture."""
    freeze: Literal["encoder", "controller"] | None = None
    """The part that keeps its weights, in evaluation mode, while the other is trained."""

    @model_validator(mode="after")
    def _frozen_is_given(self) -> Self:
        if self.freeze is not None and getattr(self, self.freeze) is None:
            raise ValueError(
                f"freeze: expected an agent that gives the {self.freeze} (start.{self.freeze}), found none"
            )
        return self


class EvaluationConfig(_Section):
    """Evaluations during training."""

    every_steps: Count = 50_000
    episodes: Annotated[Count, Field(le=10**6)] = 100
    video: Literal["auto", True, False] = "auto"
    """Videos in TensorBoard: `auto`, of the agent after each quarter of the steps and at the end, where its environment
    renders; true, of each best agent so far, and an environment that does not render is refused."""


class CheckpointConfig(_Section):
    """How often `--resume` has a state to continue from."""

    every_steps: Count = 100_000


class TrainConfig(_Section):
    """All that determines a training."""

    name: Annotated[str, Field(pattern=NAME_PATTERN)] = ""
    """Name of the agent; by default made of preset or environment, representation, look, task and seed."""
    world: World
    """Its fields may stand at the top of a file, as `environment:`, `look:`, ..., and are written there."""
    seed: Annotated[Integer, Field(ge=0, lt=2**31)] = 0
    representation: Literal["absolute", "relative"] = "absolute"
    device: Annotated[str, Field(pattern=r"^(auto|cpu|cuda(:\d+)?)$")] = "auto"
    precision: Literal["float32", "bfloat16"] = "float32"
    total_steps: Count = 300_000
    num_envs: Annotated[Count, Field(le=4096)] = 16
    stop_at_success: Annotated[Number, Field(gt=0, le=1)] | None = None
    """Stop once `stop_patience` evaluations in a row reach this success rate."""
    stop_patience: Annotated[Count, Field(le=10**6)] = 1
    processes: bool | Annotated[Integer, Field(ge=0, le=1024)] = False
    """How many other processes step and draw the environments, a divisor of `num_envs`; true: one each."""
    threads: Annotated[Integer, Field(ge=1, le=limits.THREADS)] | None = None
    ppo: PPOConfig = PPOConfig()
    encoder: EncoderConfig = EncoderConfig()
    controller: ControllerConfig = ControllerConfig()
    relative: RelativeConfig = RelativeConfig()
    start: StartConfig = StartConfig()
    evaluation: EvaluationConfig = EvaluationConfig()
    checkpoint: CheckpointConfig = CheckpointConfig()

    @model_validator(mode="before")
    @classmethod
    def _complete(cls, values: Any) -> Any:
        if not isinstance(values, Mapping):
            return values
        problems: list[str] = []
        flat = flatten(values, problems)
        if flat.get("name") is None:
            flat["name"] = default_name(environment_stem(flat), flat)
        defaults = named_family(_environment(flat)).defaults_for(flat.get("world.sensor"))
        flat = {f"world.{key}": value for key, value in defaults.items()} | flat
        if _observes_vectors(flat):
            flat = (_SYMBOLIC_DEFAULTS if flat["world.sensor"] == "symbolic" else _STATE_DEFAULTS) | flat
        nested = nest(flat, problems)
        if problems:
            raise ValueError("; ".join(problems))
        return nested

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
            """Return a field of the world, as in configs without the section `world`."""
            return getattr(self.world, name) if name in WORLD_KEYS else super().__getattr__(name)

    def resolved(self, *, compact: bool = False) -> dict[str, Any]:
        """Return all values, defaults too, as plain JSON that `load_config` reads back.

        Args:
            compact: leave out fields of the world that are at their default, see `World.to_dict`.
        """
        other = _OF_IMAGES if self.encoder.arch == "mlp" else _OF_VECTORS
        unused = {name for name in other if getattr(self.encoder, name) == EncoderConfig.model_fields[name].default}
        values = self.model_dump(mode="json", exclude={"world": True, "encoder": unused})
        return {"name": values.pop("name"), **self.world.to_dict(compact=compact), **values}

    @property
    def hash8(self) -> str:
        """Eight hexadecimal digits of the SHA-256 of all values but device, threads and processes."""
        identity = {key: value for key, value in self.resolved(compact=True).items() if key not in _NOT_IDENTITY}
        if self.encoder.frames == "channels":
            identity["encoder"].pop("frames", None)
        for name in ("reward_scale", "reward_clip", "terminal_on_life_loss"):  # newer than stored hashes
            if getattr(self.ppo, name) == PPOConfig.model_fields[name].default:
                identity["ppo"].pop(name)
        if self.start == StartConfig():
            identity.pop("start")
        identity["evaluation"]["video"] = self.evaluation.video is True  # `auto` is newer than stored hashes
        text = json.dumps(identity, sort_keys=True, separators=(",", ":"), allow_nan=False)
        return hashlib.sha256(text.encode()).hexdigest()[:8]


def _observes_vectors(flat: dict[str, Any]) -> bool:
    """Whether a config observes vectors; the world's sensor is stated in `flat` where it can be known."""
    if flat.get("world.sensor") is None:
        try:
            fields = {key.removeprefix("world."): value for key, value in flat.items() if key.startswith("world.")}
            world = World.from_dict(fields)
            from rlstitch.envs import import_modules, with_sensor  # here, so that a config is read without Gymnasium

            import_modules(world.modules)
            if (sensor := with_sensor(world).sensor) != "pixels":
                flat["world.sensor"] = sensor
        except (RlstitchError, ImportError):  # said where the world is used, or by the validation that follows
            return False
    return flat.get("world.sensor") not in (None, "pixels")


def load_config(source: str | Path, overrides: Mapping[str, object] | Iterable[str] = ()) -> TrainConfig:
    """Read a preset or a YAML file, apply overrides and check the result.

    Args:
        source: path of a YAML file, or the name of a preset (`minigrid-doorkey` or `configs/minigrid-doorkey.yaml`).
        overrides: dotted keys to values, or texts `key=value` whose value is read as YAML.

    Raises:
        UnknownNameError: no such file and no such preset.
        InvalidInputError: the file cannot be read, or something in it is wrong; all problems are in the one message.
    """
    path = find_config(source)
    given = dict(overrides) if isinstance(overrides, Mapping) else parse_overrides(overrides)
    return build_config(parse_yaml_file(path), given, path)


def new_config(values: Mapping[str, object]) -> TrainConfig:
    """Return the config of dotted keys alone; raises InvalidInputError, with all problems, where one is wrong."""
    return build_config({}, values, None)


def build_config(values: Mapping[str, Any], overrides: Mapping[str, object], path: Path | None) -> TrainConfig:
    """Apply overrides to the values of a file and check the result.

    Args:
        values: what the file holds.
        overrides: dotted keys to values.
        path: the file; errors name it, and its stem begins the default name; None: there is none.

    Raises:
        InvalidInputError: something is wrong; all problems are in the one message.
    """
    problems: list[str] = []
    flat = flatten(values, problems) | full_keys(overrides.items(), problems)
    if flat.get("name") is None:
        flat["name"] = default_name(environment_stem(flat) if path is None else preset_stem(path.stem), flat)
    try:
        config = TrainConfig.model_validate(nest(flat, problems))
    except ValidationError as error:
        problems += describe_problems(error, [*WORLD_KEYS, *dotted_keys(TrainConfig)], inline="world")
    if problems:
        count = "1 problem" if len(problems) == 1 else f"{len(problems)} problems"
        raise InvalidInputError(f"{path or 'config'}: {count}: " + "; ".join(problems))
    return config


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


def default_name(stem: str, flat: Mapping[str, Any]) -> str:
    """Return `<stem>[-relative]-<look>[-<keys>][-<task>]-s<seed>[-from-<agent>]`.

    Only characters that a folder's name can hold are left. Where the sensor is stated and gives vectors, which have no
    look, it stands in the look's place, unless the stem ends in it.

    Args:
        stem: first part.
        flat: the values of a config by full keys; they may be wrong.
    """
    parts = [stem]
    if flat.get("representation") == "relative":
        parts.append("relative")
    sensor = flat.get("world.sensor") or "pixels"
    if sensor == "pixels":
        parts.append(str(flat.get("world.look", "standard")))
    elif not stem.endswith(f"-{sensor}"):
        parts.append(str(sensor))
    if keys := flat.get("world.keys"):
        parts += map(str, keys if isinstance(keys, list | tuple) else [keys])
    if flat.get("world.task", "standard") != "standard":
        parts.append(str(flat["world.task"]))
    parts.append(f"s{flat.get('seed', 0)}")
    origins = (flat.get(f"start.{part}") for part in ("encoder", "controller"))
    parts += dict.fromkeys(f"from-{Path(str(origin)).name}" for origin in origins if origin is not None)
    return file_name("-".join(parts))[:100] or "agent"


def environment_stem(flat: Mapping[str, Any]) -> str:
    """Return what stands for the environment in a default name."""
    environment = _environment(flat)
    return named_family(environment).stem(environment)


def _environment(flat: Mapping[str, Any]) -> str:
    """Return the id of the environment, without a module before it."""
    return str(flat.get("world.environment", "")).rpartition(":")[2]
