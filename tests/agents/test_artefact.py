from __future__ import annotations

import hashlib
import json
import shutil
from pathlib import Path

import pytest
import torch
from artefact_samples import IMAGE, assert_equal_agents, make_agent, make_encoder
from pydantic import ValidationError

from rlstitch.agents.artefact import load_agent, save_agent, weights_sha256
from rlstitch.agents.card import AgentCard
from rlstitch.agents.manifest import list_agents
from rlstitch.envs import World
from rlstitch.errors import ArtefactError, InvalidInputError, UnknownNameError

KINDS = ["cnn", "relative", "translated"]


@pytest.mark.parametrize("kind", KINDS)
def test_a_saved_agent_loads_equal(tmp_path: Path, kind: str) -> None:
    agent = make_agent(kind)
    folder = save_agent(agent, tmp_path / "red-door")
    loaded = load_agent(folder)
    assert_equal_agents(agent, loaded)
    assert loaded.card.name == "red-door"
    assert sorted(path.name for path in folder.iterdir()) == [
        "agent.json", "controller.safetensors", "encoder.safetensors",
    ]  # fmt: skip
    assert [path.name for path in tmp_path.iterdir()] == ["red-door"]


def test_continuous_actions_keep_their_bounds_and_deviation(tmp_path: Path) -> None:
    from rlstitch.agents.agent import Agent
    from rlstitch.agents.controller import build_controller

    agent = make_agent()
    controller = build_controller(
        {"latent_dim": 6, "actions": {"kind": "box", "low": [-1.0, 0.0], "high": [1.0, 2.0]}, "hidden": []}
    )
    agent = Agent(agent.encoder, controller, agent.card)
    torch.nn.init.constant_(controller.log_std, -0.5)
    assert_equal_agents(
        Agent(agent.encoder, controller, agent.card.model_copy(update={"controller": controller.spec()})),
        load_agent(save_agent(agent, tmp_path / "box")),
    )


def test_equal_agents_give_equal_bytes(tmp_path: Path) -> None:
    agent = make_agent("relative")
    one, two = save_agent(agent, tmp_path / "a" / "same"), save_agent(agent, tmp_path / "b" / "same")
    for path in one.iterdir():
        assert path.read_bytes() == (two / path.name).read_bytes()


def test_the_hash_of_a_part_is_that_of_its_file(tmp_path: Path) -> None:
    agent = make_agent()
    folder = save_agent(agent, tmp_path / "one")
    content = (folder / "encoder.safetensors").read_bytes()
    assert weights_sha256(agent.encoder) == hashlib.sha256(content).hexdigest()
    assert weights_sha256(agent.encoder) != weights_sha256(make_encoder("cnn", seed=1))


def test_saving_takes_specifications_from_the_parts_not_from_the_card(tmp_path: Path) -> None:
    agent = make_agent(encoder={"kind": "wrong"}, controller={}, observation_shape=(9, 9, 1))
    card = load_agent(save_agent(agent, tmp_path / "one")).card
    assert card.encoder == agent.encoder.spec()
    assert card.controller == agent.controller.spec()
    assert card.observation_shape == IMAGE


def test_an_existing_agent_is_overwritten_only_with_force(tmp_path: Path) -> None:
    first, second = make_agent(seed=1), make_agent("relative", seed=2)
    folder = save_agent(first, tmp_path / "one")
    with pytest.raises(InvalidInputError, match="is there already"):
        save_agent(second, folder)
    assert_equal_agents(first, load_agent(folder))
    save_agent(second, folder, force=True)
    assert_equal_agents(second, load_agent(folder))


def test_force_never_replaces_a_folder_that_is_no_agent(tmp_path: Path) -> None:
    (tmp_path / "home").mkdir()
    (tmp_path / "home" / "diary.txt").write_text("dear")
    with pytest.raises(InvalidInputError, match=r"no agent\.json"):
        save_agent(make_agent(), tmp_path / "home", force=True)
    assert (tmp_path / "home" / "diary.txt").read_text() == "dear"


def test_nan_weights_leave_the_old_agent_and_no_trace(tmp_path: Path) -> None:
    agent = make_agent()
    folder = save_agent(agent, tmp_path / "one")
    spoilt = make_agent(seed=3)
    with torch.no_grad():
        spoilt.controller.value_head.bias.fill_(float("nan"))
    with pytest.raises(InvalidInputError, match=r"value_head\.bias.*NaN"):
        save_agent(spoilt, folder, force=True)
    assert_equal_agents(agent, load_agent(folder))
    assert [path.name for path in tmp_path.iterdir()] == ["one"]


@pytest.mark.parametrize("name", [".hidden", "a b", "-x", "n" * 101, "a\nb", "ünï"])
def test_a_name_that_is_no_plain_name_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(InvalidInputError, match="agent name"):
        save_agent(make_agent(), tmp_path / name)


