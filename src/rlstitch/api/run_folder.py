"""The folder of one run of a command, named after every option that changes its result."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rlstitch.agents import Agent, Controller, Encoder, weights_sha256
from rlstitch.storage import RUNS, canonical_json, command_line, write_json

SCHEMA_VERSION = 1


def open_run(name: str, agents: Mapping[str, Agent], options: Mapping[str, Any]) -> Path:
    """Return the folder `runs/<name>-<hash8>` of a run, with its options in `options.json`.

    Args:
        name: command and agents; does not count in the hash.
        agents: by their roles; their weights, specifications and worlds count in the hash, their names do not.
        options: every other value that changes the result; JSON.
    """
    resolved = {"agents": {role: _content(agent) for role, agent in agents.items()}, "options": dict(options)}
    folder = RUNS / f"{name}-{hashlib.sha256(canonical_json(resolved)).hexdigest()[:8]}"
    names = {role: agent.card.name for role, agent in agents.items()}
    content = {"command": command_line(), "names": names, **resolved}
    write_json(folder / "options.json", content, schema_version=SCHEMA_VERSION)
    return folder


def _content(agent: Agent) -> dict[str, Any]:
    parts: dict[str, Encoder | Controller] = {"encoder": agent.encoder, "controller": agent.controller}
    described = {role: {"sha256": weights_sha256(part), **part.spec()} for role, part in parts.items()}
    return {**described, "world": agent.card.world.to_dict()}
