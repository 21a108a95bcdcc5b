"""Writers of agents, by the functions that users call: what is checked before the work."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from rlstitch.api.import_agent import import_agent
from rlstitch.api.relativize import relativize
from rlstitch.api.stitch import stitch
from rlstitch.api.train import train
from rlstitch.config.training import load_config
from rlstitch.envs import World
from rlstitch.errors import BusyError
from rlstitch.storage.locks import exclusive_lock
from rlstitch.storage.workspace import agent_lock


@pytest.mark.parametrize(
    "make",
    [
        lambda: stitch("red", "green", name="one"),
        lambda: relativize("red", name="one", force=True),
        lambda: import_agent("model.zip", name="one", world=World("MiniGrid-LavaGapS5-v0")),
    ],
)
def test_a_second_writer_of_a_name_fails_at_once(make: Callable[[], object], two) -> None:
    """Before a model is read, states are collected, or anything is played."""
    with exclusive_lock(agent_lock("one"), "agent 'one'"), pytest.raises(BusyError, match=r"agent 'one' is locked"):
        make()


def test_a_second_training_of_a_name_fails_at_once(workplace: Path) -> None:
    config = load_config("minigrid-lavagap-s7", {"name": "one", "total_steps": 10**9})
    with exclusive_lock(agent_lock("one"), "agent 'one'"), pytest.raises(BusyError, match=r"agent 'one' is locked"):
        train(config)
    assert sorted(path.name for path in workplace.iterdir()) == ["runs"]
