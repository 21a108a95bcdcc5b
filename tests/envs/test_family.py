"""A package of a user's own adds a family of environments; what happens once it is gone."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOM = """
from pathlib import Path

import gymnasium
import numpy as np
from gymnasium import spaces

from rlstitch.envs.families.generic import GymnasiumFamily
from rlstitch.envs.tasks.task import Task, plain_word
from rlstitch.envs.tasks.words import TaskWords


class Room(gymnasium.Env):
    observation_space = spaces.Box(0, 255, (40, 40, 3), np.uint8)
    action_space = spaces.Discrete(2)

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.place = 0
        return self.frame(), {}

    def step(self, action):
        self.place += int(action)
        return self.frame(), float(action), self.place == 3, False, {"is_success": self.place == 3}

    def frame(self):
        frame = np.zeros((40, 40, 3), np.uint8)
        frame[:, 10 * self.place : 10 * self.place + 10] = 255
        return frame


class Doubled(gymnasium.RewardWrapper):
    def reward(self, reward):
        return 2 * reward


DOUBLED = plain_word("doubled", "twice the reward", Task(alterations=(Doubled,)))
gymnasium.register("Tiny-Room-v0", Room, max_episode_steps=20)
FAMILY = GymnasiumFamily(
    "Tiny",
    ("Tiny-",),
    tasks=TaskWords("Tiny", ("wait", "go"), "wait", (DOUBLED,)),
    modules=("tiny_rooms",),
    defaults={"frame_stack": 2, "padding": "zeros"},
    presets=Path(__file__).parent / "tiny_presets",
)
"""
PRESET = """
environment: Tiny-Room-v0
task: doubled
total_steps: 64
num_envs: 2
ppo: {n_steps: 32, n_epochs: 1, n_minibatches: 2}
encoder: {latent_dim: 8}
evaluation: {every_steps: 64, episodes: 2, video: false}
"""
COMMANDS = """
import contextlib, io, json, sys
from rlstitch.cli.main import main

for arguments in json.loads(sys.argv[1]):
    with contextlib.redirect_stdout(io.StringIO()) as out, contextlib.redirect_stderr(out):
        code = main(arguments)
    print(json.dumps([code, out.getvalue()]))
"""
STEP = """
from rlstitch.envs import World, family_of, make_vec
env = make_vec(World("Tiny-Room-v0", task="doubled"), 1, seed=0)
env.reset()
print(json.dumps([family_of("Tiny-Room-v0").name, env.step([1])[1].tolist()]))
"""


@pytest.fixture
def tiny(tmp_path: Path) -> Path:
    """A folder for sys.path with an installed package, as pip would leave it."""
    folder = tmp_path / "site"
    info = folder / "tiny_rooms-0.1.dist-info"
    info.mkdir(parents=True)
    (folder / "tiny_rooms.py").write_text(ROOM)
    (folder / "tiny_presets").mkdir()
    (folder / "tiny_presets" / "tiny-room.yaml").write_text(PRESET)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: tiny-rooms\nVersion: 0.1\n")
    (info / "entry_points.txt").write_text("[rlstitch.families]\nrooms = tiny_rooms:FAMILY\n")
    return folder


def python(folder: Path, code: str, *arguments: str) -> list[str]:
    """Lines that a process with the package prints."""
    path = os.pathsep.join([str(folder), *filter(None, [os.environ.get("PYTHONPATH")])])
    done = subprocess.run(
        [sys.executable, "-c", code, *arguments],
        cwd=folder.parent,
        env={**os.environ, "PYTHONPATH": path, "COLUMNS": "200"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


def commands(folder: Path, *lines: str, code: str = COMMANDS) -> list[list]:
    """Exit code and output of rlstitch's commands, one after the other."""
    return [json.loads(text) for text in python(folder, code, json.dumps([line.split() for line in lines]))]


@pytest.mark.slow
def test_a_package_adds_a_family_and_leaves_readable_agents_behind(tiny: Path) -> None:
    lines = "train tiny-room --set threads=1 --name mine", "list", "train tiny-room --task doubeld"
    trained, listed, refused, stepped = commands(tiny, *lines, code=COMMANDS + STEP)
    assert stepped == ["Tiny", [2.0]]
    assert trained[0] == 0
    assert "Tiny-Room-v0" in listed[1]
    assert "unknown Tiny task 'doubeld'; did you mean doubled" in refused[1]
    world = json.loads((tiny.parent / "agents" / "mine" / "agent.json").read_text())["world"]
    assert (world["frame_stack"], world["padding"], world["family"]) == (2, "zeros", "tiny-rooms:rooms")

    (tiny / "tiny_rooms.py").rename(tiny / "gone.py")  # installed, and cannot be imported
    listed, evaluated = commands(tiny, "list", "evaluate mine --episodes 2")
    assert "Tiny-Room-v0" in listed[1]
    assert "needs the package tiny-rooms" in evaluated[1]

    (tiny / "gone.py").rename(tiny / "tiny_rooms.py")
    shutil.rmtree(tiny / "tiny_rooms-0.1.dist-info")
    listed, shown, evaluated = commands(tiny, "list", "show mine", "evaluate mine --episodes 2")
    assert "Tiny-Room-v0" in listed[1]
    assert (shown[0], "doubled" in shown[1]) == (0, True)
    (line,) = evaluated[1].strip().splitlines()
    assert evaluated[0] == 2
    assert "Tiny-Room-v0 needs the package tiny-rooms" in line
    assert "rlstitch.families 'rooms'" in line
