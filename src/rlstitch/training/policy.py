"""Our encoder and controller inside Stable-Baselines3's actor-critic policy, through its own extension points."""

from __future__ import annotations

from typing import Any, Literal, Self

import torch
from gymnasium import spaces
from stable_baselines3.common.distributions import DiagGaussianDistribution, Distribution
from stable_baselines3.common.policies import ActorCriticPolicy
from stable_baselines3.common.torch_layers import BaseFeaturesExtractor
from torch import Tensor, nn

from rlstitch.agents import (
    Controller,
    ControllerSpec,
    Encoder,
    build_controller,
    build_encoder,
    build_trunk,
    parse_controller_spec,
)
from rlstitch.envs import is_image
from rlstitch.training.buffer import DistinctObservations, Latents
from rlstitch.training.output_table import OutputTable

Precision = Literal["float32", "bfloat16"]


class EncoderExtractor(BaseFeaturesExtractor):
    """An encoder as a features extractor. It gets images `(N, C, H, W)` in [0, 1], or vectors `(N, D)`."""

    def __init__(self, observation_space: spaces.Box, encoder_spec: dict[str, Any]) -> None:
        encoder = build_encoder(encoder_spec)
        super().__init__(observation_space, encoder.latent_dim)
        self.encoder: Encoder = encoder

    def forward(self, images: Tensor, grid: Tensor | None = None) -> Tensor:
        """Encode images, or with a grid patches (`CNNEncoder.encode_patches`), as latents `(N, latent_dim)`."""
        encoder: Any = self.encoder
        return encoder(images) if grid is None else encoder.encode_patches(images, grid)


class _Trunks(nn.Module):
    """The controller's trunk, and that of its value where it has one, in the place of SB3's `mlp_extractor`."""

    def __init__(self, spec: ControllerSpec) -> None:
        super().__init__()
        self.trunk = build_trunk(spec)
        self.latent_dim_pi = self.latent_dim_vf = spec.hidden[-1] if spec.hidden else spec.width
        self.value_trunk: nn.Sequential | None = None
        if spec.value_hidden is not None:
            self.value_trunk = build_trunk(spec, spec.value_hidden)
            self.latent_dim_vf = spec.value_hidden[-1] if spec.value_hidden else spec.width

    def forward(self, latents: Tensor) -> tuple[Tensor, Tensor]:
        features = self.forward_actor(latents)
        return features, features if self.value_trunk is None else self.value_trunk(latents)

    def forward_actor(self, latents: Tensor) -> Tensor:
        return self.trunk(latents)

    def forward_critic(self, latents: Tensor) -> Tensor:
        return self.forward_actor(latents) if self.value_trunk is None else self.value_trunk(latents)


