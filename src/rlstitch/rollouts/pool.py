"""Evaluation in several processes that are started once."""

from __future__ import annotations

import contextlib
import multiprocessing
import signal
import time
from multiprocessing.connection import Connection
from types import TracebackType
from typing import TYPE_CHECKING, Any

import numpy as np

from rlstitch.errors import IncompatibleError, InvalidInputError, RlstitchError
from rlstitch.rollouts.actors import Actor, RandomAgent
from rlstitch.rollouts.episodes import MAX_EPISODE_STEPS, Played, check_seed
from rlstitch.rollouts.evaluation import Evaluation, assemble, check_counts, play_in_world, world_of

if TYPE_CHECKING:
    from rlstitch.envs import World


class EvaluationPool:
    """Processes that share the episodes of an evaluation; a context manager, so that they end with the block.

    Each process has one torch thread. Agents travel as their specifications and the bytes of a safetensors file,
    through a pipe: nothing is written to disk. Episodes are dealt out in turn, and one does the same in any process.

    Processes are spawned, so that they share no state with this one; a script that uses a pool needs the usual
    `if __name__ == "__main__":`.
    """

    def __init__(self, workers: int = 2, *, num_envs: int = 64, device: str | None = None) -> None:
        check_counts(workers=workers, num_envs=num_envs)
        self._num_envs, self._device = num_envs, device
        self._pipes: list[Connection] = []
        self._processes = []
        context = multiprocessing.get_context("spawn")
        for number in range(workers):
            ours, theirs = context.Pipe()
            process = context.Process(target=_serve, args=(theirs,), name=f"evaluation-{number}", daemon=True)
            process.start()
            theirs.close()
            self._pipes.append(ours)
            self._processes.append(process)

    def __enter__(self) -> EvaluationPool:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """End the processes: those that are idle see the closed pipe, those that are not are terminated."""
        for pipe in self._pipes:
            pipe.close()
        for process in self._processes:
            process.join(timeout=2.0)
            if process.is_alive():
                process.terminate()
                process.join()
        self._pipes, self._processes = [], []

    def evaluate(
        self,
        agent: Actor,
        world: World | None = None,
        *,
        episodes: int = 100,
        seed: int = 0,
        deterministic: bool = False,
        max_episode_steps: int = MAX_EPISODE_STEPS,
    ) -> Evaluation:
        """Evaluate as `rlstitch.rollouts.evaluate` does, with the same result.

        Raises:
            RlstitchError: the first error of a process, or where one has died or the pool is closed.
        """
        check_seed(seed)
        check_counts(episodes=episodes, max_episode_steps=max_episode_steps)
        if not self._pipes:
            raise InvalidInputError("pool: expected an open one, found one that was closed")
        world, start = world_of(agent, world), time.perf_counter()
        sent = _pack(agent)
        shards = [range(i, episodes, len(self._pipes)) for i in range(len(self._pipes))]
        used = [(pipe, shard) for pipe, shard in zip(self._pipes, shards, strict=True) if len(shard)]
        for pipe, shard in used:
            job = {"episodes": shard, "seed": seed, "deterministic": deterministic}
            job |= {"num_envs": self._num_envs, "device": self._device, "max_episode_steps": max_episode_steps}
            self._send(pipe, (sent, world.to_dict(), job))
        # Every answer is taken before the first error is raised: what is left in a pipe would answer the next question.
        answers = [self._receive(pipe) for pipe, _ in used]
        parts = []
        for answer in answers:
            if isinstance(answer, RlstitchError):
                raise answer
            parts.append(answer)
        played = _merge(parts, [shard for _, shard in used], episodes)
        return assemble(world, seed, deterministic, played, time.perf_counter() - start)

    def _send(self, pipe: Connection, message: Any) -> None:
        try:
            pipe.send(message)
        except (BrokenPipeError, ConnectionResetError) as error:
            raise self._died() from error

    def _receive(self, pipe: Connection) -> Played | RlstitchError:
        try:
            answer: Played | tuple[str, str] = pipe.recv()
        except (EOFError, ConnectionResetError) as error:
            raise self._died() from error
        if isinstance(answer, Played):
            return answer
        kind, message = answer
        return IncompatibleError(message) if kind == IncompatibleError.__name__ else InvalidInputError(message)

    def _died(self) -> RlstitchError:
        for process in self._processes:
            process.join(timeout=0.5)
        codes = [process.exitcode for process in self._processes]
        self.close()
        return RlstitchError(f"an evaluation process ended before its answer (exit codes {codes}); the pool is closed")


def _pack(agent: Actor) -> dict[str, Any]:
    """Return what a process needs to make the agent again."""
    from safetensors.torch import save

    from rlstitch.agents.agent import Agent

    if isinstance(agent, RandomAgent):
        return {"space": agent.action_space}
    if not isinstance(agent, Agent):
        raise InvalidInputError(f"agent: expected an Agent or a RandomAgent in a pool, found {type(agent).__name__}")
    packed: dict[str, Any] = {"card": agent.card.model_dump_json()}
    for part, module in (("encoder", agent.encoder), ("controller", agent.controller)):
        # Clones, since safetensors refuses tensors that share memory.
        weights = {name: tensor.detach().cpu().clone() for name, tensor in module.state_dict().items()}
        packed[part] = {"spec": module.spec(), "weights": save(weights)}
    return packed


def _unpack(packed: dict[str, Any]) -> Actor:
    from safetensors.torch import load

    from rlstitch.agents.agent import Agent
    from rlstitch.agents.card import AgentCard
    from rlstitch.agents.controller import build_controller
    from rlstitch.agents.encoder import build_encoder

    if "space" in packed:
        return RandomAgent(packed["space"])
    encoder = build_encoder(packed["encoder"]["spec"])
    encoder.load_state_dict(load(packed["encoder"]["weights"]))
    controller = build_controller(packed["controller"]["spec"])
    controller.load_state_dict(load(packed["controller"]["weights"]))
    return Agent(encoder, controller, AgentCard.model_validate_json(packed["card"]))


def _merge(parts: list[Played], shards: list[range], episodes: int) -> Played:
    """Put the episodes of all shards back in order."""
    returns, lengths = np.zeros(episodes), np.zeros(episodes, dtype=np.int64)
    successes = np.zeros(episodes, dtype=np.bool_)
    reported = False
    for part, shard in zip(parts, shards, strict=True):
        index = np.asarray(shard)
        returns[index], lengths[index] = part.returns, part.lengths
        if part.successes is not None:
            reported = True
            successes[index] = part.successes
    return Played(returns, lengths, successes if reported else None)


def _serve(pipe: Connection) -> None:
    """Answer jobs until the pipe is closed (the other process's body)."""
    # Ctrl-C reaches the whole group; the parent ends us by closing the pipe.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    import torch

    from rlstitch.envs import World

    torch.set_num_threads(1)
    with contextlib.suppress(EOFError, BrokenPipeError):
        while True:
            packed, world, job = pipe.recv()
            answer: Played | tuple[str, str]
            try:
                answer = play_in_world(_unpack(packed), World.from_dict(world), **job)
            except RlstitchError as error:
                # As text: some of them are made from other arguments than their message.
                answer = (type(error).__name__, str(error))
            pipe.send(answer)
