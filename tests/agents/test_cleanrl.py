"""State dicts of CleanRL's ppo_atari.py act as that script's agent does; other scripts' are refused by name."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from rlstitch.agents.cleanrl import import_cleanrl
from rlstitch.agents.specs import BoxActions, DiscreteActions
from rlstitch.errors import ArtefactError, IncompatibleError, InvalidInputError

FRAMES = (84, 84, 4)
SIX = DiscreteActions(n=6)


class AtariAgent(nn.Module):
    """The network of CleanRL's ppo_atari.py."""

    def __init__(self) -> None:
        super().__init__()
        self.network = nn.Sequential(
            nn.Conv2d(4, 32, 8, stride=4),
            nn.ReLU(),
            nn.Conv2d(32, 64, 4, stride=2),
            nn.ReLU(),
            nn.Conv2d(64, 64, 3, stride=1),
            nn.ReLU(),
            nn.Flatten(),
            nn.Linear(64 * 7 * 7, 512),
            nn.ReLU(),
        )
        self.actor, self.critic = nn.Linear(512, 6), nn.Linear(512, 1)

    def forward(self, frames: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        hidden = self.network(frames / 255.0)
        return self.actor(hidden), self.critic(hidden).squeeze(1)


@pytest.fixture(scope="module")
def agent() -> AtariAgent:
    torch.manual_seed(0)
    return AtariAgent()


def saved(folder: Path, tensors: object) -> Path:
    path = folder / "agent.cleanrl_model"
    torch.save(tensors, path)
    return path


@torch.no_grad()
def test_logits_and_values_are_the_agents(agent: AtariAgent, tmp_path: Path) -> None:
    found = import_cleanrl(saved(tmp_path, agent.state_dict()), image_shape=FRAMES, actions=SIX)
    frames = torch.from_numpy(np.random.default_rng(0).integers(0, 256, (16, 4, 84, 84)).astype(np.float32))
    logits, values = found.controller(found.encoder(frames / 255.0))
    wanted, wanted_values = agent(frames)
    torch.testing.assert_close(logits, wanted, atol=1e-5, rtol=0)
    torch.testing.assert_close(values, wanted_values, atol=1e-5, rtol=0)
    assert (found.library, found.algorithm) == ("CleanRL", "PPO")
    assert wanted.std(0).max() > 1e-3, "not the same for every observation"


@pytest.mark.parametrize(
    ("name", "script"),
    [
        ("lstm.weight_ih_l0", "ppo_atari_lstm.py"),
        ("network.0.conv.weight", "ppo_procgen.py"),
        ("actor_mean.0.weight", "ppo_continuous_action.py"),
        ("actor.0.weight", "ppo.py"),
        ("network.9.weight", "dqn_atari.py or c51_atari.py"),
        ("critic_ext.weight", "ppo_rnd_envpool.py"),
        ("fc_mean.weight", "sac_continuous_action.py"),
        ("fc_mu.weight", "td3_continuous_action.py or ddpg_continuous_action.py"),
        ("other.weight", "found besides other.weight"),
    ],
)
def test_agents_of_other_scripts_are_refused_by_name(name: str, script: str, agent: AtariAgent, tmp_path: Path) -> None:
    path = saved(tmp_path, {**agent.state_dict(), name: torch.zeros(2, 2)})
    with pytest.raises(InvalidInputError, match=script) as caught:
        import_cleanrl(path, image_shape=FRAMES, actions=SIX)
    assert "\n" not in str(caught.value)


def test_what_does_not_fit_the_world_is_refused(agent: AtariAgent, tmp_path: Path) -> None:
    path = saved(tmp_path, agent.state_dict())
    with pytest.raises(IncompatibleError, match=r"gives 1 channels, the model takes 4.*frame_stack=4"):
        import_cleanrl(path, image_shape=(84, 84, 1), actions=SIX)
    with pytest.raises(IncompatibleError, match=r"does not fit images of 40 x 40 x 4"):
        import_cleanrl(path, image_shape=(40, 40, 4), actions=SIX)
    for actions in (DiscreteActions(n=4), BoxActions(low=(-1.0,) * 6, high=(1.0,) * 6)):
        with pytest.raises(IncompatibleError, match="the environment takes"):
            import_cleanrl(path, image_shape=FRAMES, actions=actions)


def test_an_incomplete_network_and_a_whole_object_are_refused(agent: AtariAgent, tmp_path: Path) -> None:
    some = {name: value for name, value in agent.state_dict().items() if not name.startswith("network.7")}
    with pytest.raises(InvalidInputError, match=r"expected an agent of CleanRL's ppo_atari\.py"):
        import_cleanrl(saved(tmp_path, some), image_shape=FRAMES, actions=SIX)
    with pytest.raises(ArtefactError, match="refused, nothing was run"):
        import_cleanrl(saved(tmp_path, agent), image_shape=FRAMES, actions=SIX)
    broken = {**agent.state_dict(), "actor.bias": torch.full((6,), float("nan"))}
    with pytest.raises(ArtefactError, match=r"tensor 'actor\.bias' holds NaN or infinity"):
        import_cleanrl(saved(tmp_path, broken), image_shape=FRAMES, actions=SIX)
