"""Encoders: observation -> latent.

Absolute (`CNNEncoder` of images, `MLPEncoder` of vectors, `PartsEncoder` of several keys; `ExtractorEncoder`, built by
the user's own code), relative
(`RelativeEncoder`: the same, then similarities to anchors; R3L, arXiv 2404.12917) and translated (`TranslatedEncoder`:
the same, then a fitted map into another agent's latent space; SAPS, arXiv 2503.01881).
"""

from __future__ import annotations

import itertools
import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor, nn

from rlstitch.agents.cropping import Locator, Reader
from rlstitch.agents.extractors import build_extractor
from rlstitch.agents.layers import RunningNormalization, linear_layers
from rlstitch.agents.specs import (
    AnyEncoderSpec,
    CNNSpec,
    CropSpec,
    ExtractorSpec,
    MLPSpec,
    ModuleSpec,
    PartsSpec,
    RelativeSpec,
    parse_encoder_spec,
)
from rlstitch.envs.observation import Shape, is_image
from rlstitch.errors import IncompatibleError, InvalidInputError, require_known
from rlstitch.latent import (
    NORMALIZATIONS,
    SIMILARITIES,
    Normalization,
    Translation,
    fit_normalization,
    project,
)
from rlstitch.latent.projection.similarities import kernel_inverse
from rlstitch.latent.translation.corrected import build_translation
from rlstitch.storage import limits
from rlstitch.storage.validation import show

_MIXING = ("whiten", "pca_whiten")  # normalizations that mix dimensions: their weights are matrices


def _small(channels: int) -> nn.Sequential:
    """Three convolutions whose strides divide a tile of 8 pixels, a quarter of the work of `nature`."""
    return nn.Sequential(
        nn.Conv2d(channels, 16, kernel_size=4, stride=4),
        nn.ReLU(),
        nn.Conv2d(16, 32, kernel_size=2, stride=2),
        nn.ReLU(),
        nn.Conv2d(32, 32, kernel_size=3),
        nn.ReLU(),
    )


def _nature(channels: int) -> nn.Sequential:
    """The convolutions of Mnih et al. 2015 (DQN), as Stable-Baselines3's NatureCNN has them."""
    return nn.Sequential(
        nn.Conv2d(channels, 32, kernel_size=8, stride=4),
        nn.ReLU(),
        nn.Conv2d(32, 64, kernel_size=4, stride=2),
        nn.ReLU(),
        nn.Conv2d(64, 64, kernel_size=3, stride=1),
        nn.ReLU(),
    )


def _r3l(channels: int) -> nn.Sequential:
    """R3L's (arXiv 2404.12917): those of `nature` without the last ReLU; no linear map follows."""
    return nn.Sequential(*list(_nature(channels))[:-1])


def _grid(channels: int) -> nn.Sequential:
    """Two convolutions for small images of any number of channels, whose pixels are cells of a grid."""
    return nn.Sequential(
        nn.Conv2d(channels, 16, kernel_size=3, padding=1),
        nn.ReLU(),
        nn.Conv2d(16, 32, kernel_size=3, stride=2, padding=1),
        nn.ReLU(),
    )


ARCHITECTURES: dict[str, Callable[[int], nn.Sequential]] = {
    "small": _small,
    "nature": _nature,
    "r3l": _r3l,
    "grid": _grid,
}
WITHOUT_LINEAR = ("r3l",)
"""Architectures whose flattened convolutions are the latent space: its width follows from the images."""


class Encoder(nn.Module, ABC):
    """Float images `(N, C, H, W)` in [0, 1], or vectors `(N, D)` -> latents `(N, latent_dim)`."""

    observation_shape: Shape
    """Height, width, channels of the observations, or the length of vectors."""
    latent_dim: int
    """Width of the latent space."""
    frames: int = 1
    """Images of a stack that are encoded each alone, and whose latents stand one after the other."""
    patch_size: int = 1
    """Side of the disjoint patches of images that the first layers compute each on its own; 1: no layer does."""

    def __init__(self, observation_shape: Shape, latent_dim: int) -> None:
        super().__init__()
        self.observation_shape, self.latent_dim = observation_shape, latent_dim

    @property
    def image_shape(self) -> Shape:
        """Alias of `observation_shape`."""
        return self.observation_shape

    def observe(self, inputs: Tensor) -> None:
        """Take inputs `(N, ...)` into the running statistics, where there are any; for training alone."""

    @abstractmethod
    def spec(self) -> dict[str, Any]:
        """Return what `build_encoder` needs to make this module again (without weights)."""


