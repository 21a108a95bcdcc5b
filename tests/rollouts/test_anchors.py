from __future__ import annotations

from dataclasses import replace

import gymnasium
import numpy as np
import pytest

from rlstitch.agents.anchor_set import AnchorSet
from rlstitch.envs import World, render_views
from rlstitch.errors import InvalidInputError, UnknownNameError
from rlstitch.rollouts.anchors import choose_anchor_set, choose_replay_anchor_set
from rlstitch.rollouts.image_pairs import collect_paired_images
from rlstitch.rollouts.recording import collect_recording, paired_images
from rlstitch.rollouts.views import collect_views

DOORKEY = World("MiniGrid-DoorKey-5x5-v0")
WALK = World("Walk-pairs-v0")


@pytest.fixture(scope="module")
def collection():
    return collect_views(DOORKEY, max_steps=4000)


@pytest.fixture
def walk(walk_class):
    gymnasium.register(WALK.environment, walk_class)
    yield WALK
    gymnasium.registry.pop(WALK.environment)


def keys(views):
    return {view.tobytes() for view in views}


@pytest.mark.parametrize("method", ["random", "farthest", "kmedoids"])
def test_anchor_sets_are_distinct_views_and_free_of_looks(collection, method):
    chosen = choose_anchor_set(collection, 24, method=method, seed=3)
    assert isinstance(chosen, AnchorSet)
    assert len(chosen) == 24
    assert len(keys(chosen.views)) == 24
    assert keys(chosen.views) <= keys(collection.views)
    assert chosen == choose_anchor_set(collection, 24, method=method, seed=3)
    inverted = replace(collection, world=replace(collection.world, look="inverted"))
    assert chosen == choose_anchor_set(inverted, 24, method=method, seed=3)


def test_farthest_anchors_lie_farther_apart_than_random_ones(collection):
    def nearest(method):
        pixels = choose_anchor_set(collection, 24, method=method).render().reshape(24, -1).astype(float)
        distances = np.linalg.norm(pixels[:, None] - pixels[None], axis=-1)
        return (distances + np.diag(np.full(24, np.inf))).min()

    assert nearest("farthest") > nearest("random")


def test_paired_images_of_any_environment(walk):
    x, y = collect_paired_images(walk, replace(walk, look="inverted"), count=25)
    assert len(x) == 25
    np.testing.assert_array_equal(x, 255 - y)
    assert len(keys(x)) == 25


def test_paired_images_of_minigrid_agree_with_symbolic_rendering(world):
    x, y = collect_paired_images(world, replace(world, look="red", task="scrambled"), count=12, seed=2)
    views = collect_views(world, max_steps=3000).views
    table = dict(zip((v.tobytes() for v in render_views(views)), render_views(views, variation="red"), strict=True))
    checked = [
        np.array_equal(table[one.tobytes()], other) for one, other in zip(x, y, strict=True) if one.tobytes() in table
    ]
    assert all(checked)
    assert len(checked) >= 10  # the frames after an episode's last action are no part of a collection


def test_a_world_of_few_images_gives_what_it_has(world):
    x, y = collect_paired_images(world, replace(world, look="red"), count=5000, max_steps=300)
    assert len(x) == len(y) < 200


def test_recordings_are_seeded_and_go_on(walk):
    whole = collect_recording(walk, episodes=5, seed=1)
    assert whole == collect_recording(walk, episodes=5, seed=1)
    later = collect_recording(walk, episodes=2, seed=1, first=3)
    assert [e.seed for e in later.episodes] == [e.seed for e in whole.episodes[3:]]
    x, _ = paired_images(whole, walk, walk)
    assert len(x) == sum(len(episode.actions) + 1 for episode in whole.episodes)


def test_replay_anchors_are_distinct_frames_of_the_recording(walk):
    recording = collect_recording(walk, episodes=3)
    anchors = choose_replay_anchor_set(recording, 8, method="farthest")
    assert (anchors.kind, len(anchors)) == ("replay", 8)
    frames, _ = paired_images(recording, walk, walk)
    starts = np.cumsum([0] + [len(e.actions) + 1 for e in recording.episodes])
    images = [frames[starts[episode] + step] for episode, step in anchors.frames]
    assert len(keys(images)) == 8
    inverted = collect_recording(replace(walk, look="inverted"), episodes=3)
    assert anchors == choose_replay_anchor_set(inverted, 8, method="farthest")
    with pytest.raises(InvalidInputError, match="k: expected at most"):
        choose_replay_anchor_set(recording, 10_000)


def test_an_environment_that_is_not_deterministic_is_refused(walk_class):
    class Drifting(walk_class):
        started = 0

        def reset(self, *, seed=None, options=None):
            type(self).started += 1
            return super().reset(seed=seed + type(self).started, options=options)

    gymnasium.register("Walk-drifting-v0", Drifting)
    try:
        with pytest.raises(InvalidInputError, match="not deterministic"):
            collect_paired_images(World("Walk-drifting-v0"), World("Walk-drifting-v0"), count=20)
    finally:
        gymnasium.registry.pop("Walk-drifting-v0")


def test_bad_requests_are_named(collection, world, walk):
    with pytest.raises(InvalidInputError, match="k: expected at most"):
        choose_anchor_set(collection, 100_000)
    with pytest.raises(UnknownNameError, match="farthest"):
        choose_anchor_set(collection, 4, method="farthes")
    with pytest.raises(InvalidInputError, match="count"):
        collect_paired_images(world, world, count=0)
    with pytest.raises(InvalidInputError, match="world: expected MiniGrid-Empty-Random-5x5-v0"):
        collect_paired_images(world, walk, count=2)
