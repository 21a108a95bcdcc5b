"""Training by the function that users call: what is checked before the work."""

from __future__ import annotations

from pathlib import Path

import pytest

from rlstitch.api.train import train
from rlstitch.config.training import load_config
from rlstitch.errors import BusyError
from rlstitch.storage.locks import exclusive_lock
from rlstitch.storage.workspace import training_lock


def test_a_second_training_of_a_name_fails_at_once(workplace: Path) -> None:
    config = load_config("minigrid-lavagap-s7", {"name": "one", "total_steps": 10**9})
    with exclusive_lock(training_lock("one"), "agent 'one'"), pytest.raises(BusyError, match=r"agent 'one' is locked"):
        train(config)
    assert sorted(path.name for path in workplace.iterdir()) == ["runs"]
