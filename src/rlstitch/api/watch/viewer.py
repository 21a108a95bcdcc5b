"""One viewer of the page: its connection, the pace of its session, and what it asks for."""

from __future__ import annotations

import asyncio
import functools
import math
import sys
import threading
import time
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, field, replace
from typing import Annotated, Any, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError
from starlette.websockets import WebSocket, WebSocketDisconnect

from rlstitch.agents import Agent
from rlstitch.api.watch.joiner import Joiner
from rlstitch.api.watch.session import Session
from rlstitch.envs import with_sensor
from rlstitch.errors import RlstitchError
from rlstitch.jobs.progress import OnProgress
from rlstitch.rollouts.display import playing_speed
from rlstitch.stitching.methods import DEFAULT
from rlstitch.storage.text import printable
from rlstitch.storage.validation import as_rlstitch_error

T = TypeVar("T")
Event = Callable[[], Awaitable[None]]
_FRAME, _HOLD, _REPORT = 1 / 30, 1.5, 0.1
"""Seconds: between two frames at least, at the end of an episode, between two reports of progress at least."""
SPEEDS = (0.25, 0.5, 1, 2, 4, 8)
"""Those that the page offers, in multiples of the environment's own speed."""
VIEWER = "viewer"
"""What the names of the threads of viewers begin with."""
Text = Annotated[str, Field(max_length=200)]


class Command(BaseModel):
    """What the page asks for."""

    model_config = ConfigDict(extra="forbid")

    do: Literal["play", "pause", "step", "restart", "next", "set"]
    """`step` pauses; `restart` begins the episode again; `set` changes what is given of the fields below."""
    encoder: Text | None = None
    method: Text | None = None
    look: Text | None = None
    """Empty: that of the encoder's world."""
    seed: Annotated[int, Field(ge=0, lt=2**53)] | None = None
    speed: Annotated[float, Field(gt=0, le=64)] | None = None
    greedy: bool | None = None


@dataclass(frozen=True)
class Choice:
    """What is watched, and how."""

    encoder: str
    """Name of the agent whose encoder is used."""
    method: str = DEFAULT
    """It joins that encoder to the controller, where these are of two agents."""
    look: str | None = None
    """Another look than that of the encoder's world."""
    greedy: bool = False
    speed: float = 1.0
    playing: bool = True


@dataclass
class Studio:
    """What all viewers share: the agents that they can watch, and the thread that fits."""

    joiner: Joiner
    agent: Agent
    """What a viewer watches at first, made as `first` says."""
    first: Choice
    seed: int = 0
    fitting: ThreadPoolExecutor = field(default_factory=lambda: ThreadPoolExecutor(1))
    viewers: set[Viewer] = field(default_factory=set)


class _StoppedError(Exception):
    """Nobody waits for the work any more."""


def _until(stopped: threading.Event, work: Callable[[], T]) -> T:
    """Do some work in a thread of its own, and raise _StoppedError at the next call of a function once it is to stop.

    A fit reports no progress and cannot be asked to end; a profiler sees every call in the thread.
    """

    def check(*_: object) -> None:
        if stopped.is_set():
            raise _StoppedError  # which removes the profiler, too

    sys.setprofile(check)
    try:
        return work()
    finally:
        sys.setprofile(None)


class _PageProgress:
    """Shows the stages of some work in the page, from the thread of the work."""

    def __init__(self, show: Callable[[dict[str, Any]], None]) -> None:
        self._show, self._shown = show, -math.inf

    def stage(self, name: str, unit: str = "") -> OnProgress:
        self._report(name, 0, 0)

        def report(done: int, total: int) -> None:
            if time.monotonic() - self._shown >= _REPORT:
                self._report(name, done, total)

        return report

    def _report(self, name: str, done: int, total: int) -> None:
        self._shown = time.monotonic()
        self._show({"kind": "progress", "text": name, "done": done, "total": total})


