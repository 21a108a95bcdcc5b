"""Specifications of encoders and controllers: checked values that can be written as JSON."""

from __future__ import annotations

import math
import operator
from abc import abstractmethod
from typing import Annotated, Any, Literal, Self, TypeAlias, TypeVar

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, TypeAdapter, ValidationError, model_validator

from rlstitch.errors import InvalidInputError
from rlstitch.storage import first_problem, limits

Dimension = Annotated[int, Field(ge=1, le=65_536)]
Pixels = Annotated[int, Field(ge=1, le=4_096)]


def _is_image(shape: tuple[int, int, int]) -> tuple[int, int, int]:
    if math.prod(shape) > limits.OBSERVATION_VALUES:
        raise ValueError(f"expected at most {limits.OBSERVATION_VALUES:,} values, found {shape}")
    return shape


ImageShape = Annotated[tuple[Pixels, Pixels, Pixels], AfterValidator(_is_image)]


class _Spec(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=False)


class CNNSpec(_Spec):
    """An absolute encoder: convolutions named by `arch`, then a linear map to `latent_dim`."""

    kind: Literal["cnn"] = "cnn"
    arch: str = Field(default="small", max_length=64)
    image_shape: ImageShape
    """Height, width, channels of one observation."""
    latent_dim: Dimension | None = 64
    """None where it follows from the convolutions (`r3l`, which has no linear map)."""
    frames: int = Field(default=1, ge=1, le=32)
    """Images that the channels of one observation hold, and that are encoded each alone (R3L); 1: all at once."""

    @property
    def observation_shape(self) -> tuple[int, int, int]:
        """The name that specifications of vectors have for it."""
        return self.image_shape


class MLPSpec(_Spec):
    """An absolute encoder of vectors: running normalization, then linear maps with activations between them.

    No activation follows the last, so that nothing is cut off in the latent space.
    """

    kind: Literal["mlp"] = "mlp"
    observation_shape: Annotated[tuple[Dimension, ...], Field(min_length=1, max_length=1)]
    """Length of one observation."""
    hidden: tuple[Dimension, ...] = Field(default=(64,), max_length=16)
    activation: Literal["relu", "tanh"] = "tanh"
    latent_dim: Dimension = 64
    normalize: bool = True
    clip: float = Field(default=10.0, gt=0.0, le=1e9, allow_inf_nan=False)
    """Normalized numbers are cut to -clip ... clip."""
    epsilon: float = Field(default=1e-8, ge=0.0, le=1e9, allow_inf_nan=False)
    """Added to the variances."""
    frames: int = Field(default=1, ge=1, le=32)
    """Stacked vectors that one observation holds, the newest last; above 1, each but the newest is taken as the
    difference that the next one has from it."""

    @model_validator(mode="after")
    def _frames_fit(self) -> Self:
        if self.observation_shape[0] % self.frames:
            raise ValueError(
                f"observation_shape: expected a length that {self.frames} frames share, found {self.observation_shape}"
            )
        return self


class CropSpec(_Spec):
    """An absolute encoder of stacked images that finds one object in each, and looks at squares of pixels around it.

    Each image is read by the same layers, then all together; see `cropping`.
    """

    kind: Literal["crop"] = "crop"
    image_shape: ImageShape
    """Height, width, channels of one observation."""
    frames: int = Field(default=1, ge=1, le=32)
    """Images that the channels of one observation hold."""
    side: int = Field(default=20, ge=2, le=256)
    """Of the squares, in pixels."""
    hidden: tuple[Dimension, ...] = Field(default=(256, 32), min_length=1, max_length=16)
    """Widths of the layers that read one image."""
    joined: tuple[Dimension, ...] = Field(default=(256, 128), max_length=16)
    """Widths of the hidden layers that read all images together."""
    latent_dim: Dimension = 64

    @property
    def width(self) -> int:
        """Numbers that are read of one image: where its square is, and the square."""
        return 2 + self.channels * self.side**2

    @property
    def channels(self) -> int:
        """Of one image."""
        return self.image_shape[2] // self.frames

    @model_validator(mode="after")
    def _frames_fit(self) -> Self:
        if self.image_shape[2] % self.frames or min(self.image_shape[:2]) < 2:
            raise ValueError(
                f"image_shape: expected two pixels a side or more and channels that {self.frames} frames share, "
                f"found {self.image_shape}"
            )
        return self


