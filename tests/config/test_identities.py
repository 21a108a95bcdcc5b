"""Names and hashes of trainings and sweeps are those of commit 847a483: what it left unfinished is found again."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import pytest

from rlstitch.config.sweep import load_sweep
from rlstitch.config.training import TrainConfig, load_config

OLD = json.loads(Path(__file__).with_name("identities_847a483.json").read_text())


@pytest.mark.parametrize(("preset", "values", "key"), OLD["trainings"])
def test_trainings(preset: str | None, values: dict[str, object], key: str) -> None:
    config = TrainConfig.model_validate(values) if preset is None else load_config(preset, values)
    assert f"{config.name}-{config.hash8}" == key


@pytest.mark.parametrize(("name", "count", "digest"), [(name, *result) for name, result in OLD["sweeps"].items()])
def test_sweeps(name: str, count: int, digest: str) -> None:
    keys = [run.key for run in load_sweep(name).runs]
    assert (len(keys), hashlib.sha256("\n".join(keys).encode()).hexdigest()) == (count, digest)


def test_new_fields_change_the_hash() -> None:
    plain = load_config("minigrid-doorkey")
    changes = [("sensor", "state"), ("padding", "zeros"), ("make_kwargs", {"size": 6}), ("modules", ["json"])]
    changes += [("ppo.reward_clip", 1.0), ("ppo.terminal_on_life_loss", True)]
    hashes = {plain.hash8, *(load_config("minigrid-doorkey", {key: value}).hash8 for key, value in changes)}
    assert len(hashes) == 7


def test_videos_where_possible_are_the_run_without_videos() -> None:
    plain, none, all_best = (load_config("minigrid-doorkey", {"evaluation.video": v}) for v in ("auto", False, True))
    assert load_config("minigrid-doorkey") == plain
    assert plain.hash8 == none.hash8 != all_best.hash8
