"""Listing and showing agents: what stands in the tables, and what a broken agent looks like there."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from pydantic import ValidationError

from rlstitch.agents.agent import Agent
from rlstitch.agents.artefact import save_agent
from rlstitch.agents.card import AgentCard, ParentCard, TrainingCard
from rlstitch.agents.controller import build_controller
from rlstitch.agents.encoder import build_encoder
from rlstitch.agents.manifest import manifest_checksum
from rlstitch.api.listing import list_everything, show, show_agent, steps_taken
from rlstitch.cli.main import main
from rlstitch.config.training import load_config
from rlstitch.errors import ArtefactError, InvalidInputError, UnknownNameError

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
    assert lines[-1].startswith("presets: atari-boxing, atari-boxing-ram, atari-breakout, atari-pong, ")


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


def test_the_list_of_some_worlds(agents: Path, capsys: pytest.CaptureFixture[str]) -> None:
    save(agents, "other", world={"environment": "MiniGrid-Unlock-v0", "variation": "green", "task": "scrambled"})
    for line, names in (
        ("--env unlock", ["other"]),
        ("--look red", ["mixed", "native"]),
        ("--env MiniGrid --task SCRAM --look green", ["other"]),
    ):
        assert main(["list", *line.split()]) == 0
        _, *rows = capsys.readouterr().out.splitlines()
        shown = [row.split()[0] for row in rows]
        assert [name for name in shown if name in ("mixed", "native", "other", "damaged")] == names
    assert main(["list", "--task", "nothing"]) == 0
    assert capsys.readouterr().out == "no agents of such a world\n"


def test_show_prints_a_preset_with_its_defaults(agents: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["show", "minigrid-doorkey"]) == 0
    text = capsys.readouterr().out
    assert yaml.safe_load(text) == load_config("minigrid-doorkey").resolved()
    assert "gae_lambda" in text, "a default that the file leaves out"
    (agents.parent / "mine.yaml").write_text(text)
    assert main(["show", "mine.yaml"]) == 0
    assert capsys.readouterr().out.partition("\n")[2] == text.partition("\n")[2], "it reads back as itself"
    with pytest.raises(UnknownNameError, match="did you mean minigrid-doorkey"):
        show("minigrid-dorkey")


HOSTILE = "x\x1b[31m\x9b2J\u202e"
FORGED = "x\nforged  row"
FIELDS = [
    "world.environment", "world.variation", "world.task", "world.modules.0", "method", "command", "parents.0.name",
    "versions.python", "training.algorithm", "encoder.kind", "training.hyperparameters.key",
]  # fmt: skip


@pytest.mark.parametrize("field", FIELDS)
@pytest.mark.parametrize("text", [HOSTILE, FORGED])
def test_control_characters_in_a_card_are_refused_and_never_printed(
    field: str, text: str, agents: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    save(agents, "bad", training=TRAINING, parents=(ParentCard(name="a", role="encoder", sha256="01" * 32),))
    path = agents / "bad" / "agent.json"
    manifest = json.loads(path.read_text())
    *sections, last = [int(part) if part.isdigit() else part for part in field.split(".")]
    place = manifest
    for section in sections:
        place = place.setdefault(section, []) if section == "modules" else place[section]
    if last == 0 and not place:
        place.append(text)
    else:
        place[last] = text
    rewrite(path, manifest)
    assert main(["list"]) == 0
    listed = capsys.readouterr().out
    assert f"broken: {path}: {field}: expected text without control characters, found " in listed
    assert main(["show", "bad"]) == 2
    printed = listed + "".join(capsys.readouterr())
    assert all(character.isprintable() or character == "\n" for character in printed)
    assert not any(line.startswith("forged") for line in printed.splitlines())


def test_an_unknown_key_and_a_key_of_control_characters(agents: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = agents / "native" / "agent.json"
    for where in (None, "versions"):
        manifest = json.loads(path.read_text())
        (manifest if where is None else manifest[where])[FORGED + HOSTILE] = "1"
        rewrite(path, manifest)
        assert main(["show", "native"]) == 2
        text = capsys.readouterr().err
        assert "expected text without control characters" in text
        assert all(character.isprintable() for character in text.removesuffix("\n"))


def rewrite(path: Path, manifest: dict[str, Any]) -> None:
    """Write a manifest whose checksum fits it."""
    manifest.pop("checksum")
    path.write_text(json.dumps({**manifest, "checksum": manifest_checksum(manifest)}))


def test_a_card_of_control_characters_is_not_written(tmp_path: Path) -> None:
    with pytest.raises((InvalidInputError, ValidationError), match="method: expected text without control characters"):
        save(tmp_path, "bad", method=FORGED)


@pytest.mark.parametrize(("seconds", "text"), [(0.0, "5,000 steps"), (0.4, "5,000 steps in 0.4 s"), (61.4, "in 61 s")])
def test_the_time_of_a_training_is_never_zero_seconds(seconds: float, text: str) -> None:
    assert steps_taken(TrainingCard(algorithm="ppo", steps=5000, seconds=seconds)).endswith(text)
