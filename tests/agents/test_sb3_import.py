"""Imported models act as Stable-Baselines3's own do; what is no such model is refused in one line, and nothing runs."""

from __future__ import annotations

import base64
import io
import os
import pickle
import re
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import sb3_samples
import torch
from sb3_samples import SHAPE, members, pictures, saved, torch_archive, trained, with_data, with_tensors, zipped

from rlstitch.agents.agent import Agent
from rlstitch.agents.artefact import load_agent, save_agent
from rlstitch.agents.card import AgentCard
from rlstitch.agents.sb3.importing import ImportedModel, ModelOptions, import_model
from rlstitch.agents.specs import BoxActions, DiscreteActions
from rlstitch.errors import ArtefactError, IncompatibleError, InvalidInputError, RlstitchError, UnknownNameError

FOUR = DiscreteActions(n=4)
PLANE = BoxActions(low=(-1.0, -1.0), high=(1.0, 1.0))
SCALED = BoxActions(low=sb3_samples.LOW, high=sb3_samples.HIGH)
ACTIONS = {"a2c-box": PLANE, "sac": SCALED, "sac-shared": SCALED, "td3": SCALED, "ddpg": SCALED}


def _policy(module: str, name: str, **methods: str) -> dict[str, Any]:
    """A policy's class as the library prints it (checked against sb3-contrib 2.9.2)."""
    printed = {
        ":type:": "<class 'abc.ABCMeta'>",
        "__module__": module,
        "__init__": f"<function {name}.__init__ at 0x7f>",
    }
    return {"policy_class": {**printed, **methods}}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("models")


@pytest.fixture(scope="module")
def model(folder: Path):
    """`model("ppo")`: the model and its zip, trained once."""
    made: dict[str, Any] = {}

    def get(name: str) -> Any:
        if name not in made:
            made[name] = trained(name, folder)
        return made[name]

    return get


@pytest.fixture(scope="module")
def ppo(model) -> Path:
    return model("ppo")[1]


def imported(path: Path, **changes: Any) -> ImportedModel:
    place = {name: changes.pop(name) for name in ("observation_shape", "actions", "statistics") if name in changes}
    place = {"observation_shape": SHAPE, "actions": FOUR, **place}
    return import_model(path, **place, options=ModelOptions(**changes))


def agent_of(result: ImportedModel) -> Agent:
    card = AgentCard(
        name="imported",
        world={"environment": "DotRoom-v0"},
        seed=0,
        observation_shape=SHAPE,
        encoder=result.encoder.spec(),
        controller=result.controller.spec(),
    )
    return Agent(result.encoder, result.controller, card)


def both(model: Any, result: ImportedModel) -> tuple[tuple[torch.Tensor, torch.Tensor], torch.Tensor]:
    agent = agent_of(result)
    images = pictures()
    with torch.no_grad():
        ours = result.controller(result.encoder(agent.images(images)))
    return ours, torch.from_numpy(np.moveaxis(images, -1, 1).copy())


@pytest.mark.parametrize("name", ["ppo", "ppo-mlp", "ppo-value-mlp", "ppo-mlp-policy", "ppo-relu", "a2c"])
def test_probabilities_and_values_are_the_models(name: str, model) -> None:
    theirs, path = model(name)
    (parameters, values), images = both(theirs, imported(path))
    with torch.no_grad():
        distribution = theirs.policy.get_distribution(images).distribution
        torch.testing.assert_close(parameters.softmax(1), distribution.probs, atol=1e-5, rtol=0)
        torch.testing.assert_close(values, theirs.policy.predict_values(images).squeeze(1), atol=1e-5, rtol=1e-5)
    assert distribution.probs.std(0).max() > 1e-4, "not the same for every observation"


@pytest.mark.parametrize("name", ["ppo-mlp", "a2c-box", "dqn-mlp", "ppo-unshared", "sac", "sac-shared", "td3", "ddpg"])
def test_greedy_actions_are_the_models(name: str, model) -> None:
    theirs, path = model(name)
    agent = agent_of(imported(path, actions=ACTIONS.get(name, FOUR)))
    result, _ = agent.predict(pictures(), deterministic=True)
    required, _ = theirs.predict(np.moveaxis(pictures(), -1, 1), deterministic=True)
    np.testing.assert_allclose(result, required, atol=1e-5)
    assert name not in ACTIONS or required.std(axis=0).max() > 1e-4, "not the same for every observation"


