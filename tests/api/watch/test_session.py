"""What a viewer watches: the episodes of an evaluation, under looks and agents that change meanwhile."""

from __future__ import annotations

import base64
import io
from collections.abc import Iterator

import gymnasium
import numpy as np
import pytest
from PIL import Image
from rooms import CONTINUOUS, DISCRETE, FOUR, GREY, RESTLESS, SPACES, TWO, DotRoom, registered, untrained
from stitch_samples import untrained as untrained_grid
from stitch_samples import untrained_cart

from rlstitch.api.watch.session import Session
from rlstitch.envs import World
from rlstitch.errors import IncompatibleError, InvalidInputError, UnknownNameError
from rlstitch.rollouts.evaluation import evaluate

LUCKY = "DotRoomLucky-v0"


class LuckyRoom(DotRoom):
    """Rewards that no seed governs."""

    def step(self, action):
        observation, _, terminated, truncated, infos = super().step(action)
        return observation, np.random.default_rng().random(), terminated, truncated, infos


@pytest.fixture(scope="module", autouse=True)
def rooms() -> Iterator[None]:
    with registered():
        gymnasium.register(LUCKY, LuckyRoom, max_episode_steps=25)
        yield


def image_of(url: str) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(url.partition(",")[2]))))


@pytest.mark.parametrize("greedy", [False, True])
@pytest.mark.parametrize("agent", [DISCRETE, CONTINUOUS, "cart"])
def test_the_episodes_are_those_of_an_evaluation(agent: str, greedy: bool) -> None:
    player = untrained_cart() if agent == "cart" else untrained(World(agent))
    evaluation = evaluate(player, episodes=2, seed=3, deterministic=greedy)
    session = Session(player, seed=3, greedy=greedy)
    for episode in range(2):
        session.begin(episode)
        while not session.ended:
            session.step()
        session.step()  # nothing more happens
        moment = session.moment()
        assert (moment["steps"], moment["episode"]) == (evaluation.lengths[episode], episode)
        assert float(moment["return"].replace("\N{MINUS SIGN}", "-")) == pytest.approx(
            evaluation.returns[episode], abs=1e-3
        )
        success = None if evaluation.successes is None else evaluation.successes[episode]
        assert moment["outcome"] == {None: "over", True: "success", False: "no success"}[success]
        assert not any(bar["chosen"] for bar in moment["bars"])
    session.close()


@pytest.mark.parametrize("environment", [DISCRETE, CONTINUOUS, GREY, TWO, FOUR, *SPACES])
def test_what_is_shown_of_images_and_of_every_kind_of_action(environment: str) -> None:
    world = World(environment, frame_stack=2)
    session = Session(untrained(world))
    moment = session.moment()
    channels = {TWO: 2, FOUR: 4}.get(environment, 0)
    assert (moment["frame"] is None) == bool(channels)  # no colours that people know
    assert image_of(moment["seen"]).shape == (40, 40 * 2 * max(1, channels), 3)
    bars = moment["bars"]
    assert all(bar["low"] <= bar["value"] <= bar["high"] and bar["name"] and bar["text"] for bar in bars)
    action = session._action[0]
    if environment == CONTINUOUS:
        assert [bar["text"].partition("taken ")[2] for bar in bars] == [f"{number:.2f}" for number in action]
    elif environment == DISCRETE:
        assert sum(bar["value"] for bar in bars) == pytest.approx(1)
        assert [bar["chosen"] for bar in bars].index(True) == action
    session.close()


def test_vectors_and_what_the_environment_renders() -> None:
    session = Session(untrained_cart())
    moment = session.moment()
    assert moment["vector"] == pytest.approx(session._run.observation.tolist(), abs=1e-4)
    assert moment["seen"] is None
    assert image_of(moment["frame"]).shape == (400, 600, 3)
    session.close()


def test_a_grid_is_shown_as_a_whole_and_its_actions_by_name() -> None:
    session = Session(untrained_grid(task="without:drop"))
    moment = session.moment()
    assert image_of(moment["frame"]).shape == (160, 160, 3)
    assert [bar["name"] for bar in moment["bars"]] == ["left", "right", "forward", "pickup", "toggle", "done"]
    session.close()


@pytest.mark.parametrize("agent", ["grid", DISCRETE])
def test_another_look_changes_what_is_seen_and_not_where_the_agent_is(agent: str) -> None:
    player = untrained_grid() if agent == "grid" else untrained(World(agent))
    session = Session(player)
    for _ in range(4):
        session.step()
    before = session.moment()
    session.play(player, "red+inverted" if agent == "grid" else "inverted")
    after = session.moment()
    assert (after["steps"], after["return"]) == (before["steps"], before["return"]) == (4, before["return"])
    np.testing.assert_array_equal(image_of(after["seen"]), 255 - image_of(before["seen"]))
    session.play(player)
    assert session.moment() == before
    session.close()


def test_what_cannot_be_played_leaves_the_session_as_it_is() -> None:
    player = untrained(World(LUCKY))
    session = Session(player)
    session.step()
    before = session.moment()
    for agent, look, error in (
        (player, "gren", UnknownNameError),
        (player, "red", InvalidInputError),
        (player, "inverted", InvalidInputError),  # not deterministic
        (untrained(World(CONTINUOUS)), None, IncompatibleError),
        (untrained(World(RESTLESS)), None, IncompatibleError),
    ):
        with pytest.raises(error):
            session.play(agent, look)
        assert session.moment() == before
    session.begin(0)
    session.play(player, "inverted")
    session.close()


def test_another_seed_has_other_episodes() -> None:
    player = untrained(World(DISCRETE))
    session = Session(player)
    first = session.moment()
    session.begin(0, seed=5)
    assert session.seed == 5
    assert session.moment()["frame"] != first["frame"]
    session.begin(0, seed=0)
    assert session.moment() == first
    session.close()
