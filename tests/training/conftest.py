import pytest

from rlstitch.config.training import TrainConfig

TINY = {
    "environment": "MiniGrid-Empty-5x5-v0",
    "name": "tiny",
    "seed": 3,
    "device": "cpu",
    "threads": 1,
    "num_envs": 4,
    "total_steps": 1024,
    "ppo": {"n_steps": 32, "n_minibatches": 2, "n_epochs": 2, "learning_rate": 1e-3},
    "encoder": {"latent_dim": 8},
    "controller": {"hidden": [8]},
    "relative": {"anchors": 12},
    "evaluation": {"every_steps": 256, "episodes": 4, "video": False},
    "checkpoint": {"every_steps": 256},
}


@pytest.fixture(autouse=True)
def _short_final_evaluation(monkeypatch):
    monkeypatch.setattr("rlstitch.api.train.FINAL_EPISODES", 4)


@pytest.fixture(scope="session")
def tiny():
    """A training that takes a second or two."""

    def make(**changes) -> TrainConfig:
        return TrainConfig.model_validate({**TINY, **changes})

    return make
