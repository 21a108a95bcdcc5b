"""State dicts of CleanRL's PPO scripts act as those scripts' agents do; other scripts' are refused by name."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from rlstitch.agents.cleanrl import import_cleanrl
from rlstitch.agents.sb3.statistics import Statistics
from rlstitch.agents.specs import BoxActions, DiscreteActions
from rlstitch.errors import ArtefactError, IncompatibleError, InvalidInputError

FRAMES = (84, 84, 4)
SIX = DiscreteActions(n=6)
BOX = BoxActions(low=(-1.0, -1.0), high=(1.0, 1.0))


class VectorAgent(nn.Module):
    """The networks of CleanRL's ppo.py, or with `continuous` of its ppo_continuous_action.py: 5 numbers, 2 actions."""

    def __init__(self, *, continuous: bool = False, hidden: int = 1) -> None:
        super().__init__()
        name = "actor_mean" if continuous else "actor"
        for part, width in ((name, 2), ("critic", 1)):
            layers = [nn.Linear(5, 64), nn.Tanh()]
            for _ in range(hidden):
                layers += [nn.Linear(64, 64), nn.Tanh()]
            self.add_module(part, nn.Sequential(*layers, nn.Linear(64, width)))
        if continuous:
            self.actor_logstd = nn.Parameter(torch.tensor([[-0.5, 0.3]]))

    def forward(self, states: torch.Tensor) -> torch.Tensor:
        return (self.actor_mean if hasattr(self, "actor_mean") else self.actor)(states)


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
    folder.mkdir(exist_ok=True)
    path = folder / "agent.cleanrl_model"
    torch.save(tensors, path)
    return path


@torch.no_grad()
def test_logits_and_values_are_the_agents(agent: AtariAgent, tmp_path: Path) -> None:
    result = import_cleanrl(saved(tmp_path, agent.state_dict()), observation_shape=FRAMES, actions=SIX)
    frames = torch.from_numpy(np.random.default_rng(0).integers(0, 256, (16, 4, 84, 84)).astype(np.float32))
    logits, values = result.controller(result.encoder(frames / 255.0))
    expected, wanted_values = agent(frames)
    torch.testing.assert_close(logits, expected, atol=1e-5, rtol=0)
    torch.testing.assert_close(values, wanted_values, atol=1e-5, rtol=0)
    assert (result.library, result.algorithm) == ("CleanRL", "PPO")
    assert expected.std(0).max() > 1e-3, "not the same for every observation"


@pytest.mark.parametrize("split", [1, None])
@pytest.mark.parametrize("continuous", [False, True])
@torch.no_grad()
def test_agents_of_vectors_act_as_their_script(continuous: bool, split: int | None, tmp_path: Path) -> None:
    torch.manual_seed(1)
    agent = VectorAgent(continuous=continuous)
    statistics = Statistics(np.arange(5.0), np.arange(1.0, 6.0))
    result = import_cleanrl(
        saved(tmp_path, agent.state_dict()),
        observation_shape=(5,),
        actions=BOX if continuous else DiscreteActions(n=2),
        split=split,
        statistics=statistics if continuous else None,
    )
    states = 3 * torch.randn(64, 5)
    seen = states
    if continuous:
        seen = ((states - torch.arange(5)) / torch.sqrt(torch.arange(1, 6) + 1e-8)).clip(-10, 10)
        assert result.controller.log_std.tolist() == agent.actor_logstd[0].tolist()
    expected = agent(seen)
    torch.testing.assert_close(result.controller.action_parameters(result.encoder(states)), expected, atol=1e-5, rtol=0)
    assert expected.std(0).min() > 1e-3, "not the same for every observation"


def test_agents_of_vectors_that_do_not_fit_are_refused(agent: AtariAgent, tmp_path: Path) -> None:
    vectors, deep, atari = (
        saved(tmp_path / name, tensors)
        for name, tensors in (
            ("vectors", VectorAgent().state_dict()),
            ("deep", VectorAgent(hidden=2).state_dict()),
            ("atari", agent.state_dict()),
        )
    )
    for path, shape, actions, message in (
        (vectors, FRAMES, SIX, "observations are images, the model takes vectors"),
        (atari, (5,), SIX, "observations are vectors, the model takes images"),
        (vectors, (7,), DiscreteActions(n=2), "vectors of 7 numbers, the first layer takes 5"),
        (vectors, (5,), BOX, "the environment takes box ones, the model discrete ones"),
        (deep, (5,), DiscreteActions(n=2), r"expected an agent of CleanRL's ppo\.py, .* found actor"),
    ):
        with pytest.raises((IncompatibleError, InvalidInputError), match=message):
            import_cleanrl(path, observation_shape=shape, actions=actions)


@pytest.mark.parametrize(
    ("name", "script"),
    [
        ("lstm.weight_ih_l0", "ppo_atari_lstm.py"),
        ("network.0.conv.weight", "ppo_procgen.py"),
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
        import_cleanrl(path, observation_shape=FRAMES, actions=SIX)
    assert "\n" not in str(caught.value)


def test_what_does_not_fit_the_world_is_refused(agent: AtariAgent, tmp_path: Path) -> None:
    path = saved(tmp_path, agent.state_dict())
    with pytest.raises(IncompatibleError, match=r"gives 1 channels, the model takes 4.*frame_stack=4"):
        import_cleanrl(path, observation_shape=(84, 84, 1), actions=SIX)
    for given in ({"split": 1}, {"statistics": Statistics(np.zeros(4), np.ones(4))}):
        with pytest.raises(InvalidInputError, match="expected none where observations are images"):
            import_cleanrl(path, observation_shape=FRAMES, actions=SIX, **given)
    with pytest.raises(IncompatibleError, match=r"does not fit images of 40 x 40 x 4"):
        import_cleanrl(path, observation_shape=(40, 40, 4), actions=SIX)
    for actions in (DiscreteActions(n=4), BoxActions(low=(-1.0,) * 6, high=(1.0,) * 6)):
        with pytest.raises(IncompatibleError, match="the environment takes"):
            import_cleanrl(path, observation_shape=FRAMES, actions=actions)


def test_an_incomplete_network_and_a_whole_object_are_refused(agent: AtariAgent, tmp_path: Path) -> None:
    some = {name: value for name, value in agent.state_dict().items() if not name.startswith("network.7")}
    with pytest.raises(InvalidInputError, match=r"expected an agent of CleanRL's ppo\.py, .*, found network"):
        import_cleanrl(saved(tmp_path, some), observation_shape=FRAMES, actions=SIX)
    with pytest.raises(ArtefactError, match="refused, nothing was run"):
        import_cleanrl(saved(tmp_path, agent), observation_shape=FRAMES, actions=SIX)
    broken = {**agent.state_dict(), "actor.bias": torch.full((6,), float("nan"))}
    with pytest.raises(ArtefactError, match=r"tensor 'actor\.bias' holds NaN or infinity"):
        import_cleanrl(saved(tmp_path, broken), observation_shape=FRAMES, actions=SIX)