class EncoderControllerPolicy(ActorCriticPolicy):
    """Actor-critic policy made of an encoder and a controller of ours; `policy.controller()` takes the latter out.

    With precision `bfloat16` the encoder computes in mixed precision, in rollouts and updates alike; weights stay
    float32.
    """

    distinct_once = False
    """Whether a rollout computes each distinct image once."""

    def __init__(
        self, *args: Any, controller_spec: dict[str, Any], precision: Precision = "float32", **kwargs: Any
    ) -> None:
        self._controller_spec = parse_controller_spec(controller_spec)
        self._autocast = precision == "bfloat16"
        self._frozen: tuple[nn.Module, ...] = ()
        self._table: OutputTable | None = None
        super().__init__(*args, **kwargs)

    def _build_mlp_extractor(self) -> None:
        self.mlp_extractor = _Trunks(self._controller_spec)

    def start_from(
        self, encoder: Encoder | None, controller: Controller | None, freeze: Literal["encoder", "controller"] | None
    ) -> None:
        """Take the weights of parts of agents; a frozen one keeps them, and stays in evaluation mode.

        Only now, since Stable-Baselines3 initialises every layer again after the parts were built.
        """
        if encoder is not None:
            self.encoder.load_state_dict(encoder.state_dict())
        if controller is not None:
            for name, module in self._controller_modules().items():
                module.load_state_dict(getattr(controller, name).state_dict())
            if controller.log_std is not None:
                self.log_std.data.copy_(controller.log_std)
        if freeze == "encoder":
            self._frozen = (self.features_extractor,)
        elif freeze == "controller":
            self._frozen = tuple(self._controller_modules().values())
            if controller is not None and controller.log_std is not None:
                self.log_std.requires_grad_(False)
        for module in self._frozen:
            module.requires_grad_(False).eval()

    def train(self, mode: bool = True) -> Self:
        """Set the mode of training; frozen parts stay in that of evaluation."""
        super().train(mode)
        for module in self._frozen:
            module.eval()
        return self

    def _controller_modules(self) -> dict[str, nn.Module]:
        """Return the modules of the controller by its names for them."""
        modules = {"trunk": self.mlp_extractor.trunk, "action_head": self.action_net, "value_head": self.value_net}
        value_trunk = self.mlp_extractor.value_trunk
        return modules if value_trunk is None else {**modules, "value_trunk": value_trunk}

    @property
    def encoder(self) -> Encoder:
        """The encoder that is being trained."""
        return self.features_extractor.encoder

    def set_training_mode(self, mode: bool) -> None:
        """Set the mode of training: a rollout begins with an empty table, and gradient steps with none.

        Stable-Baselines3 calls this before both, so that no output outlives the weights that it was computed with.
        """
        super().set_training_mode(mode)
        image = is_image(self.observation_space.shape or ())
        tabled = self.distinct_once and not mode and image and self.device.type == "cpu"
        self._table = OutputTable(self._outputs) if tabled else None

    def forward(self, obs: Tensor, deterministic: bool = False) -> tuple[Tensor, Tensor, Tensor]:
        """Return actions, values and log probabilities, from the table of the rollout where it has one."""
        outputs = self._outputs(obs) if self._table is None or torch.is_grad_enabled() else self._table(obs)
        distribution = self._distribution(outputs)
        actions = distribution.get_actions(deterministic)
        return actions.reshape(-1, *self.action_space.shape or ()), outputs[:, :1], distribution.log_prob(actions)

    def evaluate_actions(
        self, obs: Tensor | DistinctObservations | Latents, actions: Tensor
    ) -> tuple[Tensor, Tensor, Tensor | None]:
        """As Stable-Baselines3's, computing each distinct observation once where the buffer has found equal ones."""
        outputs = self._outputs(obs)
        if isinstance(obs, DistinctObservations):
            outputs = outputs[obs.where]
        distribution = self._distribution(outputs)
        return outputs[:, :1], distribution.log_prob(actions), distribution.entropy()

    def _outputs(self, obs: Tensor | DistinctObservations | Latents) -> Tensor:
        """Return the value and the action parameters of observations, or of the distinct ones, `(N, 1 + A)`."""
        latents = obs.latents if isinstance(obs, Latents) else self.encode(obs)
        for_actions, for_values = self.mlp_extractor(latents)
        return torch.cat([self.value_net(for_values), self.action_net(for_actions)], dim=1)

    def _distribution(self, outputs: Tensor) -> Distribution:
        """Return the distribution of actions that outputs `(N, 1 + A)` describe."""
        deviation = [self.log_std] if isinstance(self.action_dist, DiagGaussianDistribution) else []
        return self.action_dist.proba_distribution(outputs[:, 1:], *deviation)

    def encode(self, obs: Tensor | DistinctObservations) -> Tensor:
        """Return the latents of observations, or of the distinct ones, `(N, latent_dim)`."""
        images, grid = (obs.images, obs.grid) if isinstance(obs, DistinctObservations) else (obs, None)
        if is_image(self.observation_space.shape or ()):
            # Convolutions of whole images are faster where their channels lie side by side.
            order = torch.preserve_format if grid is not None else torch.channels_last
            images = images.to(torch.float32, memory_format=order)
            images.div_(255.0)  # in place, unlike the stock preprocessing: one pass less a batch
        else:
            images = images.float()
        if not self._autocast:
            return self.features_extractor(images, grid)
        with torch.autocast(images.device.type, torch.bfloat16):
            latents = self.features_extractor(images, grid)
        return latents.float()

    def controller(self) -> Controller:
        """Return a copy of the controller as it is now, on the CPU."""
        controller = build_controller(self._controller_spec.model_dump(mode="json"))
        for name, module in self._controller_modules().items():
            getattr(controller, name).load_state_dict(module.state_dict())
        if controller.log_std is not None:
            with torch.no_grad():
                controller.log_std.copy_(self.log_std)
        return controller

    def encoder_copy(self) -> Encoder:
        """Return a copy of the encoder as it is now, on the CPU."""
        encoder = build_encoder(self.encoder.spec())
        encoder.load_state_dict({name: value.cpu() for name, value in self.encoder.state_dict().items()})
        return encoder
