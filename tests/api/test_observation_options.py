"""Environments that a config file cuts, shrinks, stacks and repeats, through the whole pipeline."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from rooms import DISCRETE, GREY, registered

from rlstitch.agents.anchor_set import AnchorSet, load_anchor_set
from rlstitch.agents.artefact import load_agent
from rlstitch.api.evaluate import evaluate
from rlstitch.api.listing import show_agent
from rlstitch.api.stitch import stitch
from rlstitch.api.train import Trained, train
from rlstitch.config.training import load_config
from rlstitch.envs import World
from rlstitch.errors import InvalidInputError
from rlstitch.rollouts.anchors import choose_replay_anchor_set
from rlstitch.rollouts.image_pairs import collect_paired_images
from rlstitch.rollouts.recording import collect_recording
from rlstitch.rollouts.video import record

CONFIG = """
environment: {environment}
action_repeat: 2
frame_stack: 2
crop: 36
size: 32
device: cpu
threads: 1
num_envs: 4
total_steps: 256
ppo: {{n_steps: 32, n_minibatches: 2, n_epochs: 1, learning_rate: 1e-3}}
encoder: {{latent_dim: 16, frames: separate}}
controller: {{hidden: [16], norm: none}}
evaluation: {{every_steps: 128, episodes: 4, video: true}}
checkpoint: {{every_steps: 128}}
"""
CARS = """
environment: CarRacing-v3
backend: envpool
actions: discrete
action_repeat: 2
frame_stack: 2
crop: 84
size: 32
task: length:16
device: cpu
threads: 1
num_envs: 4
total_steps: 128
ppo: {n_steps: 16, n_minibatches: 2, n_epochs: 1, learning_rate: 1e-3}
encoder: {latent_dim: 16}
controller: {hidden: [16]}
evaluation: {every_steps: 64, episodes: 2, video: false}
checkpoint: {every_steps: 64}
"""


@pytest.fixture(scope="module", autouse=True)
def place(tmp_path_factory):
    """A working folder of the module's own."""
    with registered(), pytest.MonkeyPatch.context() as patch:
        folder = tmp_path_factory.mktemp("work")
        patch.chdir(folder)
        patch.setattr("rlstitch.api.train.FINAL_EPISODES", 4)
        yield folder


def trained(text: str, *settings: str) -> Trained:
    file = Path("config.yaml")
    file.write_text(text)
    return train(load_config(file, settings), progress="none", force=True)


def test_any_environment_is_seen_as_a_config_says():
    plain = trained(CONFIG.format(environment=DISCRETE), "seed=1")
    inverted = trained(CONFIG.format(environment=DISCRETE), "seed=2", "variation=inverted+greyscale")
    world = plain.agent.card.world
    assert world == World(DISCRETE, action_repeat=2, frame_stack=2, crop=36, size=32, sensor="pixels")
    assert plain.agent.card.observation_shape == (32, 32, 6)
    images = np.random.default_rng(0).integers(0, 256, (3, 32, 32, 6), dtype=np.uint8)
    np.testing.assert_array_equal(load_agent(plain.folder).act(images), plain.agent.act(images))
    outcome = stitch(inverted.agent, plain.agent, method="affine", pairs=40, episodes=4)
    assert [cell.method for cell in outcome.cells] == ["random", "native", "naive", "affine"]
    assert evaluate(plain.agent, episodes=4).evaluation.lengths.max() <= 13  # 25 steps, two at a time
    assert next(record(plain.agent, scale=40).frames).shape == (40, 40, 3)  # for people: as it is drawn
    assert "32x32x6 (2 frames, each action 2 times)" in str(show_agent(plain.folder))


def test_stacked_grey_images_are_trained_on():
    grey = trained(CONFIG.format(environment=GREY), "seed=1")
    assert grey.agent.card.observation_shape == (32, 32, 2)
    assert next(record(grey.agent, scale=40).frames).shape[2] == 3


def test_an_encoder_of_separate_frames_needs_channels_of_their_own():
    with pytest.raises(InvalidInputError, match="frames: expected a divisor"):
        trained(CONFIG.format(environment=DISCRETE), "frame_stack=3", "encoder.latent_dim=16")


def test_older_runs_are_found_again():
    """Keys that came later are left out of a run's name where they say nothing new."""
    plain = f"environment: {DISCRETE}\nname: x\n"
    Path("plain.yaml").write_text(plain)
    config = load_config("plain.yaml")
    spelled = ["backend=gymnasium", "frame_stack=1", "size=null", "encoder.frames=channels", "processes=true"]
    assert load_config("plain.yaml", spelled).hash8 == config.hash8
    for changed in ("backend=envpool", "frame_stack=2", "size=32", "encoder.frames=separate", "action_repeat=2"):
        assert load_config("plain.yaml", [changed]).hash8 != config.hash8


@pytest.fixture(scope="module")
def cars():
    pytest.importorskip("envpool")
    return [trained(CARS, f"seed={seed}", f"variation={look}") for seed, look in ((1, "green"), (2, "red"))]


def test_cars_are_trained_and_stitched_from_one_rollout(cars):
    green, red = cars
    assert green.agent.card.observation_shape == (32, 32, 6)
    outcome = stitch(red.agent, green.agent, method="affine", pairs=40, episodes=2)
    assert outcome.report.pairs == 40
    assert outcome.cells[-1].world.startswith("CarRacing-v3, red, task length:16")


def test_pairs_of_cars_are_one_state_under_two_looks(cars):
    world = cars[0].agent.card.world
    agents = [result.agent for result in cars]
    plain = World("CarRacing-v3", "green", "length:16", backend="envpool", actions="discrete", action_repeat=2)
    x, y = collect_paired_images(plain, World(**{**plain.to_dict(), "variation": "red"}), count=24, agents=agents)
    assert x.shape == y.shape == (24, 96, 96, 3)
    from rlstitch.envs.families.car_racing.cars import recolour

    np.testing.assert_array_equal(recolour(x, "red"), y)
    again = collect_paired_images(plain, World(**{**plain.to_dict(), "variation": "red"}), count=24, agents=agents)
    np.testing.assert_array_equal(x, again[0])
    stacked, _ = collect_paired_images(world, world, count=24, agents=agents)
    assert stacked.shape == (24, 32, 32, 6)


def test_anchors_of_cars_are_the_same_whatever_their_look(cars):
    green, red = (result.agent.card.world for result in cars)
    plain = World("CarRacing-v3", backend="envpool", actions="discrete", action_repeat=2)
    anchors = choose_replay_anchor_set(collect_recording(plain, episodes=2, max_steps=6), 5)
    assert dict(anchors.played) == {"backend": "envpool", "actions": "discrete", "action_repeat": 2}
    assert load_anchor_set(anchors.save("anchors")) == anchors
    one, other = anchors.render_in(green), anchors.render_in(red)
    assert one.shape == other.shape == (5, 32, 32, 6)
    assert (one != other).any()
    elsewhere = AnchorSet.replay("CarRacing-v3", anchors.seeds, anchors.actions, anchors.frames, view=anchors.view)
    assert elsewhere.identity != anchors.identity
    with pytest.raises(InvalidInputError, match=r"played: expected some of backend, actions, .*make_kwargs"):
        AnchorSet.replay("E", anchors.seeds, anchors.actions, anchors.frames, played={"size": 3})
