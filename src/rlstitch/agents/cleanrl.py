"""From a state dict of CleanRL's `ppo_atari.py` (`.cleanrl_model`) to an encoder and a controller.

The file holds named tensors and nothing else: no environment, no preprocessing, no class. The architecture is told by
the names of the tensors, which are those of CleanRL's published scripts, and checked to the last tensor.
"""

from __future__ import annotations

from pathlib import Path

from rlstitch.agents.sb3.archive import ModelFile, finite
from rlstitch.agents.sb3.importing import ImportedModel, controller_of, nature_encoder
from rlstitch.agents.sb3.structure import Parts, describe, take_layer
from rlstitch.agents.sb3.tensors import read_tensors
from rlstitch.agents.specs import AnyActions, DiscreteActions
from rlstitch.errors import IncompatibleError, InvalidInputError
from rlstitch.storage import limits
from rlstitch.storage.files import read_bytes

SUFFIX = ".cleanrl_model"
_LAYERS = {"cnn.0": "network.0", "cnn.2": "network.2", "cnn.4": "network.4", "linear.0": "network.7"}
"""Layers of NatureCNN, and their names in `ppo_atari.py` and `ppo_atari_envpool.py`."""
_OTHERS = {
    "lstm.": "ppo_atari_lstm.py (a recurrent agent)",
    "network.0.conv.": "ppo_procgen.py (residual convolutions)",
    "actor_mean.": "ppo_continuous_action.py (state vectors)",
    "actor.0.": "ppo.py (state vectors)",
    "network.9.": "dqn_atari.py or c51_atari.py (no actor)",
    "critic_ext.": "ppo_rnd_envpool.py (intrinsic rewards)",
    "fc_mean.": "sac_continuous_action.py",
    "fc_mu.": "td3_continuous_action.py or ddpg_continuous_action.py",
    "atoms": "c51.py",
    "q_network.": "a Q-network",
}
"""Scripts whose agents are refused, by what the names of their tensors begin with."""


def import_cleanrl(path: Path | str, *, image_shape: tuple[int, int, int], actions: AnyActions) -> ImportedModel:
    """Read a state dict and split it into encoder and controller, without running code from it.

    Args:
        path: what `torch.save(agent.state_dict(), path)` wrote.
        image_shape: height, width, channels of the environment's observations.
        actions: the environment's actions.

    Raises:
        ArtefactError: where the file is missing, damaged, or asks for code to be run.
        IncompatibleError: where its observations or actions are not the environment's.
        InvalidInputError: for another architecture; the message names it.
    """
    path = Path(path)
    tensors = read_tensors(read_bytes(path, max_bytes=limits.SB3_POLICY_BYTES), str(path))
    model = ModelFile(path, {}, finite(tensors, str(path)))
    parts = _split(model)
    if not isinstance(actions, DiscreteActions):
        raise IncompatibleError(f"{path}: actions: the environment takes {actions.kind} ones, the model discrete ones")
    channels = parts.extractor["cnn.0.weight"].shape[1]
    if channels != image_shape[2]:
        raise IncompatibleError(
            f"{path}: observations: the world gives {image_shape[2]} channels, the model takes {channels}; a "
            f"{SUFFIX} does not hold its preprocessing: state it (--world frame_stack=4 size=84 ...)"
        )
    return ImportedModel(
        nature_encoder(parts, image_shape, path),
        controller_of(parts, actions, path, norm="relu"),
        algorithm="PPO",
        library="CleanRL",
        steps=0,
        seed=0,
        hyperparameters={},
    )


def _split(model: ModelFile) -> Parts:
    left = dict(model.tensors)
    for beginning, script in _OTHERS.items():
        if any(name.startswith(beginning) for name in left):
            raise InvalidInputError(
                f"{model.path}: expected an agent of CleanRL's ppo_atari.py, found one of {script}: {describe(left)}"
            )
    extractor = {
        f"{ours}.{kind}": left.pop(f"{theirs}.{kind}")
        for ours, theirs in _LAYERS.items()
        for kind in ("weight", "bias")
        if f"{theirs}.{kind}" in left
    }
    if len(extractor) < 2 * len(_LAYERS) or extractor["cnn.0.weight"].ndim != 4:
        raise InvalidInputError(
            f"{model.path}: expected an agent of CleanRL's ppo_atari.py, found {describe(model.tensors)}"
        )
    head, value_head = take_layer(left, "actor", model), take_layer(left, "critic", model)
    if left:
        raise InvalidInputError(
            f"{model.path}: expected an agent of CleanRL's ppo_atari.py, found besides {describe(left)}"
        )
    return Parts(extractor, [], head, value="head", value_head=value_head)
