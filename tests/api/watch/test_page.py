"""The page and its connections: who may connect, what a viewer can ask for, and what is left when it has gone."""

from __future__ import annotations

import json
import re
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import pytest
from rooms import DISCRETE, BlindRoom, DotRoom, registered, untrained
from starlette.testclient import TestClient
from starlette.websockets import WebSocketDisconnect
from stitch_samples import untrained_cart
from torch import nn

from rlstitch.agents import Agent
from rlstitch.api.watch.app import make_app
from rlstitch.api.watch.joiner import Joiner
from rlstitch.api.watch.viewer import VIEWER, Choice, Studio
from rlstitch.envs import World
from rlstitch.errors import RlstitchError
from rlstitch.stitching import methods
from rlstitch.stitching.stitch import check_method
from rlstitch.storage import limits

HOST, TOKEN = "127.0.0.1:8000", "a-token"
LIVE = f"ws://{HOST}/live?token={TOKEN}"
COUNTED, FADING = "DotRoomCounted-v0", "DotRoomFading-v0"


class CountedRoom(DotRoom):
    """Counts those that are open."""

    open = 0

    def __init__(self) -> None:
        super().__init__()
        CountedRoom.open += 1

    def close(self) -> None:
        CountedRoom.open -= 1


class FadingRoom(BlindRoom):
    """Shows numbers once, and then none."""

    def _draw(self) -> np.ndarray:
        return np.concatenate([self.dot, self.target]).astype(np.float32)

    def step(self, action: Any) -> tuple[Any, ...]:
        return self._draw() * np.float32("nan"), *super().step(action)[1:]


@pytest.fixture(autouse=True)
def rooms(workplace: Path) -> Iterator[None]:
    with registered():
        gymnasium.register(COUNTED, CountedRoom, max_episode_steps=25)
        gymnasium.register(FADING, FadingRoom, max_episode_steps=25)
        yield


def studio_of(agent: Agent) -> Studio:
    return Studio(Joiner(agent), agent, Choice(agent.card.name, playing=False))


def client_of(studio: Studio) -> TestClient:
    return TestClient(make_app(studio, {HOST, "localhost:8000"}, TOKEN), base_url=f"http://{HOST}")


class Page:
    """One connection."""

    def __init__(self, socket: Any) -> None:
        self.socket = socket

    def ask(self, **command: Any) -> None:
        self.socket.send_text(json.dumps(command))

    def next(self, kind: str) -> dict[str, Any]:
        """The next message of a kind."""
        return self.until(kind)

    def until(self, kind: str, **values: Any) -> dict[str, Any]:
        """The next message of a kind with these values."""
        while True:
            message = self.socket.receive_json()
            if message["kind"] == kind and message.items() >= values.items():
                return message

    def asked(self, **command: Any) -> tuple[dict[str, Any], dict[str, Any]]:
        """Settings and moment after a command."""
        self.ask(**command)
        return self.next("settings"), self.next("moment")


@contextmanager
def opened(client: TestClient) -> Iterator[Page]:
    """A connection; after it, its thread has ended."""
    before = set(threading.enumerate())
    with client.websocket_connect(LIVE) as socket:
        page = Page(socket)
        page.next("moment")
        own = [one for one in set(threading.enumerate()) - before if one.name.startswith(VIEWER)]
        yield page
    for thread in own:
        thread.join()


def test_the_page_needs_nothing_from_elsewhere() -> None:
    response = client_of(studio_of(untrained(World(DISCRETE)))).get("/", params={"token": TOKEN})
    assert response.status_code == 200
    assert TOKEN not in response.text
    assert not re.search(r'(src|href)="(?!data:|#)', response.text)
    policy = re.search(r'Content-Security-Policy" content="([^"]*)"', response.text)
    assert policy is not None
    assert "default-src &#39;none&#39;" in policy[1]
    assert f"connect-src ws://{HOST};" in policy[1]
    assert "unsafe" not in policy[1]
    assert response.headers["content-security-policy"] == "frame-ancestors 'none'"
    assert response.headers["referrer-policy"] == "no-referrer"


@pytest.mark.parametrize(
    ("headers", "token", "reason"),
    [
        ({}, "", "token"),
        ({}, "another", "token"),
        ({}, "ä", "token"),
        ({"host": "evil.example:8000"}, TOKEN, "its own machine"),
        ({"host": "127.0.0.1:9000"}, TOKEN, "its own machine"),
        ({"host": ""}, TOKEN, "its own machine"),
        ({"origin": "http://evil.example"}, TOKEN, "another page"),
        ({"origin": "null"}, TOKEN, "another page"),
        ({"origin": "https://127.0.0.1:8000"}, TOKEN, "another page"),
    ],
)
def test_strangers_are_refused(headers: dict[str, str], token: str, reason: str) -> None:
    client = client_of(studio_of(untrained(World(DISCRETE))))
    response = client.get("/", params={"token": token}, headers=headers)
    assert (response.status_code, reason in response.text) == (403, True)
    address = f"ws://{HOST}/live?token={token}"
    with pytest.raises(WebSocketDisconnect), client.websocket_connect(address, headers=headers):
        pytest.fail("it was let in")


def test_the_page_itself_is_let_in() -> None:
    client = client_of(studio_of(untrained(World(DISCRETE))))
    for host in (HOST, "localhost:8000"):
        with client.websocket_connect(LIVE, headers={"host": host, "origin": f"http://{host}"}) as socket:
            assert Page(socket).next("settings")["seed"] == 0
    assert client.get("/other", params={"token": TOKEN}).status_code == 404