class Viewer:
    """Plays a session of its own for one connection, until that is closed.

    The environments are stepped in a thread of the viewer, methods are fitted in one thread of all viewers; meanwhile
    the session goes on.
    """

    def __init__(self, socket: WebSocket, studio: Studio) -> None:
        self._socket, self._studio, self._choice = socket, studio, studio.first
        self._events: asyncio.Queue[Event | None] = asyncio.Queue()
        self._thread = ThreadPoolExecutor(1, thread_name_prefix=VIEWER)
        self._stopped = threading.Event()
        self._due = 0.0

    async def watch(self) -> None:
        """Serve the connection until it is closed, then close the environments."""
        await self._socket.accept()
        self._studio.viewers.add(self)
        reading = asyncio.create_task(self._read())
        session = None
        try:
            session = self._session = await self._on_thread(self._open)
            self._speed = await self._on_thread(lambda: playing_speed(self._session.world))
            self._due = time.monotonic()
            await self._show()
            while (event := await self._next()) is not None:
                try:
                    await event()
                except RlstitchError as error:
                    if event == self._advance:
                        self._choice = replace(self._choice, playing=False)
                    await self._send({"kind": "error", "text": printable(error)})
                    await self._show_settings()
        except WebSocketDisconnect:
            pass
        finally:
            reading.cancel()
            self._stopped.set()
            if session is not None:
                self._thread.submit(session.close)
            self._thread.shutdown(wait=False)  # the thread ends once the environments are closed
            self._studio.viewers.discard(self)

    def _open(self) -> Session:
        first, studio = self._studio.first, self._studio
        return Session(studio.agent, look=first.look, seed=studio.seed, greedy=first.greedy)

    async def _on_thread(self, work: Callable[[], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._thread, work)

    async def _send(self, message: dict[str, Any]) -> None:
        await self._socket.send_json(message)

    async def _show(self) -> None:
        """Send the settings and the state."""
        moment = await self._on_thread(self._session.moment)
        await self._show_settings()
        await self._send({"kind": "moment", **moment})

    async def _show_settings(self) -> None:
        session = self._session
        sensor = with_sensor(session.world).sensor
        settings = {**asdict(self._choice), "look": session.world.look, "sensor": sensor, "seed": session.seed}
        await self._send({"kind": "settings", **settings})

    async def _read(self) -> None:
        try:
            while True:
                text = await self._socket.receive_text()
                self._events.put_nowait(functools.partial(self._obey, text))
        except (WebSocketDisconnect, KeyError):  # closed; bytes where text is expected
            self._events.put_nowait(None)

    async def _next(self) -> Event | None:
        """Wait for the next event; while the session plays, the next step is one."""
        if not self._choice.playing:
            return await self._events.get()
        try:
            async with asyncio.timeout(max(0.0, self._due - time.monotonic())):
                return await self._events.get()
        except TimeoutError:
            return self._advance

    async def _advance(self) -> None:
        interval = 1 / (self._speed * self._choice.speed)
        steps = max(1, round(_FRAME / interval))
        session = self._session

        def advance() -> dict[str, Any]:
            if session.ended:
                session.begin(session.episode + 1)
            else:
                for _ in range(steps):
                    session.step()
            return session.moment()

        moment = await self._on_thread(advance)
        await self._send({"kind": "moment", **moment})
        pause = _HOLD if session.ended else steps * interval
        self._due = max(self._due + pause, time.monotonic())

    async def _obey(self, text: str) -> None:
        try:
            command = Command.model_validate_json(text)
        except ValidationError as error:
            raise as_rlstitch_error(error) from None
        session, episode = self._session, self._session.episode
        match command.do:
            case "set":
                await self._set(command)
            case "play" | "pause":
                self._choice = replace(self._choice, playing=command.do == "play")
            case "step":
                self._choice = replace(self._choice, playing=False)
                again = functools.partial(session.begin, episode + 1)
                await self._on_thread(again if session.ended else session.step)
            case "restart" | "next":
                await self._on_thread(lambda: session.begin(episode + (command.do == "next")))
        self._due = time.monotonic()
        await self._show()

    async def _set(self, command: Command) -> None:
        session = self._session
        if command.speed is not None:
            self._choice = replace(self._choice, speed=command.speed)
        if command.greedy is not None:
            self._choice = replace(self._choice, greedy=command.greedy)
            await self._on_thread(lambda: session.be_greedy(bool(command.greedy)))
        if command.seed is not None:
            await self._on_thread(lambda: session.begin(0, seed=command.seed))
        if not (command.encoder is command.method is command.look is None):
            self._join(command)

    def _join(self, command: Command) -> None:
        """Let the fitting thread make the agent that is asked for; the session plays it once it is made."""
        before = self._choice
        encoder = before.encoder if command.encoder is None else command.encoder
        method = before.method if command.method is None else command.method
        look = before.look if encoder == before.encoder else None
        look = look if command.look is None else command.look or None
        choice = Choice(encoder, method, look)
        self._stopped.set()  # what was asked for before
        stopped = self._stopped = threading.Event()
        loop = asyncio.get_running_loop()

        def post(event: Event) -> None:
            loop.call_soon_threadsafe(self._events.put_nowait, event)

        def finished(joining: asyncio.Future[Agent]) -> None:
            if not joining.cancelled() and not isinstance(joining.exception(), _StoppedError):
                self._events.put_nowait(functools.partial(self._play, joining, stopped, choice))

        progress = _PageProgress(lambda message: post(functools.partial(self._send, message)))
        join = functools.partial(self._studio.joiner.join, choice.encoder, choice.method, progress)
        loop.run_in_executor(self._studio.fitting, _until, stopped, join).add_done_callback(finished)

    async def _play(self, joining: asyncio.Future[Agent], stopped: threading.Event, choice: Choice) -> None:
        if stopped.is_set():
            return
        try:
            agent = joining.result()
            await self._on_thread(lambda: self._session.play(agent, choice.look))
        finally:
            await self._send({"kind": "progress", "text": "", "done": 0, "total": 0})
        names = ("encoder", "method", "look")
        self._choice = replace(self._choice, **{name: getattr(choice, name) for name in names})
        await self._show()
