"""The backend envpool: the same semantics as Gymnasium's, and never a step that the caller should not see."""

from __future__ import annotations

import gymnasium
import numpy as np
import pytest
from minigrid.wrappers import RGBImgPartialObsWrapper

from rlstitch.envs import World, make_vec, render_views
from rlstitch.envs.families.car_racing.cars import pixel_look
from rlstitch.envs.families.minigrid.tiles import decode_index
from rlstitch.envs.frames import shrink
from rlstitch.errors import InvalidInputError, MissingExtraError

pytest.importorskip("envpool")
pytest.importorskip("Box2D")

from rlstitch.envs.envpool_batch import EnvpoolBatch
from rlstitch.envs.families.minigrid.vector import read_image

CAR, DOOR = "CarRacing-v3", "MiniGrid-DoorKey-5x5-v0"


def cars(num_envs: int, *, autoreset: str = "same_step", **fields):
    world = World(CAR, backend="envpool", **{"actions": "discrete", **fields})
    return make_vec(world, num_envs, seed=0, autoreset=autoreset)


def drive(backend: str, actions: list[int], seeds: list[int], **fields) -> tuple[np.ndarray, np.ndarray]:
    """Rewards `(T, N)` of a drive that ends nowhere, and the last frames."""
    world = World(CAR, backend=backend, actions="discrete", **fields)
    env = make_vec(world, len(seeds), seed=0, autoreset="disabled")
    env.reset(seed=seeds)
    steps = [env.step(np.full(len(seeds), action)) for action in actions]
    env.close()
    assert not any(step[2].any() or step[3].any() for step in steps)
    return np.stack([step[1] for step in steps]), steps[-1][0]


def test_a_drive_is_worth_the_same_on_both_backends():
    """Tracks differ, so rewards are compared in what every track shares, and in the mean over tracks."""
    plan = [3] * 50
    result = {backend: drive(backend, plan, list(range(20, 28)))[0] for backend in ("gymnasium", "envpool")}
    for rewards in result.values():
        assert rewards.min() == pytest.approx(-0.1, abs=1e-5)  # the cost of a frame
        tile = rewards[rewards > 0] + 0.1
        assert ((tile > 2.5) & (tile < 8)).all()  # 1000 / (number of tiles), the first frames bring two
    one, other = (rewards.sum(axis=0) for rewards in result.values())
    error = np.sqrt(one.var() / len(one) + other.var() / len(other))
    assert abs(one.mean() - other.mean()) < 4 * error + 1.0


def test_discrete_actions_do_what_gymnasium_says():
    """Steering, told from the picture: turning right moves what lies ahead to the left."""
    turned = {}
    for backend in ("gymnasium", "envpool"):
        for action in (1, 2):
            _, frames = drive(backend, [3] * 40 + [action] * 12, [1, 2, 3])
            road = np.ptp(frames[:, :30].astype(int), axis=-1) < 8
            columns = np.arange(96) - 47.5
            turned[backend, action] = (road * columns).sum() / road.sum()
    assert turned["gymnasium", 1] < -2 < 2 < turned["gymnasium", 2]
    assert turned["envpool", 1] < -2 < 2 < turned["envpool", 2]


def test_gas_is_gas_and_the_brake_brakes():
    """How far the ground moves tells the speed: it is compared between two frames."""

    def moved(actions: list[int]) -> float:
        env = cars(1, autoreset="disabled")
        env.reset(seed=[1])
        for action in actions:
            before = env.underlying.copy()
            env.step(np.array([action]))
        change = np.abs(before[:, :84].astype(int) - env.underlying[:, :84]).mean()
        env.close()
        return float(change)

    fast = moved([3] * 80)
    assert moved([3] * 60 + [4] * 20) < 0.5 * fast
    assert moved([3] * 30 + [0] * 50) < fast


@pytest.mark.parametrize("repeat", [1, 4])
def test_the_reset_step_never_surfaces(repeat):
    """Idle cars earn -0.1 a frame once the first tiles are counted: a reset step would show as a reward of 0."""
    limit = 12
    env = cars(3, task=f"length:{limit}", action_repeat=repeat, frame_stack=2)
    before, _ = env.reset(seed=[1, 2, 3])
    first = before.copy()
    per_episode = limit // repeat
    for step in range(1, 3 * per_episode + 1):
        observations, rewards, terminated, truncated, infos = env.step(np.zeros(3, dtype=int))
        assert not terminated.any()
        assert truncated.all() == (step % per_episode == 0)
        expected = -0.1 * repeat if step % per_episode != 1 % per_episode else None
        if expected is None:
            assert (rewards > 1).all()  # the tiles under the car
        else:
            np.testing.assert_allclose(rewards, expected, atol=1e-4)
        if truncated.all():
            last = np.stack(list(infos["final_obs"]))
            np.testing.assert_array_equal(last[..., :3], before[..., 3:])  # the stack went on to the end
            np.testing.assert_array_equal(observations[..., :3], observations[..., 3:])  # and began anew
            assert (observations != first).any()  # on another track
        before = observations.copy()
    env.close()


def test_episodes_are_cut_after_a_thousand_frames():
    env = cars(2, action_repeat=100, autoreset="disabled", crop=84, size=8)
    env.reset(seed=[1, 2])
    for step in range(10):
        _, _, terminated, truncated, _ = env.step(np.zeros(2, dtype=int))
        assert not terminated.any()
        assert truncated.tolist() == [step == 9] * 2
    with pytest.raises(InvalidInputError, match=r"environments \[0, 1\] are not in an episode"):
        env.step(np.zeros(2, dtype=int))
    env.close()


