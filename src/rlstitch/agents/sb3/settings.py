"""What a Stable-Baselines3 file states of its policy, compared with what the import assumes.

Weights do not tell what is computed from them. A file prints its classes by name and their keyword arguments in plain
text, beside pickles that stay closed: only classes of Stable-Baselines3 and sb3-contrib whose code is known are taken.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from rlstitch.agents.sb3.archive import ModelFile
from rlstitch.errors import InvalidInputError
from rlstitch.storage.text import printable

Activation = Literal["relu", "tanh"]
Algorithm = Literal["PPO", "A2C", "TRPO", "DQN", "SAC", "TQC", "TD3", "DDPG"]

NATURE_CNN = "<class 'stable_baselines3.common.torch_layers.NatureCNN'>"
FLATTEN = "<class 'stable_baselines3.common.torch_layers.FlattenExtractor'>"
_POLICIES = {
    ("stable_baselines3.common.policies", "ActorCriticCnnPolicy"): NATURE_CNN,
    ("stable_baselines3.common.policies", "ActorCriticPolicy"): FLATTEN,
    ("stable_baselines3.dqn.policies", "CnnPolicy"): NATURE_CNN,
    ("stable_baselines3.dqn.policies", "DQNPolicy"): FLATTEN,
    ("stable_baselines3.sac.policies", "CnnPolicy"): NATURE_CNN,
    ("stable_baselines3.sac.policies", "SACPolicy"): FLATTEN,
    ("stable_baselines3.td3.policies", "CnnPolicy"): NATURE_CNN,
    ("stable_baselines3.td3.policies", "TD3Policy"): FLATTEN,
    ("sb3_contrib.tqc.policies", "CnnPolicy"): NATURE_CNN,
    ("sb3_contrib.tqc.policies", "TQCPolicy"): FLATTEN,
}
"""Policies that are taken, by module and class, and the extractor that each has by default."""
_ALGORITHMS: dict[str, Algorithm] = {"dqn": "DQN", "sac": "SAC", "td3": "TD3", "tqc": "TQC"}
"""Algorithms that are taken, by a part of their policy's module; PPO, A2C and TRPO share theirs."""
_OTHERS = {
    "maskable": "MaskablePPO", "recurrent": "RecurrentPPO", "qrdqn": "QRDQN", "ars": "ARS", "crossq": "CrossQ",
    "sac": "SAC", "td3": "TD3 or DDPG", "tqc": "TQC",
}  # fmt: skip
"""Names of algorithms, by a part of their policy's module, where the policy is refused."""
_TAKEN = "PPO, A2C, DQN, SAC, TD3, DDPG, TRPO or TQC"
_TRPO = {"cg_max_steps", "cg_damping", "line_search_max_iter", "n_critic_updates"}
"""Settings that TRPO alone saves."""
_DDPG = {"policy_delay": 1, "target_noise_clip": 0.0}
"""Settings of DDPG, which is TD3 with these."""
_ACTIVATIONS: dict[str, Activation] = {
    "<class 'torch.nn.modules.activation.Tanh'>": "tanh",
    "<class 'torch.nn.modules.activation.ReLU'>": "relu",
}
_TANH, _RELU = _ACTIVATIONS
_TANH_BY_DEFAULT = ("PPO", "A2C", "TRPO")
"""Algorithms whose hidden layers have tanh where nothing else is stated; those of the others have ReLU."""
# Keyword arguments of policies: those that must have one value, and those that weights, structure or this module cover.
_FIXED = {"use_sde": "False", "squash_output": "False", "normalize_images": "True"}
_COVERED = {
    "activation_fn", "clip_mean", "features_extractor_class", "features_extractor_kwargs", "full_std", "log_std_init",
    "n_critics", "net_arch", "optimizer_class", "optimizer_kwargs", "ortho_init", "sde_net_arch",
    "share_features_extractor", "use_expln",
}  # fmt: skip


