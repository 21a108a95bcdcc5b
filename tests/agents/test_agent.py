"""What an agent does: images, latents, actions; greedy and sampled; and what it refuses."""

from __future__ import annotations

import copy
from typing import Any

import gymnasium
import numpy as np
import pytest
import torch
from artefact_samples import IMAGE, make_agent, observations
from gymnasium import spaces
from stable_baselines3.common.evaluation import evaluate_policy
from stable_baselines3.common.vec_env import DummyVecEnv, VecTransposeImage

from rlstitch.agents.agent import Agent
from rlstitch.agents.controller import build_controller
from rlstitch.agents.encoder import build_encoder
from rlstitch.errors import IncompatibleError, InvalidInputError

LOW, HIGH = (-1.0, 0.0), (1.0, 0.5)


def continuous(log_std: float = -1.0) -> Agent:
    """A sample agent with two continuous actions in boxes of their own."""
    agent = make_agent(name="sample")
    actions = {"kind": "box", "low": LOW, "high": HIGH}
    controller = build_controller({"latent_dim": 6, "actions": actions, "hidden": [8]})
    with torch.no_grad():
        controller.action_head.weight.mul_(20.0)  # some means lie out of bounds
        controller.log_std.fill_(log_std)
    return Agent(agent.encoder, controller, agent.card)


class Picture(gymnasium.Env):
    """Three steps; the reward is 1 where the action is the brightest channel of what was seen."""

    observation_space = spaces.Box(0, 255, IMAGE, np.uint8)
    action_space = spaces.Discrete(4)

    def _look(self):
        self.image = self.np_random.integers(0, 256, IMAGE, dtype=np.uint8)
        return self.image

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.time = 0
        return self._look(), {}

    def step(self, action):
        reward = float(action == self.image.mean(axis=(0, 1)).argmax())
        self.time += 1
        return self._look(), reward, self.time >= 3, False, {}


def picture() -> gymnasium.Env:
    from stable_baselines3.common.monitor import Monitor

    return Monitor(Picture())


@pytest.mark.parametrize("kind", ["cnn", "relative", "translated"])
def test_every_kind_of_agent_encodes_and_acts(kind):
    agent = make_agent(kind)
    latents = agent.encode(observations(5))
    assert latents.shape == (5, agent.encoder.latent_dim)
    assert not latents.requires_grad
    assert agent.act(observations(5)).shape == (5,)


def test_images_are_channel_first_floats_in_0_to_1():
    agent, batch = make_agent(), observations(2)
    batch[0, 3, 5] = (255, 0, 51)
    images = agent.images(batch)
    assert (images.shape, images.dtype) == ((2, 3, *IMAGE[:2]), torch.float32)
    assert images[0, :, 3, 5].tolist() == pytest.approx([1.0, 0.0, 0.2])
    assert 0 <= float(images.min()) <= float(images.max()) <= 1


def test_channel_first_observations_are_the_same_observations():
    agent, batch = make_agent(), observations(4)
    turned = batch.transpose(0, 3, 1, 2)
    assert torch.equal(agent.images(turned), agent.images(batch))
    np.testing.assert_array_equal(agent.act(turned), agent.act(batch))
    np.testing.assert_array_equal(agent.predict(turned[0], deterministic=True)[0], agent.act(batch)[0])


def test_encoding_in_batches_is_encoding_at_once():
    agent, batch = make_agent(), observations(10)
    torch.testing.assert_close(agent.encode(batch, batch_size=3), agent.encode(batch), rtol=0, atol=1e-6)
    assert agent.encode(batch[:0]).shape == (0, agent.encoder.latent_dim)
    many = observations(300)
    torch.testing.assert_close(agent.encode(many), agent.encode(many, batch_size=300), rtol=0, atol=1e-6)


