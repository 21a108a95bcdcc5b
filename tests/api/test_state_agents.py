"""Agents that observe vectors, and rendered pixels of the same environment, through the whole pipeline."""

from __future__ import annotations

import json
from itertools import islice
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import pytest
import torch
from gymnasium import spaces

from rlstitch.agents import Agent, build_controller, build_encoder, load_agent
from rlstitch.api.evaluate import evaluate
from rlstitch.api.export_agent import export_agent
from rlstitch.api.listing import show_agent
from rlstitch.api.stitch import coverage_lines
from rlstitch.api.train import Trained, draft_card, train
from rlstitch.config.training import TrainConfig, load_config
from rlstitch.envs import World, cell_world, family_of, make_vec, with_sensor
from rlstitch.envs.observation import own_sensor
from rlstitch.errors import InvalidInputError
from rlstitch.rollouts.evaluation import evaluate as play
from rlstitch.rollouts.image_pairs import collect_image_pairs
from rlstitch.rollouts.video import record, require_recordable
from rlstitch.stitching.diagnosis.states import own_states
from rlstitch.stitching.pairs import gather_pairs
from rlstitch.stitching.relativize import Distillation, relativize_agent, visited_states
from rlstitch.stitching.stitch import stitch_agents

CONFIG = """
environment: CartPole-v1
device: cpu
threads: 1
num_envs: 4
total_steps: 256
ppo: {n_steps: 32, n_minibatches: 2, n_epochs: 1}
controller: {hidden: [16]}
evaluation: {every_steps: 128, episodes: 2, video: false}
checkpoint: {every_steps: 128}
"""
PIXELS = ("sensor=pixels", "size=48", "frame_stack=2", "seed=3")


class Numbers(gymnasium.Env[Any, Any]):
    """Observes numbers and renders nothing."""

    observation_space = spaces.Box(-1, 1, (3,), np.float64)
    action_space = spaces.Discrete(2)


@pytest.fixture(autouse=True, scope="module")
def numbers():
    gymnasium.register("Numbers-v0", Numbers)
    yield
    del gymnasium.registry["Numbers-v0"]


@pytest.fixture(scope="module")
def trained(place: Path):
    """Train, once for each settings."""
    (place / "pole.yaml").write_text(CONFIG)
    done: dict[tuple[str, ...], Trained] = {}

    def make(*settings: str) -> Trained:
        if settings not in done:
            done[settings] = train(load_config(place / "pole.yaml", settings), progress="none")
        return done[settings]

    return make


def test_stacked_vectors_are_read_as_the_newest_and_the_changes_before_it(trained):
    agent = load_agent(trained("seed=4", "frame_stack=3", "encoder.frames=differences").folder)
    encoder, plain = agent.encoder, build_encoder({**agent.encoder.spec(), "frames": 1})
    plain.load_state_dict(encoder.state_dict())
    oldest, middle, newest = torch.randn(3, 5, 4)
    changes = torch.cat([middle - oldest, newest - middle, newest], dim=1)
    stacked = torch.cat([oldest, middle, newest], dim=1)
    torch.testing.assert_close(encoder(stacked), plain(changes), rtol=0, atol=0)
    assert encoder.normalization.var[:4].max() < encoder.normalization.var[8:].max(), "changes are smaller than states"


def test_the_preset_of_pong_reads_two_frames_of_ram_as_one_and_a_change():
    pytest.importorskip("ale_py")
    encoder = draft_card(load_config("atari-pong-ram"))[0].encoder
    assert (encoder["frames"], encoder["observation_shape"]) == (2, [256])


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (("encoder.frames=differences",), "frame_stack: expected 2 or more with encoder.frames differences, found 1"),
        (("frame_stack=2", "encoder.frames=separate"), "expected channels or differences for vectors, found separate"),
        ((*PIXELS, "encoder.frames=differences"), "expected channels or separate for images .*, found differences"),
    ],
)
def test_a_way_of_reading_a_stack_that_the_observations_do_not_have_is_refused(trained, settings, message):
    with pytest.raises(InvalidInputError, match=message):
        trained(*settings)


