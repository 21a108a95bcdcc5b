from __future__ import annotations

import functools
import json
import random
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from rlstitch.agents.anchor_set import AnchorSet, load_anchor_set
from rlstitch.errors import ArtefactError, InvalidInputError, RlstitchError, UnknownNameError

ENVIRONMENT = "MiniGrid-DoorKey-5x5-v0"


def make_views(count: int = 4, seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    columns = [rng.integers(0, high, (count, 3, 3)) for high in (11, 6, 3, 5, 2)]
    return np.stack(columns, axis=-1).astype(np.uint8)


def test_unknown_actions_and_environments_are_refused_when_drawn() -> None:
    with pytest.raises(RlstitchError):
        make_replay(actions=np.full((2, 3), 99)).render()
    with pytest.raises(UnknownNameError):
        AnchorSet.replay("MiniGrid-Nowhere-v0", np.array([0]), np.array([[0]]), np.array([[0, 0]])).render()


def make_replay(**changes: object) -> AnchorSet:
    fields = {
        "seeds": np.array([3, 5]),
        "actions": np.arange(6).reshape(2, 3),
        "frames": np.array([[0, 0], [0, 2], [1, 3]]),
    }
    return AnchorSet.replay(ENVIRONMENT, **{**fields, **changes})  # type: ignore[arg-type]


def test_the_identity_is_a_golden_value() -> None:
    views = np.zeros((1, 1, 2, 5), dtype=np.uint8)
    expected = "a442ff6d10ace0bb7efc48a3672ae037d71d96dac80cc128deed4da5050433d8"
    assert AnchorSet.symbolic("Env-v0", views).identity == expected


def test_the_identity_depends_on_environment_view_content_and_order_alone() -> None:
    views = make_views()
    anchors = AnchorSet.symbolic(ENVIRONMENT, views)
    same = AnchorSet.symbolic(f" minigrid:{ENVIRONMENT}", np.asfortranarray(views))
    assert same == anchors
    assert hash(same) == hash(anchors)
    others = [
        AnchorSet.symbolic("MiniGrid-DoorKey-6x6-v0", views),
        AnchorSet.symbolic(ENVIRONMENT, views, view="full"),
        AnchorSet.symbolic(ENVIRONMENT, views[::-1]),
        AnchorSet.symbolic(ENVIRONMENT, views[:3]),
        AnchorSet.symbolic(ENVIRONMENT, views.reshape(4, 1, 9, 5)),
        make_replay(),
        make_replay(seeds=np.array([3, 6])),
        make_replay(frames=np.array([[0, 0], [1, 3], [0, 2]])),
    ]
    assert len({anchors.identity, *(other.identity for other in others)}) == 9


def test_the_identity_of_a_replay_is_a_golden_value() -> None:
    recording = (np.array([3, 5]), np.arange(6).reshape(2, 3), np.array([[0, 0], [0, 2], [1, 3]]))
    expected = "4b8e4830b29fa11e84ab08e24a95cb396309b132538fbc9dd5fab216505e42eb"
    assert AnchorSet.replay("Env-v0", *recording).identity == expected
    continuous = AnchorSet.replay("Env-v0", recording[0], recording[1][..., None] / 4, recording[2])
    assert continuous.identity == "8c983564e32292d2b9a4299434625076ead4cfb3a8a1361aa48b456ad4870260"


def test_continuous_actions_are_float32_and_part_of_the_identity(tmp_path: Path) -> None:
    actions = np.random.default_rng(0).uniform(-1, 1, (2, 3, 2))
    anchors = make_replay(actions=actions)
    assert anchors.actions.dtype == np.float32
    assert anchors == make_replay(actions=actions.astype(np.float32))
    assert anchors == load_anchor_set(anchors.save(tmp_path))
    moved = actions.copy()
    moved[1, 2, 1] += 1e-3
    assert anchors != make_replay(actions=moved)
    assert anchors != make_replay()


def test_integer_types_of_a_replay_do_not_change_its_identity() -> None:
    assert make_replay(seeds=np.array([3, 5], dtype=np.uint8)) == make_replay()


def test_an_anchor_set_is_its_own_and_read_only() -> None:
    views = make_views()
    anchors = AnchorSet.symbolic(ENVIRONMENT, views)
    identity = anchors.identity
    views[:] = 0
    assert AnchorSet.symbolic(ENVIRONMENT, anchors.arrays()["views"]).identity == identity
    with pytest.raises(ValueError, match="read-only"):
        anchors.arrays()["views"][0] = 0
    with pytest.raises(AttributeError):
        anchors.environment = "Other-v0"  # type: ignore[misc]


def test_symbolic_anchors_are_drawn_under_every_look() -> None:
    from rlstitch.envs import render_views

    anchors = AnchorSet.symbolic(ENVIRONMENT, make_views())
    standard, red = anchors.render(tile_size=4), anchors.render("red", tile_size=4)
    assert standard.shape == red.shape == (len(anchors), 12, 12, 3)
    assert standard.dtype == np.uint8
    assert not np.array_equal(standard, red)
    np.testing.assert_array_equal(red, render_views(make_views(), variation="red", tile_size=4))
    with pytest.raises(UnknownNameError):
        anchors.render("purple-haze")


@pytest.mark.parametrize("variation", ["standard", "inverted", "red"])
def test_replayed_anchors_are_the_frames_of_their_episodes(variation: str) -> None:
    from rlstitch.envs import World, make_vec

    actions = np.random.default_rng(0).integers(0, 3, (2, 6))
    frames = np.array([[1, 4], [0, 0], [1, 0], [0, 6], [1, 4]])
    anchors = AnchorSet.replay("MiniGrid-Empty-Random-5x5-v0", np.array([7, 8]), actions, frames, view="agent")
    images = anchors.render(variation, tile_size=4)
    assert images.shape == (5, 28, 28, 3)
    environment = make_vec(World(anchors.environment, variation, tile_size=4), 1, seed=0, autoreset="disabled")
    for image, (episode, step) in zip(images, frames, strict=True):
        observation, _ = environment.reset(seed=int([7, 8][episode]))
        for action in actions[episode, :step]:
            observation = environment.step(np.array([action]))[0]
        np.testing.assert_array_equal(image, observation[0])
    environment.close()


def test_frames_after_the_end_of_an_episode_are_refused() -> None:
    # The goal is reached by: forward twice, right, forward twice.
    actions = np.array([[2, 2, 1, 2, 2, 0, 0]])
    make = functools.partial(AnchorSet.replay, "MiniGrid-Empty-5x5-v0", np.array([0]), actions, view="agent")
    assert make(np.array([[0, 5]])).render().shape == (1, 56, 56, 3)
    with pytest.raises(InvalidInputError, match="ends after 5 actions, an anchor stands after 6"):
        make(np.array([[0, 6]])).render()


@pytest.mark.parametrize("anchors", [AnchorSet.symbolic(ENVIRONMENT, make_views()), make_replay()])
def test_a_stored_set_loads_equal_by_identity_prefix_and_path(tmp_path: Path, anchors: AnchorSet) -> None:
    folder = anchors.save(tmp_path)
    assert folder == tmp_path / anchors.identity[:16]
    assert anchors.save(tmp_path) == folder  # stored once
    assert [path.name for path in tmp_path.iterdir()] == [folder.name]
    for reference in (anchors.identity, anchors.identity[:6], folder, str(folder)):
        loaded = load_anchor_set(reference, root=tmp_path)
        assert loaded == anchors
        assert len(loaded) == len(anchors)
        for name, array in anchors.arrays().items():
            np.testing.assert_array_equal(array, loaded.arrays()[name])


def test_unknown_and_ambiguous_references_are_refused(tmp_path: Path) -> None:
    anchors = AnchorSet.symbolic(ENVIRONMENT, make_views())
    folder = anchors.save(tmp_path)
    wrong = anchors.identity[:16] + "0" * 48
    for reference in ("0000000", wrong, anchors.identity[:4] + "zz"):
        with pytest.raises((UnknownNameError, ArtefactError)):
            load_anchor_set(reference, root=tmp_path)
    with pytest.raises(UnknownNameError, match="there is no anchor set yet"):
        load_anchor_set("abcdef", root=tmp_path / "absent")
    twin = folder.name[:8] + ("0" * 8 if folder.name[8:] != "0" * 8 else "1" * 8)
    (tmp_path / twin).mkdir()
    with pytest.raises(InvalidInputError, match="ambiguous"):
        load_anchor_set(anchors.identity[:8], root=tmp_path)


def test_a_damaged_set_is_refused_and_written_anew(tmp_path: Path) -> None:
    anchors = AnchorSet.symbolic(ENVIRONMENT, make_views())
    folder = anchors.save(tmp_path)
    other = AnchorSet.symbolic(ENVIRONMENT, make_views(seed=1)).save(tmp_path)
    (folder / "anchors.safetensors").write_bytes((other / "anchors.safetensors").read_bytes())
    with pytest.raises(ArtefactError, match="altered or damaged"):
        load_anchor_set(folder)
    assert load_anchor_set(anchors.save(tmp_path)) == anchors


def test_a_set_can_be_stored_by_many_at_once(tmp_path: Path) -> None:
    anchors = AnchorSet.symbolic(ENVIRONMENT, make_views())
    with ThreadPoolExecutor(8) as pool:
        folders = list(pool.map(lambda _: anchors.save(tmp_path), range(16)))
    assert set(folders) == {tmp_path / anchors.identity[:16]}
    assert [path.name for path in tmp_path.iterdir()] == [folders[0].name]
    assert load_anchor_set(folders[0]) == anchors


def test_bytes_changed_at_random_never_load_as_another_set(tmp_path: Path) -> None:
    anchors = AnchorSet.symbolic(ENVIRONMENT, make_views())
    folder = anchors.save(tmp_path)
    rng = random.Random(0)
    refused = 0
    for path in sorted(folder.iterdir()):
        whole = path.read_bytes()
        for _ in range(60):
            damaged = bytearray(whole)
            damaged[rng.randrange(len(damaged))] ^= 1 << rng.randrange(8)
            path.write_bytes(damaged[: rng.choice([len(damaged), rng.randrange(len(damaged))])])
            try:
                assert load_anchor_set(folder) == anchors
            except RlstitchError:
                refused += 1
        path.write_bytes(whole)
    assert refused > 100
    assert load_anchor_set(folder) == anchors


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("kind", "pixels"),
        ("view", 3),
        ("environment", ""),
        ("environment", None),
        ("environment", "Other-v0"),
        ("count", 5),
        ("identity", "00"),
        ("extra", 1),
        ("schema_version", True),
    ],
)
def test_a_manifest_that_says_something_else_is_refused(tmp_path: Path, key: str, value: object) -> None:
    folder = AnchorSet.symbolic(ENVIRONMENT, make_views()).save(tmp_path)
    manifest = json.loads((folder / "anchors.json").read_text())
    (folder / "anchors.json").write_text(json.dumps({**manifest, key: value}))
    with pytest.raises(ArtefactError):
        load_anchor_set(folder)


