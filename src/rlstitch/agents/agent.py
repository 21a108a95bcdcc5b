"""An agent: an encoder, a controller, and the card that says where they come from."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor, nn

from rlstitch.agents.actions import best_actions, in_environment, noise_kind
from rlstitch.agents.card import AgentCard
from rlstitch.agents.controller import Controller
from rlstitch.agents.encoder import Encoder
from rlstitch.agents.modules import controller_of_module, encoder_of
from rlstitch.agents.spaces import spaces_of
from rlstitch.agents.specs import BoxActions
from rlstitch.envs import World, read_keys, with_sensor
from rlstitch.envs.observation import is_image
from rlstitch.errors import IncompatibleError, InvalidInputError
from rlstitch.storage.text import printable


@dataclass(eq=False, repr=False)
class Agent:
    """`controller(encoder(observation))`; a stitched agent is used, evaluated, recorded and saved like a native one.

    `predict` follows Stable-Baselines3's `PolicyPredictor`: its `evaluate_policy` and the tools around it take an
    agent.

    Raises:
        IncompatibleError: where the encoder's latents are not as wide as the controller's.
    """

    encoder: Encoder
    controller: Controller
    card: AgentCard

    @classmethod
    def from_modules(cls, encoder: nn.Module, controller: nn.Module, world: World, *, name: str = "modules") -> Agent:
        """Make an agent of two plain torch modules.

        Stacks (`torch.nn.Sequential`) of the layers that rlstitch's encoders and controllers have become these, with a
        copy of the weights. Other modules are used as they are; such an agent cannot be stored.

        Args:
            encoder: float images `(N, C, H, W)` in [0, 1], or vectors `(N, D)`, to latents `(N, d)`.
            controller: latents to logits `(N, A)`, or to the means of continuous actions, which are then clipped to
                their bounds and not sampled.
            world: what they act in; it states the preprocessing (sizes, stacks, looks).
            name: of the agent.

        Raises:
            IncompatibleError: where a part that is rlstitch's own is for other observations or actions.
            InvalidInputError: where a module does not take what it is given, or gives something else.
        """
        shape, actions = spaces_of(world)
        first = encoder_of(encoder, shape)
        second = controller_of_module(controller, first.latent_dim, actions)
        card = AgentCard(
            name=name,
            world=with_sensor(world),
            seed=0,
            observation_shape=shape,
            encoder=first.spec(),
            controller=second.spec(),
        )
        return cls(first, second, card)

    def __post_init__(self) -> None:
        if self.encoder.latent_dim != self.controller.latent_dim:
            raise IncompatibleError(
                f"the encoder gives latents of width {self.encoder.latent_dim}, "
                f"the controller takes {self.controller.latent_dim}"
            )
        self.encoder.eval()
        self.controller.eval()

    def __repr__(self) -> str:
        world, shape, actions = self.card.world, self.encoder.observation_shape, self.controller.actions
        seen = f"image {shape}" if is_image(shape) else f"vector {shape}"
        encoder, controller = (sum(p.numel() for p in part.parameters()) for part in (self.encoder, self.controller))
        return (
            f"Agent({self.card.name!r}: {world.environment}, look {world.look}, task {world.task}\n"
            f"  encoder     {seen} -> {self.encoder.latent_dim} latents, {encoder:,} weights\n"
            f"  controller  {self.controller.latent_dim} latents -> {actions.width} "
            f"{'means' if isinstance(actions, BoxActions) else 'logits'}, {controller:,} weights)"
        )

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        return next(self.controller.parameters()).device

    def to(self, device: torch.device | str) -> Agent:
        """Move the weights to a device, in place, and return the agent."""
        self.encoder.to(device)
        self.controller.to(device)
        return self

    @property
    def noise_kind(self) -> str:
        """Which noise `act` adds when it samples, see `rlstitch.agents.actions.noise_kind`."""
        return noise_kind(self.controller.actions)

    def inputs(self, observations: ArrayLike) -> Tensor:
        """Turn observations into what the encoder takes, on the agent's device.

        Vectors `(N, D)` of any numbers become float32. Images uint8 `(N, H, W, C)` become float `(N, C, H, W)` in
        [0, 1]. Channel-first observations, as Stable-Baselines3's VecTransposeImage gives them, are taken too, and so
        is all that NumPy makes such an array of; lists may hold whole numbers from 0 to 255.

        Raises:
            InvalidInputError: for another shape or type, naming both.
        """
        shape = self.encoder.observation_shape
        if not is_image(shape):
            return self._vectors(observations)
        array = _as_array(observations)
        if array.dtype != np.uint8 or array.ndim != 4:
            raise InvalidInputError(
                f"observations: expected uint8 (N, {', '.join(map(str, shape))}), found {array.dtype} {array.shape}"
            )
        array = np.require(array, requirements=["C", "W"])  # torch takes no flipped or read-only views
        if array.shape[1:] == shape:
            tensor = torch.from_numpy(array).permute(0, 3, 1, 2)
        elif array.shape[1:] == (shape[2], shape[0], shape[1]):
            tensor = torch.from_numpy(array)
        else:
            raise InvalidInputError(f"observations: expected images of shape {shape}, found {array.shape[1:]}")
        # Bytes travel to the device, floats are made there.
        return tensor.to(self.device).float().div_(255.0)

    images = inputs
    """The name of earlier versions."""

    def _vectors(self, observations: ArrayLike) -> Tensor:
        array, shape = _as_array(observations, whole=False), self.encoder.observation_shape
        if array.dtype.kind not in "biuf" or array.shape[1:] != shape:
            raise InvalidInputError(
                f"observations: expected numbers (N, {shape[0]}), found {array.dtype} {array.shape}"
            )
        with np.errstate(over="ignore"):  # what float32 cannot hold is infinite
            array = np.array(array, dtype=np.float32, order="C")  # torch takes no flipped, big-endian or read-only ones
        return torch.from_numpy(array).to(self.device)

    @torch.no_grad()
    def encode(self, observations: ArrayLike, *, batch_size: int | None = None) -> Tensor:
        """Encode observations uint8 `(N, H, W, C)` or `(N, D)` as latents `(N, latent_dim)`, `batch_size` at a time.

        By default 1,024; on a CPU 64 images, of which the layers' outputs stay in its caches.
        """
        array = np.atleast_1d(_as_array(observations))
        size = (64 if array.ndim == 4 and self.device.type == "cpu" else 1024) if batch_size is None else batch_size
        parts = [self.encoder(self.inputs(array[start : start + size])) for start in range(0, len(array), size)]
        return torch.cat(parts) if parts else torch.empty(0, self.encoder.latent_dim, device=self.device)

    @torch.no_grad()
    def action_parameters(self, observations: ArrayLike) -> Tensor:
        """Return the controller's action parameters, as `Controller` has them, for observations `(N, ...)`.

        Raises:
            InvalidInputError: where they are not finite (weights or observations hold NaN or infinity).
        """
        inputs = self.inputs(observations)
        parameters = self.controller.action_parameters(self.encoder(inputs))
        if not bool(torch.isfinite(parameters).all()):
            cause = "NaN in the weights?" if bool(torch.isfinite(inputs).all()) else "NaN or infinity in observations"
            raise InvalidInputError(f"agent {self.card.name!r}: its action parameters are not finite ({cause})")
        return parameters

    @torch.no_grad()
    def act(self, observations: ArrayLike, *, noise: NDArray[np.floating[Any]] | None = None) -> NDArray[Any]:
        """Choose actions for observations `(N, ...)`.

        Args:
            observations: a batch of observations.
            noise: `(N, A)` standard noise of the kind `noise_kind`: the policy is sampled with it. None: the policy is
                greedy. Controllers without a standard deviation are greedy in any case.

        Returns:
            float32 `(N, A)` within the bounds for continuous actions, else as `rlstitch.agents.actions.best_actions`.
        """
        parameters = self.action_parameters(observations)
        if isinstance(self.controller.actions, BoxActions):
            numbers, log_std = self.controller.normal(parameters)
            numbers = numbers.cpu()
            if noise is not None and log_std is not None:
                numbers = numbers + torch.from_numpy(np.exp(log_std.cpu().numpy()) * noise)
            bounded: NDArray[np.float32] = self.controller.bound(numbers).float().numpy()
            return bounded
        scores = parameters.cpu().numpy()
        return best_actions(self.controller.actions, scores if noise is None else scores + noise)

    def predict(
        self,
        observation: ArrayLike | Mapping[str, Any],
        state: tuple[NDArray[Any], ...] | None = None,
        episode_start: NDArray[np.bool_] | None = None,
        deterministic: bool = False,
    ) -> tuple[NDArray[Any], tuple[NDArray[Any], ...] | None]:
        """Choose actions for one observation or a batch, as Stable-Baselines3's `PolicyPredictor`.

        A dictionary, of a world whose environment observes several keys, is taken as the environment gives it: crop,
        look and size of the world are applied to its images (`rlstitch.envs.read_keys`).

        Actions are those of the environment that the agent was trained in: counted from its number, in its axes. They
        are sampled with torch's global generator unless `deterministic`. `state` and `episode_start` belong to the
        protocol; agents have no memory.

        Raises:
            InvalidInputError: for observations of another shape or type, or of other keys.
        """
        if isinstance(observation, Mapping):
            batch, single = read_keys(self.card.world, observation)
        else:
            shape = self.encoder.observation_shape
            array = _as_array(observation, whole=is_image(shape))
            single = array.ndim == len(shape)
            batch = np.atleast_1d(array[None] if single else array)
        noise = None if deterministic else self._global_noise(len(batch))
        actions = in_environment(self.controller.actions, self.act(batch, noise=noise))
        return (actions[0] if single else actions), state

    def _global_noise(self, count: int) -> NDArray[np.floating[Any]]:
        shape = (count, self.controller.actions.width)
        if self.noise_kind == "normal":
            return torch.randn(shape).numpy()
        gumbel = -torch.empty(shape).exponential_().log().numpy()
        # The difference of two Gumbel variables is logistic.
        return gumbel if self.noise_kind == "gumbel" else gumbel + torch.empty(shape).exponential_().log().numpy()


def _as_array(observations: ArrayLike, *, whole: bool = True) -> NDArray[Any]:
    """Return observations as an array; `whole`: lists of whole numbers from 0 to 255 become uint8."""
    try:
        array = np.asarray(observations)
    except (AttributeError, OverflowError, RuntimeError, TypeError, ValueError) as error:
        raise InvalidInputError(
            f"observations: expected an array uint8 (N, H, W, C), or numbers (N, D), found "
            f"{type(observations).__name__}: {printable(error, limit=200)}"
        ) from None
    numbers = whole and isinstance(observations, list | tuple) and array.dtype.kind in "iu" and array.size > 0
    return array.astype(np.uint8) if numbers and array.min() >= 0 and array.max() <= 255 else array