class ExtractorSpec(_Spec):
    """An absolute encoder built by the user's own installed code, named by an entry point; see `extractors`."""

    kind: Literal["extractor"] = "extractor"
    name: str = Field(min_length=1, max_length=200)
    """Of an entry point in the group `rlstitch.extractors`."""
    arguments: dict[str, int | float | bool | str | None] = Field(default_factory=dict, max_length=64)
    """Keyword arguments beside the observation space."""
    image_shape: ImageShape
    """Height, width, channels of one observation."""
    latent_dim: Dimension


class ModuleSpec(_Spec):
    """An absolute encoder that is a module of a user's own; it is described and not stored, see `modules`."""

    kind: Literal["module"] = "module"
    name: str = Field(max_length=400)
    """Its class."""
    observation_shape: tuple[Dimension, ...]
    latent_dim: Dimension


class PartSpec(_Spec):
    """The encoder of one key of an observation."""

    key: str = Field(min_length=1, max_length=200)
    encoder: Annotated[CNNSpec | MLPSpec, Field(discriminator="kind")]


class PartsSpec(_Spec):
    """An absolute encoder of observations of several keys: an encoder a key, whose latents are concatenated.

    An observation is a vector of all parts in this order, images as their bytes, row by row.
    """

    kind: Literal["parts"] = "parts"
    parts: tuple[PartSpec, ...] = Field(min_length=1, max_length=256)


class RelativeSpec(_Spec):
    """A relative encoder: a base encoder, then its similarities to `anchors` anchors."""

    kind: Literal["relative"] = "relative"
    base: EncoderSpec
    anchors: Dimension
    similarity: str = Field(default="cosine", max_length=64)
    normalization: str = Field(default="whiten", max_length=64)
    shrinkage: float = Field(default=0.1, ge=0.0, le=1.0)
    anchor_set: str = Field(default="", max_length=64, pattern=r"^[0-9a-f]*$")
    """Identity of the anchor set (sha256); two relative agents fit only if it is equal."""

    @property
    def similarities(self) -> tuple[str, ...]:
        """Names of the similarities, in the order of their concatenation."""
        return tuple(self.similarity.split("+"))

    @property
    def width(self) -> int:
        """Width of the latents."""
        return self.anchors * len(self.similarities)


class TranslatedSpec(_Spec):
    """The encoder of a stitched agent: a base encoder, then a translation into another agent's latent space."""

    kind: Literal["translated"] = "translated"
    base: EncoderSpec
    translation: dict[str, Any]


AnyEncoderSpec: TypeAlias = (
    CNNSpec | MLPSpec | PartsSpec | CropSpec | ExtractorSpec | ModuleSpec | RelativeSpec | TranslatedSpec
)
EncoderSpec = Annotated[AnyEncoderSpec, Field(discriminator="kind")]


class _Several(_Spec):
    """An action of several numbers; a controller gives them as one row."""

    shape: Annotated[tuple[Dimension, ...] | None, Field(max_length=8, exclude_if=operator.not_)] = None
    """Of one action in the environment that the agent was trained in; None: one row."""

    @model_validator(mode="after")
    def _shape_fits(self) -> Self:
        if self.shape is not None and math.prod(self.shape) != self.numbers:
            raise ValueError(f"shape: expected one of {self.numbers} numbers, found {self.shape}")
        return self

    @property
    @abstractmethod
    def numbers(self) -> int:
        """How many numbers one action has."""


class DiscreteActions(_Spec):
    """`n` actions, numbered from 0."""

    kind: Literal["discrete"] = "discrete"
    n: Dimension
    start: Annotated[int, Field(ge=-(2**31), lt=2**31, exclude_if=operator.not_)] = 0
    """Number of the first action in the environment that the agent was trained in."""

    @property
    def width(self) -> int:
        """Number of action parameters that a controller gives."""
        return self.n


class BoxActions(_Several):
    """A continuous action between `low` and `high`, one number a dimension."""

    kind: Literal["box"] = "box"
    low: tuple[float, ...] = Field(min_length=1, max_length=4_096)
    high: tuple[float, ...] = Field(min_length=1, max_length=4_096)

    @property
    def width(self) -> int:
        """Number of action parameters that a controller gives."""
        return len(self.low)

    @property
    def numbers(self) -> int:
        """How many numbers one action has."""
        return len(self.low)


