from __future__ import annotations

from dataclasses import replace

import gymnasium
import numpy as np
import pytest

from rlstitch.agents.anchor_set import AnchorSet
from rlstitch.envs import World, render_views
from rlstitch.errors import IncompatibleError, InvalidInputError, UnknownNameError
from rlstitch.rollouts import (
    choose_anchor_set,
    collect_paired_images,
    collect_views,
    latent_pairs,
    split_views,
)

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
    again = collect_views(replace(DOORKEY, variation="red"), max_steps=4000)  # the look changes nothing
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
    agents = [agent_maker(replace(DOORKEY, variation=v), seed=i) for i, v in enumerate(("red", "inverted"))]
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


@pytest.mark.parametrize("method", ["random", "farthest", "kmedoids"])
def test_anchor_sets_are_distinct_views_and_free_of_looks(collection, method):
    chosen = choose_anchor_set(collection, 24, method=method, seed=3)
    assert isinstance(chosen, AnchorSet)
    assert len(chosen) == 24
    assert len(keys(chosen.views)) == 24
    assert keys(chosen.views) <= keys(collection.views)
    assert chosen == choose_anchor_set(collection, 24, method=method, seed=3)
    inverted = replace(collection, world=replace(collection.world, variation="inverted"))
    assert chosen == choose_anchor_set(inverted, 24, method=method, seed=3)


def test_farthest_anchors_lie_farther_apart_than_random_ones(collection):
    def nearest(method):
        pixels = choose_anchor_set(collection, 24, method=method).render().reshape(24, -1).astype(float)
        distances = np.linalg.norm(pixels[:, None] - pixels[None], axis=-1)
        return (distances + np.diag(np.full(24, np.inf))).min()

    assert nearest("farthest") > nearest("random")


def test_fitting_and_held_out_views_are_disjoint(collection):
    split = split_views(collection, 40, 15, seed=1)
    assert split.note is None
    assert (len(split.fit), len(split.held)) == (40, 15)
    assert not keys(split.fit) & keys(split.held)


def test_too_few_views_are_shared_out_and_said(collection):
    split = split_views(collection, 3000, 1000)
    assert not keys(split.fit) & keys(split.held)
    assert len(split.fit) + len(split.held) == len(collection)
    assert len(split.fit) == pytest.approx(0.75 * len(collection), abs=1)
    assert split.note.startswith(f"3000 + 1000 views were asked for; there are only {len(collection)} distinct views")
    tiny = replace(collection, views=collection.views[:2])
    assert len(split_views(tiny, 10_000, 1).held) == 1


def test_latent_pairs_are_of_the_same_views_in_each_ones_look(collection, agent_maker):
    red, green = (agent_maker(replace(DOORKEY, variation=v), seed=i) for i, v in enumerate(("red", "green")))
    x, y = latent_pairs(red, green, collection.views[:9])
    assert x.shape == y.shape == (9, 16)
    images = render_views(collection.views[:9], variation="green")
    np.testing.assert_array_equal(y.numpy(), green.encode(images).numpy())
    x2, _ = latent_pairs(red, red, collection.views[:9])
    np.testing.assert_array_equal(x.numpy(), x2.numpy())


def test_paired_images_of_any_environment(walk_class):
    gymnasium.register("Walk-pairs-v0", walk_class)
    try:
        x, y = collect_paired_images(World("Walk-pairs-v0"), World("Walk-pairs-v0", variation="inverted"), count=25)
    finally:
        gymnasium.registry.pop("Walk-pairs-v0")
    assert len(x) == 25
    np.testing.assert_array_equal(x, 255 - y)
    assert len(keys(x)) == 25


def test_paired_images_of_minigrid_agree_with_symbolic_rendering(world):
    x, y = collect_paired_images(world, replace(world, variation="red"), count=12, seed=2)
    views = collect_views(world, max_steps=3000).views
    table = dict(zip((v.tobytes() for v in render_views(views)), render_views(views, variation="red"), strict=True))
    for one, other in zip(x, y, strict=True):
        np.testing.assert_array_equal(table[one.tobytes()], other)


def test_worlds_that_run_apart_are_refused(walk_class):
    gymnasium.register("Walk-a-v0", walk_class)
    gymnasium.register("Walk-b-v0", walk_class, kwargs={"longest": 4})
    try:
        with pytest.raises(InvalidInputError, match="worlds: expected equal rewards and ends"):
            collect_paired_images(World("Walk-a-v0"), World("Walk-b-v0"), count=200)
    finally:
        gymnasium.registry.pop("Walk-a-v0")
        gymnasium.registry.pop("Walk-b-v0")


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
    with pytest.raises(InvalidInputError, match="k: expected at most"):
        choose_anchor_set(collection, 100_000)
    with pytest.raises(UnknownNameError, match="farthest"):
        choose_anchor_set(collection, 4, method="farthes")
    with pytest.raises(InvalidInputError, match="at least 2 distinct views"):
        split_views(replace(collection, views=collection.views[:1]), 1, 1)
    gymnasium.register("Walk-c-v0", walk_class)
    try:
        with pytest.raises(InvalidInputError, match="world: expected a MiniGrid, found Walk-c-v0"):
            collect_views(World("Walk-c-v0"))
    finally:
        gymnasium.registry.pop("Walk-c-v0")