def test_encoding_is_the_encoder_and_actions_the_controller_after_it():
    agent, batch = make_agent(), observations(6)
    with torch.no_grad():
        floats = torch.from_numpy(batch).permute(0, 3, 1, 2).float() / 255
        torch.testing.assert_close(agent.encode(batch), agent.encoder(floats))
        logits, _ = agent.controller(agent.encoder(floats))
    torch.testing.assert_close(agent.action_parameters(batch), logits)
    np.testing.assert_array_equal(agent.act(batch), logits.argmax(1).numpy())


def test_acting_leaves_observations_alone():
    agent, batch = make_agent(), observations(3)
    before = batch.copy()
    batch.setflags(write=False)
    agent.act(np.array(batch))
    np.testing.assert_array_equal(batch, before)


@pytest.mark.parametrize(
    ("wrong", "result"),
    [
        (np.zeros((2, *IMAGE), np.float32), "float32"),
        (np.full((2, *IMAGE), np.nan), "float64"),
        (np.zeros((2, *IMAGE), np.int64), "int64"),
        (np.zeros(IMAGE, np.uint8), r"\(24, 24, 3\)"),
        (np.zeros((2, 24, 25, 3), np.uint8), r"\(24, 25, 3\)"),
        (np.zeros((2, 24, 24, 4), np.uint8), r"\(24, 24, 4\)"),
        (np.zeros((2, 3, 25, 24), np.uint8), r"\(3, 25, 24\)"),
        (np.zeros((1, 2, *IMAGE), np.uint8), r"\(1, 2, 24, 24, 3\)"),
    ],
)
def test_observations_of_another_type_or_shape_are_refused(wrong, result):
    agent = make_agent()
    for call in (agent.images, agent.encode, agent.act, agent.action_parameters):
        with pytest.raises(InvalidInputError, match=f"observations: expected .*24, 24, 3.* found .*{result}"):
            call(wrong)


class Lazy:
    """Frames that become an array when NumPy asks, as Gymnasium's LazyFrames."""

    def __init__(self, frames: np.ndarray) -> None:
        self.frames = frames

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        return self.frames if dtype is None else self.frames.astype(dtype)


@pytest.mark.parametrize(
    "given",
    [
        lambda batch: batch[::-1][::-1],
        lambda batch: np.ascontiguousarray(batch[:, ::-1, ::-1])[:, ::-1, ::-1],
        lambda batch: np.ascontiguousarray(batch[..., ::-1])[..., ::-1],
        lambda batch: np.asfortranarray(batch),
        lambda batch: np.repeat(batch, 2, axis=1)[:, ::2],
        lambda batch: batch.transpose(0, 3, 1, 2)[:, :, ::-1][:, :, ::-1],
        lambda batch: np.frombuffer(batch.tobytes(), np.uint8).reshape(batch.shape),
        lambda batch: batch.tolist(),
        lambda batch: list(batch),
        lambda batch: tuple(torch.from_numpy(image) for image in batch),
        lambda batch: torch.from_numpy(batch),
        Lazy,
    ],
)
def test_all_that_becomes_an_array_of_bytes_is_one(given):
    agent, batch = make_agent(), observations(3)
    expected = agent.act(batch)
    for call in (agent.act, lambda each: agent.predict(each, deterministic=True)[0]):
        np.testing.assert_array_equal(call(given(batch)), expected)
    torch.testing.assert_close(agent.encode(given(batch)), agent.encode(batch))


@pytest.mark.parametrize(
    "given",
    [
        lambda batch: batch[::-1, ::-1].copy()[::-1, ::-1],
        lambda batch: np.asfortranarray(batch),
        lambda batch: batch.astype(">f4"),
        lambda batch: batch.astype(np.longdouble),
        lambda batch: batch.astype(np.int16),
        lambda batch: batch.tolist(),
        lambda batch: torch.from_numpy(batch),
        Lazy,
    ],
)
def test_all_that_becomes_an_array_of_numbers_is_one(given):
    agent, batch = make_agent("mlp"), np.random.default_rng(0).integers(-3, 4, (3, 5)).astype(np.float32)
    for call in (agent.act, lambda each: agent.predict(each, deterministic=True)[0], agent.encode):
        np.testing.assert_array_equal(call(given(batch)), call(batch))


