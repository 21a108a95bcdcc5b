from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from stitch_samples import untrained

from rlstitch.agents.agent import Agent
from rlstitch.agents.artefact import save_agent
from rlstitch.pipelines import films
from rlstitch.pipelines import relativize as pipeline
from rlstitch.rollouts import video

SMALL = "MiniGrid-LavaCrossingS9N1-v0"
"""Hundreds of views, quickly found, and episodes that soon end in the lava."""


@pytest.fixture
def workplace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty working folder."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def stored(workplace: Path):
    """Make an agent with random weights and store it: `stored("name", variation=...)`."""

    def make(name: str, **overrides: Any) -> Agent:
        agent = untrained(name, **{"environment": SMALL, **overrides})
        save_agent(agent, workplace / "agents" / name, force=True)
        return agent

    return make


@pytest.fixture
def two(stored):
    """A red and a green agent in `./agents`."""
    return stored("red"), stored("green", seed=2, variation="green")


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Relativize on fewer states, in fewer steps than usual."""
    states, distil = pipeline.visited_states, pipeline.distil
    monkeypatch.setattr(pipeline, "visited_states", lambda agent, seed: states(agent, count=300, seed=seed))
    monkeypatch.setattr(pipeline, "distil", lambda *args, **kwargs: distil(*args, **kwargs, steps=80, batch_size=64))


@pytest.fixture
def short_films(monkeypatch: pytest.MonkeyPatch) -> None:
    """Films of a few small frames."""
    monkeypatch.setattr(films, "_FRAMES", 6)
    monkeypatch.setattr(video, "_FILM_TILE", 8)