def test_saving_under_a_file_names_it(tmp_path: Path) -> None:
    (tmp_path / "agents").write_text("a file")
    with pytest.raises(InvalidInputError, match="file is in the way"):
        save_agent(make_agent(), tmp_path / "agents" / "one")


def test_names_are_looked_up_in_order_and_unknown_ones_get_the_nearest(tmp_path: Path) -> None:
    near, far = tmp_path / "near", tmp_path / "far"
    first, second = make_agent(seed=1), make_agent(seed=2)
    save_agent(first, near / "red-door")
    save_agent(second, far / "red-door")
    save_agent(second, far / "green-door")
    roots = [near, tmp_path / "absent", far]
    assert_equal_agents(first, load_agent("red-door", roots=roots))
    assert_equal_agents(second, load_agent("green-door", roots=roots))
    with pytest.raises(UnknownNameError, match="did you mean red-door"):
        load_agent("red-dor", roots=roots)
    assert [(entry.name, entry.path.parent.name) for entry in list_agents(roots=roots)] == [
        ("green-door", "far"), ("red-door", "near"),
    ]  # fmt: skip


def test_agents_of_the_working_folder_are_found_by_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    agent = make_agent()
    save_agent(agent, tmp_path / "agents" / "mine")
    monkeypatch.chdir(tmp_path)
    assert_equal_agents(agent, load_agent("mine"))
    assert_equal_agents(agent, load_agent("agents/mine"))
    assert "mine" in [entry.name for entry in list_agents()]
    monkeypatch.chdir(tmp_path / "agents")
    assert_equal_agents(agent, load_agent("mine"))  # a folder here, by its bare name


def test_a_renamed_folder_renames_its_agent(tmp_path: Path) -> None:
    folder = save_agent(make_agent(), tmp_path / "old")
    assert load_agent(folder.rename(tmp_path / "new")).card.name == "new"


def test_broken_agents_are_listed_with_a_reason(tmp_path: Path) -> None:
    for name in ("good", "cut", "empty", "old"):
        save_agent(make_agent(), tmp_path / name)
    (tmp_path / "cut" / "encoder.safetensors").write_bytes(b"short")
    (tmp_path / "empty" / "agent.json").unlink()
    manifest = json.loads((tmp_path / "old" / "agent.json").read_text())
    (tmp_path / "old" / "agent.json").write_text(json.dumps({**manifest, "schema_version": 7}))
    (tmp_path / ".tmp-abc~").mkdir()
    entries = {entry.name: entry for entry in list_agents(roots=[tmp_path])}
    assert sorted(entries) == ["cut", "empty", "good", "old"]
    assert entries["good"].card is not None
    assert not entries["good"].broken
    assert entries["good"].card.world.variation == "red"
    assert "sha256" in entries["cut"].reason
    assert "no such file" in entries["empty"].reason
    assert "expected schema_version 1, found '7'" in entries["old"].reason
    assert all("\n" not in entry.reason for entry in entries.values())


@pytest.mark.parametrize("part", ["agent.json", "encoder.safetensors", "controller.safetensors"])
def test_a_missing_file_is_named(tmp_path: Path, part: str) -> None:
    folder = save_agent(make_agent(), tmp_path / "one")
    (folder / part).unlink()
    with pytest.raises(ArtefactError, match=part):
        load_agent(folder)


def test_parts_of_two_agents_do_not_mix(tmp_path: Path) -> None:
    one, two = save_agent(make_agent(seed=1), tmp_path / "one"), save_agent(make_agent(seed=2), tmp_path / "two")
    shutil.copy(two / "controller.safetensors", one)
    with pytest.raises(ArtefactError, match=r"controller\.safetensors: its sha256"):
        load_agent(one)


@pytest.mark.parametrize("name", ["no/such/folder", "..", "x" * 5000, "a\0b", "\ud800", ""])
def test_paths_that_are_no_agent_are_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises((ArtefactError, UnknownNameError)):
        load_agent(name, roots=[tmp_path])


def test_a_card_takes_worlds_and_refuses_unknown_keys() -> None:
    agent = make_agent()
    assert agent.card.world == World(environment="MiniGrid-DoorKey-5x5-v0", variation="red")
    assert agent.card.model_copy(update={"name": "other"}).name == "other"
    fields = agent.card.model_dump()
    with pytest.raises(ValidationError, match="colour"):
        AgentCard.model_validate({**fields, "colour": "red"})
    with pytest.raises(ValidationError, match="seed"):
        AgentCard.model_validate({**fields, "seed": "0"})
    with pytest.raises(ValidationError, match="created"):
        AgentCard.model_validate({**fields, "created": "yesterday"})
    assert {"python", "torch", "rlstitch"} <= agent.card.versions.keys()
