"""`rlstitch train` from end to end, on a tiny budget: the agent, its listing, its evaluation, and the second time."""

from __future__ import annotations

from pathlib import Path

import pytest

from rlstitch.agents.artefact import load_agent
from rlstitch.cli.main import main

TINY = [
    *("train", "minigrid-empty-random-6x6", "--variation", "red", "--seed", "1", "--device", "cpu", "--name", "tiny"),
    *("--set", "total_steps=256", "num_envs=4", "ppo.n_steps=32", "ppo.n_epochs=1", "encoder.latent_dim=8"),
    *(
        "--set",
        "threads=1",
        "evaluation.every_steps=1000",
        "evaluation.episodes=2",
        "evaluation.video=false",
        "checkpoint.every_steps=1000",
    ),
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


def test_r3l_by_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """Its networks, layer by layer; a width of the user's own is refused, not ignored."""
    monkeypatch.chdir(tmp_path)
    line = [item for item in TINY if item != "encoder.latent_dim=8"]
    assert main([*line, "--encoder-arch", "r3l"]) == 0
    agent = load_agent("tiny")
    layers = [type(layer).__name__ for layer in (*agent.encoder.convolutions, *agent.controller.trunk)]
    assert layers == ["Conv2d", "ReLU", "Conv2d", "ReLU", "Conv2d", "LayerNorm", "ReLU", "Linear", "ReLU"]
    assert agent.encoder.latent_dim == agent.controller.trunk[0].normalized_shape[0] == 64 * 3 * 3
    assert agent.controller.spec()["hidden"] == [512]

    capsys.readouterr()
    assert main([*line, "--encoder-arch", "r3l", "--set", "encoder.latent_dim=8", "--force"]) == 2
    assert "latent_dim: expected null with arch r3l (its convolutions decide), found 8" in capsys.readouterr().err
    assert main([*line, "--encoder-arch", "r3l", "--set", "encoder.arch=small", "--force"]) == 2
    assert "one from --set and one from --encoder-arch" in capsys.readouterr().err
    assert main([*line, "--set", "encoder.latent_dim=null", "--force"]) == 2
    assert "latent_dim: expected a number, found null" in capsys.readouterr().err
