"""What a training run is made from: a preset in YAML and overrides, checked together into one `TrainConfig`.

`load_config` reads; the models say what is allowed. Every problem of a config is reported at once, in one error,
so that a wrong file is put right in one go. Below the pipelines nobody sees these objects, only plain arguments.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import fields
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationError,
    ValidationInfo,
    field_validator,
    model_validator,
)

from rlstitch.config.text import describe_problems, parse_yaml, parse_yaml_file, set_dotted
from rlstitch.envs.looks.look import get_variation
from rlstitch.envs.registry import check_task, named_family
from rlstitch.envs.world import World
from rlstitch.errors import InvalidInputError, UnknownNameError

# Where a run is executed, not what it trains: a run may be resumed on another machine.
_NOT_IDENTITY = ("device", "threads", "processes")
# Keys that came after the first release: at their default they are left out, so that older runs are found again.
_LATER = ("backend", "actions", "action_repeat", "frame_stack", "size", "crop")
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
    environment: Text
    variation: Text = "standard"
    task: Text = "standard"
    view: Literal["agent", "full"] = "agent"
    tile_size: Annotated[Integer, Field(ge=1, le=64)] = 8
    backend: Literal["gymnasium", "envpool"] = "gymnasium"
    actions: Literal["own", "discrete", "continuous"] = "own"
    action_repeat: Annotated[Integer, Field(ge=1, le=100)] = 1
    frame_stack: Annotated[Integer, Field(ge=1, le=32)] = 1
    size: Annotated[Integer, Field(ge=1, le=4096)] | None = None
    crop: Annotated[Integer, Field(ge=1, le=4096)] | None = None
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
    def _fill_name(cls, values: Any) -> Any:
        if isinstance(values, Mapping) and values.get("name") is None:
            environment = str(values.get("environment", ""))
            stem = named_family(environment).stem(environment)
            return {**values, "name": default_name(stem, values)}
        return values

    @field_validator("variation")
    @classmethod
    def _known_variation(cls, value: str) -> str:
        return get_variation(value).name

    @field_validator("task")
    @classmethod
    def _known_task(cls, value: str, info: ValidationInfo) -> str:
        check_task(value, str(info.data.get("environment", "")))
        return value

    @model_validator(mode="after")
    def _minibatches_fit(self) -> Self:
        batch = self.ppo.n_steps * self.num_envs
        if batch % self.ppo.n_minibatches or batch < 2 * self.ppo.n_minibatches:
            raise ValueError(
                f"ppo.n_minibatches: expected a divisor of ppo.n_steps * num_envs = {batch} that leaves 2 samples or "
                f"more to a minibatch, found {self.ppo.n_minibatches}"
            )
        return self

    def resolved(self) -> dict[str, Any]:
        """Return all values, defaults too, as plain JSON that `load_config` reads back."""
        return self.model_dump(mode="json")

    @property
    def world(self) -> World:
        """The world that is trained in."""
        return World(**{field.name: getattr(self, field.name) for field in fields(World)})

    @property
    def hash8(self) -> str:
        """Eight hexadecimal digits of the SHA-256 over what is trained (device and threads left out)."""
        defaults = {key: field.default for key, field in type(self).model_fields.items() if key in _LATER}
        identity = {
            key: value
            for key, value in self.resolved().items()
            if key not in _NOT_IDENTITY and not (key in defaults and value == defaults[key])
        }
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


def build_config(values: dict[str, Any], overrides: Mapping[str, object], path: Path) -> TrainConfig:
    """Lay overrides over the values of a file and check the whole; `values` is changed in place.

    Args:
        values: what the file holds.
        overrides: dotted keys to values.
        path: the file; a name that is not given is made of its stem, and errors name it.

    Raises:
        InvalidInputError: something is wrong; all problems are in the one message.
    """
    problems = [problem for key, value in overrides.items() if (problem := set_dotted(values, key, value))]
    if values.get("name") is None:
        values["name"] = default_name(path.stem.removeprefix("minigrid-"), values)
    try:
        config = TrainConfig.model_validate(values)
    except ValidationError as error:
        problems += describe_problems(error, TrainConfig)
    if problems:
        count = "1 problem" if len(problems) == 1 else f"{len(problems)} problems"
        raise InvalidInputError(f"{path}: {count}: " + "; ".join(problems))
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


def list_presets() -> dict[str, Path]:
    """Return names and paths of the presets; one in the working folder hides the packaged one of the same name."""
    from rlstitch.storage.workspace import data_roots

    presets: dict[str, Path] = {}
    for root in data_roots("configs"):
        for path in sorted(root.glob("*.yaml")):
            presets.setdefault(path.stem, path)
    return dict(sorted(presets.items()))


def find_config(source: str | Path) -> Path:
    """Path of a config file: `source` itself where it is a file, else the preset of that name.

    `configs/<name>.yaml` works from any folder, because a user of the wheel has no `configs/` of their own.

    Raises:
        UnknownNameError: neither a file nor a preset; the nearest presets are offered.
    """
    path = Path(source)
    if path.is_file():
        return path
    presets = list_presets()
    name = path.stem if path.suffix in {".yaml", ".yml"} else path.name
    if str(path.parent) in {".", "configs"} and name in presets:
        return presets[name]
    raise UnknownNameError("config file or preset", str(source) if path.suffix and path.parent.name else name, presets)


def default_name(stem: str, values: Mapping[str, Any]) -> str:
    """`<stem>[-relative]-<variation>[-<task>]-s<seed>`, in characters that a folder's name can hold."""
    parts = [stem]
    if values.get("representation") == "relative":
        parts.append("relative")
    parts.append(str(values.get("variation", "standard")))
    if values.get("task", "standard") != "standard":
        parts.append(str(values["task"]))
    parts.append(f"s{values.get('seed', 0)}")
    return re.sub(r"[^A-Za-z0-9._-]+", "-", "-".join(parts)).strip("-._")[:100] or "agent"