@dataclass(frozen=True)
class Settings:
    """What a file states of its policy."""

    path: Path
    algorithm: Algorithm
    extractor: str
    """The features extractor's class as the file prints it, or Stable-Baselines3's default."""
    extractor_arguments: Any
    """Its keyword arguments: a dictionary, or the text of one with other values than JSON's."""
    activation: str
    """Class of the hidden layers' activation as the file prints it, or Stable-Baselines3's default; empty where its
    keyword arguments are not printed."""

    @property
    def extractor_name(self) -> str:
        """Name of the extractor's class without its module."""
        return self.extractor.removesuffix("'>").rpartition(".")[2]

    def activation_of(self, given: Activation | None) -> Activation:
        """Return the activation of hidden layers.

        Args:
            given: the user's; it counts where the file does not name a class of torch.

        Raises:
            InvalidInputError: where the file names another one than `given`, or one that is not supported.
        """
        stated = _ACTIVATIONS.get(self.activation or _default_activation(self.algorithm))
        if given and not self.activation.startswith("<class 'torch."):
            return given
        if stated is None or given not in (None, stated):
            expected = f"{given} (--activation)" if given else "Tanh or ReLU"
            raise InvalidInputError(f"{self.path}: activation: expected {expected}, found {self.activation}")
        return stated


def read_settings(model: ModelFile) -> Settings:
    """Return what a file states of its policy.

    Raises:
        InvalidInputError: where its policy, algorithm or a setting is none that is known; the message names it.
    """
    policy = _policy_class(model)
    arguments = model.data.get("policy_kwargs")
    if not isinstance(arguments, dict):
        raise InvalidInputError(f"{model.path}: policy_kwargs: expected a JSON object, found {_shown(arguments)}")
    stated = {name: value for name, value in arguments.items() if not name.startswith(":") and value is not None}
    algorithm = _algorithm(model, policy[0])
    known = {*_COVERED, *_FIXED, *(("n_quantiles",) if algorithm == "TQC" else ())}
    if unknown := stated.keys() - known:
        raise InvalidInputError(
            f"{model.path}: policy_kwargs: expected arguments of Stable-Baselines3's policies, "
            f"found {_shown(', '.join(sorted(unknown)))}"
        )
    for name, value in {"use_sde": model.data.get("use_sde") or False, **stated}.items():
        if name in _FIXED and str(value) != _FIXED[name]:
            raise InvalidInputError(f"{model.path}: {name}: expected {_FIXED[name]}, found {_shown(value)}")
    silent = ":type:" in arguments and not stated  # a pickle of which nothing is printed
    return Settings(
        model.path,
        algorithm,
        _shown(stated.get("features_extractor_class", _POLICIES[policy])),
        stated.get("features_extractor_kwargs", {}),
        _shown(stated.get("activation_fn", "" if silent else _default_activation(algorithm))),
    )


def _policy_class(model: ModelFile) -> tuple[str, str]:
    """Module and name of the policy's class; a method of another owner would be another policy."""
    printed = model.data.get("policy_class")
    printed = printed if isinstance(printed, dict) else {}
    module = printable(printed.get("__module__", ""), limit=200)
    methods = [re.match(r"<function (\S+) at ", str(value)[:300]) for value in printed.values()]
    owners = sorted({match[1].rpartition(".")[0] for match in methods if match})
    policy = (module, ", ".join(owners))
    if policy not in _POLICIES:
        name = printable(".".join(part for part in policy if part), limit=200) or "none"
        algorithm = next((known for part, known in _OTHERS.items() if f".{part}." in module), None)
        library = module.partition(".")[0] in ("stable_baselines3", "sb3_contrib")
        raise InvalidInputError(
            f"{model.path}: expected a CnnPolicy or MlpPolicy of Stable-Baselines3's {_TAKEN}, "
            f"found the policy class {name}" + (f" of {algorithm}" if library and algorithm else "")
        )
    return policy


def _algorithm(model: ModelFile, module: str) -> Algorithm:
    """The algorithm, told by settings that only one of those with this policy has: a file does not name it."""
    names = model.data.keys()
    if own := _ALGORITHMS.get(module.split(".")[1]):
        ddpg = own == "TD3" and all(model.data.get(name) == value for name, value in _DDPG.items())
        return "DDPG" if ddpg else own
    if names >= _TRPO and "clip_range" not in names:
        return "TRPO"
    if "clip_range" in names and not names & _TRPO:
        return "PPO"
    if names & {"n_epochs", "batch_size", "clip_range", *_TRPO}:
        raise InvalidInputError(f"{model.path}: expected a model of {_TAKEN}, found one that none of them saves")
    return "A2C"


def _default_activation(algorithm: Algorithm) -> str:
    return _TANH if algorithm in _TANH_BY_DEFAULT else _RELU


def _shown(value: Any) -> str:
    return printable(value, limit=200)