def test_a_state_agent_is_trained_saved_and_loaded(trained):
    result = trained("seed=1")
    card = load_agent(result.folder).card
    assert (card.world.sensor, card.observation_shape, card.encoder["kind"]) == ("state", (4,), "mlp")
    states = np.random.default_rng(0).normal(size=(5, 4))
    loaded = load_agent(result.agent.card.name)
    np.testing.assert_array_equal(loaded.act(states), result.agent.act(states.astype(np.float32)))
    assert loaded.predict(states[0], deterministic=True)[0].shape == ()
    assert loaded.encode(states).shape == (5, 64)
    # Random play and the first of the two rollouts: the second is taken in before a third only.
    assert loaded.encoder.state_dict()["normalization.count"] == 16 * 128 + 128
    assert "4 numbers (sensor state)" in str(show_agent(result.folder))
    assert json.loads((result.run_folder / "config.json").read_text())["sensor"] == "state"


def test_statistics_stay_as_they_are_in_evaluation_and_observations_are_checked(trained):
    agent = trained("seed=1").agent
    before = {name: value.clone() for name, value in agent.encoder.state_dict().items()}
    evaluate(agent, episodes=2)
    assert all(torch.equal(before[name], value) for name, value in agent.encoder.state_dict().items())
    for wrong in (np.zeros((2, 5)), np.array([["a"] * 4])):
        with pytest.raises(InvalidInputError, match=r"observations: expected numbers \(N, 4\), found"):
            agent.act(wrong)


def test_a_resumed_training_ends_with_the_same_agent(trained, place, monkeypatch):
    whole = trained("seed=5", "name=whole")
    from rlstitch.training.callbacks import CheckpointCallback

    def interrupt(self):
        written(self)
        if self.num_timesteps >= 128:
            raise KeyboardInterrupt

    written = CheckpointCallback._on_rollout_start
    config = load_config(place / "pole.yaml", ("seed=5", "name=parts"))
    with monkeypatch.context() as patch:
        patch.setattr(CheckpointCallback, "_on_rollout_start", interrupt)
        assert train(config, progress="none").ended == "interrupted"
    parts = train(config, resume=True, progress="none")
    for name, value in whole.agent.encoder.state_dict().items():
        assert torch.equal(value, parts.agent.encoder.state_dict()[name]), name


def test_state_and_pixels_are_stitched_both_ways(trained, place):
    card, _ = draft_card(load_config(place / "pole.yaml", PIXELS))
    state, pixels = trained("seed=1").agent, Agent(build_encoder(card.encoder), build_controller(card.controller), card)
    assert pixels.card.observation_shape == (48, 48, 6)
    assert cell_world(pixels.card.world, state.card.world) == pixels.card.world
    for encoder, policy in ((state, pixels), (pixels, state)):
        pairs = gather_pairs(encoder, policy, pairs=30, held=10)
        joined = stitch_agents(encoder, policy, pairs).agent
        assert joined.card.world.sensor == encoder.card.world.sensor
        assert play(joined, episodes=1).lengths[0] > 0
    seen = own_states(pixels, state, steps=48)
    assert (seen.x.shape[1:], seen.y.shape[1:]) == ((48, 48, 6), (4,))


def test_a_video_of_a_state_agent_shows_what_the_environment_renders(trained):
    agent = trained("seed=1").agent
    require_recordable(agent.card.world, (4,))
    video = record(agent, max_episode_steps=600)
    frames = list(islice(video.frames, 10))
    assert {frame.shape for frame in frames} == {(400, 600, 3)}
    assert (frames[0] != frames[-1]).any()
    with pytest.raises(InvalidInputError, match="video: Numbers-v0 does not render images; nothing was played"):
        require_recordable(World("Numbers-v0"), (3,))


def test_pairs_of_which_no_two_are_alike_say_so(trained):
    agent = trained("seed=1").agent
    pairs = gather_pairs(agent, agent, pairs=40, held=10)
    assert str(pairs.coverage).endswith("episodes; none was met twice")
    assert coverage_lines(stitch_agents(agent, agent, pairs).report)[0].endswith("episodes; no view was met twice")


