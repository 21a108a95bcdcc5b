"""Environments in several processes: the same as in one, whatever is lost or interrupted on the way."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import gymnasium
import numpy as np
import pytest
from gymnasium import spaces

from rlstitch.envs import World, make_vec
from rlstitch.envs.vector import WorldVectorEnv
from rlstitch.errors import InvalidInputError, RlstitchError

GO_ON, CTRL_C, DIE, FAIL = range(4)


class Ending(gymnasium.Env[Any, Any]):
    """Black images; three actions by which its own process, or what it waits for, comes to an end."""

    observation_space = spaces.Box(0, 255, (4, 4, 3), np.uint8)
    action_space = spaces.Discrete(4)
    metadata = {"render_modes": []}  # noqa: RUF012

    def reset(self, *, seed: int | None = None, options: Any = None) -> Any:
        return np.zeros((4, 4, 3), np.uint8), {}

    def step(self, action: int) -> Any:
        if action == CTRL_C:
            os.kill(os.getppid(), signal.SIGINT)
            os.kill(os.getpid(), signal.SIGINT)  # a terminal sends it to both
            signal.pause()
        if action == DIE:
            os.kill(os.getpid(), signal.SIGKILL)
        if action == FAIL:
            raise ValueError("no such door")
        return np.zeros((4, 4, 3), np.uint8), 0.0, False, False, {}


@pytest.fixture
def ending() -> Iterator[WorldVectorEnv]:
    gymnasium.register("Ending-v0", Ending)
    env = make_vec(World("Ending-v0"), 4, seed=0, workers=2)
    env.reset()
    yield env
    env.close()
    del gymnasium.registry["Ending-v0"]


def processes(env: WorldVectorEnv) -> list[Any]:
    return env.simulator._shares.processes  # type: ignore[attr-defined]


def assert_equal(value: Any, expected: Any) -> None:
    if isinstance(expected, dict):
        assert list(value) == list(expected)
        for key in expected:
            assert_equal(value[key], expected[key])
    elif expected.dtype == object:
        assert [one is None for one in value] == [one is None for one in expected]
        for one, other in zip(value, expected, strict=True):
            np.testing.assert_array_equal(one, other)
    else:
        assert value.dtype == expected.dtype
        np.testing.assert_array_equal(value, expected)


@pytest.mark.parametrize(
    "world",
    [
        World("Corridor-v0", "inverted", frame_stack=2, task="length:4"),
        World("CartPole-v1", frame_stack=2, padding="zeros"),
        World("Acrobot-v1", sensor="pixels", size=16, action_repeat=8, task="length:10"),
        World("MiniGrid-LavaGapS5-v0", "red+noise:0.1", task="slippery:0.3"),
        World("MiniGrid-DoorKey-5x5-v0", sensor="symbolic", task="scrambled+time-cost:0.1"),
        World("LunarLander-v3", sensor="pixels", size=32, action_repeat=4, task="wind"),
        World("LunarLanderContinuous-v3"),
        World("CarRacing-v3", "inverted", backend="envpool", size=24, frame_stack=2, action_repeat=4),
        World("ALE/Pong-v5", sensor="ram"),
        World("ALE/Breakout-v5", "hue:90", size=24, make_kwargs={"repeat_action_probability": 0.25}),
    ],
    ids=lambda world: f"{world.environment}-{world.sensor}-{world.backend}",
)
def test_what_happens_does_not_depend_on_the_number_of_processes(world):
    envs = [make_vec(world, 4, seed=5, workers=workers) for workers in (0, 2, 4)]
    expected, *others = envs
    for env in others:
        assert env.observation_space == expected.observation_space
        assert env.action_space == expected.action_space
    first, *rest = [env.reset()[0] for env in envs]
    for observations in rest:
        np.testing.assert_array_equal(observations, first)
    ends = 0
    for _ in range(30):
        actions = expected.action_space.sample()
        *results, infos = expected.step(actions)
        ends += int((results[2] | results[3]).sum())
        for env in others:
            *same, others_infos = env.step(actions)
            for value, result in zip(same, results, strict=True):
                assert_equal(value, result)
            assert_equal(others_infos, infos)
    assert ends or world.environment not in ("Corridor-v0", "CartPole-v1", "MiniGrid-LavaGapS5-v0", "LunarLander-v3")
    for env in envs:
        env.close()


def test_episodes_of_some_shares_alone_are_begun():
    env, expected = (make_vec(World("CartPole-v1"), 6, seed=1, autoreset="disabled", workers=n) for n in (3, 0))
    for each in (env, expected):
        each.reset()
    mask = np.array([False, True, False, False, False, True])
    for options, seed in (({"reset_mask": mask}, [7, 8, 9, 10, 11, 12]), ({"reset_mask": ~mask}, None), (None, None)):
        one, other = (each.reset(seed=seed, options=options)[0] for each in (env, expected))
        np.testing.assert_array_equal(one, other)
        before = other.copy()
        np.testing.assert_array_equal(*(each.step(np.array([0, 1] * 3))[0] for each in (env, expected)))
        np.testing.assert_array_equal(one, before)  # what was handed out stays
    env.close()


def test_shares_are_equal():
    for workers in (3, 8):
        message = f"processes: expected a divisor of the 4 environments, found {workers}"
        with pytest.raises(InvalidInputError, match=message):
            make_vec(World("CartPole-v1"), 4, seed=0, workers=workers)


def test_a_killed_process_is_reported_and_none_is_left(ending):
    with pytest.raises(RlstitchError, match="a process that steps environments was killed, or ran out of memory"):
        ending.step(np.array([GO_ON, GO_ON, GO_ON, DIE]))
    ending.close()
    assert not any(process.is_alive() for process in processes(ending))


def test_a_process_that_was_killed_between_two_steps_does_not_hinder_the_end(ending):
    processes(ending)[0].kill()
    processes(ending)[0].join()
    ending.close()
    assert not any(process.is_alive() for process in processes(ending))


def test_errors_of_environments_keep_their_kind_and_text(ending):
    with (
        pytest.raises(ValueError, match="no such door"),
        pytest.warns(UserWarning, match="Worker-0|no such door|back to"),
    ):
        ending.step(np.array([GO_ON, FAIL, GO_ON, GO_ON]))


def test_an_interrupt_within_a_step_ends_all_processes(ending):
    # A background job inherits that Ctrl-C is ignored; a user's terminal does not.
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        with pytest.raises(KeyboardInterrupt):
            ending.step(np.array([GO_ON, GO_ON, CTRL_C, GO_ON]))
    finally:
        signal.signal(signal.SIGINT, before)
    ending.close()
    assert not any(process.is_alive() for process in processes(ending))


PARENT = """
import os, signal
from rlstitch.envs import World, make_vec
env = make_vec(World("CartPole-v1"), 4, seed=0, workers=4)
env.reset()
print("begun", flush=True)
os.kill(os.getpid(), signal.SIGKILL)
"""


def test_no_process_outlives_a_killed_parent():
    with subprocess.Popen([sys.executable, "-c", PARENT], stdout=subprocess.PIPE, text=True) as parent:
        printed, _ = parent.communicate(timeout=600)  # until the last process that can write there has ended
    assert (printed, parent.returncode) == ("begun\n", -signal.SIGKILL)
