"""Agents in environments that a program has at hand, through the functions of the library."""

from __future__ import annotations

import gymnasium
import numpy as np
import pytest
from gymnasium.vector import SyncVectorEnv
from gymnasium.wrappers import TimeLimit
from rooms import CONTINUOUS, DISCRETE, DotRoom, registered, untrained
from stable_baselines3.common.evaluation import evaluate_policy
from stable_baselines3.common.monitor import Monitor
from stable_baselines3.common.vec_env import DummyVecEnv

from rlstitch.agents import load_agent
from rlstitch.api.diagnose import diagnose
from rlstitch.api.evaluate import evaluate
from rlstitch.api.pairs import collect_pairs
from rlstitch.api.relativize import relativize
from rlstitch.api.stitch import stitch
from rlstitch.cli.main import main
from rlstitch.envs import World
from rlstitch.errors import IncompatibleError, InvalidInputError


def room() -> gymnasium.Env:
    return TimeLimit(DotRoom(), 25)


@pytest.fixture(autouse=True)
def rooms(workplace):
    with registered():
        yield


@pytest.fixture
def agents():
    return untrained(World(DISCRETE), 1), untrained(World(DISCRETE, look="inverted"), 2)


@pytest.mark.parametrize("make", [lambda: room, room, lambda: SyncVectorEnv([room]), lambda: DummyVecEnv([room])])
def test_an_agent_is_evaluated_where_it_is_put(agents, make):
    named = evaluate(agents[0], episodes=4).evaluation
    live = evaluate(agents[0], env=make(), episodes=4).evaluation
    np.testing.assert_array_equal(live.returns, named.returns)
    assert live.world.environment.startswith("live/")
    assert agents[0].card.world.environment == DISCRETE


def test_two_agents_meet_in_an_environment_of_the_program(agents, quick):
    options = {"pairs": 40, "episodes": 3}
    named, live = (stitch(*agents, env=env, save=False, **options) for env in (None, room))
    assert [cell.return_mean for cell in live.cells] == [cell.return_mean for cell in named.cells]
    env = room()
    assert diagnose(*agents, env=env, **options).indicators == diagnose(*agents, **options).indicators
    assert collect_pairs(*agents, "pairs.npz", env=env, count=20).count == 20
    outcome = relativize(agents[0], env=env, anchors=16, episodes=2, save=False)
    assert outcome.agent.card.world.environment == outcome.anchor_set.environment


def test_an_agent_plays_in_batches_of_stable_baselines(agents):
    returns, _ = evaluate_policy(agents[0], DummyVecEnv([lambda: Monitor(room())]), 3, return_episode_rewards=True)
    assert len(returns) == 3


def test_an_environment_of_another_kind_is_refused(agents):
    with pytest.raises(IncompatibleError, match="actions"):
        evaluate(agents[0], env=lambda: TimeLimit(DotRoom(steered=True), 25), episodes=1)
    with pytest.raises(InvalidInputError, match=r"\(40, 40, 3\), found \(40, 40, 4\)"):
        evaluate(agents[0], env=lambda: DotRoom(channels=4), episodes=1)


def test_a_stitched_agent_is_placed_elsewhere_by_name(agents, capsys):
    stitch(*agents, env=room, pairs=40, episodes=2, name="both")
    assert load_agent("both").card.world.environment.startswith("live/")
    assert main(["evaluate", "both", "--env", DISCRETE, "--episodes", "2"]) == 0
    assert main(["evaluate", "both", "--env", CONTINUOUS, "--episodes", "2"]) == 2
    assert "the environment takes" in capsys.readouterr().err
