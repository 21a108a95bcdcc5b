"""Imported models of vectors act as Stable-Baselines3's own do, split and normalized as is stated."""

from __future__ import annotations

import os
import pickle
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import pytest
import torch
from gymnasium.wrappers import FlattenObservation
from sb3_samples import with_data
from stable_baselines3 import A2C, DDPG, DQN, PPO, SAC, TD3
from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.vec_env import DummyVecEnv, VecNormalize
from torch import nn

from rlstitch.agents.agent import Agent
from rlstitch.agents.artefact import load_agent, save_agent
from rlstitch.agents.card import AgentCard
from rlstitch.agents.sb3.importing import ImportedModel, ModelOptions, import_model
from rlstitch.agents.sb3.statistics import Statistics, of_ram, read_statistics
from rlstitch.agents.specs import BoxActions, DiscreteActions
from rlstitch.errors import ArtefactError, IncompatibleError, InvalidInputError, RlstitchError

TORQUE = BoxActions(low=(-2.0,), high=(2.0,))
ACTIONS = {"CartPole-v1": DiscreteActions(n=2), "Acrobot-v1": DiscreteActions(n=3), "Pendulum-v1": TORQUE}
WIDTHS = {"CartPole-v1": 4, "Acrobot-v1": 6, "Pendulum-v1": 3}
MODELS: dict[str, tuple[type[BaseAlgorithm], str, dict[str, Any]]] = {
    "ppo": (PPO, "CartPole-v1", {"net_arch": [12, 8]}),
    "ppo-three": (PPO, "CartPole-v1", {"net_arch": {"pi": [9, 8, 7], "vf": []}, "activation_fn": nn.ReLU}),
    "a2c": (A2C, "Pendulum-v1", {"net_arch": [10]}),
    "dqn": (DQN, "Acrobot-v1", {"net_arch": [11, 7]}),
    "sac": (SAC, "Pendulum-v1", {"net_arch": [10, 6]}),
    "td3": (TD3, "Pendulum-v1", {"net_arch": [10, 6]}),
    "ddpg": (DDPG, "Pendulum-v1", {"net_arch": [8]}),
}


def made(name: str) -> tuple[Any, str]:
    kind, environment, policy = MODELS[name]
    memory = {} if kind in (PPO, A2C) else {"buffer_size": 10}
    model: Any = kind("MlpPolicy", environment, policy_kwargs=policy, seed=0, device="cpu", **memory)  # type: ignore[call-arg]
    return model, environment


def imported(model: BaseAlgorithm, environment: str, folder: Path, **changes: Any) -> ImportedModel:
    model.save(folder / "model.zip")
    place = {name: changes.pop(name) for name in ("observation_shape", "actions", "statistics") if name in changes}
    place = {"observation_shape": (WIDTHS[environment],), "actions": ACTIONS[environment], **place}
    return import_model(folder / "model.zip", **place, options=ModelOptions(**changes))


def outputs(model: Any, observations: torch.Tensor) -> torch.Tensor:
    """What the source library's policy computes: logits, means, action values, or squashed actions in [-1, 1]."""
    policy = model.policy
    if isinstance(model, DQN):
        return policy.q_net(observations)
    if isinstance(model, TD3):
        return policy.actor(observations)
    if isinstance(model, SAC):
        return policy.actor.get_action_dist_params(observations)[0]
    shared = policy.mlp_extractor.forward_actor(policy.extract_features(observations))
    return policy.action_net(shared)


@pytest.mark.parametrize("split", [1, None])
@pytest.mark.parametrize("name", MODELS)
@torch.no_grad()
def test_outputs_are_the_models_wherever_it_is_split(name: str, split: int | None, tmp_path: Path) -> None:
    model, environment = made(name)
    parts = imported(model, environment, tmp_path, split=split, temperature=1.0)
    observations = 3 * torch.randn(64, WIDTHS[environment], generator=torch.Generator().manual_seed(0))
    numbers = parts.controller.action_parameters(parts.encoder(observations))[:, : ACTIONS[environment].width]
    expected = outputs(model, observations)
    torch.testing.assert_close(numbers.tanh() if isinstance(model, TD3) else numbers, expected, atol=1e-5, rtol=0)
    assert expected.std(0).min() > 1e-3, "not the same for every observation"
    widths = MODELS[name][2]["net_arch"]
    hidden = widths["pi"] if isinstance(widths, dict) else widths
    assert parts.encoder.latent_dim == (hidden[-1] if split is None else hidden[0])
    greedy = parts.controller.bound(numbers).numpy() if environment == "Pendulum-v1" else numbers.argmax(1).numpy()
    np.testing.assert_allclose(greedy, model.predict(observations.numpy(), deterministic=True)[0], atol=1e-5)


