"""Small agents of every kind for the tests of artefacts."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from rlstitch.agents.agent import Agent
from rlstitch.agents.card import AgentCard, AnchorsCard, ParentCard, TrainingCard
from rlstitch.agents.controller import build_controller
from rlstitch.agents.encoder import Encoder, RelativeEncoder, TranslatedEncoder, build_encoder
from rlstitch.latent import Translation

IMAGE = (24, 24, 3)
VECTOR = (5,)
MLP = {"kind": "mlp", "observation_shape": list(VECTOR), "hidden": [7], "latent_dim": 6}
CNN = {"kind": "cnn", "arch": "small", "image_shape": list(IMAGE), "latent_dim": 6}
CROP = {"kind": "crop", "image_shape": list(IMAGE), "side": 6, "latent_dim": 6}
ANCHORS = 5


def make_encoder(kind: str, seed: int = 0) -> Encoder:
    torch.manual_seed(seed)
    if kind == "cnn":
        return build_encoder(CNN)
    if kind == "mlp":
        encoder = build_encoder(MLP)
        encoder.observe(torch.randn(9, *VECTOR))
        return encoder
    if kind == "crop":
        return build_encoder(CROP).eval()
    if kind == "relative":
        spec = {"kind": "relative", "base": CNN, "anchors": ANCHORS, "similarity": "cosine", "normalization": "whiten"}
        encoder = build_encoder(spec)
        assert isinstance(encoder, RelativeEncoder)
        encoder.set_anchors(torch.randn(ANCHORS, 6))
        return encoder
    base = build_encoder(CNN)
    return TranslatedEncoder(base, Translation(torch.randn(6, 4), torch.randn(4)))


def make_agent(kind: str = "cnn", seed: int = 0, **changes: Any) -> Agent:
    encoder = make_encoder(kind, seed)
    actions: dict[str, Any] = {"actions": {"kind": "discrete", "n": 4}}
    if kind == "mlp":
        actions = {"actions": {"kind": "box", "low": [-2.0], "high": [1.0]}, "squash": True, "std": "state"}
    controller = build_controller({"latent_dim": encoder.latent_dim, "hidden": [8], **actions})
    fields: dict[str, Any] = {
        "name": "sample",
        "world": {"environment": "MiniGrid-DoorKey-5x5-v0", "variation": "red"},
        "seed": seed,
        "observation_shape": encoder.observation_shape,
        "encoder": encoder.spec(),
        "controller": controller.spec(),
        "training": TrainingCard(
            algorithm="ppo", steps=1000, seconds=2, return_mean=0.5, return_interval=(0.4, 0.6), success_rate=0.5,
            episodes=10, hyperparameters={"gamma": 0.99, "betas": [0.9, 0.999]},
        ),
        "command": "rlstitch train doorkey",
    }  # fmt: skip
    if kind == "mlp":
        fields["world"] = {"environment": "CartPole-v1", "sensor": "state"}
    if kind == "relative":
        fields["anchors"] = AnchorsCard(identity="ab" * 32, count=ANCHORS, similarity="cosine", normalization="whiten")
    if kind == "translated":
        fields["parents"] = (
            ParentCard(name="red", role="encoder", sha256="01" * 32),
            ParentCard(name="green", role="controller", sha256="23" * 32),
        )
        fields["method"] = "fit_affine"
    return Agent(encoder, controller, AgentCard(**{**fields, **changes}))


def observations(count: int = 3) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (count, *IMAGE), dtype=np.uint8)


def assert_equal_agents(one: Agent, two: Agent) -> None:
    """Same card but for the name, same specifications, same weights to the bit, same behaviour."""
    assert one.card.model_copy(update={"name": two.card.name}) == two.card
    for a, b in ((one.encoder, two.encoder), (one.controller, two.controller)):
        assert a.spec() == b.spec()
        assert a.state_dict().keys() == b.state_dict().keys()
        for name, tensor in a.state_dict().items():
            assert torch.equal(tensor, b.state_dict()[name]), name
    np.testing.assert_array_equal(one.act(observations()), two.act(observations()))
