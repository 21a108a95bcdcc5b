"""`rlstitch train` from end to end, on a tiny budget: the agent, its listing, its evaluation, and the second time."""

from __future__ import annotations

from pathlib import Path

import pytest

from rlstitch.agents.artefact import load_agent
from rlstitch.cli.main import main

TINY = [
    *("train", "minigrid-empty-random-6x6", "--variation", "red", "--seed", "1", "--device", "cpu", "--name", "tiny"),
    *("--set", "total_steps=256", "num_envs=4", "ppo.n_steps=32", "ppo.n_epochs=1", "encoder.latent_dim=8"),
    *("--set", "threads=1", "evaluation.every_steps=1000", "evaluation.episodes=2", "checkpoint.every_steps=1000"),
]


@pytest.mark.parametrize("representation", ["absolute", "relative"])
def test_train_list_show(
    representation: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    line = [*TINY, "relative.anchors=16", "--representation", representation]
    assert main(line) == 0
    assert capsys.readouterr().out.startswith("agents/tiny: 256 steps in ")
    card = load_agent("tiny").card
    assert (card.world.variation, card.seed, card.training is not None) == ("red", 1, True)
    assert (card.anchors is not None) == (representation == "relative")

    assert main(["list"]) == 0
    row = next(text for text in capsys.readouterr().out.splitlines() if text.startswith("tiny "))
    assert representation in row
    assert main(["show", "tiny"]) == 0
    assert "256 steps" in capsys.readouterr().out

    assert main(["evaluate", "tiny", "--episodes", "3", "--variation", "green", "--greedy"]) == 0
    assert "return" in capsys.readouterr().out
    assert main(["evaluate", "tiny", "--variation", "grean"]) == 2
    assert "did you mean green" in capsys.readouterr().err

    assert main(line) == 2
    assert "--force" in capsys.readouterr().err
    assert main([*line, "--force"]) == 0