@pytest.mark.parametrize("name", ["sac", "sac-shared"])
def test_sac_samples_its_squashed_normal_distribution(name: str, model) -> None:
    theirs, path = model(name)
    result = imported(path, actions=SCALED)
    agent = agent_of(result)
    (parameters, values), images = both(theirs, result)
    with torch.no_grad():
        means, log_std, _ = theirs.actor.get_action_dist_params(images)
    torch.testing.assert_close(parameters, torch.cat([means, log_std], dim=1), atol=1e-5, rtol=1e-5)
    assert log_std.std(0).max() > 1e-4, "the standard deviation depends on the state"
    assert (values == 0).all(), "there is no value head"
    noise = np.random.default_rng(0).standard_normal((64, 2))
    squashed = np.tanh(means.numpy() + log_std.exp().numpy() * noise)
    required = theirs.policy.unscale_action(squashed)
    np.testing.assert_allclose(agent.act(pictures(), noise=noise), required, atol=1e-5)


@pytest.mark.parametrize(
    ("name", "algorithm", "changes"),
    [
        ("ppo", "TRPO", {**dict.fromkeys(["cg_max_steps", "cg_damping", "line_search_max_iter", "n_critic_updates"], 1),
                         "clip_range": None}),
        ("sac", "TQC", _policy("sb3_contrib.tqc.policies", "TQCPolicy")),
    ],
)  # fmt: skip
def test_models_of_sb3_contrib_are_those_of_the_same_policy(name, algorithm, changes, model, tmp_path) -> None:
    """TRPO has PPO's policy, and TQC's actor is SAC's (read in sb3-contrib 2.9.2, which the tests do not install)."""
    path, actions = model(name)[1], ACTIONS.get(name, FOUR)
    if algorithm == "TQC":
        extractor = {"features_extractor_class": "<class 'stable_baselines3.common.torch_layers.NatureCNN'>"}
        changes = {**changes, "policy_kwargs": {"net_arch": [8], "n_quantiles": 25, **extractor}}
    one = imported(path, actions=actions)
    other = imported(with_data(tmp_path / "contrib.zip", path, **changes), actions=actions)
    assert other.algorithm == algorithm
    np.testing.assert_array_equal(agent_of(one).act(pictures()), agent_of(other).act(pictures()))


@pytest.mark.parametrize("name", ["td3", "ddpg"])
def test_deterministic_actors_act_greedily_when_sampled(name: str, model) -> None:
    path = model(name)[1]
    result = imported(path, actions=SCALED)
    agent, images = agent_of(result), pictures()
    noise = np.random.default_rng(0).standard_normal((64, 2))
    np.testing.assert_array_equal(agent.act(images, noise=noise), agent.act(images))
    assert result.algorithm == name.upper()
    assert result.controller.log_std is None


def test_continuous_actions_have_the_models_mean_and_spread(model) -> None:
    theirs, path = model("a2c-box")
    result = imported(path, actions=PLANE)
    (means, values), images = both(theirs, result)
    with torch.no_grad():
        normal = theirs.policy.get_distribution(images).distribution
        torch.testing.assert_close(means, normal.mean, atol=1e-5, rtol=0)
        torch.testing.assert_close(values, theirs.policy.predict_values(images).squeeze(1), atol=1e-5, rtol=1e-5)
        torch.testing.assert_close(result.controller.log_std.exp().expand_as(means), normal.stddev)
    assert result.controller.spec()["activation"] == "relu", "printed in the file"


