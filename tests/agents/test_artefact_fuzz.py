"""Whatever stands in an agent's folder: it loads as an equal agent, or is refused by one line of ours."""

from __future__ import annotations

import hashlib
import json
import os
import random
from pathlib import Path
from typing import Any

import pytest
import safetensors.torch
import torch
from artefact_samples import assert_equal_agents, make_agent
from fuzz_mutations import changed, damage

from rlstitch.agents.agent import Agent
from rlstitch.agents.artefact import load_agent, save_agent
from rlstitch.agents.manifest import list_agents
from rlstitch.errors import ArtefactError
from rlstitch.storage import canonical_json

FILES = ["agent.json", "encoder.safetensors", "controller.safetensors"]


def refusal(folder: Path) -> str | None:
    """The line that refuses the agent, or None where it loads; anything else is an error of the test."""
    try:
        load_agent(folder)
    except ArtefactError as error:
        return str(error)
    return None


def sign(manifest: dict[str, Any]) -> str:
    """What an author who means harm would write: any content under a checksum that fits."""
    manifest.pop("checksum", None)
    try:
        manifest["checksum"] = hashlib.sha256(canonical_json(manifest)).hexdigest()
    except ValueError:  # holds what our own writer refuses
        manifest["checksum"] = "0" * 64
    return json.dumps(manifest)


def changed_values(manifest: dict[str, Any], rng: random.Random) -> dict[str, Any]:
    """Another manifest, changed beside what `sign` and the version check look at."""
    kept = {key: manifest[key] for key in ("checksum", "schema_version") if key in manifest}
    return {**changed({key: value for key, value in manifest.items() if key not in kept}, rng), **kept}