class CNNEncoder(Encoder):
    """Convolutions and (but for `r3l`) a linear map: images `(N, C, H, W)` in [0, 1] -> latents `(N, latent_dim)`.

    Where the specification has several frames, each `C / frames` channels are encoded alone by the same weights, and
    the latents, `latent_dim / frames` wide, are concatenated (R3L, arXiv 2404.12917).

    Raises:
        UnknownNameError: for an unknown architecture.
        InvalidInputError: where the images are too small, or `latent_dim` is none that the architecture can have.
    """

    def __init__(self, spec: CNNSpec) -> None:
        super().__init__(spec.image_shape, encoder_width(spec))
        self._spec, self.frames = spec, spec.frames
        self.convolutions = ARCHITECTURES[spec.arch](_frame_channels(spec))
        self._of_patches, size = _layers_of_patches(self.convolutions)
        if self.frames == 1 and not any(length % size for length in spec.image_shape[:2]):
            self.patch_size = size
        self.linear: nn.Module = nn.Identity()
        if spec.arch not in WITHOUT_LINEAR:
            self.linear = nn.Linear(_flat_width(self.convolutions, spec), self.latent_dim // spec.frames)

    def spec(self) -> dict[str, Any]:
        """See `Encoder.spec`."""
        return {**self._spec.model_dump(mode="json"), "latent_dim": self.latent_dim}

    def forward(self, images: Tensor) -> Tensor:
        """Encode float images `(N, C, H, W)` in [0, 1] as latents `(N, latent_dim)`."""
        single = images.unflatten(1, (self._spec.frames, -1)).flatten(0, 1)
        latents: Tensor = self.linear(self.convolutions(single).flatten(1))
        return latents.unflatten(0, (-1, self._spec.frames)).flatten(1)

    def encode_patches(self, patches: Tensor, grid: Tensor) -> Tensor:
        """Encode images that are given by their patches, for each of which the first layers are computed once.

        Args:
            patches: distinct patches of size `patch_size`, `(P, C, s, s)` in [0, 1].
            grid: which of them is where in each image, `(N, H / s, W / s)`.

        Returns:
            Latents `(N, latent_dim)`.
        """
        features = self.convolutions[: self._of_patches](patches).flatten(1)[grid]
        latents: Tensor = self.linear(self.convolutions[self._of_patches :](features.movedim(-1, 1)).flatten(1))
        return latents


def _layers_of_patches(convolutions: nn.Sequential) -> tuple[int, int]:
    """Return how many of the first layers compute disjoint patches each on its own, and the size of the patches."""
    size = 1
    for number, layer in enumerate(convolutions):
        if isinstance(layer, nn.Conv2d):
            if layer.kernel_size != layer.stride or layer.padding != (0, 0):
                return number, size
            size *= int(layer.stride[0])
    return len(convolutions), size


def _frame_channels(spec: CNNSpec) -> int:
    """Channels of each image that is encoded alone."""
    if spec.image_shape[2] % spec.frames or (spec.latent_dim or 0) % spec.frames:
        raise InvalidInputError(
            f"frames: expected a divisor of the {spec.image_shape[2]} channels and of latent_dim {spec.latent_dim}, "
            f"found {spec.frames}"
        )
    return spec.image_shape[2] // spec.frames


def _flat_width(convolutions: nn.Sequential, spec: CNNSpec) -> int:
    """Width after the convolutions, by arithmetic alone, so that no specification can make us allocate an image."""
    height, width, channels = spec.image_shape
    for layer in convolutions:
        if isinstance(layer, nn.Conv2d):
            height, width = (
                (size + 2 * int(layer.padding[axis]) - int(layer.kernel_size[axis])) // int(layer.stride[axis]) + 1
                for axis, size in enumerate((height, width))
            )
            channels = layer.out_channels
    if height < 1 or width < 1:
        raise InvalidInputError(
            f"image_shape: {spec.image_shape[:2]} pixels are too few for the encoder architecture {spec.arch!r}; "
            "'grid' takes any"
        )
    return height * width * channels


class MLPEncoder(Encoder):
    """Running normalization and linear maps: vectors `(N, D)` -> latents `(N, latent_dim)`; see `MLPSpec`."""

    def __init__(self, spec: MLPSpec) -> None:
        super().__init__(spec.observation_shape, spec.latent_dim)
        self._spec = spec
        width = spec.observation_shape[0]
        self.normalization = None
        if spec.normalize:
            self.normalization = RunningNormalization(width, clip=spec.clip, epsilon=spec.epsilon)
        self.layers = linear_layers((width, *spec.hidden, spec.latent_dim), spec.activation)

    def spec(self) -> dict[str, Any]:
        """See `Encoder.spec`."""
        return self._spec.model_dump(mode="json")

    def observe(self, inputs: Tensor) -> None:
        """Take vectors `(N, D)` into the running normalization."""
        if self.normalization is not None:
            self.normalization.update(self._differences(inputs))

    def forward(self, vectors: Tensor) -> Tensor:
        """Encode float vectors `(N, D)` as latents `(N, latent_dim)`."""
        vectors = self._differences(vectors)
        return self.layers(vectors if self.normalization is None else self.normalization(vectors))

    def _differences(self, vectors: Tensor) -> Tensor:
        """Each frame but the newest as the change to the next: its size is then that of a change, not of a value."""
        if self._spec.frames == 1:
            return vectors
        width = vectors.shape[1] // self._spec.frames
        return torch.cat([vectors[:, width:] - vectors[:, :-width], vectors[:, -width:]], dim=1)


class PartsEncoder(Encoder):
    """An encoder a key: vectors `(N, D)` of all parts -> their latents, concatenated; see `PartsSpec`.

    Raises:
        UnknownNameError, InvalidInputError: as `CNNEncoder`.
    """

    def __init__(self, spec: PartsSpec) -> None:
        encoders = [_build(part.encoder) for part in spec.parts]
        sizes = [math.prod(encoder.observation_shape) for encoder in encoders]
        super().__init__((sum(sizes),), sum(encoder.latent_dim for encoder in encoders))
        self._spec, self._sizes = spec, sizes
        self.encoders = nn.ModuleList(encoders)

    def spec(self) -> dict[str, Any]:
        """See `Encoder.spec`."""
        return self._spec.model_dump(mode="json")

    def _parts(self, vectors: Tensor) -> Iterator[tuple[Encoder, Tensor]]:
        """Each encoder and its input."""
        encoder: Any
        for encoder, part in zip(self.encoders, vectors.split(self._sizes, dim=1), strict=True):
            shape = encoder.observation_shape
            yield encoder, part.unflatten(1, shape).permute(0, 3, 1, 2) / 255.0 if is_image(shape) else part

    def observe(self, inputs: Tensor) -> None:
        """Take vectors `(N, D)` into the running statistics of the encoders."""
        for encoder, part in self._parts(inputs):
            encoder.observe(part)

    def forward(self, vectors: Tensor) -> Tensor:
        """Encode float vectors `(N, D)` as latents `(N, latent_dim)`."""
        return torch.cat([encoder(part) for encoder, part in self._parts(vectors)], dim=1)


class CropEncoder(Encoder):
    """Images `(N, C, H, W)` in [0, 1] -> what squares around an object show, `(N, latent_dim)`; see `CropSpec`."""

    def __init__(self, spec: CropSpec) -> None:
        super().__init__(spec.image_shape, spec.latent_dim)
        self._spec = spec
        self.locator = Locator(spec.channels, spec.side)
        self.reader = Reader(spec.width, spec.frames, spec.hidden, spec.joined, spec.latent_dim)

    def spec(self) -> dict[str, Any]:
        """See `Encoder.spec`."""
        return self._spec.model_dump(mode="json")

    def forward(self, images: Tensor) -> Tensor:
        """Encode float images `(N, C, H, W)` in [0, 1] as latents `(N, latent_dim)`."""
        frames = self._spec.frames
        return self.reader(self.locator(images, frames).unflatten(0, (-1, frames)).flatten(1))


class ExtractorEncoder(Encoder):
    """A features extractor of the user's own; see `extractors`.

    Raises:
        UnknownNameError: where no installed package has an extractor of this name.
        InvalidInputError: where it cannot be made so, or gives latents of another shape.
    """

    def __init__(self, spec: ExtractorSpec) -> None:
        super().__init__(spec.image_shape, spec.latent_dim)
        self._spec = spec
        self.module = build_extractor(spec)

    def spec(self) -> dict[str, Any]:
        """See `Encoder.spec`."""
        return self._spec.model_dump(mode="json")

    def forward(self, images: Tensor) -> Tensor:
        """Encode float images `(N, C, H, W)` in [0, 1] as latents `(N, latent_dim)`."""
        return self.module(images)


class RelativeEncoder(Encoder):
    """A base encoder, then its similarities to anchors: images -> `(N, anchors)`.

    The anchors' embeddings are buffers, and the normalization's statistics are those of the anchors
    (arXiv 2209.15430, eq. 1; for agents arXiv 2404.12917). No gradient flows into the anchors: they follow the
    encoder by `update_anchors`. Several similarities, joined by `+`, are concatenated, each divided by its own standard
    deviation among the anchors (a product of projections, arXiv 2310.01211): `(N, anchors * similarities)`.

    Raises:
        InvalidInputError: for more anchors than `limits.KERNEL_ANCHORS` of the similarity `kernel_ridge`.
    """

    anchors: Tensor
    scales: Tensor
    inverse: Tensor | None
    """Of the anchors' kernels, once it was needed; it follows from the anchors, and is not stored."""

    def __init__(self, base: Encoder, spec: RelativeSpec) -> None:
        super().__init__(base.observation_shape, spec.width)
        self._spec = spec
        self.base = base
        self.register_buffer("anchors", torch.zeros(spec.anchors, base.latent_dim))
        # Statistics of no anchors yet: an identity of the right shape, replaced by `set_anchors` or by loading.
        require_known("normalization", spec.normalization, NORMALIZATIONS)
        for similarity in spec.similarities:
            require_known("similarity", similarity, SIMILARITIES)
        if "kernel_ridge" in spec.similarities and spec.anchors > limits.KERNEL_ANCHORS:
            raise InvalidInputError(
                f"anchors: expected at most {limits.KERNEL_ANCHORS:,} for kernel_ridge, found {spec.anchors:,}"
            )
        self.register_buffer("inverse", None, persistent=False)
        if len(spec.similarities) > 1:
            self.register_buffer("scales", torch.ones(len(spec.similarities)))
        self.normalization = Normalization.from_spec(
            {"kind": spec.normalization, "width": base.latent_dim, "mixes": spec.normalization in _MIXING}
        )

    @property
    def anchor_set(self) -> str:
        """Identity of the anchor set."""
        return self._spec.anchor_set

    def spec(self) -> dict[str, Any]:
        """See `Encoder.spec`."""
        return {**self._spec.model_dump(mode="json"), "base": self.base.spec()}

    def observe(self, inputs: Tensor) -> None:
        """Take inputs into the running statistics of the base encoder; the anchors follow by `update_anchors`."""
        self.base.observe(inputs)

    @torch.no_grad()
    def set_anchors(self, embeddings: Tensor) -> None:
        """Take embeddings `(anchors, base latent_dim)` as the anchors and their statistics for the normalization."""
        if tuple(embeddings.shape) != tuple(self.anchors.shape):
            raise IncompatibleError(
                f"anchors: expected {tuple(self.anchors.shape)} (number, width), found {tuple(embeddings.shape)}"
            )
        self.anchors.copy_(embeddings)
        self.inverse = None
        self.normalization = fit_normalization(
            self._spec.normalization, self.anchors, shrinkage=self._spec.shrinkage
        ).to(self.anchors.device)
        if len(self._spec.similarities) > 1:
            among = [part.std().clamp_min(1e-6) for part in self._similarities(self.normalization(self.anchors))]
            self.scales.copy_(torch.stack(among))

    @torch.no_grad()
    def update_anchors(self, images: Tensor, alpha: float) -> float:
        """Update the anchors by a moving average, `A <- alpha * A + (1 - alpha) * e(a)`, and their statistics.

        Args:
            images: the anchor observations, float `(anchors, C, H, W)` in [0, 1].
            alpha: in [0, 1]; R3L uses 0.999 once a PPO update.

        Returns:
            The drift: mean Euclidean distance that the embeddings moved, relative to their mean norm.
        """
        fresh = self.base(images)
        moved = alpha * self.anchors + (1.0 - alpha) * fresh
        drift = (moved - self.anchors).norm(dim=1).mean() / self.anchors.norm(dim=1).mean().clamp_min(1e-12)
        self.set_anchors(moved)
        return float(drift)

    def forward(self, images: Tensor) -> Tensor:
        """Encode float images `(N, C, H, W)` in [0, 1] as similarities `(N, latent_dim)`."""
        parts = self._similarities(self.normalization(self.base(images)))
        if len(parts) == 1:
            return parts[0]
        return torch.cat([part / scale for part, scale in zip(parts, self.scales, strict=True)], dim=1)

    def _similarities(self, latents: Tensor) -> list[Tensor]:
        anchors = self.normalization(self.anchors)
        return [project(latents, anchors, name, **self._options(name, anchors)) for name in self._spec.similarities]

    @torch.no_grad()
    def _options(self, similarity: str, anchors: Tensor) -> dict[str, Tensor]:
        """Return what is known of the normalised anchors for a similarity."""
        if similarity != "kernel_ridge":
            return {}
        if self.inverse is None:
            self.inverse = kernel_inverse(anchors)
        return {"inverse": self.inverse}

    def _load_from_state_dict(self, *args: Any, **kwargs: Any) -> None:
        super()._load_from_state_dict(*args, **kwargs)
        self.inverse = None


class TranslatedEncoder(Encoder):
    """A base encoder, then a translation into another latent space: images -> `(N, translation's width)`."""

    def __init__(self, base: Encoder, translation: Translation) -> None:
        super().__init__(base.observation_shape, translation.width_out)
        if translation.width_in != base.latent_dim:
            raise IncompatibleError(
                f"translation: expects latents of width {translation.width_in}, the encoder gives {base.latent_dim}"
            )
        self.base = base
        self.translation = translation

    def spec(self) -> dict[str, Any]:
        """See `Encoder.spec`."""
        return {"kind": "translated", "base": self.base.spec(), "translation": self.translation.spec()}

    def forward(self, images: Tensor) -> Tensor:
        """Encode float images `(N, C, H, W)` in [0, 1] and translate their latents."""
        return self.translation(self.base(images))


def encoder_input(observations: Tensor) -> Tensor:
    """Return what an encoder takes of observations: of images uint8 `(N, H, W, C)` float `(N, C, H, W)` in [0, 1]."""
    if not is_image(tuple(observations.shape[1:])):
        return observations.float()
    return observations.permute(0, 3, 1, 2).float().div_(255.0)


def build_encoder(spec: dict[str, Any], *, most: int = limits.PARAMETERS) -> Encoder:
    """Make the encoder that a specification describes, with fresh weights.

    Args:
        spec: see `specs`.
        most: numbers that it may hold; of a file the number of its bytes.

    Raises:
        InvalidInputError: where the specification is not one, or describes more numbers.
        UnknownNameError: for an unknown architecture, similarity or normalization.
    """
    parsed = parse_encoder_spec(spec)
    numbers, most = _count(parsed), min(most, limits.PARAMETERS)
    if numbers > most:
        raise InvalidInputError(f"encoder specification: {numbers:,} parameters, expected at most {most:,}")
    return _build(parsed)


def _build(spec: AnyEncoderSpec) -> Encoder:
    if isinstance(spec, CNNSpec):
        return CNNEncoder(spec)
    if isinstance(spec, MLPSpec):
        return MLPEncoder(spec)
    if isinstance(spec, PartsSpec):
        return PartsEncoder(spec)
    if isinstance(spec, CropSpec):
        return CropEncoder(spec)
    if isinstance(spec, ExtractorSpec):
        return ExtractorEncoder(spec)
    if isinstance(spec, ModuleSpec):
        raise InvalidInputError(f"encoder specification: the module {spec.name} is code, which no file holds")
    if isinstance(spec, RelativeSpec):
        return RelativeEncoder(_build(spec.base), spec)
    return TranslatedEncoder(_build(spec.base), build_translation(spec.translation))


def _count(spec: AnyEncoderSpec) -> int:
    """Numbers that the encoder would hold, counted without allocating them (an extractor's are its own affair)."""
    if isinstance(spec, CNNSpec | CropSpec):
        with torch.device("meta"):
            return sum(p.numel() for p in _build(spec).parameters())
    if isinstance(spec, MLPSpec):
        widths = (spec.observation_shape[0], *spec.hidden, spec.latent_dim)
        return sum(a * b + b for a, b in itertools.pairwise(widths))
    if isinstance(spec, PartsSpec):
        return sum(_count(part.encoder) for part in spec.parts)
    if isinstance(spec, ExtractorSpec | ModuleSpec):
        return 0
    base = encoder_width(spec.base)
    if isinstance(spec, RelativeSpec):
        return _count(spec.base) + spec.anchors * base + (2 * base**2 if spec.normalization in _MIXING else 0)
    if (width := spec.translation.get("width_in")) != base:
        raise InvalidInputError(f"translation: expected one of the {base} latents of its encoder, found {show(width)}")
    if (numbers := (base + 1) * encoder_width(spec)) > limits.PARAMETERS:  # more would not even be described
        return numbers
    with torch.device("meta"):
        translation = build_translation(spec.translation)
    return _count(spec.base) + sum(int(tensor.numel()) for tensor in translation.state_dict().values())


def encoder_width(spec: AnyEncoderSpec) -> int:
    """Width of the latents that an encoder of this specification gives.

    Raises:
        UnknownNameError: for an unknown architecture.
        InvalidInputError: where the images are too small, or `latent_dim` is none that the architecture can have.
    """
    if isinstance(spec, RelativeSpec):
        return spec.width
    if isinstance(spec, MLPSpec | CropSpec | ExtractorSpec | ModuleSpec):
        return spec.latent_dim
    if isinstance(spec, PartsSpec):
        return sum(encoder_width(part.encoder) for part in spec.parts)
    if not isinstance(spec, CNNSpec):
        target = spec.translation.get("width_out")
        return target if isinstance(target, int) and target > 0 else limits.PARAMETERS
    require_known("encoder architecture", spec.arch, ARCHITECTURES)
    if spec.arch not in WITHOUT_LINEAR:
        if spec.latent_dim is None:
            raise InvalidInputError(f"latent_dim: the encoder architecture {spec.arch!r} needs one, found none")
        return spec.latent_dim
    with torch.device("meta"):
        width = _flat_width(ARCHITECTURES[spec.arch](_frame_channels(spec)), spec) * spec.frames
    if spec.latent_dim not in (None, width):
        raise InvalidInputError(
            f"latent_dim: the encoder architecture {spec.arch!r} gives {width} for images of {spec.image_shape[:2]} "
            f"pixels, found {spec.latent_dim}"
        )
    return width
