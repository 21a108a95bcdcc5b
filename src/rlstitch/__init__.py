"""rlstitch: encoders and controllers of trained agents as interchangeable parts.

The names below are loaded when they are first used, so that `import rlstitch` costs nothing.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rlstitch.agents.agent import Agent
    from rlstitch.agents.artefact import list_agents, load_agent, save_agent
    from rlstitch.api.evaluate import evaluate
    from rlstitch.api.relativize import relativize
    from rlstitch.api.stitch import stitch
    from rlstitch.api.train import train
    from rlstitch.config.training import TrainConfig, load_config
    from rlstitch.envs import World

    __version__: str

_EXPORTS = {
    "Agent": "rlstitch.agents.agent",
    "TrainConfig": "rlstitch.config.training",
    "World": "rlstitch.envs",
    "evaluate": "rlstitch.api.evaluate",
    "list_agents": "rlstitch.agents.artefact",
    "load_agent": "rlstitch.agents.artefact",
    "load_config": "rlstitch.config.training",
    "relativize": "rlstitch.api.relativize",
    "save_agent": "rlstitch.agents.artefact",
    "stitch": "rlstitch.api.stitch",
    "train": "rlstitch.api.train",
}

__all__ = [
    "Agent",
    "TrainConfig",
    "World",
    "__version__",
    "evaluate",
    "list_agents",
    "load_agent",
    "load_config",
    "relativize",
    "save_agent",
    "stitch",
    "train",
]


def __getattr__(name: str) -> Any:
    if name == "__version__":
        from importlib.metadata import version

        return version("rlstitch")
    if name in _EXPORTS:
        return getattr(importlib.import_module(_EXPORTS[name]), name)
    raise AttributeError(f"module 'rlstitch' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
