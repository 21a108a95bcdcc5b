"""rlstitch diagnose: the map is that of rlstitch stitch, the text and JSON, refusals, environments without tiles."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from rooms import CONTINUOUS, DISCRETE, RESTLESS, registered
from scipy.stats import spearmanr

from rlstitch.agents.agent import Agent
from rlstitch.agents.controller import build_controller
from rlstitch.agents.encoder import build_encoder
from rlstitch.api.diagnose import diagnose
from rlstitch.api.stitch import stitch
from rlstitch.api.train import draft_card
from rlstitch.cli.main import main
from rlstitch.config.training import load_config
from rlstitch.errors import IncompatibleError, UnknownNameError
from rlstitch.stitching.diagnosis.verdict import judge, label_of, own_score
from rlstitch.stitching.pair_files import write_pairs
from rlstitch.storage import read_json

FAST = {"pairs": 24, "episodes": 8}
TABLE = Path(__file__).parents[2] / "docs/results/diagnosis.json"


def test_the_map_that_is_judged_is_the_one_that_stitch_makes(two):
    result = diagnose("red", "green", method="linear", seed=3, **FAST)
    made = stitch("red", "green", method="linear", seed=3, save=False, **FAST)
    assert result.indicators.held == made.report
    again = diagnose(*two, method="linear", seed=3, **FAST)
    assert again == result


def test_text_and_json_say_the_same(two, capsys):
    arguments = ["diagnose", "--encoder", "red", "--policy", "green", "--pairs", "24", "--episodes", "8"]
    assert main(arguments) == 0
    text = capsys.readouterr().out
    assert main([*arguments, "--json"]) == 0
    content = json.loads(capsys.readouterr().out)
    assert "red -> green by affine: not judged\n  - native no better than random" in text
    assert (content["verdict"]["label"], content["verdict"]["score"]) == ("not judged", None)
    assert content["baselines"]["why_not"] == content["verdict"]["reasons"][0]
    assert all(f"- {reason}" in text for reason in content["verdict"]["reasons"])
    for part in ("held out", "own states", "own actions", "mutual neighbours", "CKA", "effective rank", "affine, rank"):
        assert part in text, part
    assert content["indicators"]["held_pairs"] == 24
    assert content["note"] == ""


def test_two_good_agents_are_judged_after_a_few_episodes(workplace: Path):
    result = diagnose("lavagap-red-s1", "lavagap-green-s2", pairs=256)
    assert (result.baselines.why_not, result.baselines.episodes) == ("", 8)
    assert result.baselines.gain.low > 0
    assert result.verdict.label in ("will carry", "doubtful")
    assert f"{result.verdict.label} (score {result.verdict.score:.2f})" in str(result)
    assert "(8 episodes each)" in str(result)
    assert "Good-Turing" in str(result)


def test_auto_names_the_map_that_it_chose(two):
    result = diagnose("red", "green", method="auto", **FAST)
    assert result.method == "auto"
    assert f"by auto ({result.indicators.held.method})" in str(result)


def test_relative_agents_of_one_anchor_set_need_no_map(stored):
    relative = {"representation": "relative", "relative__anchors": 16}
    stored("one", **relative)
    stored("other", seed=2, variation="green", **relative)
    result = diagnose("one", "other", method="relative", **FAST)
    held = result.indicators.held
    assert (held.method, held.rank, held.condition_number) == ("relative", None, None)
    assert result.indicators.width_x == 16
    assert not any("nothing is between" in reason or "pairs" in reason for reason in result.verdict.reasons[1:])
    assert "\nmap" not in str(result)


def test_the_verdict_ranks_the_cells_of_the_committed_table_as_they_turned_out():
    rows = [row for row in read_json(TABLE) if row["recovery"] is not None]
    scores = np.array([own_score(row["own_kept"]) for row in rows])
    recovery = np.array([row["recovery"] for row in rows])
    assert spearmanr(scores, recovery).statistic > 0.9
    for world in {row["world"] for row in rows}:
        mine = [row["world"] == world for row in rows]
        assert spearmanr(scores[mine], recovery[mine]).statistic > 0.7, world
    labels = np.array([label_of(score) for score in scores])
    assert np.mean(recovery[labels == "will carry"] >= 90) > 0.9
    assert np.mean(recovery[labels == "will fail"] < 50) > 0.7
    assert min((labels == label).sum() for label in ("will carry", "doubtful", "will fail")) > 50


def test_nothing_is_written(two, workplace: Path):
    before = sorted(workplace.rglob("*"))
    diagnose("red", "green", **FAST)
    assert sorted(workplace.rglob("*")) == before


def test_what_cannot_be_joined_is_refused_in_one_line(two, stored, capsys):
    stored("wide", encoder__latent_dim=20)
    with pytest.raises(IncompatibleError, match="width 20"):
        diagnose("wide", "green", method="naive", **FAST)
    with pytest.raises(UnknownNameError, match="affine"):
        diagnose("red", "green", method="afine")
    assert main(["diagnose", "--encoder", "rad", "--policy", "green"]) == 2
    assert "did you mean red" in capsys.readouterr().err


@pytest.fixture
def in_rooms(workplace: Path):
    """Make an agent with random weights in one of the rooms."""

    def make(name: str, environment: str, variation: str = "standard") -> Agent:
        file = workplace / "room.yaml"
        file.write_text(f"environment: {environment}\nencoder: {{latent_dim: 16}}\ncontroller: {{hidden: [16]}}\n")
        card, _ = draft_card(load_config(file, {"name": name, "variation": variation}))
        with torch.random.fork_rng():
            torch.manual_seed(len(name))
            return Agent(build_encoder(card.encoder), build_controller(card.controller), card)

    with registered():
        yield make


@pytest.mark.parametrize("environment", [DISCRETE, CONTINUOUS])
def test_an_environment_without_tiles_is_seen_by_replay(in_rooms, environment):
    one, other = in_rooms("one", environment), in_rooms("other", environment, "invert")
    result = diagnose(one, other, **FAST)
    assert result.indicators.own is not None
    assert result.indicators.own.states > 1
    assert 0 <= result.indicators.own.overlap <= 1
    assert result.verdict.label in ("will carry", "doubtful", "will fail", "not judged")


def test_where_own_states_are_not_to_be_had_the_verdict_rests_on_held_out_pairs(in_rooms, workplace: Path):
    one, other = in_rooms("one", RESTLESS), in_rooms("other", RESTLESS, "invert")
    images = np.random.default_rng(0).integers(0, 255, (20, 40, 40, 3), dtype=np.uint8)
    result = diagnose(one, other, pairs=write_pairs(workplace / "p.npz", images, 255 - images))
    assert result.indicators.own is None
    assert "deterministic" in result.note
    assert result.note in str(result)
    assert result.verdict.label == "not judged"
    judged = judge(replace(result.indicators, dependence=1.0))
    assert "held-out pairs" in judged.reasons[0]
