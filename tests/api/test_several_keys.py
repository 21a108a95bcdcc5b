"""Agents that observe several keys, with an encoder a key, through the whole pipeline."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from rooms import KEYS, registered

from rlstitch.agents import load_agent
from rlstitch.api.export_agent import export_agent
from rlstitch.api.listing import show_agent
from rlstitch.api.train import Trained, draft_card, train
from rlstitch.config.training import load_config
from rlstitch.errors import InvalidInputError
from rlstitch.rollouts.evaluation import evaluate
from rlstitch.rollouts.video import record
from rlstitch.stitching.diagnosis.states import own_states
from rlstitch.stitching.pairs import gather_pairs
from rlstitch.stitching.relativize import Distillation, relativize_agent, visited_states
from rlstitch.stitching.stitch import stitch_agents

CONFIG = f"""
environment: {KEYS}
size: 32
device: cpu
threads: 1
num_envs: 4
total_steps: 128
ppo: {{n_steps: 16, n_minibatches: 2, n_epochs: 1}}
encoder: {{latent_dim: 16}}
controller: {{hidden: [16]}}
evaluation: {{every_steps: 64, episodes: 2, video: false}}
checkpoint: {{every_steps: 64}}
"""


@pytest.fixture(scope="module")
def trained(place):
    (place / "keys.yaml").write_text(CONFIG)
    with registered():
        yield [
            train(load_config(place / "keys.yaml", settings), progress="none")
            for settings in (("seed=1",), ("seed=2", "look=inverted", "keys=[order,camera]"))
        ]


def test_each_key_has_an_encoder(trained: list[Trained]):
    agent = load_agent(trained[0].folder)
    kinds = [
        (part["key"], part["encoder"]["kind"], part["encoder"]["latent_dim"]) for part in agent.encoder.spec()["parts"]
    ]
    assert kinds == [("camera", "cnn", 6), ("order", "mlp", 5), ("place", "mlp", 5)]
    assert "camera (32x32x3), order (1536 numbers), place (2 numbers)" in str(show_agent(trained[0].folder))
    states = visited_states(agent, count=8, num_envs=2)
    latents = agent.encode(states)
    assert latents.shape == (8, 16)
    assert torch.equal(latents, trained[0].agent.encode(states))
    moved = states.copy()
    moved[:, -2:] += 5.0  # of the place alone
    assert torch.equal(agent.encode(moved)[:, :11], latents[:, :11])
    assert not torch.equal(agent.encode(moved)[:, 11:], latents[:, 11:])
    assert agent.encoder.encoders[2].normalization.count > 0
    assert agent.encoder.encoders[1].normalization is None


def test_they_are_stitched_shown_and_exported(trained: list[Trained]):
    all_keys, two_keys = (result.agent for result in trained)
    for encoder, policy in ((all_keys, two_keys), (two_keys, all_keys)):
        joined = stitch_agents(encoder, policy, gather_pairs(encoder, policy, pairs=30, held=10)).agent
        assert joined.card.world.keys == encoder.card.world.keys
        assert evaluate(joined, episodes=1).lengths[0] > 0
    seen = own_states(two_keys, all_keys, steps=48)
    assert (seen.x.shape[1], seen.y.shape[1]) == (3072 + 1536, 3072 + 1536 + 2)
    assert next(record(all_keys, scale=40).frames).shape == (40, 40, 3)
    states = visited_states(all_keys, count=32, num_envs=4)
    made = relativize_agent(all_keys, states[:8], states, anchor_set="0" * 64, distillation=Distillation(steps=2)).agent
    assert made.encode(states).shape == (32, 8)
    assert export_agent(made).difference < 1e-5


def test_vectors_alone_need_no_convolutions(trained, place):
    card, _ = draft_card(load_config(place / "keys.yaml", ("keys=[order,place]", "size=null")))
    assert [part["encoder"]["kind"] for part in card.encoder["parts"]] == ["mlp", "mlp"]
    assert np.prod(card.observation_shape) == 1536 + 2
    with pytest.raises(
        InvalidInputError, match=r"encoder.arch: .* observations of 4610 numbers; expected small, nature"
    ):
        draft_card(load_config(place / "keys.yaml", ("encoder.arch=mlp",)))
