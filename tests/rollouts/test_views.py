from __future__ import annotations

from dataclasses import replace

import gymnasium
import numpy as np
import pytest

from rlstitch.envs import World, render_views
from rlstitch.errors import IncompatibleError, InvalidInputError
from rlstitch.rollouts.views import collect_views

DOORKEY = World("MiniGrid-DoorKey-5x5-v0")


@pytest.fixture(scope="module")
def collection():
    return collect_views(DOORKEY, max_steps=4000)


def keys(views):
    return {view.tobytes() for view in views}


def test_views_are_distinct_counted_and_in_a_fixed_order(collection):
    assert len(keys(collection.views)) == len(collection) == len(collection.counts)
    assert collection.counts.sum() == collection.total == 4000 + 16
    assert (collection.counts >= 1).all()
    assert 60 < len(collection) < 400
    again = collect_views(replace(DOORKEY, look="red"), max_steps=4000)  # the look changes nothing
    np.testing.assert_array_equal(again.views, collection.views)
    other = collect_views(DOORKEY, max_steps=4000, seed=1)
    assert not np.array_equal(other.views[:20], collection.views[:20])
    assert str(collection).startswith(f"{len(collection)} distinct views among 4016 of MiniGrid-DoorKey-5x5-v0")


def test_collection_stops_at_the_count_or_says_that_it_could_not(collection, world):
    some = collect_views(DOORKEY, count=20, max_steps=4000)
    assert len(some) == 20
    assert some.complete
    np.testing.assert_array_equal(some.views, collection.views[:20])
    few = collect_views(world, count=10_000, max_steps=2000)
    assert not few.complete
    assert len(few) < 100


def test_agents_walk_too_each_in_its_own_look(agent_maker):
    agents = [agent_maker(replace(DOORKEY, look=v), seed=i) for i, v in enumerate(("red", "inverted"))]
    seen = [[], []]
    for i, agent in enumerate(agents):
        original = agent.encoder.forward
        agent.encoder.forward = lambda images, i=i, f=original: seen[i].append(images) or f(images)
    collected = collect_views(DOORKEY, max_steps=320, agents=agents)
    assert collected.total == 336
    looks = {v: keys(render_views(collected.views, variation=v)) for v in ("red", "inverted")}
    for images, look in zip(seen, ("red", "inverted"), strict=True):
        for batch in images:
            back = (batch * 255).round().byte().permute(0, 2, 3, 1).contiguous().numpy()
            assert keys(back) <= looks[look]
    alone = collect_views(DOORKEY, max_steps=320)
    assert not np.array_equal(alone.counts, collected.counts)


def test_full_views_are_collected(world):
    full = collect_views(replace(world, view="full"), max_steps=200)
    assert full.views.shape[1:] == (5, 5, 5)


def test_bad_requests_are_named(collection, agent, world, walk_class):
    with pytest.raises(InvalidInputError, match="max_steps"):
        collect_views(world, max_steps=0)
    with pytest.raises(InvalidInputError, match="count"):
        collect_views(world, count=0)
    with pytest.raises(InvalidInputError, match="num_envs: expected at least 3"):
        collect_views(world, agents=[agent], num_envs=2)
    with pytest.raises(InvalidInputError, match="seed"):
        collect_views(world, seed=-1)
    with pytest.raises(IncompatibleError, match="takes the agent view, the world gives full"):
        collect_views(replace(world, view="full"), agents=[agent])
    gymnasium.register("Walk-c-v0", walk_class)
    try:
        with pytest.raises(
            InvalidInputError, match="world: expected an environment with symbolic views, found Walk-c-v0"
        ):
            collect_views(World("Walk-c-v0"))
    finally:
        gymnasium.registry.pop("Walk-c-v0")
