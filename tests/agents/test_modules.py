"""Agents of plain modules compute what the modules do; known layers can be stored, other code is refused by name."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from rooms import CONTINUOUS, DISCRETE, registered
from torch import nn

from rlstitch.agents import Agent, load_agent, save_agent
from rlstitch.agents.export import write_exported
from rlstitch.api.graft import graft
from rlstitch.api.relativize import relativize
from rlstitch.api.stitch import stitch
from rlstitch.envs import World
from rlstitch.errors import IncompatibleError, InvalidInputError
from rlstitch.rollouts.evaluation import evaluate
from rlstitch.stitching.methods import DEFAULT

CARTPOLE = World("CartPole-v1")
NATURE = nn.Sequential(
    nn.Sequential(nn.Conv2d(3, 32, 8, 4), nn.ReLU(), nn.Conv2d(32, 64, 4, 2), nn.ReLU()),
    nn.Sequential(nn.Conv2d(64, 64, 3), nn.ReLU()),
    nn.Flatten(),
    nn.Linear(64, 12),
)


class Own(nn.Module):
    """A network of a user's own: images to 6 latents."""

    def __init__(self) -> None:
        super().__init__()
        self.convolution, self.linear = nn.Conv2d(3, 2, 8, 8), nn.Linear(50, 6)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return self.linear(nn.functional.elu(self.convolution(images)).flatten(1))


@pytest.fixture(scope="module", autouse=True)
def rooms():
    with registered():
        yield


def _head(width: int, out: int) -> nn.Sequential:
    return nn.Sequential(nn.ReLU(), nn.Linear(width, 7), nn.Tanh(), nn.Linear(7, out))


MODULES = {
    "vectors": (CARTPOLE, nn.Sequential(nn.Linear(4, 9), nn.Tanh(), nn.Linear(9, 5)), _head(5, 2)),
    "normed": (CARTPOLE, nn.Linear(4, 5), nn.Sequential(nn.LayerNorm(5), nn.ReLU(), nn.Linear(5, 2))),
    "images": (World(DISCRETE), NATURE, _head(12, 4)),
    "continuous": (World(CONTINUOUS), NATURE, nn.Sequential(nn.Tanh(), nn.Linear(12, 2))),
    "own": (World(DISCRETE), Own(), nn.Sequential(nn.Linear(6, 5), nn.GELU(), nn.Linear(5, 4))),
    "own steered": (World(CONTINUOUS), Own(), nn.Sequential(nn.Linear(6, 2), nn.Softsign())),
}


def observations(agent: Agent) -> np.ndarray:
    rng, shape = np.random.default_rng(0), agent.encoder.observation_shape
    return rng.integers(0, 256, (16, *shape), dtype=np.uint8) if len(shape) == 3 else rng.normal(size=(16, *shape))


@pytest.mark.parametrize("name", MODULES)
@torch.no_grad()
def test_what_an_agent_of_modules_computes_is_what_they_do(name: str, tmp_path: Path) -> None:
    world, encoder, controller = MODULES[name]
    agent = Agent.from_modules(encoder, controller, world)
    seen = observations(agent)
    expected = controller(encoder(agent.inputs(seen)))
    torch.testing.assert_close(agent.action_parameters(seen), expected)
    evaluated = evaluate(agent, episodes=2, deterministic=True).returns
    if "own" in name or name == "normed":
        return
    stored = load_agent(save_agent(agent, tmp_path / "stored"))
    torch.testing.assert_close(stored.action_parameters(seen), expected)
    assert list(evaluate(stored, episodes=2, deterministic=True).returns) == list(evaluated)


def test_the_agent_has_a_copy_of_known_layers() -> None:
    world, encoder, controller = MODULES["vectors"]
    agent = Agent.from_modules(encoder, controller, world)
    before = agent.encode(np.ones((1, 4)))
    with torch.no_grad():
        encoder[0].weight.add_(1.0)
    assert torch.equal(agent.encode(np.ones((1, 4))), before)


def test_modules_of_ones_own_are_stitched_and_exported_but_not_stored(workplace: Path, quick) -> None:
    first, second = (
        Agent.from_modules(Own(), MODULES["own"][2], World(DISCRETE), name=name) for name in ("one", "two")
    )
    outcome = stitch(first, second, pairs=24, episodes=2, save=False)
    assert [cell.method for cell in outcome.cells] == ["random", "native", "naive", DEFAULT]
    write_exported(first, workplace / "one.pt2", form="torch-export", images=observations(first))
    for write in (
        lambda: save_agent(first, workplace / "one"),
        lambda: write_exported(first, workplace / "one.x", form="safetensors", images=observations(first)),
    ):
        with pytest.raises(InvalidInputError, match=r"the module \S*Own cannot be stored") as caught:
            write()
        assert "\n" not in str(caught.value)
    assert not (workplace / "one").exists()


def test_what_could_not_be_saved_is_refused_before_the_work(workplace: Path, monkeypatch) -> None:
    own = Agent.from_modules(Own(), MODULES["own"][2], World(DISCRETE))
    stacked = Agent.from_modules(*MODULES["images"][1:], World(DISCRETE))
    monkeypatch.setattr(Agent, "act", lambda *_, **__: pytest.fail("it plays"))
    for work in (
        lambda: stitch(own, stacked),
        lambda: stitch(stacked, own),
        lambda: relativize(own),
        lambda: graft(own),
    ):
        with pytest.raises(InvalidInputError, match="cannot be stored"):
            work()
    assert not any(workplace.iterdir())


@pytest.mark.parametrize(
    ("encoder", "controller", "world", "message"),
    [
        (nn.Linear(5, 3), _head(3, 2), CARTPOLE, r"encoder: cannot be run on inputs \(2, 4\): RuntimeError"),
        (nn.Linear(4, 3), _head(2, 2), CARTPOLE, r"controller: cannot be run on inputs \(2, 3\): RuntimeError"),
        (nn.Linear(4, 3), _head(3, 5), CARTPOLE, "expected 2 action parameters, found 5"),
        (nn.Conv2d(3, 4, 8), _head(3, 4), World(DISCRETE), r"encoder: expected floats \(2, width\) of 2 inputs"),
        (nn.LSTM(4, 3), _head(3, 2), CARTPOLE, "encoder: cannot be run"),
        (NATURE, _head(12, 4), World(DISCRETE, frame_stack=2), "encoder: cannot be run"),
    ],
)
def test_modules_that_do_not_fit_are_refused(encoder, controller, world: World, message: str) -> None:
    with pytest.raises(InvalidInputError, match=message) as caught:
        Agent.from_modules(encoder, controller, world)
    assert "\n" not in str(caught.value)


def test_parts_of_rlstitch_are_taken_as_they_are() -> None:
    agent = Agent.from_modules(*MODULES["vectors"][1:], CARTPOLE)
    again = Agent.from_modules(agent.encoder, agent.controller, CARTPOLE)
    assert again.encoder is agent.encoder
    for parts, message in (
        ((agent.encoder, _head(5, 3)), "encoder: expected one of observations"),
        ((nn.Linear(6, 5), agent.controller), "controller: expected one of the world's"),
    ):
        with pytest.raises(IncompatibleError, match=message):
            Agent.from_modules(*parts, World("Acrobot-v1"))
