"""The quick commands of `benchmarks/kill.py`: killed before every rename, and at a random moment."""

from __future__ import annotations

import random
from pathlib import Path

from hub_server import Hub

import kill

QUICK = ("latent translate", "import")


def test_a_killed_command_loses_nothing_and_the_next_start_recovers(tmp_path: Path) -> None:
    chosen = [command for command in kill.commands(tmp_path, Hub()) if command.name in QUICK]
    assert len(chosen) == len(QUICK)
    for number, command in enumerate(chosen):
        outcome = kill.disturb(command, tmp_path / str(number), 1, random.Random(0))
        assert (outcome.lost, outcome.not_recovered) == (0, 0), outcome
        assert outcome.at_renames > 0
        assert outcome.at_random == 1


def test_what_was_lost_is_counted(tmp_path: Path) -> None:
    """A command that removes the older result before it writes the new one."""
    target = Path("result")

    def write(content: str) -> None:
        target.unlink(missing_ok=True)
        target.with_suffix(".part").write_text(content)
        target.with_suffix(".part").rename(target)

    command = kill.Command("careless", lambda: write("old"), lambda: write("new"), target.read_text)
    outcome = kill.disturb(command, tmp_path / "careless", 0, random.Random(0))
    assert (outcome.at_renames, outcome.lost) == (1, 1)
