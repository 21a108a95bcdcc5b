"""An environment that is no MiniGrid, with discrete and with continuous actions, through the whole pipeline."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from rooms import CONTINUOUS, DISCRETE, FIRST, FOUR, GREY, RESTLESS, TWO, registered

from rlstitch.agents.anchor_set import load_anchor_set
from rlstitch.agents.artefact import load_agent, save_agent
from rlstitch.api.evaluate import evaluate
from rlstitch.api.relativize import relativize
from rlstitch.api.stitch import stitch
from rlstitch.api.train import Trained, train
from rlstitch.cli.main import main
from rlstitch.config.training import load_config
from rlstitch.envs import World
from rlstitch.errors import IncompatibleError, InvalidInputError, UnknownNameError
from rlstitch.rollouts.anchors import default_anchor_set
from rlstitch.rollouts.video import record
from rlstitch.stitching.pairs import gather_pairs
from rlstitch.stitching.relativize import Distillation, relativize_agent, visited_states
from rlstitch.stitching.stitch import stitch_agents

CONFIG = """
environment: {environment}
device: cpu
threads: 1
num_envs: 4
total_steps: 256
ppo: {{n_steps: 32, n_minibatches: 2, n_epochs: 1, learning_rate: 1e-3}}
encoder: {{latent_dim: 16}}
controller: {{hidden: [16], norm: none}}
relative: {{anchors: 24}}
evaluation: {{every_steps: 128, episodes: 4, video: false}}
checkpoint: {{every_steps: 128}}
"""
KINDS = [DISCRETE, CONTINUOUS]


@pytest.fixture(scope="module", autouse=True)
def rooms():
    with registered():
        yield


@pytest.fixture(scope="module")
def trained(place: Path):
    """Train, once for each environment and settings, from a YAML file of the user's."""
    done: dict[str, Trained] = {}

    def make(environment: str, *settings: str) -> Trained:
        key = " ".join([environment, *settings])
        if key not in done:
            file = place / f"{environment.lower()}.yaml"
            file.write_text(CONFIG.format(environment=environment))
            done[key] = train(load_config(file, settings), progress="none")
        return done[key]

    return make


@pytest.mark.parametrize("environment", KINDS)
def test_an_agent_is_trained_saved_and_loaded(trained, environment):
    result = trained(environment, "seed=1")
    assert (result.ended, result.agent.card.training.steps) == ("finished", 256)
    assert (result.run_folder / "curve.csv").is_file()
    loaded = load_agent(result.agent.card.name)
    images = np.random.default_rng(0).integers(0, 256, (5, 40, 40, 3), dtype=np.uint8)
    np.testing.assert_array_equal(loaded.act(images), result.agent.act(images))
    kind = loaded.card.controller["actions"]
    assert kind == ({"kind": "discrete", "n": 4} if environment == DISCRETE else BOX)


BOX = {"kind": "box", "low": [-1.0, -1.0], "high": [1.0, 1.0]}


@pytest.mark.parametrize("environment", KINDS)
def test_two_looks_are_stitched_measured_and_filmed(trained, environment):
    plain, inverted = (trained(environment, "seed=1"), trained(environment, "seed=2", "variation=inverted"))
    outcome = stitch(
        inverted.agent, plain.agent, method="affine", pairs=60, episodes=6, video=environment == CONTINUOUS
    )
    assert [cell.method for cell in outcome.cells] == ["random", "native", "naive", "affine"]
    assert outcome.report.pairs == 60
    assert all(path.stat().st_size > 0 for path in outcome.videos)
    again = evaluate(load_agent(outcome.folder), episodes=6, seed=0)
    assert again.evaluation.returns.mean() == pytest.approx(outcome.cells[-1].return_mean)
    assert again.evaluation.successes is not None


@pytest.mark.parametrize("environment", KINDS)
def test_pairs_are_the_same_states_and_their_map_is_found(trained, environment):
    agent = trained(environment, "seed=1").agent
    same = gather_pairs(agent, agent, pairs=40, held=10)
    np.testing.assert_array_equal(same.x.numpy(), same.y.numpy())
    sides = [{row.tobytes() for row in side.numpy()} for side in (same.x, same.x_held)]
    assert not sides[0] & sides[1]
    assert same.distinct_views == 50
    again = gather_pairs(agent, agent, pairs=40, held=10)
    np.testing.assert_array_equal(same.x_held.numpy(), again.x_held.numpy())
    joined = stitch_agents(agent, agent, same, method="naive")
    assert joined.report.action_agreement == 1.0


