"""Tasks through the whole pipeline: trained by PPO, stored, stitched to agents of other action sets, evaluated."""

from __future__ import annotations

import json

import pytest
from rooms import DISCRETE, registered

from rlstitch.agents.artefact import load_agent
from rlstitch.api.evaluate import evaluate
from rlstitch.api.stitch import stitch
from rlstitch.api.train import train
from rlstitch.config.training import load_config

CONFIG = """
environment: {environment}
device: cpu
threads: 1
num_envs: 4
total_steps: 128
ppo: {{n_steps: 32, n_minibatches: 2, n_epochs: 1}}
encoder: {{latent_dim: 12}}
controller: {{hidden: [12], norm: none}}
evaluation: {{every_steps: 128, episodes: 2, video: false}}
"""
LAVA = "MiniGrid-LavaCrossingS9N1-v0"


@pytest.fixture
def trained(tmp_path, monkeypatch):
    """Train a small agent: `trained(environment, *settings)`."""
    monkeypatch.chdir(tmp_path)

    def make(environment, *settings):
        (tmp_path / "own.yaml").write_text(CONFIG.format(environment=environment))
        return train(load_config(tmp_path / "own.yaml", list(settings)), progress="none")

    with registered():
        yield make


@pytest.mark.parametrize(
    ("environment", "task", "left"),
    [(LAVA, "without:drop+time-cost:0.01+length:30", 6), (DISCRETE, "without:3+slippery:0.2+length:9", 3)],
)
def test_agents_of_two_action_sets_from_training_to_evaluation(trained, environment, task, left):
    plain = trained(environment, "name=plain", "variation=inverted")
    fewer = trained(environment, "name=fewer", f"task={task}", "seed=1")
    card = json.loads((fewer.folder / "agent.json").read_text())
    assert card["world"]["task"] == task
    assert card["controller"]["actions"] == {"kind": "discrete", "n": left}
    loaded = load_agent(fewer.folder)
    for encoder, policy in ((plain.agent, loaded), (loaded, plain.agent)):
        outcome = stitch(encoder, policy, method="affine", pairs=24, episodes=2, save=False)
        world = outcome.agent.card.world
        assert (world.variation, world.task) == (encoder.card.world.variation, policy.card.world.task)
        assert outcome.agent.controller.actions == policy.controller.actions
    evaluated = evaluate(loaded, episodes=3).evaluation
    assert evaluated.world.task == task
    assert evaluated.lengths.max() <= int(task.rpartition(":")[2])


def test_the_name_of_an_agent_and_of_its_files_holds_the_task(trained):
    agent = trained(LAVA, "task=without:drop+length:30").agent
    assert agent.card.name == "own-standard-without-drop-length-30-s0"
    outcome = evaluate(agent, task="without:drop+length:9", episodes=2)
    assert outcome.table.exists()
    assert ":" not in str(outcome.table)
