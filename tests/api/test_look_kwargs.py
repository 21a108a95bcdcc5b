"""Environments of the user's own that draw their looks by an argument of `gymnasium.make`."""

from __future__ import annotations

from pathlib import Path

import gymnasium
import numpy as np
import pytest
from rooms import DotRoom, untrained

import rlstitch
from rlstitch.agents import save_agent
from rlstitch.api.listing import show_agent
from rlstitch.api.pairs import collect_pairs
from rlstitch.cli.main import main
from rlstitch.envs import World, cell_world
from rlstitch.errors import InvalidInputError
from rlstitch.rollouts.anchors import default_anchor_set
from rlstitch.stitching.pair_files import read_pairs
from rlstitch.storage import read_json

THEMED = "DotRoomThemed-v0"


class ThemedRoom(DotRoom):
    """`theme` is how it is drawn, `pace` what a step does."""

    def __init__(self, theme="light", pace=1):
        super().__init__()
        self.theme, self.pace = theme, pace

    def step(self, action):
        for _ in range(self.pace):
            result = super().step(action)
        return result

    def _draw(self):
        return super()._draw() if self.theme == "light" else 255 - super()._draw()


@pytest.fixture(autouse=True)
def room(workplace):
    gymnasium.register(THEMED, ThemedRoom, max_episode_steps=12)
    yield
    del gymnasium.registry[THEMED]


def of_theme(theme, seed, **fields):
    agent = untrained(World(THEMED, make_kwargs={"theme": theme, "pace": seed}, **fields), seed)
    save_agent(agent, f"agents/{theme}")
    return agent


def test_each_agent_sees_its_own_look_in_the_controllers_environment():
    light, dark = of_theme("light", 1, look_kwargs=("theme",)), of_theme("dark", 2)
    for encoder, policy in ((light, dark), (dark, light)):
        own, other = encoder.card.world.make_kwargs, policy.card.world.make_kwargs
        cell = cell_world(encoder.card.world, policy.card.world)
        assert cell.make_kwargs == {"theme": own["theme"], "pace": other["pace"]}
        path = f"{encoder.card.name}.npz"
        collect_pairs(encoder, policy, path, count=20)
        x, y = read_pairs(path)
        np.testing.assert_array_equal(x, 255 - y)
    assert World.from_dict(light.card.world.to_dict()) == light.card.world
    assert "look_kwargs" not in dark.card.world.to_dict()
    assert "standard+theme=light" in str(show_agent("light"))
    assert "theme" not in str(show_agent("dark"))


def test_an_agent_without_the_argument_sees_the_environments_own_look():
    plain = untrained(World(THEMED), 3)
    collect_pairs(plain, of_theme("dark", 1, look_kwargs=("theme",)), "pairs.npz", count=20)
    x, y = read_pairs("pairs.npz")
    np.testing.assert_array_equal(x, 255 - y)


def test_commands_are_told_which_arguments_are_of_the_look(capsys):
    of_theme("light", 1), of_theme("dark", 1)
    options = ["--episodes", "2", "--pairs", "20"]
    stitch = ["stitch", "light", "dark", "--no-save", *options]
    assert main(stitch) == 0
    assert "trained with theme='light'; if these change only what is seen, --look-kwargs theme lets" in (
        capsys.readouterr().out
    )
    assert main([*stitch, "--look-kwargs", "theme"]) == 0
    assert "--look-kwargs" not in capsys.readouterr().out
    matrix = ["matrix", "light", "dark", "--methods", "affine", "--same-seed", *options, "--out", "cells"]
    assert main([*matrix, "--look-kwargs", "theme"]) == 0
    cells = read_json(Path("cells/cells.json"))
    assert {row["world"] for row in cells} == {f"{THEMED}, standard+theme={name}" for name in ("light", "dark")}


def test_anchors_are_the_same_states_under_each_look():
    light, dark = (of_theme(theme, 1, look_kwargs=("theme",)) for theme in ("light", "dark"))
    sets = [default_anchor_set(agent.card.world, 12) for agent in (light, dark)]
    assert sets[0].identity == sets[1].identity
    x, y = (sets[0].render_in(agent.card.world) for agent in (light, dark))
    np.testing.assert_array_equal(x, 255 - y)


def test_an_argument_that_changes_more_is_refused():
    slow, fast = of_theme("light", 1), of_theme("dark", 3)
    with pytest.raises(InvalidInputError, match="not deterministic, or pace change more than what is seen"):
        rlstitch.stitch(slow, fast, env={"look_kwargs": ["pace"]}, pairs=20, episodes=1, save=False)