def normalized(seed: int | None = None) -> VecNormalize:
    """A VecNormalize that has seen some states; with a seed, one whose spaces hold generators too."""
    environments = VecNormalize(DummyVecEnv([lambda: gymnasium.make("Pendulum-v1")]), clip_obs=1.5, epsilon=1e-3)
    environments.seed(0)
    environments.reset()
    if seed is not None:
        environments.observation_space.seed(seed)
        environments.action_space.seed(seed)
    for _ in range(50):
        environments.step(np.ones((1, 1), dtype=np.float32))
    return environments


@pytest.mark.parametrize("kind", ["file", "seeded file", "npz", "live"])
def test_statistics_are_those_of_vec_normalize(kind: str, tmp_path: Path) -> None:
    environments = normalized(3 if kind == "seeded file" else None)
    path = tmp_path / ("s.npz" if kind == "npz" else "s.pkl")
    running = environments.obs_rms
    if kind == "npz":
        np.savez(path, mean=running.mean, var=running.var, count=running.count, clip=1.5, epsilon=1e-3)
    else:
        environments.save(str(path))
    statistics = read_statistics(environments if kind == "live" else path)
    assert statistics is not None
    model, _ = made("sac")
    parts = imported(model, "Pendulum-v1", tmp_path, statistics=statistics)
    observations = np.random.default_rng(0).normal(scale=3, size=(64, 3)).astype(np.float32)
    seen = parts.encoder.normalization(torch.from_numpy(observations)).numpy()
    np.testing.assert_array_equal(seen, environments.normalize_obs(observations))
    assert (np.abs(seen) == 1.5).any(), "some are cut"
    card = AgentCard(
        name="x", world={"environment": "Pendulum-v1"}, seed=0, observation_shape=(3,),
        encoder=parts.encoder.spec(), controller=parts.controller.spec(),
    )  # fmt: skip
    save_agent(Agent(parts.encoder, parts.controller, card), tmp_path / "x")
    stored = load_agent(tmp_path / "x")
    assert torch.equal(stored.encode(observations), Agent(parts.encoder, parts.controller, card).encode(observations))


@pytest.mark.parametrize("normalized_too", [False, True])
def test_statistics_of_bytes_become_those_of_the_sensor_ram(normalized_too: bool) -> None:
    rng = np.random.default_rng(0)
    raw = Statistics(rng.uniform(0, 255, 8), rng.uniform(1, 900, 8), epsilon=0.5) if normalized_too else None
    scaled, ram = of_ram(raw, 8), rng.integers(0, 256, (32, 8))
    expected = ram if raw is None else ((ram - raw.mean) / np.sqrt(raw.var + raw.epsilon)).clip(-10, 10)
    seen = ((ram / 255 - scaled.mean) / np.sqrt(scaled.var + scaled.epsilon)).clip(-scaled.clip, scaled.clip)
    np.testing.assert_allclose(seen, expected, rtol=1e-12, atol=1e-12)


def test_a_vec_normalize_of_rewards_alone_leaves_observations(tmp_path: Path) -> None:
    VecNormalize(DummyVecEnv([lambda: gymnasium.make("Pendulum-v1")]), norm_obs=False).save(str(tmp_path / "s.pkl"))
    assert read_statistics(tmp_path / "s.pkl") is None


class Trap:
    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> Any:
        return os.mkdir, (str(self.path),)


class OwnNormalize(VecNormalize):
    """Of a user's own: what it does is in code that is not read."""


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (lambda path: pickle.dumps(Trap(path)), r"asks for 'posix mkdir'; refused, nothing was run.*numpy\.savez"),
        (lambda path: pickle.dumps({"numpy": 1}), "expected a VecNormalize, found <class 'dict'>.*numpy.savez"),
        (lambda path: pickle.dumps(np.zeros(3)), "expected a VecNormalize, found numpy"),
        (lambda path: b"", "no usable VecNormalize"),
        (lambda path: b"\x80\x04.", "no usable VecNormalize"),
    ],
)
def test_other_files_than_statistics_are_refused_and_nothing_runs(content, message: str, tmp_path: Path) -> None:
    (tmp_path / "s.pkl").write_bytes(content(tmp_path / "sprung"))
    with pytest.raises(ArtefactError, match=message) as caught:
        read_statistics(tmp_path / "s.pkl")
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "sprung").exists()