def test_agents_made_relative_afterwards_cross_by_one_anchor_set(trained, quick):
    outcome = relativize(trained(CONTINUOUS, "seed=1").agent, anchors=24, episodes=2)
    anchors, other = outcome.anchor_set, trained(CONTINUOUS, "seed=2", "variation=inverted").agent
    assert anchors.kind == "replay"
    assert load_anchor_set(anchors.identity) == anchors
    assert anchors == default_anchor_set(other.card.world, 24)
    assert anchors != default_anchor_set(other.card.world, 24, drivers=[other])
    images, states = anchors.render("inverted"), visited_states(other, count=80, num_envs=8)
    made = relativize_agent(
        other, images, states, anchor_set=anchors.identity, distillation=Distillation(steps=20)
    ).agent
    assert stitch(made, outcome.agent, method="relative", pairs=20, episodes=4).report.method == "relative"


@pytest.mark.parametrize("world", [World(DISCRETE), World("MiniGrid-FourRooms-v0", view="full")])
@pytest.mark.parametrize(("covered", "number", "selection"), [(1.0, 8, "farthest"), (0.0, 300, "random")])
def test_more_anchors_are_chosen_where_few_leave_views_unseen(world, covered, number, selection, monkeypatch):
    monkeypatch.setattr("rlstitch.rollouts.anchors.COVERED", covered)
    monkeypatch.setattr("rlstitch.rollouts.anchors.FEW_ANCHORS", 8)
    monkeypatch.setattr("rlstitch.rollouts.anchors.MANY_ANCHORS", 300)
    chosen, counted = default_anchor_set(world, None), default_anchor_set(world, number, selection)
    if chosen.kind == "replay" and covered == 0.0:  # frames repeat: as many distinct ones take more episodes
        assert (len(chosen), len(chosen.seeds) > len(counted.seeds)) == (300, True)
    else:
        assert chosen == counted


def test_a_stored_anchor_set_serves_whatever_view_is_on_the_card(trained, quick):
    """A view means nothing to an environment that draws itself."""
    agent = trained(DISCRETE, "seed=1").agent
    anchors = default_anchor_set(agent.card.world, 12)
    other = agent.card.model_copy(update={"world": replace(agent.card.world, view="full")})
    agent = type(agent)(agent.encoder, agent.controller, other)
    made = relativize(agent, anchors=str(anchors.save("elsewhere")), episodes=1, save=False)
    assert made.anchor_set == anchors


@pytest.mark.parametrize("environment", KINDS)
def test_an_agent_is_trained_relative(trained, environment):
    result = trained(environment, "seed=1", "representation=relative")
    assert result.agent.card.anchors.count == 24
    assert result.agent.encode(default_anchor_set(result.agent.card.world, 24).render()).shape == (24, 24)


def test_a_film_shows_what_the_agent_did(trained):
    agent = trained(CONTINUOUS, "seed=1").agent
    video = record(agent, scale=40, hold=1)
    assert np.stack(list(video.frames)).shape == (video.outcomes.lengths[0] + 1, 40, 40, 3)
    grey = next(record(trained(GREY, "seed=1").agent, scale=40, hold=1).frames)
    assert grey.shape[2] == 3
    assert (grey[..., 0] == grey[..., 2]).all()


@pytest.mark.parametrize(
    ("environment", "settings", "shape"),
    [
        (FIRST, ("total_steps=128", "seed=11"), (40, 40, 3)),
        (FIRST, ("total_steps=128", "seed=12", "size=32"), (32, 32, 3)),
        (DISCRETE, ("total_steps=128", "seed=13", "size=24", "frame_stack=17"), (24, 24, 51)),
        (DISCRETE, ("total_steps=128", "seed=14", "size=24", "frame_stack=8"), (24, 24, 24)),
        (DISCRETE, ("total_steps=128", "seed=15", "crop=24", "frame_stack=10"), (24, 40, 30)),
    ],
)
def test_images_of_any_order_and_depth_are_trained_on(trained, environment, settings, shape):
    """Stable-Baselines3 guesses which axis holds the channels; here it is told."""
    agent = trained(environment, *settings).agent
    assert agent.card.observation_shape == shape
    assert evaluate(agent, episodes=2).evaluation.episodes == 2


def test_chance_in_an_environment_is_refused_where_it_matters(trained):
    agent = trained(RESTLESS, "seed=1").agent
    assert evaluate(agent, episodes=3).evaluation.episodes == 3  # nothing to be paired, nothing to refuse
    world = agent.card.world
    for attempt in (
        lambda: gather_pairs(agent, agent, pairs=20, held=5),
        lambda: stitch(agent, agent, episodes=1),
        lambda: default_anchor_set(world, 8),
        lambda: relativize(agent, anchors=8),
        lambda: list(record(agent).frames),
    ):
        with pytest.raises(InvalidInputError, match=f"{RESTLESS} is not deterministic"):
            attempt()


