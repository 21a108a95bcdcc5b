"""From a state dict of CleanRL's published PPO scripts (`.cleanrl_model`) to an encoder and a controller.

The file holds named tensors and nothing else: no environment, no preprocessing, no class. The script is told by the
names of the tensors, and its network checked to the last of them. Those of vectors have hidden layers with tanh.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from torch import Tensor

from rlstitch.agents.sb3.archive import ModelFile, finite
from rlstitch.agents.sb3.importing import ImportedModel, controller_of, nature_encoder
from rlstitch.agents.sb3.statistics import Statistics
from rlstitch.agents.sb3.structure import Parts, describe, take_layer, take_layers
from rlstitch.agents.sb3.tensors import read_tensors
from rlstitch.agents.sb3.vectors import split_layers, vector_encoder
from rlstitch.agents.specs import AnyActions
from rlstitch.envs.observation import Shape, is_image
from rlstitch.errors import IncompatibleError, InvalidInputError
from rlstitch.storage import limits
from rlstitch.storage.files import read_bytes

SUFFIX = ".cleanrl_model"
_TAKEN = "ppo.py, ppo_continuous_action.py or ppo_atari.py"
_LAYERS = {"cnn.0": "network.0", "cnn.2": "network.2", "cnn.4": "network.4", "linear.0": "network.7"}
"""Layers of NatureCNN, and their names in `ppo_atari.py` and `ppo_atari_envpool.py`."""
_OF_VECTORS = ("actor.0.", "actor_mean.")
"""How tensors of ppo.py and ppo_continuous_action.py begin."""
_OTHERS = {
    "lstm.": "ppo_atari_lstm.py (a recurrent agent)",
    "network.0.conv.": "ppo_procgen.py (residual convolutions)",
    "network.9.": "dqn_atari.py or c51_atari.py (no actor)",
    "critic_ext.": "ppo_rnd_envpool.py (intrinsic rewards)",
    "fc_mean.": "sac_continuous_action.py",
    "fc_mu.": "td3_continuous_action.py or ddpg_continuous_action.py",
    "atoms": "c51.py",
    "q_network.": "a Q-network",
}
"""Scripts whose agents are refused, by what the names of their tensors begin with."""


def import_cleanrl(
    path: Path | str,
    *,
    observation_shape: Shape,
    actions: AnyActions,
    split: int | None = None,
    statistics: Statistics | None = None,
) -> ImportedModel:
    """Read a state dict and split it into encoder and controller, without running code from it.

    Args:
        path: what `torch.save(agent.state_dict(), path)` wrote.
        observation_shape: of the environment: height, width, channels of images, or the length of vectors.
        actions: the environment's actions.
        split, statistics: as in `import_model`, for vectors.

    Raises:
        ArtefactError: where the file is missing, damaged, or asks for code to be run.
        IncompatibleError: where its observations or actions are not the environment's.
        InvalidInputError: for another architecture; the message names it.
    """
    path = Path(path)
    tensors = read_tensors(read_bytes(path, max_bytes=limits.SB3_POLICY_BYTES), str(path))
    model = ModelFile(path, {}, finite(tensors, str(path)))
    _refuse_others(model)
    images = is_image(observation_shape)
    takes = "vectors" if any(name.startswith(_OF_VECTORS) for name in tensors) else "images"
    if (takes == "images") != images:
        raise IncompatibleError(
            f"{path}: the environment's observations are {'images' if images else 'vectors'}, the model takes {takes}"
        )
    kind = "box" if "actor_logstd" in tensors else "discrete"
    if actions.kind != kind:
        raise IncompatibleError(f"{path}: actions: the environment takes {actions.kind} ones, the model {kind} ones")
    if images:
        if split is not None or statistics is not None:
            raise InvalidInputError(f"{path}: split and normalization: expected none where observations are images")
        parts = _atari(model)
        channels = parts.extractor["cnn.0.weight"].shape[1]
        if channels != observation_shape[2]:
            raise IncompatibleError(
                f"{path}: observations: the world gives {observation_shape[2]} channels, the model takes {channels}; a "
                f"{SUFFIX} does not hold its preprocessing: state it (--world frame_stack=4 size=84 ...)"
            )
        encoder = nature_encoder(parts, observation_shape, path)
        controller = controller_of(parts, actions, path, norm="relu")
    else:
        layers, parts = split_layers(_vectors(model), split, path)
        encoder = vector_encoder(layers, observation_shape[0], "tanh", statistics, path)
        controller = controller_of(parts, actions, path, norm="tanh", activation="tanh")
    return ImportedModel(encoder, controller, algorithm="PPO", library="CleanRL", steps=0, seed=0, hyperparameters={})


def _refuse_others(model: ModelFile) -> None:
    convolution = model.tensors.get("network.0.weight")
    if convolution is not None and convolution.ndim == 2:
        raise _unknown(model, model.tensors, "one of dqn.py (no actor): ")
    for beginning, script in _OTHERS.items():
        if any(name.startswith(beginning) for name in model.tensors):
            raise _unknown(model, model.tensors, f"one of {script}: ")


def _unknown(model: ModelFile, tensors: Mapping[str, Tensor], what: str = "") -> InvalidInputError:
    return InvalidInputError(f"{model.path}: expected an agent of CleanRL's {_TAKEN}, found {what}{describe(tensors)}")


def _atari(model: ModelFile) -> Parts:
    left = dict(model.tensors)
    extractor = {
        f"{ours}.{kind}": left.pop(f"{theirs}.{kind}")
        for ours, theirs in _LAYERS.items()
        for kind in ("weight", "bias")
        if f"{theirs}.{kind}" in left
    }
    if len(extractor) < 2 * len(_LAYERS) or extractor["cnn.0.weight"].ndim != 4:
        raise _unknown(model, model.tensors)
    head, value_head = take_layer(left, "actor", model), take_layer(left, "critic", model)
    if left:
        raise _unknown(model, left, "besides ")
    return Parts(extractor, [], head, value="head", value_head=value_head)


def _vectors(model: ModelFile) -> Parts:
    left = dict(model.tensors)
    log_std = left.pop("actor_logstd", None)
    layers = take_layers(left, "actor" if log_std is None else "actor_mean", model)
    critic = take_layers(left, "critic", model)
    if left or len(layers) != 3 or len(critic) != 3:
        raise _unknown(model, left or model.tensors, "besides " if left else "")
    return Parts({}, layers[:-1], layers[-1], value="none", log_std=None if log_std is None else log_std.flatten())