@pytest.mark.parametrize(
    ("views", "message"),
    [
        (np.zeros((2, 3, 3, 3), np.uint8), r"uint8 \(k, h, w, 5\), found uint8 \(2, 3, 3, 3\)"),
        (np.zeros((2, 3, 3, 5), np.int64), "found int64"),
        (np.zeros((0, 3, 3, 5), np.uint8), "found uint8"),
        (np.full((2, 3, 3, 5), 200, np.uint8), "views"),
    ],
)
def test_views_that_cannot_be_anchors_are_refused(views: np.ndarray, message: str) -> None:
    with pytest.raises(InvalidInputError, match=message):
        AnchorSet.symbolic(ENVIRONMENT, views)


@pytest.mark.parametrize(
    ("changes", "name"),
    [
        ({"seeds": np.array([-1, 2])}, "seeds"),
        ({"seeds": np.array([1.0, 2.0])}, "seeds"),
        ({"actions": np.zeros((3, 3), int)}, "actions"),
        ({"actions": np.zeros(2, int)}, "actions"),
        ({"actions": np.zeros((2, 3))}, "actions"),
        ({"actions": np.zeros((2, 3, 1), int)}, "actions"),
        ({"actions": np.zeros((2, 3, 0))}, "actions"),
        ({"actions": np.full((2, 3, 1), np.nan)}, "actions: expected finite numbers of float32"),
        ({"actions": np.full((2, 3, 1), 1e300)}, "actions: expected finite numbers of float32"),
        ({"actions": np.zeros((3, 3, 1))}, "actions: expected 2 rows"),
        ({"actions": np.zeros((2, 0), int)}, "actions"),
        ({"frames": np.array([[2, 0]])}, "frames"),
        ({"frames": np.array([[0, 4]])}, "frames"),
        ({"frames": np.array([[0, -1]])}, "frames"),
        ({"frames": np.zeros((0, 2), int)}, "frames"),
        ({"frames": None}, "frames: missing"),
    ],
)
def test_recordings_that_cannot_be_anchors_are_refused(changes: dict[str, object], name: str) -> None:
    with pytest.raises(InvalidInputError, match=name):
        make_replay(**changes)