@pytest.fixture(params=["cnn", "relative", "translated"])
def saved(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[Agent, Path]:
    agent = make_agent(request.param)
    return agent, save_agent(agent, tmp_path / "one")


@pytest.mark.parametrize("name", FILES)
def test_damaged_bytes(saved: tuple[Agent, Path], name: str) -> None:
    agent, folder = saved
    path, rng = folder / name, random.Random(name)
    whole = path.read_bytes()
    refused = 0
    for _ in range(40):
        path.write_bytes(damage(whole, rng))
        line = refusal(folder)
        if line is None:  # white space of the manifest
            assert_equal_agents(agent, load_agent(folder))
        else:
            refused += 1
            assert "\n" not in line
            assert str(folder) in line
    assert refused > 30


def test_signed_manifests_of_any_content(saved: tuple[Agent, Path]) -> None:
    _, folder = saved
    path, rng = folder / "agent.json", random.Random(0)
    manifest = json.loads(path.read_text())
    refused = 0
    for _ in range(250):
        wrong = changed_values(manifest, rng)
        for _ in range(rng.choice([0, 0, 1, 3])):
            wrong = changed_values(wrong, rng)
        path.write_text(sign(wrong))
        line = refusal(folder)
        [entry] = list_agents(roots=[folder.parent])
        assert "\n" not in entry.reason
        if line is not None:
            refused += 1
            assert "\n" not in line
            assert len(line) < 1000
    assert refused > 150


@pytest.mark.parametrize(
    "text",
    [
        "", "null", "[]", "3", "{", '"agent"', "{}", "NaN", '{"schema_version": NaN}', '{"schema_version": 1}',
        '{"schema_version": true}', '{"schema_version": 1.0}', '{"schema_version": 2}', '{"schema_version": "1"}',
        "[" * 100_000, '{"a":' * 5_000 + "1" + "}" * 5_000, "9" * 10_000, '{"schema_version": 1e999}',
        '{"schema_version": 1, "schema_version": 1}', '{"schema_version": 1, "name": "\\ud800"}',
        '{"schema_version": 1, "seed": ' + "9" * 400 + "}", " " * (2**20 + 1),
    ],
)  # fmt: skip
def test_text_that_is_no_manifest(tmp_path: Path, text: str) -> None:
    folder = save_agent(make_agent(), tmp_path / "one")
    (folder / "agent.json").write_text(text)
    line = refusal(folder)
    assert line is not None
    assert "\n" not in line
    assert len(line) < 600


@pytest.mark.parametrize(
    ("part", "changes"),
    [
        ("encoder", {"latent_dim": 65_536, "image_shape": [4_096, 4_096, 3]}),
        ("encoder", {"image_shape": [2**40, 2**40, 3]}),
        ("encoder", {"image_shape": [24, 24, -3]}),
        ("encoder", {"image_shape": [1, 1, 3]}),
        ("encoder", {"arch": "__import__('os')"}),
        ("encoder", {"latent_dim": 7}),
        ("controller", {"hidden": [65_536] * 16}),
        ("controller", {"hidden": [65_536] * 100_000}),
        ("controller", {"actions": {"kind": "discrete", "n": 10**12}}),
        ("controller", {"actions": {"kind": "box", "low": [0.0], "high": [1.0, 2.0]}}),
        ("controller", {"actions": {"kind": "box", "low": [0.0] * 4, "high": [1.0] * 4}}),
        ("controller", {"latent_dim": 65_536}),
    ],
)
def test_hostile_specifications_are_refused_before_they_cost_memory(
    tmp_path: Path, part: str, changes: dict[str, Any]
) -> None:
    folder = save_agent(make_agent(), tmp_path / "one")
    manifest = json.loads((folder / "agent.json").read_text())
    manifest[part].update(changes)
    (folder / "agent.json").write_text(sign(manifest))
    assert refusal(folder) is not None


@pytest.mark.parametrize(
    "changes",
    [
        {"width_in": 10**9},
        {"width_in": 65_536, "width_out": 65_536},
        {"width_out": -4},
        {"width_in": "6"},
        {"report": {"n_pairs": 1}},
        {"report": 3},
        {"dtype": "float64"},
        {"method": ["x"]},
    ],
)
def test_hostile_translations_are_refused(tmp_path: Path, changes: dict[str, Any]) -> None:
    folder = save_agent(make_agent("translated"), tmp_path / "one")
    manifest = json.loads((folder / "agent.json").read_text())
    manifest["encoder"]["translation"].update(changes)
    (folder / "agent.json").write_text(sign(manifest))
    assert refusal(folder) is not None or changes.keys() <= {"method"}


def nested(depth: int) -> dict[str, Any]:
    spec: dict[str, Any] = {"kind": "cnn", "image_shape": [24, 24, 3]}
    for _ in range(depth):
        spec = {"kind": "relative", "base": spec, "anchors": 5}
    return spec


@pytest.mark.parametrize("depth", [25, 29, 100])
def test_deeply_nested_encoders_are_refused(tmp_path: Path, depth: int) -> None:
    folder = save_agent(make_agent("relative"), tmp_path / "one")
    manifest = json.loads((folder / "agent.json").read_text())
    manifest["encoder"] = nested(depth)
    (folder / "agent.json").write_text(sign(manifest))
    assert refusal(folder) is not None


def rewrite(folder: Path, part: str, content: bytes) -> None:
    """Replace a part's file and sign the manifest for it."""
    (folder / f"{part}.safetensors").write_bytes(content)
    manifest = json.loads((folder / "agent.json").read_text())
    manifest["files"][f"{part}.safetensors"] = hashlib.sha256(content).hexdigest()
    (folder / "agent.json").write_text(sign(manifest))


@pytest.mark.parametrize("wrong", ["shape", "dtype", "missing", "extra", "nan", "infinite", "empty"])
def test_signed_weights_that_do_not_fit_are_refused_by_name(tmp_path: Path, wrong: str) -> None:
    agent = make_agent()
    folder = save_agent(agent, tmp_path / "one")
    tensors = {name: tensor.clone() for name, tensor in agent.controller.state_dict().items()}
    name = "value_head.weight"
    if wrong == "shape":
        tensors[name] = tensors[name].T.contiguous()
    elif wrong == "dtype":
        tensors[name] = tensors[name].double()
    elif wrong == "missing":
        del tensors[name]
    elif wrong == "extra":
        name = "zebra"
        tensors[name] = torch.zeros(2)
    elif wrong == "empty":
        tensors = {}
        name = "80 parameters, expected at most 16"
    else:
        tensors[name][0, 0] = float("nan" if wrong == "nan" else "-inf")
    rewrite(folder, "controller", safetensors.torch.save(tensors))
    line = refusal(folder)
    assert line is not None
    assert name in line


def test_signed_bytes_that_are_no_safetensors_are_refused(tmp_path: Path) -> None:
    folder = save_agent(make_agent(), tmp_path / "one")
    whole = (folder / "encoder.safetensors").read_bytes()
    size = int.from_bytes(whole[:8], "little")
    rng = random.Random(1)
    for content in (b"", b"\0" * 7, b"\xff" * 64, whole[:8], whole[: 8 + size], whole + b"x", b"\x80\x04N."):
        rewrite(folder, "encoder", content)
        assert refusal(folder) is not None
    for _ in range(100):  # within the header: names, types, shapes and offsets
        damaged = bytearray(whole)
        damaged[rng.randrange(8 + size)] = rng.choice(b'0123456789{}[]",:aF\0\xff')
        rewrite(folder, "encoder", bytes(damaged))
        line = refusal(folder)
        assert line is None or "\n" not in line


@pytest.mark.parametrize("name", FILES)
def test_a_folder_or_pipe_in_place_of_a_file_is_refused(tmp_path: Path, name: str) -> None:
    folder = save_agent(make_agent(), tmp_path / "one")
    (folder / name).unlink()
    (folder / name).mkdir()
    assert refusal(folder) is not None
    (folder / name).rmdir()
    os.mkfifo(folder / name)
    assert refusal(folder) is not None
    assert list_agents(roots=[tmp_path])[0].broken