@pytest.mark.parametrize(
    ("environment", "settings", "error", "message"),
    [
        ("Blackjack-v1", (), InvalidInputError, "Blackjack-v1: expected observations in a uint8 Box"),
        (f"not_there:{DISCRETE}", (), InvalidInputError, "modules: 'not_there' cannot be imported"),
        ("DotRom-v0", (), UnknownNameError, "unknown environment 'DotRom-v0'"),
        (
            CONTINUOUS,
            ("task=scrambled",),
            InvalidInputError,
            "task: 'scrambled' gives discrete actions another meaning",
        ),
        (DISCRETE, ("variation=red",), InvalidInputError, "'red' tints the floor of MiniGrid tiles"),
    ],
)
def test_what_cannot_be_trained_is_refused_before_anything_is_written(
    tmp_path, monkeypatch, environment, settings, error, message
):
    monkeypatch.chdir(tmp_path)
    file = tmp_path / "own.yaml"
    file.write_text(CONFIG.format(environment=f'"{environment}"'))
    with pytest.raises(error, match=message):
        train(load_config(file, settings), progress="none")
    assert [path.name for path in tmp_path.iterdir()] == ["own.yaml"]


def test_agents_of_unlike_actions_do_not_fit(trained):
    discrete, continuous = (trained(environment, "seed=1").agent for environment in KINDS)
    # One class of rooms, one kind of images: the encoder fits, and the controller keeps its own world.
    outcome = stitch(discrete, continuous, method="affine", pairs=30, episodes=2, save=False)
    assert outcome.agent.card.world.environment == CONTINUOUS
    anchors = default_anchor_set(discrete.card.world, 8)
    folder = anchors.save("anchors")
    with pytest.raises(IncompatibleError, match=f"belongs to {DISCRETE}"):
        relativize(continuous, anchors=str(folder), save=False)


def test_a_stitched_agent_survives_its_folder(trained, tmp_path):
    plain, inverted = (trained(CONTINUOUS, "seed=1"), trained(CONTINUOUS, "seed=2", "variation=inverted"))
    pairs = gather_pairs(inverted.agent, plain.agent, pairs=30, held=8)
    made = stitch_agents(inverted.agent, plain.agent, pairs).agent
    loaded = load_agent(save_agent(made, tmp_path / "made"))
    images = np.random.default_rng(0).integers(0, 256, (4, 40, 40, 3), dtype=np.uint8)
    np.testing.assert_array_equal(made.act(images), loaded.act(images))
    assert isinstance(loaded.act(images)[0, 0], np.float32)


@pytest.mark.parametrize(
    ("environment", "settings", "channels"),
    [(TWO, ("seed=1",), 2), (FOUR, ("seed=1",), 4), (TWO, ("seed=2", "frame_stack=3"), 2)],
)
def test_images_that_no_video_shows_are_refused_before_anything_is_played(trained, environment, settings, channels):
    agent = trained(environment, *settings).agent
    message = f"expected images of 1 or 3 channels, found {channels} in {environment}; nothing was played"
    for action in (
        lambda: evaluate(agent, episodes=2, video=True),
        lambda: stitch(agent, agent, pairs=24, episodes=2, video=True, save=False),
        lambda: record(agent),
        lambda: trained(environment, *settings, "name=videos", "evaluation.video=true"),
    ):
        with pytest.raises(InvalidInputError, match=message):
            action()
    assert not list(Path("runs").glob(f"*-{agent.card.name}-*/episodes.csv"))
    assert evaluate(agent, episodes=2).evaluation.episodes == 2


def test_grey_images_that_are_stacked_make_a_video(trained, short_films):
    agent = trained(GREY, "seed=3", "frame_stack=3").agent
    assert evaluate(agent, episodes=2, video=True).videos


def test_results_stay_where_the_video_fails_later(trained, capsys):
    agent = trained(RESTLESS, "seed=1").agent
    outcome = evaluate(agent, episodes=2, video=True)
    assert outcome.table.is_file()
    assert f"{RESTLESS} is not deterministic" in outcome.video_problem
    assert main(["evaluate", agent.card.name, "--episodes", "2", "--video"]) == 1
    printed = capsys.readouterr().out
    assert "agent    return" in printed
    assert f"video    not made: {RESTLESS} is not deterministic" in printed
