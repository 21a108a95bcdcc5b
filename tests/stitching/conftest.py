from __future__ import annotations

import numpy as np
import pytest
from stitch_samples import untrained

from rlstitch.agents.agent import Agent
from rlstitch.envs import World
from rlstitch.rollouts.views import ViewCollection, collect_views, own_images
from rlstitch.stitching.pairs import LatentPairs

FIT, HELD = 60, 24


@pytest.fixture(scope="session")
def red() -> Agent:
    return untrained("red")


@pytest.fixture(scope="session")
def views() -> ViewCollection:
    """Distinct views of DoorKey, met at random."""
    return collect_views(World("MiniGrid-DoorKey-5x5-v0"), count=FIT + HELD, seed=5)


@pytest.fixture(scope="session")
def images(views: ViewCollection, red: Agent) -> np.ndarray:
    """The same views as the red agent sees them."""
    return own_images(red, views.views)


@pytest.fixture(scope="session")
def pair(views: ViewCollection):
    """Pair the latents of two agents on those views: `pair(encoder, policy)`."""

    def make(encoder: Agent, policy: Agent) -> LatentPairs:
        x, y = (agent.encode(own_images(agent, views.views)) for agent in (encoder, policy))
        return LatentPairs(x[:FIT], y[:FIT], x[FIT:], y[FIT:], distinct_views=len(views))

    return make
