"""Watch an agent play in a page of a browser."""

from __future__ import annotations

import socket
from collections.abc import Callable
from contextlib import closing, suppress
from typing import Any

from rlstitch.api.environment import AgentLike, placed
from rlstitch.api.watch.joiner import Joiner
from rlstitch.api.watch.session import Session
from rlstitch.errors import InvalidInputError, needs_extra
from rlstitch.jobs.progress import ProgressReporter
from rlstitch.jobs.resources import torch_threads
from rlstitch.rollouts.episodes import check_seed
from rlstitch.stitching.methods import DEFAULT, get_method

_HOST = "127.0.0.1"


@torch_threads()
def watch(
    agent: AgentLike,
    *,
    encoder: AgentLike | None = None,
    env: Any = None,
    method: str = DEFAULT,
    look: str | None = None,
    seed: int = 0,
    deterministic: bool = False,
    port: int = 0,
    on_ready: Callable[[str], None] = print,
    progress: ProgressReporter | None = None,
) -> None:
    """Serve a page on this machine in which an agent plays, until Ctrl-C.

    The page shows the environment, what the encoder sees, the action distribution and the return; there the look, the
    encoder and the method can be changed while the agent plays. Every viewer has environments of its own.

    Args:
        agent: name, folder or value of the agent, or a live model of Stable-Baselines3; its controller plays.
        encoder: of the agent whose encoder is used; None: the agent's own.
        env: another environment than the agents' own, as in `rlstitch.stitch`.
        method: stitching method that joins that encoder to the controller.
        look: another look than that of the encoder's agent.
        seed: of episodes, which are those of `rlstitch.evaluate`, and of pairs.
        deterministic: greedy actions instead of sampled ones.
        port: where to serve; 0: any that is free.
        on_ready: called with the address of the page, which holds a token.
        progress: shows how far the fit of the method is; None: nothing is shown.

    Raises:
        MissingExtraError: without the extra `watch`.
        UnknownNameError: for an unknown agent, look or method.
        IncompatibleError: where the two agents cannot be joined by the method.
        InvalidInputError: for numbers out of range, or a port that is in use.
    """
    with needs_extra("rlstitch watch", "watch"):
        import starlette  # noqa: F401
        import uvicorn  # noqa: F401
        import websockets  # noqa: F401

    from rlstitch.api.watch.app import make_server
    from rlstitch.api.watch.viewer import Choice, Studio

    check_seed(seed)
    method = get_method(method).name
    progress = progress or ProgressReporter(style="none")
    policy = placed(agent, env)
    with closing(_listen(port)) as listening:
        joiner = Joiner(policy, env, seed=seed)
        name = policy.card.name if encoder in (None, agent) else joiner.add(placed(encoder, env))
        first = Choice(name, method, look, greedy=deterministic)
        joined = joiner.join(first.encoder, method, progress)
        Session(joined, look=look, seed=seed).close()  # what cannot be played is refused here
        progress.close()
        studio = Studio(joiner, joined, first, seed)
        server, address = make_server(studio, listening)
        on_ready(address)
        with studio.fitting, suppress(KeyboardInterrupt):
            server.run(sockets=[listening])


def _listen(port: int) -> socket.socket:
    if not 0 <= port <= 65_535:
        raise InvalidInputError(f"port: expected 0 to 65535, found {port}")
    try:
        return socket.create_server((_HOST, port))
    except OSError as error:
        raise InvalidInputError(f"port: {port} cannot be used: {error.strerror}") from None
