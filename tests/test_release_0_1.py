"""What version 0.1.0 wrote is still read, and what it left unfinished goes on where it stopped.

`fixtures/release_0_1/make.py` wrote the files, with rlstitch as of commit 847a483.
"""

from __future__ import annotations

import csv
import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import rlstitch
from rlstitch.agents.anchor_set import load_anchor_set
from rlstitch.api.matrix import matrix
from rlstitch.api.sweeps.sweep import sweep, sweep_states
from rlstitch.config.sweep import load_sweep
from rlstitch.config.training import load_config
from rlstitch.latent import fit_affine
from rlstitch.stitching.pair_files import read_pairs
from rlstitch.storage.space_stream import SpaceStream
from rlstitch.storage.spaces import load_space, load_translation

FIXTURES = Path(__file__).parent / "fixtures" / "release_0_1"
GOLDEN = json.loads((FIXTURES / "golden.json").read_text())
MATRIX = {"episodes": 3, "pairs": 24, "methods": ("naive", "affine"), "worlds": ("cell", "inverted")}
MEMBERS = ("red", "green", "scrambled")


@pytest.fixture
def workplace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working folder that version 0.1.0 has worked in."""
    shutil.copytree(FIXTURES, tmp_path, dirs_exist_ok=True)
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize("name", sorted(GOLDEN["agents"]))
def test_agents_act_as_they_did(name: str) -> None:
    golden = GOLDEN["agents"][name]
    agent = rlstitch.load_agent(FIXTURES / "agents" / name)
    assert list(agent.card.observation_shape) == golden["shape"]
    observations = np.random.default_rng(7).integers(0, 256, (4, *golden["shape"]), dtype=np.uint8)
    with torch.no_grad():
        logits, value = agent.controller(torch.as_tensor(agent.encode(observations)))
    np.testing.assert_allclose(logits, golden["logits"], rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(value.flatten(), golden["value"], rtol=1e-4, atol=1e-4)
    world = agent.card.world
    assert {field: getattr(world, field) for field in golden["world"]} == golden["world"]


def test_agents_are_listed(workplace: Path) -> None:
    entries = {entry.name: entry for entry in rlstitch.list_agents()}
    assert entries.keys() >= GOLDEN["agents"].keys()
    assert [entry.reason for name, entry in entries.items() if name in GOLDEN["agents"] and entry.reason] == []


def test_an_agent_is_written_so_that_it_is_read_again(workplace: Path) -> None:
    agent = rlstitch.load_agent("stitched")
    rlstitch.save_agent(agent, workplace / "agents" / "again")
    assert rlstitch.load_agent("again").card.world == agent.card.world


def test_anchor_sets_keep_their_identity(workplace: Path) -> None:
    kinds = set()
    for folder in sorted((workplace / "anchors").iterdir()):
        anchor_set = load_anchor_set(folder.name)
        assert anchor_set.identity.startswith(folder.name)
        kinds.add(anchor_set.kind)
    assert kinds == {"symbolic", "replay"}


def cells(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted((folder / "cells").iterdir())}


def rows(folder: Path) -> list[dict[str, Any]]:
    """The table, without the reasons, whose words are others by now."""
    with (folder / "cells.csv").open() as file:
        return [{k: v for k, v in row.items() if k != "reason"} for row in csv.DictReader(file)]


def columns_of(older: list[dict[str, Any]], table: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """A table without the columns that an older one does not have."""
    return [{k: row[k] for k in older[0]} for row in table]


def test_a_whole_matrix_has_nothing_left_to_measure(workplace: Path) -> None:
    folder = workplace / "runs" / "matrix"
    before, table = cells(folder), rows(folder)
    assert matrix(MEMBERS, out=folder, **MATRIX).complete
    assert cells(folder) == before
    assert columns_of(table, rows(folder)) == table


def test_an_unfinished_matrix_goes_on_with_no_cell_measured_again(workplace: Path) -> None:
    folder, whole = workplace / "runs" / "matrix-unfinished", workplace / "runs" / "matrix"
    before = cells(folder)
    assert 0 < len(before) < len(cells(whole))
    assert matrix(MEMBERS, out=folder, **MATRIX).complete
    after = cells(folder)
    assert after.keys() == cells(whole).keys()
    assert {name: after[name] for name in before} == before
    # The default ridge of affine maps is another by now.
    table, whole_table = ([row for row in rows(each) if row["method"] != "affine"] for each in (folder, whole))
    assert columns_of(whole_table, table) == whole_table


def test_a_sweep_finds_its_trainings(workplace: Path) -> None:
    grid = load_sweep("grid.yaml")
    assert {run.key: run.config.hash8 for run in grid.runs} == {
        key: entry["hash"] for key, entry in GOLDEN["grid"].items()
    }
    states = {state.run.key: state.state for state in sweep_states(grid)}
    assert list(states.values()) == ["done", "begun", "missing", "missing"]


def test_a_training_that_was_cut_off_goes_on_from_its_checkpoint(workplace: Path) -> None:
    whole = (workplace / "agents" / "lavagap-red-s1" / "agent.json").read_bytes()
    grid = load_sweep("grid.yaml")
    begun = grid.runs[1]
    checkpoint = workplace / "runs" / begun.key / "checkpoints" / f"{512:012}" / "progress.json"
    progress = json.loads(checkpoint.read_text())
    progress["history"][0]["length"] = 123.25  # found again in the curve where the training goes on from here
    checkpoint.write_text(json.dumps(progress))
    assert sweep(grid).trained == 3
    assert (workplace / "agents" / "lavagap-red-s1" / "agent.json").read_bytes() == whole
    with (workplace / "runs" / begun.key / "curve.csv").open() as file:
        lengths = {int(row["steps"]): float(row["length"]) for row in csv.DictReader(file)}
    assert sorted(lengths) == [512, 1024]
    assert lengths[512] == 123.25
    assert {state.state for state in sweep_states(grid)} == {"done"}


@pytest.mark.parametrize("preset", sorted(GOLDEN["presets"]))
def test_presets_keep_their_hashes(preset: str) -> None:
    assert load_config(preset, {"variation": "red", "seed": 3}).hash8 == GOLDEN["presets"][preset]


@pytest.mark.parametrize("key", sorted(GOLDEN["grid"]))
def test_resolved_configs_are_read(key: str, tmp_path: Path) -> None:
    entry = GOLDEN["grid"][key]
    (tmp_path / "config.yaml").write_text(json.dumps(entry["config"]))
    assert load_config(tmp_path / "config.yaml").hash8 == entry["hash"]


@pytest.mark.parametrize("name", ["space.npz", "space.safetensors"])
def test_spaces(name: str) -> None:
    space = load_space(FIXTURES / name)
    assert (len(space.keys), space.name) == (30, "vision")
    expected = np.random.default_rng(0).normal(size=(30, 6)).astype(np.float32)
    np.testing.assert_array_equal(np.asarray(space.vectors), expected)


def test_translations() -> None:
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(30, 6)).astype(np.float32), rng.normal(size=(30, 4)).astype(np.float32)
    np.testing.assert_allclose(load_translation(FIXTURES / "affine.safetensors")(x), fit_affine(x, y)(x), atol=1e-4)
    reversal = load_translation(FIXTURES / "orthogonal.safetensors")
    np.testing.assert_allclose(reversal(x), x[:, ::-1], atol=1e-4)


def test_pairs() -> None:
    x, y = read_pairs(FIXTURES / "pairs.npz")
    assert x.shape == y.shape == (12, 56, 56, 3)


def test_an_unfinished_stream_goes_on(workplace: Path) -> None:
    vectors = np.random.default_rng(0).normal(size=(30, 6)).astype(np.float32)
    keys = tuple(f"item {number}" for number in range(30))
    with SpaceStream(workplace / "stream.safetensors", keys, {"model": "m"}, name="part") as stream:
        assert stream.rows == 12
        stream.append(vectors[12:])
        path = stream.finish()
    np.testing.assert_array_equal(np.asarray(load_space(path).vectors), vectors)