def test_a_normalization_of_the_users_own_class_is_refused(tmp_path: Path) -> None:
    OwnNormalize(DummyVecEnv([lambda: gymnasium.make("Pendulum-v1")])).save(str(tmp_path / "s.pkl"))
    with pytest.raises(ArtefactError, match=r"asks for '\S*test_sb3_vectors OwnNormalize'"):
        read_statistics(tmp_path / "s.pkl")


def test_damaged_statistics_never_end_in_a_traceback(tmp_path: Path) -> None:
    normalized().save(str(tmp_path / "s.pkl"))
    whole, generator = (tmp_path / "s.pkl").read_bytes(), np.random.default_rng(0)
    refused = 0
    for _ in range(600):
        content = bytearray(whole)
        for place in generator.integers(len(content), size=3):
            content[place] = int(generator.integers(256))
        (tmp_path / "s.pkl").write_bytes(bytes(content[: generator.integers(1, 2 * len(content))]))
        try:
            read_statistics(tmp_path / "s.pkl")
        except RlstitchError as error:
            refused += "\n" not in str(error)
    assert refused > 100


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"split": 0}, InvalidInputError, "split: expected 1 to 2, its hidden layers, found 0"),
        ({"split": 3}, InvalidInputError, "split: expected 1 to 2, its hidden layers, found 3"),
        ({"extractor": "mine"}, InvalidInputError, "extractor: expected none where .* are vectors"),
        ({"observation_shape": (5,)}, IncompatibleError, r"vectors of 5 numbers, the model was trained on \[4\]"),
        ({"observation_shape": (40, 40, 3)}, IncompatibleError, "40 x 40 x 3"),
        ({"actions": TORQUE}, IncompatibleError, "trained on a Discrete"),
        ({"statistics": Statistics(np.zeros(3), np.ones(3))}, IncompatibleError, "the normalization takes 3"),
    ],
)
def test_what_does_not_fit_is_refused(options, error, message: str, tmp_path: Path) -> None:
    model, environment = made("ppo")
    with pytest.raises(error, match=message) as caught:
        imported(model, environment, tmp_path, **options)
    assert "\n" not in str(caught.value)


def test_a_model_without_hidden_layers_has_no_encoder(tmp_path: Path) -> None:
    model = PPO("MlpPolicy", "CartPole-v1", policy_kwargs={"net_arch": []}, device="cpu")
    with pytest.raises(InvalidInputError, match="expected hidden layers"):
        imported(model, "CartPole-v1", tmp_path)


def test_observations_of_another_width_that_no_space_tells_are_refused(tmp_path: Path) -> None:
    model, environment = made("ppo")
    model.save(tmp_path / "whole.zip")
    silent = with_data(tmp_path / "model.zip", tmp_path / "whole.zip", observation_space=None)
    with pytest.raises(IncompatibleError, match="vectors of 5 numbers, the first layer takes 4"):
        import_model(silent, observation_shape=(5,), actions=ACTIONS[environment])


@torch.no_grad()
def test_discrete_observations_are_one_hot_codes(tmp_path: Path) -> None:
    model: Any = PPO("MlpPolicy", "FrozenLake-v1", device="cpu")
    model.save(tmp_path / "m.zip")
    parts = import_model(tmp_path / "m.zip", observation_shape=(16,), actions=DiscreteActions(n=4))
    logits = parts.controller.action_parameters(parts.encoder(torch.eye(16))).log_softmax(1)
    expected = model.policy.get_distribution(torch.arange(16)).distribution.logits
    torch.testing.assert_close(logits, expected, atol=1e-5, rtol=0)


@torch.no_grad()
def test_tables_of_numbers_are_flattened(tmp_path: Path) -> None:
    space = gymnasium.spaces.Box(-1, 1, (3, 2), np.float64)
    table: Any = gymnasium.wrappers.TransformObservation(
        gymnasium.make("Acrobot-v1"), lambda state: state.reshape(3, 2).astype(np.float64), space
    )
    model: Any = PPO("MlpPolicy", table, device="cpu")
    parts = imported(model, "Acrobot-v1", tmp_path)
    observation = table.reset(seed=0)[0]
    flat = torch.from_numpy(FlattenObservation(table).observation(observation)[None]).float()
    expected = model.policy.get_distribution(torch.from_numpy(observation[None])).distribution.logits
    logits = parts.controller.action_parameters(parts.encoder(flat)).log_softmax(1)
    torch.testing.assert_close(logits, expected, atol=1e-5, rtol=0)