def test_pairs_of_two_sensors_show_the_same_states():
    world = World("CartPole-v1", sensor="state", frame_stack=2)
    pairs = collect_image_pairs(world, World("CartPole-v1", sensor="pixels", size=32), count=30)
    assert (pairs.x.dtype, pairs.x.shape[1:], pairs.y.dtype, pairs.y.shape[1:]) == (
        np.float32, (8,), np.uint8, (32, 32, 3)
    )  # fmt: skip
    # The darkest column of the lower half is the cart's, which stands where the state says.
    darkest = pairs.y[:, 20:].astype(float).sum(axis=(1, 3)).argmin(axis=1)
    assert np.corrcoef(pairs.x[:, 4], darkest)[0, 1] > 0.7


def test_one_agent_with_itself_has_equal_latents(trained):
    agent = trained("seed=1").agent
    same = gather_pairs(agent, agent, pairs=40, held=10)
    np.testing.assert_array_equal(same.x.numpy(), same.y.numpy())


def test_state_agents_are_made_relative_and_exported(trained):
    agent = trained("seed=1").agent
    states = visited_states(agent, count=64, num_envs=4)
    made = relativize_agent(agent, states[:8], states, anchor_set="0" * 64, distillation=Distillation(steps=5)).agent
    assert made.encode(states).shape == (64, 8)
    assert export_agent(made).difference < 1e-5


def test_a_network_of_the_wrong_kind_is_refused(place):
    with pytest.raises(InvalidInputError, match=r"encoder.arch: .* observations of 4 numbers; expected mlp"):
        train(TrainConfig(world=World("CartPole-v1"), encoder={"arch": "small"}))
    with pytest.raises(InvalidInputError, match="look: the sensor state gives vectors, not images"):
        make_vec(World("CartPole-v1", look="inverted"), 1, seed=0)


def test_what_environments_can_be_observed_by():
    assert family_of("CartPole-v1").sensors_of(World("CartPole-v1")) == ("state", "pixels")
    assert with_sensor(World("MiniGrid-Empty-5x5-v0")).sensor == "pixels"


@pytest.mark.parametrize(
    ("space", "sensor"),
    [
        (spaces.Box(0, 255, (5, 4, 3), np.uint8), "pixels"),
        (spaces.Box(-1, 1, (3,), np.float64), "state"),
        (spaces.Box(0, 9, (2, 3), np.int64), "state"),
        (spaces.Discrete(4, start=2), "state"),
        (spaces.MultiDiscrete([2, 3]), "state"),
        (spaces.MultiBinary(3), "state"),
        (spaces.Tuple([spaces.Discrete(2)]), None),
        (spaces.Sequence(spaces.Discrete(2)), None),
        (spaces.Text(5), "state"),
        (spaces.Dict({"a": spaces.Discrete(2)}), "state"),
        (spaces.Dict({"a": spaces.Discrete(2), "b": spaces.Box(0, 255, (5, 4), np.uint8)}), "pixels"),
        (spaces.Dict({"a": spaces.Dict({"b": spaces.Graph(spaces.Discrete(2), None)})}), None),
        (spaces.Dict({}), None),
        (spaces.Box(0, 1, (5, 4, 3), np.float32), "pixels"),
        (spaces.Box(0, 1, (5, 4, 3), np.uint8), "pixels"),
        (spaces.Box(-1, 1, (5, 4, 3), np.float32), None),
        (spaces.Box(0, 255, (2, 5, 4, 3), np.uint8), None),
    ],
)
def test_kinds_of_observations(space, sensor):
    if sensor is None:
        with pytest.raises(InvalidInputError, match=r"^E-v0(: a.b)?: expected (observations|images) .*found"):
            own_sensor(space, "E-v0")
    else:
        assert own_sensor(space, "E-v0") == sensor


def test_discrete_observations_are_one_hot():
    env = make_vec(World("FrozenLake-v1"), 2, seed=0)
    assert (env.render_mode, env.metadata["render_modes"], env.render()) == (None, [], None)
    np.testing.assert_array_equal(env.reset()[0], np.eye(16, dtype=np.float32)[[0, 0]])
    env.close()