def test_an_episode_is_a_function_of_its_seed_and_actions_alone():
    plan = np.random.default_rng(0).integers(0, 5, 12)

    def frames(num_envs: int, slot: int, before: int) -> np.ndarray:
        env = cars(num_envs, autoreset="disabled", action_repeat=2)
        env.reset(seed=list(range(num_envs)))
        for _ in range(before):
            env.step(np.full(num_envs, 3))
        mask = np.zeros(num_envs, dtype=bool)
        mask[slot] = True
        seeds: list[int | None] = [None] * num_envs
        seeds[slot] = 77
        seen = [env.reset(seed=seeds, options={"reset_mask": mask})[0][slot]]
        seen += [env.step(np.full(num_envs, action))[0][slot] for action in plan]
        env.close()
        return np.stack(seen)

    alone = frames(1, 0, 0)
    np.testing.assert_array_equal(alone, frames(3, 1, 5))
    np.testing.assert_array_equal(alone, frames(2, 1, 2))
    assert (alone[-1] != frames(1, 0, 0)[0]).any()


def test_an_observation_is_cut_coloured_shrunk_and_stacked():
    env = cars(2, variation="red+inverted", crop=84, size=20, frame_stack=3)
    env.reset(seed=[1, 2])
    drawn = [env.underlying.copy()]
    for action in (3, 3, 1):
        seen = env.step(np.full(2, action))[0]
        drawn.append(env.underlying.copy())
    look = pixel_look("red+inverted")
    expected = [shrink(look(images[:, :84]), 20) for images in drawn[1:]]
    np.testing.assert_array_equal(seen, np.concatenate(expected, axis=-1))
    env.close()


def test_continuous_actions_go_through_as_they_are():
    one, other = cars(1, actions="continuous"), cars(1)
    for env in (one, other):
        env.reset(seed=[4])
    for _ in range(5):
        seen = one.step(np.array([[0.6, 0, 0]], dtype=np.float32))
        np.testing.assert_array_equal(seen[0], other.step(np.array([1]))[0])
    with pytest.raises(InvalidInputError, match=r"actions: expected \[-1.0, 0.0, 0.0\] to"):
        one.step(np.array([[0, -0.5, 0]], dtype=np.float32))
    one.close()
    other.close()


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"environment": CAR, "variation": "far"}, "'far' moves the camera, which this environment or its backend"),
        ({"environment": CAR, "task": "slow"}, "envpool has no 'slow' of CarRacing-v3; it needs the backend gymnasium"),
        ({"environment": DOOR, "view": "full"}, "'full' needs the backend gymnasium"),
        ({"environment": DOOR, "task": "no-time-cost"}, "'no-time-cost' of .* needs the backend gymnasium"),
        ({"environment": DOOR, "frame_stack": 2}, "frame_stack: a MiniGrid is drawn from its tiles"),
        (
            {"environment": "MiniGrid-MultiRoom-N4-S5-v1"},
            "envpool has no MiniGrid-MultiRoom-N4-S5-v1; it needs the back",
        ),
        ({"environment": "Corridor-v0"}, "envpool has no Corridor-v0 here; it needs the backend gymnasium"),
    ],
)
def test_what_it_cannot_do_is_refused_with_the_backend_that_can(fields, message):
    with pytest.raises(InvalidInputError, match=message):
        make_vec(World(backend="envpool", **fields), 1, seed=0)


def test_a_missing_package_is_one_line(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "envpool", None)
    with pytest.raises(MissingExtraError, match=r"pip install 'rlstitch\[fast\]'"):
        EnvpoolBatch(CAR, 1)


def test_minigrids_are_drawn_as_minigrid_draws_them():
    """Its own encoding, read as envpool's, gives its own pictures."""
    env = RGBImgPartialObsWrapper(gymnasium.make("MiniGrid-DoorKey-6x6-v0"), 8)
    rng = np.random.default_rng(0)
    seen, encoded = [env.reset(seed=1)[0]["image"]], [env.unwrapped.gen_obs()["image"]]
    for _ in range(150):
        observation, _, terminated, truncated, _ = env.step(int(rng.choice([0, 1, 2, 2, 3, 4, 5])))
        if terminated or truncated:
            observation, _ = env.reset()
        seen.append(observation["image"])
        encoded.append(env.unwrapped.gen_obs()["image"])
    views = decode_index(read_image({"image": np.stack(encoded)}))
    np.testing.assert_array_equal(render_views(views), np.stack(seen))


def test_minigrids_keep_the_interface_of_the_other_backend():
    rng, returns = np.random.default_rng(0), {}
    for backend in ("gymnasium", "envpool"):
        env = make_vec(World("MiniGrid-Empty-5x5-v0", "red", backend=backend), 16, seed=3)
        observations, _ = env.reset()
        assert observations.shape == (16, 56, 56, 3)
        finished, total, starts = 0, 0.0, np.zeros(16, dtype=int)
        for step in range(1, 250):
            observations, rewards, terminated, truncated, infos = env.step(rng.integers(0, 3, 16))
            np.testing.assert_array_equal(infos["success"], terminated & (rewards > 0))
            np.testing.assert_array_equal(observations, render_views(env.symbolic(), variation="red"))
            for row in np.flatnonzero(terminated | truncated):
                length = step - starts[row]
                assert truncated[row] == (length == 100 and not terminated[row])
                if terminated[row]:
                    assert rewards[row] == pytest.approx(1 - 0.9 * length / 100, abs=1e-5)
                assert infos["final_obs"][row].shape == (56, 56, 3)
                finished, total, starts[row] = finished + 1, total + rewards[row], step
        returns[backend] = total / finished
        env.close()
    assert returns["envpool"] == pytest.approx(returns["gymnasium"], abs=0.25)