def test_a_viewer_steps_pauses_plays_and_restarts() -> None:
    with opened(client_of(studio_of(untrained(World(DISCRETE))))) as page:
        first = page.asked(do="restart")[1]
        settings, second = page.asked(do="step")
        assert (settings["playing"], second["steps"]) == (False, 1)
        assert page.asked(do="restart")[1] == first
        assert page.asked(do="next")[1]["episode"] == 1
        assert page.asked(do="set", seed=7)[0]["seed"] == 7
        assert page.asked(do="set", greedy=True)[0]["greedy"] is True
        page.ask(do="set", speed=64)
        page.ask(do="play")
        while page.next("moment")["outcome"] == "playing":
            pass
        ended = page.asked(do="pause")[1]
        assert ended["outcome"] in ("success", "no success")
        assert page.asked(do="step")[1] | {"frame": "", "seen": "", "bars": []} == {
            **ended, "episode": 1, "steps": 0, "return": "0", "outcome": "playing", "frame": "", "seen": "", "bars": []
        }  # fmt: skip


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "Invalid JSON"),
        ("[]", "expected"),
        ("{}", "do: "),
        ('{"do": "jump"}', "do: expected 'play'"),
        ('{"do": "set", "seed": -1}', "seed: expected at least 0"),
        ('{"do": "set", "speed": 0}', "speed: expected more than 0"),
        ('{"do": "set", "speed": NaN}', "speed"),
        ('{"do": "set", "look": "gren"}', "unknown look 'gren'"),
        ('{"do": "set", "look": "red"}', "tints the floor of MiniGrid"),
        ('{"do": "set", "encoder": "nobody"}', "unknown agent 'nobody'"),
        ('{"do": "set", "encoder": "/etc"}', "unknown agent '/etc'"),
        ('{"do": "set", "file": "x"}', "file"),
    ],
)
def test_what_cannot_be_done_is_said_in_one_line(text: str, message: str) -> None:
    with opened(client_of(studio_of(untrained(World(DISCRETE))))) as page:
        page.socket.send_text(text)
        problem = page.next("error")["text"]
        assert message in problem
        assert "\n" not in problem
        assert page.next("settings")["look"] == "standard"
        assert page.asked(do="step")[1]["steps"] == 1


def test_what_fails_while_it_plays_is_said_once_and_pauses() -> None:
    agent = Agent.from_modules(nn.Sequential(nn.Linear(4, 3)), nn.Sequential(nn.Linear(3, 4)), World(FADING))
    with opened(client_of(studio_of(agent))) as page:
        page.ask(do="play")
        assert page.next("error")["text"] == "observations: expected finite values, found NaN or infinity"
        assert page.next("settings")["playing"] is False
        assert page.asked(do="restart")[1]["steps"] == 0


def endless(pairs: Any, controller: Any) -> None:
    while True:
        sum([1])


def test_encoder_method_and_look_are_switched_while_the_episode_goes_on(stored, monkeypatch) -> None:
    monkeypatch.setitem(methods._LOADED, "mine:endless", methods.Method("endless", "never done", endless))
    small = {"environment": "MiniGrid-Empty-5x5-v0"}
    studio = studio_of(stored("red", **small))
    stored("green", seed=2, variation="green", **small)
    wide = stored("wide", encoder__latent_dim=7, **small)
    assert {"red", "green", "wide"} <= set(studio.joiner.encoders())
    with opened(client_of(studio)) as page:
        page.asked(do="step")
        page.ask(do="set", encoder="green", method="affine")
        assert page.next("progress")["text"] == "collecting pairs"
        settings = page.until("settings", encoder="green")
        assert (settings["method"], settings["look"]) == ("affine", "green")
        assert page.next("moment")["steps"] == 1
        page.ask(do="set", look="blue")
        assert page.until("settings", look="blue")["encoder"] == "green"
        page.ask(do="set", encoder="wide", method="naive")
        with pytest.raises(RlstitchError) as refused:  # as rlstitch stitch does
            check_method(wide, studio.agent, "naive")
        assert page.next("error")["text"] == str(refused.value)
        page.ask(do="set", method="nave")
        assert page.next("error")["text"].startswith("unknown stitching method 'nave'; did you mean naive")
        page.ask(do="set", method="antigravity:fly")
        assert page.next("error")["text"].startswith("unknown stitching method 'antigravity:fly'")
        assert "antigravity" not in sys.modules
        page.ask(do="set", encoder="green", method="endless")
        assert page.next("progress")["text"] == "fitting endless"
        page.ask(do="set", encoder="red")  # before the other is done
        assert page.until("settings", encoder="red")["look"] == "red"


def test_two_viewers_have_environments_of_their_own_and_a_closed_tab_frees_its() -> None:
    studio = studio_of(untrained(World(COUNTED)))
    client, before = client_of(studio), CountedRoom.open
    with opened(client) as one:
        with opened(client) as two:
            assert CountedRoom.open == before + 2
            assert one.asked(do="step")[1]["steps"] == 1
            assert two.asked(do="next")[1]["episode"] == 1
            assert one.asked(do="step")[1]["steps"] == 2
        assert CountedRoom.open == before + 1
        assert one.asked(do="set", seed=4)[1]["steps"] == 0
        assert CountedRoom.open == before + 1
    assert CountedRoom.open == before
    assert not studio.viewers


def test_no_more_viewers_than_the_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "VIEWERS", 1)
    client = client_of(studio_of(untrained(World(DISCRETE))))
    with opened(client), client.websocket_connect(LIVE) as other:
        assert other.receive_json() == {"kind": "error", "text": "at most 1 viewers at once; close a tab"}


def test_the_sensor_is_stated_on_which_it_depends_whether_there_are_looks() -> None:
    for agent, sensor in ((untrained_cart(), "state"), (untrained(World(DISCRETE)), "pixels")):
        with opened(client_of(studio_of(agent))) as page:
            assert page.asked(do="pause")[0]["sensor"] == sensor
