"""Agents in an environment that is given beside them: by name, or as an object that a program has at hand."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

from rlstitch.agents import Agent, as_agent
from rlstitch.envs import as_world

if TYPE_CHECKING:
    from stable_baselines3.common.base_class import BaseAlgorithm

AgentLike: TypeAlias = "str | Path | Agent | BaseAlgorithm"
"""Name or folder of an agent, its value, or a live model of Stable-Baselines3 with its environment."""
OF_ENVIRONMENT = ("environment", "make_kwargs", "look_kwargs", "modules", "family")
"""Fields of a world that say which environment it is; look, task and observations are the agent's own."""


def placed(agent: AgentLike, env: Any = None) -> Agent:
    """Return an agent by value, name or folder, or of a live model, in another environment where one is given.

    Args:
        agent: see above; a model of Stable-Baselines3 is read as `rlstitch.agents.models.agent_of_live` does.
        env: what `rlstitch.envs.as_world` takes, or fields of the agent's own world by name, whose `make_kwargs` stay
            but for those that are given; None: that world.

    Raises:
        UnknownNameError: for an unknown agent.
        InvalidInputError: for an environment that cannot be used, and for anything else than an agent.
    """
    if not isinstance(agent, str | Path | Agent):
        from rlstitch.agents.models import agent_of_live

        return agent_of_live(agent, env)
    agent = as_agent(agent)
    if env is None:
        return agent
    fields = env if isinstance(env, Mapping) else {name: getattr(as_world(env), name) for name in OF_ENVIRONMENT}
    world = agent.card.world
    if isinstance(env, Mapping) and "make_kwargs" in env:
        fields = {**fields, "make_kwargs": {**world.make_kwargs, **env["make_kwargs"]}}
    world = replace(world, **fields)
    return Agent(agent.encoder, agent.controller, agent.card.model_copy(update={"world": world}))