def test_what_is_not_finite_is_laid_to_the_observations_or_to_the_weights():
    agent = make_agent("mlp")
    assert np.isfinite(agent.act(np.full((1, 5), 1e300))).all(), "normalized numbers are cut off"
    with pytest.raises(InvalidInputError, match="not finite \\(NaN or infinity in observations\\)"):
        agent.act(np.full((1, 5), np.nan))
    agent.encoder.normalization.var.fill_(-1.0)
    with pytest.raises(InvalidInputError, match="not finite \\(NaN in the weights\\?\\)"):
        agent.act(np.zeros((1, 5)))


def test_one_image_as_a_list_gives_one_action():
    agent, batch = make_agent(), observations(1)
    assert agent.predict(batch[0].tolist(), deterministic=True)[0] == agent.act(batch)[0]
    assert agent.predict(Lazy(batch[0]), deterministic=True)[0] == agent.act(batch)[0]


def test_one_image_that_never_changes_is_broadcast():
    agent, batch = make_agent(), observations(1)
    many = np.broadcast_to(batch, (5, *IMAGE))
    np.testing.assert_array_equal(agent.act(many), np.repeat(agent.act(batch), 5))


@pytest.mark.parametrize(
    ("wrong", "result"),
    [
        ([[1, 2], [3]], "found list: "),
        (None, "found object"),
        (7, "found int64"),
        (np.uint8(7), "found uint8"),
        ("image", "found <U5"),
        (np.full(IMAGE, -1).tolist(), "found int64"),
        (np.full(IMAGE, 256).tolist(), "found int64"),
        (np.full(IMAGE, 0.5).tolist(), "found float64"),
        (np.zeros(IMAGE, bool), "found bool"),
        (np.zeros(IMAGE, np.uint16), "found uint16"),
        (np.zeros(IMAGE[:2], np.uint8), r"found uint8 \(24, 24\)"),
        (torch.zeros(IMAGE, device="meta"), "found Tensor: "),
    ],
)
def test_predict_refuses_all_else_in_one_line(wrong, result):
    agent = make_agent()
    for call in (agent.predict, agent.encode):
        with pytest.raises(InvalidInputError, match=f"observations: expected .*{result}") as caught:
            call(wrong)
        assert "\n" not in str(caught.value)


def test_a_dictionary_of_observations_is_refused():
    with pytest.raises(InvalidInputError, match=r"expected one image, found a dictionary of \['image', 'mission'\]"):
        make_agent().predict({"mission": observations(), "image": observations()})


def test_predict_takes_one_observation_or_many():
    agent, batch = make_agent(), observations(5)
    actions, state = agent.predict(batch, deterministic=True)
    assert (actions.shape, state) == ((5,), None)
    one, state = agent.predict(batch[2], state=("kept",), deterministic=True)  # type: ignore[arg-type]
    assert (np.shape(one), state) == ((), ("kept",))
    assert one == actions[2]


def test_greedy_is_always_the_same_and_sampling_follows_the_seed():
    agent, batch = make_agent(), np.repeat(observations(1), 200, axis=0)
    greedy = {tuple(agent.predict(batch, deterministic=True)[0]) for _ in range(3)}
    assert len(greedy) == 1
    draws = []
    for seed in (0, 0, 1):
        torch.manual_seed(seed)
        draws.append(agent.predict(batch)[0])
    np.testing.assert_array_equal(draws[0], draws[1])
    assert (draws[0] != draws[2]).any()


def test_sampled_actions_come_as_often_as_the_policy_says():
    agent = make_agent()
    batch = np.repeat(observations(1), 4000, axis=0)
    torch.manual_seed(0)
    often = np.bincount(agent.predict(batch)[0], minlength=4) / len(batch)
    np.testing.assert_allclose(often, agent.action_parameters(batch[:1]).softmax(1)[0].numpy(), atol=0.03)