class MultiDiscreteActions(_Several):
    """Several choices at once, independent of each other: the k-th among `nvec[k]`, numbered from 0."""

    kind: Literal["multi_discrete"] = "multi_discrete"
    nvec: tuple[Dimension, ...] = Field(min_length=1, max_length=4_096)
    start: Annotated[tuple[int, ...] | None, Field(max_length=4_096, exclude_if=operator.not_)] = None
    """Number of the first choice of each, in the environment that the agent was trained in; None: 0."""

    @model_validator(mode="after")
    def _start_fits(self) -> Self:
        if self.start is not None and len(self.start) != self.numbers:
            raise ValueError(f"start: expected {self.numbers} numbers, found {len(self.start)}")
        return self

    @property
    def width(self) -> int:
        """Number of action parameters that a controller gives: the logits of all choices, one after the other."""
        return sum(self.nvec)

    @property
    def numbers(self) -> int:
        """How many numbers one action has."""
        return len(self.nvec)


class MultiBinaryActions(_Several):
    """`n` switches at once, independent of each other, each on (1) or off (0)."""

    kind: Literal["multi_binary"] = "multi_binary"
    n: Annotated[int, Field(ge=1, le=4_096)]

    @property
    def width(self) -> int:
        """Number of action parameters that a controller gives: the log odds of each switch."""
        return self.n

    @property
    def numbers(self) -> int:
        """How many numbers one action has."""
        return self.n


AnyActions: TypeAlias = DiscreteActions | BoxActions | MultiDiscreteActions | MultiBinaryActions
Actions = Annotated[AnyActions, Field(discriminator="kind")]


class ControllerSpec(_Spec):
    """A controller: norm, activation, hidden layers, action head and value head."""

    latent_dim: Dimension
    actions: Actions
    entry: Dimension | None = None
    """Width of a linear map that comes before all else, as of relative agents; None: there is none."""
    hidden: tuple[Dimension, ...] = Field(default=(64,), max_length=16)
    norm: Literal["layer", "none", "relu", "tanh"] = "layer"
    """First of all: LayerNorm and the activation, nothing, or a ReLU or tanh alone."""
    activation: Literal["relu", "tanh"] = "relu"
    value_hidden: tuple[Dimension, ...] | None = Field(default=None, max_length=16)
    """Hidden layers of a separate value network; None: the value shares the hidden layers of the actions."""
    value: Literal["head", "max", "none"] = "head"
    """A linear head; the greatest of the action values (Q-learning); or zeros where the value was not kept."""
    temperature: float = Field(default=1.0, gt=0.0, le=1e6, allow_inf_nan=False)
    """Action parameters are the action head's numbers divided by it."""
    squash: bool = False
    """Continuous actions are the tanh of the normal distribution's numbers, scaled to the bounds (SAC, TD3, DDPG);
    otherwise they are these numbers, clipped to the bounds."""
    std: Literal["parameter", "state", "none"] = "parameter"
    """Standard deviation of continuous actions: a parameter (PPO), a second head on the same features (SAC), or none:
    actions are deterministic, and sampling them is the same as taking the greedy ones (TD3, DDPG)."""

    @property
    def width(self) -> int:
        """Width of what the norm and the hidden layers take."""
        return self.entry or self.latent_dim


RelativeSpec.model_rebuild()
TranslatedSpec.model_rebuild()

_ENCODER: TypeAdapter[AnyEncoderSpec] = TypeAdapter(EncoderSpec)
_CONTROLLER: TypeAdapter[ControllerSpec] = TypeAdapter(ControllerSpec)
Spec = TypeVar("Spec")


def parse_encoder_spec(value: Any) -> AnyEncoderSpec:
    """Check a dictionary as an encoder's specification.

    Raises:
        InvalidInputError: where a key is unknown, missing, of the wrong type or out of range.
    """
    return _parse(_ENCODER, value, "encoder")


def parse_controller_spec(value: Any) -> ControllerSpec:
    """Check a dictionary as a controller's specification.

    Raises:
        InvalidInputError: where a key is unknown, missing, of the wrong type or out of range.
    """
    return _parse(_CONTROLLER, value, "controller")


def _parse(adapter: TypeAdapter[Spec], value: Any, part: str) -> Spec:
    try:
        return adapter.validate_python(value)
    except (ValidationError, RecursionError) as error:
        raise InvalidInputError(f"{part} specification: {first_problem(error)}") from None