@pytest.mark.parametrize("name", ["dqn", "dqn-mlp", "dqn-tanh"])
def test_action_values_are_the_models(name: str, model) -> None:
    theirs, path = model(name)
    (parameters, values), images = both(theirs, imported(path, temperature=0.5))
    with torch.no_grad():
        required = theirs.policy.q_net(images)
    torch.testing.assert_close(parameters * 0.5, required, atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(values, required.amax(1), atol=1e-5, rtol=1e-5)


def test_low_temperature_samples_what_is_greedy(model) -> None:
    agent = agent_of(imported(model("dqn")[1], temperature=1e-6))
    noise = np.random.default_rng(0).gumbel(size=(64, 4))
    np.testing.assert_array_equal(agent.act(pictures(), noise=noise), agent.act(pictures()))


def test_without_a_shared_extractor_the_value_is_zero(model) -> None:
    (_, values), _ = both(None, imported(model("ppo-unshared")[1]))
    assert (values == 0).all()


def test_what_the_file_says_of_its_training(model) -> None:
    result = imported(model("dqn")[1])
    assert (result.algorithm, result.steps, result.seed) == ("DQN", 96, 0)
    assert result.hyperparameters["gamma"] == 0.99
    assert imported(model("ppo")[1]).algorithm == "PPO"
    assert imported(model("a2c")[1]).algorithm == "A2C"


@pytest.mark.parametrize("name", ["ppo-mlp", "ppo-unshared", "a2c-box", "dqn", "sac", "td3"])
def test_an_imported_agent_is_stored_as_any_other(name: str, model, tmp_path: Path) -> None:
    result = agent_of(imported(model(name)[1], actions=ACTIONS.get(name, FOUR)))
    again = load_agent(save_agent(result, tmp_path / "a"))
    np.testing.assert_array_equal(again.act(pictures()), result.act(pictures()))
    for one, other in zip(both(None, result)[0], both(None, again)[0], strict=True):  # type: ignore[arg-type]
        assert torch.equal(one, other)


def test_a_file_that_does_not_print_its_activation_takes_the_option(model, tmp_path: Path) -> None:
    path = model("a2c-box")[1]
    silent = with_data(tmp_path / "silent.zip", path, policy_kwargs={":type:": "dict"})
    assert imported(silent, actions=PLANE).controller.spec()["activation"] == "tanh"
    assert imported(silent, actions=PLANE, activation="relu").controller.spec()["activation"] == "relu"
    odd = with_data(tmp_path / "odd.zip", path, policy_kwargs={"activation_fn": "<class 'torch.nn.ELU'>"})
    for given, expected in ((None, "Tanh or ReLU"), ("relu", r"relu \(--activation\)")):
        with pytest.raises(
            InvalidInputError, match=rf"activation: expected {expected}, found <class 'torch\.nn\.ELU'>"
        ):
            imported(odd, actions=PLANE, activation=given)


def test_an_activation_that_contradicts_the_file_is_refused(model) -> None:
    for name, given, result in (("ppo-mlp", "relu", "Tanh"), ("ppo-relu", "tanh", "ReLU"), ("dqn-mlp", "tanh", "ReLU")):
        with pytest.raises(InvalidInputError, match=rf"expected {given} \(--activation\), found .*\.{result}'>"):
            imported(model(name)[1], activation=given)


def test_an_activation_without_a_name_is_the_users_to_say(folder: Path) -> None:
    path = saved("lambda", folder)
    with pytest.raises(InvalidInputError, match=r"activation: expected Tanh or ReLU, found <function .*<lambda>"):
        imported(path)
    assert imported(path, activation="relu").controller.spec()["activation"] == "relu"


# Extractors of the user's own


@pytest.fixture
def installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Install a package that offers extractors: `installed("tiny = module:Class")`."""
    root = tmp_path / "site"

    def install(*lines: str) -> None:
        info = root / "someone-1.0.dist-info"
        info.mkdir(parents=True)
        (info / "METADATA").write_text("Metadata-Version: 2.1\nName: someone\nVersion: 1.0\n")
        (info / "entry_points.txt").write_text("\n".join(["[rlstitch.extractors]", *lines]))
        monkeypatch.syspath_prepend(str(root))

    return install


TINY = f"tiny = {sb3_samples.__name__}:TinyExtractor"


def test_an_installed_extractor_builds_the_encoder(model, installed, tmp_path: Path) -> None:
    installed(TINY)
    theirs, path = model("own")
    theirs.policy.set_training_mode(False)
    result = imported(path, extractor="tiny", extractor_arguments={"features_dim": 6})
    assert result.encoder.spec() == {
        "kind": "extractor",
        "name": "tiny",
        "arguments": {"features_dim": 6},
        "image_shape": list(SHAPE),
        "latent_dim": 6,
    }
    agent = agent_of(result)
    (parameters, _), images = both(theirs, result)
    with torch.no_grad():
        required = theirs.policy.get_distribution(images).distribution.probs
    torch.testing.assert_close(parameters.softmax(1), required, atol=1e-5, rtol=0)
    again = load_agent(save_agent(agent, tmp_path / "a"))
    np.testing.assert_array_equal(again.act(pictures()), agent.act(pictures()))


def test_arguments_that_no_weight_tells_are_read_from_the_file(model, installed) -> None:
    installed(f"sloped = {sb3_samples.__name__}:SlopedCNN")
    theirs, path = model("sloped")
    result = imported(path, extractor="sloped")
    assert result.encoder.spec()["arguments"] == {"features_dim": 6, "slope": 0.7}
    (parameters, values), images = both(theirs, result)
    with torch.no_grad():
        required = theirs.policy.get_distribution(images).distribution.probs
        torch.testing.assert_close(values, theirs.policy.predict_values(images).squeeze(1), atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(parameters.softmax(1), required, atol=1e-5, rtol=0)


def test_arguments_that_are_no_plain_values_are_asked_for(folder: Path, installed) -> None:
    installed(f"sloped = {sb3_samples.__name__}:SlopedCNN")
    path = saved("sloped-layer", folder)
    with pytest.raises(InvalidInputError, match=r"give them with --extractor-args: .*'slope': 0.7, 'layer': <class"):
        imported(path, extractor="sloped")
    result = imported(path, extractor="sloped", extractor_arguments={"slope": 0.7})
    assert result.encoder.spec()["arguments"] == {"slope": 0.7}


def test_arguments_without_an_extractor_are_refused(ppo: Path) -> None:
    with pytest.raises(InvalidInputError, match=r"expected an extractor beside them, found {'features_dim': 8}"):
        imported(ppo, extractor_arguments={"features_dim": 8})


def test_another_extractor_than_the_files_is_refused(folder: Path, ppo: Path, installed) -> None:
    installed(f"centred = {sb3_samples.__name__}:CentredCNN")
    assert imported(saved("centred", folder), extractor="centred").encoder.latent_dim == 512
    with pytest.raises(InvalidInputError, match=r"class <class 'sb3_samples\.EluCNN'>, found CentredCNN"):
        imported(saved("elu", folder), extractor="centred")
    with pytest.raises(InvalidInputError, match=r"NatureCNN'>, found CentredCNN \(--extractor centred\)"):
        imported(ppo, extractor="centred")


def test_without_the_extractor_the_agent_is_not_loaded(model, installed, tmp_path: Path, monkeypatch) -> None:
    with monkeypatch.context() as inside:
        site = tmp_path / "site"
        installed(TINY)
        save_agent(agent_of(imported(model("own")[1], extractor="tiny", extractor_arguments={"features_dim": 6})),
                   tmp_path / "a")  # fmt: skip
        inside.undo()
    (site / "someone-1.0.dist-info" / "entry_points.txt").write_text("")
    with pytest.raises(ArtefactError, match=r"unknown extractor .*'rlstitch.extractors'.* 'tiny'"):
        load_agent(tmp_path / "a")


@pytest.mark.parametrize(
    ("line", "kwargs", "error", "message"),
    [
        (TINY, {"extractor": "tinny"}, UnknownNameError, "did you mean tiny"),
        (TINY, {"extractor": "tiny", "extractor_arguments": {"depth": 1}}, InvalidInputError, "TypeError"),
        (
            TINY,
            {"extractor": "tiny", "extractor_arguments": {"features_dim": 8}},
            InvalidInputError,
            r"latents of width 6, found shape \(8,\)",
        ),
        ("x = no_such_module:X", {"extractor": "x"}, InvalidInputError, "ModuleNotFoundError"),
        ("x = sb3_samples:pictures", {"extractor": "x"}, InvalidInputError, "expected a torch module|cannot be made"),
        (
            "",
            {},
            InvalidInputError,
            r"TinyExtractor'>; name your own with --extractor .*'features_dim': 6",
        ),
    ],
)
def test_an_extractor_that_cannot_be_used_is_refused(line, kwargs, error, message, model, installed) -> None:
    installed(line)
    with pytest.raises(error, match=message):
        imported(model("own")[1], **kwargs)


# Models of another world, or of another kind


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("centred", "expected the extractor NatureCNN, found <class 'sb3_samples.CentredCNN'>"),
        ("elu", "found <class 'sb3_samples.EluCNN'>"),
        ("partial", "found functools.partial(<class 'sb3_samples.EluCNN'>, features_dim=32)"),
        ("relu-policy", "found the policy class sb3_samples.ReluPolicy"),
        ("empty-policy", "found the policy class sb3_samples"),
        ("local-policy", "found the policy class sb3_samples._local_policy.<locals>.Inner"),
        ("q-policy", "found the policy class sb3_samples.OwnQPolicy"),
        ("flat", "found <class 'stable_baselines3.common.torch_layers.FlattenExtractor'>"),
        ("sac-sde", "use_sde: expected False, found True"),
        ("sac-policy", "found the policy class sb3_samples.OwnActorPolicy"),
        ("sde", "use_sde: expected False, found True"),
        ("squashed", "use_sde: expected False, found True"),
        ("raw", "normalize_images: expected True, found False"),
        ("leaky", "activation: expected Tanh or ReLU, found <class 'torch.nn.modules.activation.LeakyReLU'>"),
        ("floats", "uint8 from 0 to 255, the model was trained on float32 from 0 to 1"),
        ("dictionary", "found the policy class stable_baselines3.common.policies.MultiInputActorCriticPolicy"),
        ("pairs", "the environment's are a Discrete, the model was trained on a MultiDiscrete"),
    ],
)
def test_models_that_act_in_another_way_than_their_shapes_are_refused_by_name(
    name: str, message: str, folder: Path
) -> None:
    actions = PLANE if name in ("sac-sde", "sac-policy", "sde", "squashed") else FOUR
    with pytest.raises(RlstitchError, match=re.escape(message)) as caught:
        imported(saved(name, folder), actions=actions)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (_policy("sb3_contrib.common.maskable.policies", "MaskableActorCriticCnnPolicy"), "of MaskablePPO"),
        (_policy("sb3_contrib.common.recurrent.policies", "RecurrentActorCriticCnnPolicy"), "of RecurrentPPO"),
        (_policy("sb3_contrib.qrdqn.policies", "CnnPolicy"), "of QRDQN"),
        (_policy("sb3_contrib.tqc.policies", "MultiInputPolicy"), "MultiInputPolicy of TQC"),
        (_policy("stable_baselines3.sac.policies", "CnnPolicy"), "expected a CnnPolicy"),
        (_policy("stable_baselines3.td3.policies", "CnnPolicy"), "expected a CnnPolicy"),
        (_policy("sb3_contrib.ars.policies", "ARSPolicy"), "of ARS"),
        (_policy("sb3_contrib.crossq.policies", "CrossQPolicy"), "of CrossQ"),
        (_policy("mine.maskable.policies", "Mine"), "class mine.maskable.policies.Mine"),
        (_policy("stable_baselines3.common.policies", "ActorCriticCnnPolicy", forward="<function patched at 0x7f>"),
         "found the policy class stable_baselines3.common.policies"),
        ({"policy_class": None}, "found the policy class none"),
        ({"policy_kwargs": None}, "policy_kwargs: expected a JSON object, found None"),
        ({"policy_kwargs": {"n_quantiles": 50}}, "policy_kwargs: expected arguments .*, found n_quantiles"),
        ({"cg_max_steps": 15, "clip_range": None}, "found one that none of them saves"),
        ({"cg_max_steps": 15}, "found one that none of them saves"),
        ({"clip_range": None}, "found one that none of them saves"),
        (_policy("stable_baselines3.dqn.policies", "CnnPolicy"), "expected a CnnPolicy"),
        ({"policy_kwargs": {"squash_output": True}}, "squash_output: expected False, found True"),
        ({"observation_space": {"dtype": "uint8", "low": "[[[0 ... 0]]]", "high": "[[[1 ... 1]]]"}}, "from 0 to 1"),
        ({"observation_space": {"dtype": "uint8", "low": "[[[9 ... 9]]]", "high": "[[[255 ...]]]"}}, "from 9 to 255"),
        ({"observation_space": {":type:": "<class 'gym.spaces.box.Box'>", "shape": [3, 84, 84]}}, r"\[3, 84, 84\]"),
        ({"observation_space": {":type:": "<class 'gymnasium.spaces.dict.Dict'>"}}, "a Box, .* on a Dict"),
        ({"observation_space": {"dtype": "\x1b[2J\n"}}, r"on \ufffd\[2J from"),
        ({"action_space": {":type:": "<class 'gymnasium.spaces.discrete.Discrete'>", "start": "1"}}, r"actions.start"),
    ],
)  # fmt: skip
def test_statements_that_contradict_what_is_assumed_are_refused(changes, message, ppo: Path, tmp_path: Path) -> None:
    with pytest.raises(RlstitchError, match=message) as caught:
        imported(with_data(tmp_path / "odd.zip", ppo, **changes))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "changes",
    [
        {"observation_space": {":type:": "<class 'gym.spaces.box.Box'>", "shape": [3, 40, 40], "dtype": "uint8"},
         "action_space": {":type:": "<class 'gym.spaces.discrete.Discrete'>", "n": 4, "shape": [], "dtype": "int64"}},
        {"policy_kwargs": {
            ":type:": "<class 'dict'>", "ortho_init": False, "log_std_init": -2, "optimizer_kwargs": {"eps": 1e-5},
            "optimizer_class": "<class 'stable_baselines3.common.sb2_compat.rmsprop_tf_like.RMSpropTFLike'>",
            "features_extractor_class": "<class 'stable_baselines3.common.torch_layers.NatureCNN'>",
            "features_extractor_kwargs": None, "normalize_images": True, "use_sde": False}},
        {"use_sde": None, "_last_obs": None, "gamma": None, "own_attribute": [1]},
    ],
)  # fmt: skip
def test_statements_of_other_versions_and_harmless_ones_are_taken(changes, ppo: Path, tmp_path: Path) -> None:
    result = agent_of(imported(with_data(tmp_path / "other.zip", ppo, **changes)))
    np.testing.assert_array_equal(result.act(pictures()), agent_of(imported(ppo)).act(pictures()))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"low": "[-inf -inf]"}, r"actions.low: the environment's is \[-1.0, -1.0\], .* on \[-inf, -inf\]"),
        ({"high": "[1.]"}, r"actions.high"),
        ({"_shape": [2, 1]}, r"the shape \[2\], the model was trained on \[2, 1\]"),
        ({"high": "[1. 1.00000001]"}, None),
        ({"high": "[1. ... 9.]"}, None),
    ],
)
def test_bounds_are_compared(changes: dict[str, Any], message: str | None, model, tmp_path: Path) -> None:
    path = with_data(tmp_path / "box.zip", model("a2c-box")[1], action_space=changes)
    if message is None:
        imported(path, actions=PLANE)
        return
    with pytest.raises(IncompatibleError, match=message):
        imported(path, actions=PLANE)


def test_images_as_deep_as_they_are_wide_may_lie_either_way(ppo: Path, tmp_path: Path) -> None:
    """Stable-Baselines3 takes 40 x 40 x 40 for channels first, whichever axis they are."""
    path = with_data(tmp_path / "cube.zip", ppo, observation_space={"_shape": [40, 40, 40]})
    with pytest.raises(IncompatibleError, match="first or the last axis"):
        imported(path, observation_shape=(40, 40, 40))


def test_an_actors_extractor_that_is_not_the_shared_one_is_refused(ppo: Path, tmp_path: Path) -> None:
    name = "pi_features_extractor.cnn.0.bias"
    with pytest.raises(InvalidInputError, match="expected a CnnPolicy"):
        imported(with_tensors(tmp_path / "two.zip", ppo, _put(name, torch.ones(32))))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"observation_shape": (56, 56, 3)}, r"gives images of 56 x 56 x 3, the model was trained on \[3, 40, 40\]"),
        ({"observation_shape": (40, 40, 1)}, r"40 x 40 x 1"),
        ({"actions": DiscreteActions(n=7)}, "takes 7 actions, the model gives 4 actions"),
        ({"actions": PLANE}, "the environment's are a Box, the model was trained on a Discrete"),
    ],
)
def test_another_environment_is_refused(changes: dict[str, Any], message: str, ppo: Path, tmp_path: Path) -> None:
    with pytest.raises(IncompatibleError, match=message):
        imported(ppo, **changes)
    # A file that prints no spaces is told apart by its weights.
    silent = with_data(tmp_path / "silent.zip", ppo, observation_space=None, action_space=None)
    with pytest.raises(IncompatibleError):
        imported(silent, **changes)


def test_other_bounds_are_refused(model) -> None:
    with pytest.raises(IncompatibleError, match=r"actions.high: the environment's is \[2.0, 1.0\]"):
        imported(model("a2c-box")[1], actions=BoxActions(low=(-1.0, -1.0), high=(2.0, 1.0)))


def _pop(name: str):
    return lambda tensors: tensors.pop(name)


def _put(name: str, value: torch.Tensor):
    return lambda tensors: tensors.update({name: value})


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (_pop("action_net.weight"), "expected a CnnPolicy"),
        (_pop("features_extractor.cnn.0.weight"), r"NatureCNN|expected a CnnPolicy"),
        (_put("actor.mu.weight", torch.zeros(2, 3)), r"found besides: actor.mu.weight \(2, 3\)"),
        (_put("mlp_extractor.shared_net.0.weight", torch.zeros(5, 5)), r"shared_net.0.weight \(5, 5\)"),
        (_put("mlp_extractor.policy_net.0.weight", torch.zeros(5)), "policy_net.0.weight"),
        (_put("action_net.weight", torch.zeros(4, 77)), "expected|found"),
        (_put("value_net.weight", torch.zeros(1, 77)), r"do not fit each other: expected \(1, 512\), found \(1, 77\)"),
        (_put("value_net.bias", torch.full((1,), torch.nan)), "NaN"),
        (_put("value_net.bias", torch.zeros(1, dtype=torch.complex64)), "asks for 'torch ComplexFloatStorage'"),
        (_put("huge", torch.zeros(1).expand(10**12)), "lies beyond the 1 numbers"),
        (_put("listed", [1]), "expected named tensors, found 'listed'"),
        (_put("nested", {"a": torch.zeros(1)}), "expected named tensors"),
        (lambda tensors: tensors.clear(), "expected named tensors"),
    ],
)
def test_another_structure_is_refused_and_listed(change, message: str, ppo: Path, tmp_path: Path) -> None:
    def all_alike(tensors: dict[str, Any]) -> None:
        change(tensors)
        if "features_extractor.cnn.0.weight" not in tensors:
            tensors.pop("pi_features_extractor.cnn.0.weight", None)

    with pytest.raises((InvalidInputError, IncompatibleError, ArtefactError), match=message):
        imported(with_tensors(tmp_path / "other.zip", ppo, all_alike))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"use_sde": True}, "use_sde"),
        ({"policy_kwargs": {"normalize_images": False}}, "normalize_images"),
        ({"action_space": {":type:": "<class 'gymnasium.spaces.multi_discrete.MultiDiscrete'>"}}, "MultiDiscrete"),
    ],
)
def test_settings_that_change_the_function_are_refused(changes, message, ppo: Path, tmp_path: Path) -> None:
    with pytest.raises(RlstitchError, match=message):
        imported(with_data(tmp_path / "odd.zip", ppo, **changes))


@pytest.mark.parametrize("junk", [7, "x", [1], {"_shape": "x"}, {"_shape": [True]}, {":type:": 3}, {}, True])
def test_strange_settings_do_no_harm(junk: Any, ppo: Path, tmp_path: Path) -> None:
    names = ("policy_kwargs", "observation_space", "action_space", "num_timesteps", "seed", "gamma", "policy_class")
    odd = with_data(tmp_path / "odd.zip", ppo, **dict.fromkeys(names, junk))
    observations = np.random.default_rng(0).integers(0, 256, (4, *SHAPE), dtype=np.uint8)
    expected, _ = agent_of(imported(ppo)).predict(observations, deterministic=True)
    try:
        result = imported(odd)
    except RlstitchError:
        return
    np.testing.assert_array_equal(agent_of(result).predict(observations, deterministic=True)[0], expected)


def test_names_of_a_file_do_not_steer_a_terminal(ppo: Path, tmp_path: Path) -> None:
    path = with_tensors(tmp_path / "m.zip", ppo, _put("\x1b[2Jx\n", torch.zeros(2)))
    with pytest.raises(InvalidInputError, match=r"found besides: �\[2Jx \(2,\)"):
        imported(path)


# Files that are damaged, or made to do harm


class Payload:
    """Unpickled, it would make a folder."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, tuple[str]]:
        return os.mkdir, (str(self.path),)


def test_pickles_in_the_settings_are_not_opened(ppo: Path, tmp_path: Path) -> None:
    trap = base64.b64encode(pickle.dumps(Payload(tmp_path / "sprung"))).decode()
    names = ("lr_schedule", "clip_range", "_last_obs", "rollout_buffer_class")
    poisoned = with_data(tmp_path / "m.zip", ppo, **{name: {":type:": "x", ":serialized:": trap} for name in names})
    imported(poisoned)
    assert not (tmp_path / "sprung").exists()


@pytest.mark.parametrize("protocol", range(6))
@pytest.mark.parametrize("whole", [True, False], ids=["an archive", "bare"])
def test_a_pickle_among_the_weights_is_not_run(protocol: int, whole: bool, ppo: Path, tmp_path: Path) -> None:
    instructions = pickle.dumps({"x": Payload(tmp_path / "sprung")}, protocol=protocol)
    content = {**members(ppo), "policy.pth": torch_archive(instructions) if whole else instructions}
    with pytest.raises(ArtefactError, match="refused, nothing was run" if whole else "not usable"):
        imported(zipped(tmp_path / "m.zip", content))
    assert not (tmp_path / "sprung").exists()


def test_other_objects_than_tensors_are_refused(ppo: Path, tmp_path: Path) -> None:
    content = {**members(ppo), "policy.pth": torch_archive(pickle.dumps(bytearray(9), protocol=2))}
    with pytest.raises(ArtefactError, match=r"asks for '(builtins|__builtin__) bytearray'"):
        imported(zipped(tmp_path / "m.zip", content))


def test_files_of_old_formats_and_stand_ins_are_named(ppo: Path, tmp_path: Path) -> None:
    buffer = io.BytesIO()
    torch.save(
        torch.load(io.BytesIO(members(ppo)["policy.pth"]), weights_only=True),
        buffer,
        _use_new_zipfile_serialization=False,
    )
    old = zipped(tmp_path / "old.zip", {**members(ppo), "policy.pth": buffer.getvalue()})
    with pytest.raises(ArtefactError, match=r"policy.pth is in the format of torch before 1\.6.*save it again"):
        imported(old)
    pointer = tmp_path / "pointer.zip"
    pointer.write_text("version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 12345\n")
    with pytest.raises(ArtefactError, match=r"a pointer of Git LFS.*`git lfs pull`"):
        imported(pointer)
    page = tmp_path / "page.zip"
    page.write_text("\n<!DOCTYPE html><html></html>")
    with pytest.raises(ArtefactError, match="found a web page; download the file itself"):
        imported(page)


def test_files_that_unfold_are_refused(ppo: Path, tmp_path: Path) -> None:
    content = members(ppo)
    bomb = zipped(tmp_path / "a.zip", {**content, "data": b" " * (65 * 2**20)}, zipfile.ZIP_DEFLATED)
    assert bomb.stat().st_size < 2**20
    with pytest.raises(ArtefactError, match="data is larger than"):
        imported(bomb)
    packed = torch_archive(b"." * 10**6, zipfile.ZIP_DEFLATED)
    with pytest.raises(ArtefactError, match="expected uncompressed"):
        imported(zipped(tmp_path / "b.zip", {**content, "policy.pth": packed}))


def test_files_of_another_kind_are_refused(ppo: Path, tmp_path: Path) -> None:
    content = members(ppo)
    paths = {
        "no such file": tmp_path / "none.zip",
        "not a file|s a directory": tmp_path,
        "found 1 members: data": zipped(tmp_path / "half.zip", {"data": content["data"]}),
        "data is not usable JSON": zipped(tmp_path / "text.zip", {**content, "data": b"{"}),
        "not usable JSON: 'utf-8'|not usable JSON": zipped(tmp_path / "bytes.zip", {**content, "data": b"\xff\xfe"}),
        "maximum recursion|not usable JSON": zipped(tmp_path / "deep.zip", {**content, "data": b"[" * 100_000}),
        "expected a JSON object, found list": zipped(tmp_path / "list.zip", {**content, "data": b"[]"}),
        "policy.pth is not usable": zipped(tmp_path / "empty.zip", {**content, "policy.pth": b""}),
    }
    text = tmp_path / "text.txt"
    text.write_text("hello")
    for message, path in {**paths, "not a usable Stable-Baselines3 zip": text}.items():
        with pytest.raises(ArtefactError, match=message):
            imported(path)


def test_cut_files_are_refused(ppo: Path, tmp_path: Path) -> None:
    slim = zipped(tmp_path / "slim.zip", members(ppo)).read_bytes()
    cut = tmp_path / "cut.zip"
    for share in np.linspace(0, 0.999, 12):
        cut.write_bytes(slim[: int(share * len(slim))])
        with pytest.raises(ArtefactError):
            imported(cut)


@pytest.mark.parametrize("seed", range(3))
def test_changed_bytes_never_end_in_a_traceback(seed: int, ppo: Path, tmp_path: Path) -> None:
    """Outside the checksum of the outer zip: the inner archive and its list of tensors are changed, then zipped."""
    content, generator = members(ppo), np.random.default_rng(seed)
    start = content["policy.pth"].index(b".pkl")
    messages = []
    for _ in range(25):
        policy = bytearray(content["policy.pth"])
        for place in generator.integers(start, start + 3000, size=2):
            policy[place] = int(generator.integers(256))
        path = zipped(tmp_path / "fuzzed.zip", {**content, "policy.pth": bytes(policy)})
        try:
            imported(path)
        except RlstitchError as error:
            messages.append(str(error))
    assert messages
    assert not any("\n" in message for message in messages)
