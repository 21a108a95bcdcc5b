"""A script with the outline of CleanRL's `ppo.py` runs with an environment and a network of ours."""

from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import pytest
import torch
from gymnasium.vector import SyncVectorEnv
from torch import Tensor, nn

import cleanrl_ppo

SCRIPT = """
import sys
from pathlib import Path
import gymnasium as gym

def make_env(env_id, idx):
    raise AssertionError("the script's own environment")

class Agent:
    def __init__(self, envs):
        raise AssertionError("the script's own network")

if __name__ == "__main__":
    steps = int(sys.argv[sys.argv.index("--num-steps") + 1])
    envs = gym.vector.SyncVectorEnv([make_env("CartPole-v1", i) for i in range(2)])
    agent = Agent(envs)
    Path("runs").mkdir()
    observations, _ = envs.reset(seed=1)
    while True:
        for _ in range(steps):
            observations, _, ends, _, _ = envs.step(agent.get_action_and_value(observations)[0])
            print("SPS: 0")
        agent.get_value(observations)
"""


class Counting(nn.Module):
    """Pushes the cart to one side, and stops after so many rollouts."""

    def __init__(self, seen: list[Any], envs: SyncVectorEnv) -> None:
        super().__init__()
        self.seen, self.number = seen, envs.num_envs

    def get_value(self, observations: Any) -> Tensor:
        """Stop after the third rollout."""
        self.seen.append(observations)
        if len(self.seen) == 3:
            raise cleanrl_ppo.Stop
        return torch.zeros(self.number, 1)

    def get_action_and_value(self, observations: Any) -> tuple[Any, ...]:
        """Return actions alone."""
        return (np.zeros(self.number, dtype=np.int64),)


def checkout(folder: Path, script: str) -> Path:
    (folder / "cleanrl").mkdir()
    (folder / "cleanrl/ppo.py").write_text(script, encoding="utf-8")
    return folder


def test_the_script_runs_with_our_parts_until_the_network_stops_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    folder, seen = checkout(tmp_path, SCRIPT), []
    monkeypatch.chdir(tmp_path)
    cleanrl_ppo.run(
        folder, ["--num-steps", "9"], lambda: gymnasium.make("CartPole-v1"), lambda envs: Counting(seen, envs)
    )
    assert [observations.shape for observations in seen] == [(2, 4)] * 3
    # Pushed to one side the pole falls within eleven steps: the step that ends an episode returns the next one's state.
    assert all(np.abs(observations[:, 2]).max() < 0.2095 for observations in seen)
    assert not (tmp_path / "runs").exists()
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize(
    ("script", "message"),
    [
        (None, "no cleanrl/ppo.py in it"),
        ("def make_env(): ...\n", "defines no Agent"),
        ("", "no Agent and no make_env"),
    ],
)
def test_what_is_no_clone_of_cleanrl_is_refused(tmp_path: Path, script: str | None, message: str) -> None:
    folder = tmp_path if script is None else checkout(tmp_path, script)
    with pytest.raises(SystemExit, match=message):
        cleanrl_ppo.run(folder, [], lambda: gymnasium.make("CartPole-v1"), lambda envs: nn.Identity())
