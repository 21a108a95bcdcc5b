"""The server of the page: who may connect, the page itself, and the connection of each viewer."""

from __future__ import annotations

import logging
import secrets
import socket
from collections.abc import Collection

import uvicorn
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.requests import HTTPConnection, Request
from starlette.responses import HTMLResponse, PlainTextResponse
from starlette.routing import Route, WebSocketRoute
from starlette.types import ASGIApp, Receive, Scope, Send
from starlette.websockets import WebSocket

from rlstitch.api.watch.viewer import SPEEDS, Studio, Viewer
from rlstitch.envs import LOOKS
from rlstitch.reporting.html import render
from rlstitch.stitching.methods import known_methods
from rlstitch.storage import limits

_HEADERS = {
    "Cache-Control": "no-store",
    "Content-Security-Policy": "frame-ancestors 'none'",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}


_PATIENCE = 1
"""Seconds that connections have to close once the server is to end."""


class _Server(uvicorn.Server):
    """Ends in silence, though a viewer may still have messages to get."""

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        logging.getLogger("uvicorn.error").setLevel(logging.CRITICAL)
        await super().shutdown(sockets)


def make_server(studio: Studio, listening: socket.socket) -> tuple[uvicorn.Server, str]:
    """Return the server of a socket on this machine, and the address of its page, with a new token."""
    name, port = listening.getsockname()
    token = secrets.token_urlsafe(16)
    config = uvicorn.Config(
        make_app(studio, {f"{name}:{port}", f"localhost:{port}"}, token),
        log_config=None,
        log_level="warning",
        lifespan="off",
        ws="websockets-sansio",
        ws_max_size=limits.MESSAGE_BYTES,
        timeout_graceful_shutdown=_PATIENCE,
    )
    return _Server(config), f"http://{name}:{port}/?token={token}"


def make_app(studio: Studio, hosts: Collection[str], token: str) -> ASGIApp:
    """Return the page `/` and its connections `/live`.

    Args:
        studio: what viewers share.
        hosts: the names and ports, `127.0.0.1:8000`, by which the server may be reached.
        token: that every address must hold.
    """

    async def page(request: Request) -> HTMLResponse:
        content = await run_in_threadpool(_page, studio, request.headers["host"])
        return HTMLResponse(content, headers=_HEADERS)

    async def live(socket: WebSocket) -> None:
        if len(studio.viewers) >= limits.VIEWERS:
            await socket.accept()
            await socket.send_json({"kind": "error", "text": f"at most {limits.VIEWERS} viewers at once; close a tab"})
            await socket.close()
        else:
            await Viewer(socket, studio).watch()

    return _Guard(Starlette(routes=[Route("/", page), WebSocketRoute("/live", live)]), hosts, token)


class _Guard:
    """Refuses what does not come from the page itself.

    The host is that of the server, so that no other name can be made to resolve to it; the origin, which browsers
    state, is the page's own, so that no other page can connect; and the address holds the token, so that no other user
    of the machine can.
    """

    def __init__(self, app: ASGIApp, hosts: Collection[str], token: str) -> None:
        self._app, self._hosts, self._token = app, hosts, token.encode()
        self._origins = {f"http://{host}" for host in hosts}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        problem = self._problem(HTTPConnection(scope))
        if not problem:
            await self._app(scope, receive, send)
        elif scope["type"] == "websocket":
            await WebSocket(scope, receive, send).close()  # before it is accepted: status 403
        else:
            await PlainTextResponse(problem, 403, _HEADERS)(scope, receive, send)

    def _problem(self, connection: HTTPConnection) -> str:
        if connection.headers.get("host") not in self._hosts:
            return "this page is served to its own machine, by the address that rlstitch watch printed"
        if connection.headers.get("origin", "") not in {"", *self._origins}:
            return "another page cannot connect to this one"
        if not secrets.compare_digest(connection.query_params.get("token", "").encode(), self._token):
            return "the address must hold the token that rlstitch watch printed"
        return ""


def _page(studio: Studio, host: str) -> str:
    world, name = studio.agent.card.world, studio.joiner.policy.card.name
    return render(
        "watch.html",
        title="rlstitch watch",
        summary=name,
        world=f"{world.environment}, task {world.task}",
        encoders=studio.joiner.encoders(),
        methods=known_methods().values(),
        looks=[name for name, kind in LOOKS.items() if not kind.parameters],
        speeds=SPEEDS,
        facts={},
        command="",
        connect=f"ws://{host}",
        scripts=["watch.js"],
        styles=["watch.css"],
    )
