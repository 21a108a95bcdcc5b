"""Listing and showing agents: what stands in the tables, and what a broken agent looks like there."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from rlstitch.agents.agent import Agent
from rlstitch.agents.artefact import save_agent
from rlstitch.agents.card import AgentCard, ParentCard, TrainingCard
from rlstitch.agents.controller import build_controller
from rlstitch.agents.encoder import build_encoder
from rlstitch.api.listing import list_everything, show_agent
from rlstitch.cli.main import main
from rlstitch.errors import ArtefactError, UnknownNameError

IMAGE = (24, 24, 3)
TRAINING = TrainingCard(
    algorithm="ppo",
    steps=123_456,
    seconds=61.4,
    return_mean=0.9512,
    return_interval=(0.94, 0.96),
    success_rate=0.97,
    episodes=100,
)


def save(folder: Path, name: str, **changes: Any) -> Path:
    encoder = build_encoder({"kind": "cnn", "arch": "small", "image_shape": list(IMAGE), "latent_dim": 6})
    controller = build_controller({"latent_dim": 6, "actions": {"kind": "discrete", "n": 4}, "hidden": [8]})
    fields: dict[str, Any] = {
        "name": name,
        "world": {"environment": "MiniGrid-DoorKey-5x5-v0", "variation": "red"},
        "seed": 3,
        "observation_shape": IMAGE,
        "encoder": encoder.spec(),
        "controller": controller.spec(),
        "command": f"rlstitch train minigrid-doorkey --name {name}",
        **changes,
    }
    return save_agent(Agent(encoder, controller, AgentCard(**fields)), folder / name)


@pytest.fixture
def agents(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    folder = tmp_path / "agents"
    save(folder, "native", training=TRAINING)
    parents = (
        ParentCard(name="native", role="encoder", sha256="01" * 32),
        ParentCard(name="other", role="controller", sha256="23" * 32),
    )
    save(folder, "mixed", parents=parents, method="affine")
    (save(folder, "damaged") / "agent.json").write_text("{")
    return folder


def test_the_list_has_a_row_an_agent_and_a_reason_for_a_broken_one(agents: Path) -> None:
    listing = list_everything(roots=[agents])
    assert [entry.name for entry in listing.agents] == ["damaged", "mixed", "native"]
    assert "minigrid-doorkey" in listing.presets
    lines = str(listing).splitlines()
    assert lines[0].split() == ["agent", "environment", "look", "task", "kind", "return", "success"]
    assert lines[1].split() == ["mixed", "MiniGrid-DoorKey-5x5-v0", "red", "standard", "affine", "-", "-"]
    assert lines[2].split() == ["native", "MiniGrid-DoorKey-5x5-v0", "red", "standard", "absolute", "0.951", "97%"]
    assert lines[3].startswith("damaged  broken: ")
    assert lines[-1].startswith("presets: carracing, minigrid-doorkey, ")


def test_columns_are_aligned(agents: Path) -> None:
    header, *rows = str(list_everything(roots=[agents])).splitlines()[:3]
    column = header.index("environment")
    assert all(row[column:].startswith("MiniGrid") for row in rows)


def test_a_list_of_nothing_says_what_to_do(tmp_path: Path) -> None:
    assert str(list_everything(roots=[tmp_path])).startswith("no agents here; `rlstitch train` makes one\n")


def test_show_says_what_an_agent_is(agents: Path) -> None:
    details = show_agent("native", roots=[agents])
    # small: 3*16*16+16, 16*32*4+32, 32*32*9+32 in the convolutions, then 32 -> 6.
    assert details.parameters["encoder"] == 784 + 2080 + 9248 + 198
    text = str(details)
    for part in (
        str(agents / "native"),
        "24x24x3 (agent view, tiles of 8 pixels)",
        "12,310 weights",
        "ppo, 123,456 steps in 61 s",
        "0.951 (95 % interval 0.940 to 0.960) over 100 episodes",
        "97.0%",
        "rlstitch train minigrid-doorkey --name native",
    ):
        assert part in text, part


def test_show_names_the_parents_of_a_stitched_agent(agents: Path) -> None:
    text = str(show_agent(agents / "mixed"))
    assert "encoder from     native (010101010101)" in text
    assert "controller from  other (232323232323)" in text
    assert "kind             affine" in text


def test_show_reads_the_weights_too(agents: Path) -> None:
    weights = agents / "native" / "encoder.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1])
    with pytest.raises(ArtefactError, match=r"encoder\.safetensors"):
        show_agent("native", roots=[agents])


def test_an_unknown_agent_offers_the_nearest(agents: Path) -> None:
    with pytest.raises(UnknownNameError, match="did you mean native"):
        show_agent("nativ", roots=[agents])


def test_the_commands_print_them(agents: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["list"]) == 0
    assert "native " in capsys.readouterr().out
    assert main(["show", "native"]) == 0
    assert capsys.readouterr().out == f"{show_agent('native')}\n"
    assert main(["show", "damaged"]) == 2
    assert "damaged" in capsys.readouterr().err