def test_noise_decides_what_a_discrete_agent_samples():
    agent, batch = make_agent(), observations(3)
    noise = np.zeros((3, 4))
    np.testing.assert_array_equal(agent.act(batch, noise=noise), agent.act(batch))
    noise[:, 2] = 1e3
    assert agent.act(batch, noise=noise).tolist() == [2, 2, 2]
    assert agent.noise_kind == "gumbel"


def test_continuous_actions_are_means_plus_scaled_noise_within_bounds():
    agent, batch = continuous(), observations(8)
    assert agent.noise_kind == "normal"
    means = agent.action_parameters(batch).numpy()
    assert (means > np.array(HIGH)).any() or (means < np.array(LOW)).any()
    greedy = agent.act(batch)
    assert (greedy.shape, greedy.dtype) == ((8, 2), np.float32)
    np.testing.assert_allclose(greedy, np.clip(means, LOW, HIGH))
    noise = np.random.default_rng(0).normal(size=(8, 2))
    np.testing.assert_allclose(
        agent.act(batch, noise=noise), np.clip(means + np.exp(-1.0) * noise, LOW, HIGH), rtol=1e-5, atol=1e-6
    )


def test_continuous_sampling_has_the_deviation_that_was_learned():
    agent = continuous(log_std=-3.0)
    with torch.no_grad():
        agent.controller.action_head.weight.zero_()
        agent.controller.action_head.bias.copy_(torch.tensor([0.0, 0.25]))
    torch.manual_seed(0)
    actions, _ = agent.predict(np.repeat(observations(1), 2000, axis=0))
    np.testing.assert_allclose(actions.mean(0), [0.0, 0.25], atol=0.01)
    np.testing.assert_allclose(actions.std(0), np.exp(-3.0), rtol=0.1)


@pytest.mark.parametrize("part", ["encoder", "controller"])
@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_weights_that_are_not_finite_are_refused_when_they_are_used(part, value):
    agent = copy.deepcopy(make_agent())
    with torch.no_grad():
        next(getattr(agent, part).parameters()).fill_(value)
    expected = "agent 'sample': its action parameters are not finite"
    with pytest.raises(InvalidInputError, match=expected):
        agent.act(observations())
    with pytest.raises(InvalidInputError, match=expected):
        agent.predict(observations()[0])


def test_parts_that_do_not_fit_are_refused():
    agent = make_agent()
    controller = build_controller({"latent_dim": 7, "actions": {"kind": "discrete", "n": 4}})
    with pytest.raises(IncompatibleError, match="latents of width 6, the controller takes 7"):
        Agent(agent.encoder, controller, agent.card)


def test_an_agent_is_in_evaluation_mode_and_can_be_moved():
    encoder = build_encoder(make_agent().encoder.spec()).train()
    agent = make_agent()
    again = Agent(encoder, agent.controller.train(), agent.card)
    assert not again.encoder.training
    assert not again.controller.training
    assert again.to("cpu") is again
    assert again.device == torch.device("cpu")


@pytest.mark.parametrize("deterministic", [True, False])
def test_stable_baselines3_evaluates_an_agent(deterministic):
    agent = make_agent()

    def returns() -> list[float]:
        environment = DummyVecEnv([picture, picture])
        environment.seed(3)
        torch.manual_seed(0)
        result, lengths = evaluate_policy(
            agent, environment, n_eval_episodes=8, deterministic=deterministic, return_episode_rewards=True
        )
        environment.close()
        assert lengths == [3] * 8
        return list(result)

    first = returns()
    assert first == returns()
    assert 0 <= min(first) <= max(first) <= 3


def test_stable_baselines3_may_turn_the_images():
    agent = make_agent()
    means = []
    for wrap in (lambda made: made, VecTransposeImage):
        environment = wrap(DummyVecEnv([picture]))
        environment.seed(5)
        means.append(evaluate_policy(agent, environment, n_eval_episodes=6)[0])
        environment.close()
    assert means[0] == means[1]


def test_an_agent_introduces_itself_in_a_few_lines() -> None:
    text = repr(make_agent())
    assert "MiniGrid" in text
    assert text.count("\n") < 4
    assert max(map(len, text.splitlines())) < 120
