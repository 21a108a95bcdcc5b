from contextlib import closing
from dataclasses import replace

import gymnasium
import numpy as np
import pytest
from gymnasium.vector import AutoresetMode
from minigrid.core.grid import Grid
from minigrid.core.mission import MissionSpace
from minigrid.core.world_object import Ball, Box, Door, Floor, Goal, Key, Lava, Wall
from minigrid.envs import DoorKeyEnv
from minigrid.minigrid_env import MiniGridEnv
from minigrid.wrappers import FullyObsWrapper, ImgObsWrapper, RGBImgObsWrapper, RGBImgPartialObsWrapper

from rlstitch.envs import MiniGridVectorEnv, World, family_of, make_vec, render_views, symbolic_views
from rlstitch.envs.parts import split_parts
from rlstitch.envs.reading import code_text
from rlstitch.errors import InvalidInputError, UnknownNameError

WRAPPERS = {"agent": RGBImgPartialObsWrapper, "full": RGBImgObsWrapper}
DOOR = "MiniGrid-DoorKey-5x5-v0"
ROLLOUTS = [
    DOOR,
    "MiniGrid-BlockedUnlockPickup-v0",
    "MiniGrid-Dynamic-Obstacles-6x6-v0",
    "MiniGrid-Empty-Random-5x5-v0",
    "MiniGrid-Fetch-5x5-N2-v0",
    "MiniGrid-GoToDoor-5x5-v0",
    "MiniGrid-KeyCorridorS3R1-v0",
    "MiniGrid-LavaGapS5-v0",
    "MiniGrid-MemoryS7-v0",
    "MiniGrid-MultiRoom-N2-S4-v0",
    "MiniGrid-ObstructedMaze-1Dlhb-v0",
    "MiniGrid-RedBlueDoors-6x6-v0",
    "MiniGrid-SimpleCrossingS9N1-v0",
    "BabyAI-PutNextS5N2Carrying-v0",
    "BabyAI-UnlockLocal-v0",
]


class Jumble(MiniGridEnv):
    """Every kind of object at random places, and random walls; sees `agent_view_size` cells."""

    def __init__(self, width=9, height=7, **kwargs):
        super().__init__(MissionSpace(lambda: "look"), width=width, height=height, max_steps=60, **kwargs)

    def _gen_grid(self, width, height):
        self.grid = Grid(width, height)
        self.grid.wall_rect(0, 0, width, height)
        for x in range(1, width - 1):
            for y in range(1, height - 1):
                self.grid.set(x, y, self._object(self._rand_color()))
        self.agent_pos = (self._rand_int(1, width - 1), self._rand_int(1, height - 1))
        self.grid.set(*self.agent_pos, None)
        self.agent_dir = self._rand_int(0, 4)

    def _object(self, colour):
        kinds = (Wall, Floor, Key, Ball, Box, Goal)
        number = self._rand_int(0, 20)
        if number < len(kinds):
            return kinds[number](colour)
        if number < 10:
            return Lava() if number == 6 else Door(colour, number == 7, number == 8)
        return None

    def reset(self, **kwargs):
        result = super().reset(**kwargs)
        if self._rand_bool():
            self.carrying = Box(self._rand_color())
        return result


class Selfish(DoorKeyEnv):
    """Draws itself in another way."""

    def get_frame(self, highlight=True, tile_size=32, agent_pov=False):
        return super().get_frame(highlight, tile_size, agent_pov) // 2


class Growing(DoorKeyEnv):
    """Its grid is larger in the second episode."""

    def _gen_grid(self, width, height):
        super()._gen_grid(width, height)
        if getattr(self, "old", False):
            super()._gen_grid(width + 1, height + 1)
        self.old = True


@pytest.fixture(scope="module", autouse=True)
def jumbles(own_environments):
    for size in (3, 5, 7, 9):
        gymnasium.register(f"Jumble-{size}-v0", Jumble, kwargs={"agent_view_size": size})
    gymnasium.register("Jumble-clear-v0", Jumble, kwargs={"see_through_walls": True, "highlight": False})
    gymnasium.register("Jumble-limit-v0", Jumble, max_episode_steps=4)
    gymnasium.register("Jumble-wrapped-v0", Jumble, additional_wrappers=(ImgObsWrapper.wrapper_spec(),))
    gymnasium.register("Selfish-v0", Selfish)
    gymnasium.register("Growing-v0", Growing, kwargs={"size": 5, "max_steps": 2})


def compare_rollout(world, steps, num_envs=2, seed=5, actions_of=lambda action: action):
    """Plays random actions here and through MiniGrid's own wrapper: all that is seen and paid must be equal."""
    ours = make_vec(world, num_envs, seed=seed)
    theirs = [WRAPPERS[world.view](gymnasium.make(world.environment), world.tile_size) for _ in range(num_envs)]
    expected = np.stack([env.reset(seed=seed + i)[0]["image"] for i, env in enumerate(theirs)])
    frames, _ = ours.reset()
    np.testing.assert_array_equal(frames, expected)
    assert ours.observation_space.contains(frames)
    ends = 0
    for _ in range(steps):
        actions = ours.action_space.sample()
        frames, rewards, terminations, truncations, infos = ours.step(actions)
        for i, env in enumerate(theirs):
            observation, reward, terminated, truncated, _ = env.step(actions_of(int(actions[i])))
            assert (rewards[i], terminations[i], truncations[i]) == (reward, terminated, truncated)
            assert infos["success"][i] == (terminated and reward > 0)
            if terminated or truncated:
                ends += 1
                np.testing.assert_array_equal(infos["final_obs"][i], observation["image"])
                observation, _ = env.reset()
            np.testing.assert_array_equal(frames[i], observation["image"])
        np.testing.assert_array_equal(
            render_views(ours.symbolic(), variation=world.variation, tile_size=world.tile_size), frames
        )
    ours.close()
    return ends


@pytest.mark.parametrize("view", ["agent", "full"])
@pytest.mark.parametrize("environment", ROLLOUTS)
def test_rollouts_equal_minigrids_own(environment, view):
    compare_rollout(World(environment, view=view, tile_size=4), steps=60)


@pytest.mark.parametrize("view", ["agent", "full"])
@pytest.mark.parametrize("kind", ["3", "5", "7", "9", "clear"])
def test_grids_full_of_everything_equal_minigrids_own(kind, view):
    """Doors, boxes, carried things, lava, goals in any colour; view sizes; seeing through walls; oblong grids."""
    assert compare_rollout(World(f"Jumble-{kind}-v0", view=view, tile_size=3), steps=150) > 2


def test_eight_pixel_tiles_equal_minigrids_own():
    compare_rollout(World(DOOR, tile_size=8), steps=40)


def test_scrambled_actions_are_put_in_order_inside():
    world = World(DOOR, task="scrambled", tile_size=2)
    assert make_vec(world, 1, seed=0).single_action_space.n == 7
    compare_rollout(world, steps=60, actions_of=lambda action: (action + 1) % 7)


def test_a_look_changes_pictures_and_nothing_else():
    actions = np.random.default_rng(0).integers(0, 7, (80, 3))
    played = {}
    for name in ("standard", "red", "inverted"):
        env = make_vec(World(DOOR, name, tile_size=3), 3, seed=1)
        frames, _ = env.reset()
        log = [(frames, env.symbolic())]
        for action in actions:
            frames, rewards, terminations, truncations, _ = env.step(action)
            log.append((frames, env.symbolic(), rewards, terminations, truncations))
        played[name] = log
    for standard, red, inverted in zip(*played.values(), strict=True):
        for one, *others in zip(standard[1:], red[1:], inverted[1:], strict=True):
            assert all(np.array_equal(one, other) for other in others)
        np.testing.assert_array_equal(inverted[0], 255 - standard[0])
        np.testing.assert_array_equal(red[0], render_views(standard[1], variation="red", tile_size=3))
        assert not np.array_equal(red[0], standard[0])


def test_equal_seeds_play_equal_episodes():
    def play(seed):
        env = make_vec(World(DOOR, tile_size=2), 2, seed=seed)
        log = [env.reset()[0]]
        for _ in range(300):
            frames, *_ = env.step(env.action_space.sample())
            log.append(frames)
        return np.stack(log)

    np.testing.assert_array_equal(play(3), play(3))
    assert not np.array_equal(play(3), play(4))


def test_environment_i_is_seeded_with_seed_plus_i():
    env = make_vec(World(DOOR), 3, seed=7)
    first, _ = env.reset()
    np.testing.assert_array_equal(first, env.reset(seed=7)[0])
    np.testing.assert_array_equal(first, env.reset(seed=[7, 8, 9])[0])
    np.testing.assert_array_equal(first[[2, 1, 0]], env.reset(seed=[9, 8, 7])[0])
    assert not np.array_equal(first, env.reset()[0])


def test_each_step_gives_a_frame_of_its_own():
    env = make_vec(World(DOOR, tile_size=2), 2, seed=0)
    first, _ = env.reset()
    copy = first.copy()
    env.step(np.array([0, 1]))
    np.testing.assert_array_equal(first, copy)


def test_without_autoreset_ended_environments_wait():
    env = make_vec(World("MiniGrid-LavaGapS5-v0", tile_size=2), 2, seed=1, autoreset="disabled")
    assert env.metadata["autoreset_mode"] == AutoresetMode.DISABLED
    with pytest.raises(InvalidInputError, match=r"environments \[0, 1\] are not in an episode"):
        env.step(np.array([0, 0]))
    env.reset()
    for _ in range(99):
        _, _, terminations, truncations, infos = env.step(np.array([2, 0]))
        if terminations.any() or truncations.any():
            break
        env.step(np.array([1, 0]))
    assert (terminations | truncations).tolist()[1] is False
    assert "final_obs" not in infos
    with pytest.raises(InvalidInputError, match=r"environments \[0\]"):
        env.step(np.array([0, 0]))


def test_masked_resets_touch_only_their_environments():
    world = World(DOOR, tile_size=2)
    env = make_vec(world, 3, seed=1, autoreset="disabled")
    env.reset()
    for _ in range(5):
        before, *_ = env.step(np.array([2, 1, 2]))
    options = {"reset_mask": np.array([True, False, True])}
    frames, _ = env.reset(seed=[40, 41, 42], options=options)
    assert "reset_mask" in options
    fresh, _ = make_vec(world, 3, seed=40).reset()
    np.testing.assert_array_equal(frames[[0, 2]], fresh[[0, 2]])
    np.testing.assert_array_equal(frames[1], before[1])
    lengths = [environment.step_count for environment in env.simulator._environments]
    assert lengths == [0, 5, 0]


def test_a_limit_of_gymnasium_truncates():
    env = make_vec(World("Jumble-limit-v0", tile_size=1), 1, seed=0)
    env.reset()
    ends = [bool(env.step(np.array([6]))[3][0]) for _ in range(8)]
    assert ends == [False, False, False, True] * 2


def test_spaces():
    env = make_vec(World(DOOR, view="full", tile_size=4), 3, seed=0)
    assert env.single_observation_space.shape == (20, 20, 3)
    assert env.observation_space.shape == (3, 20, 20, 3)
    assert env.single_observation_space.dtype == np.uint8
    assert make_vec(World("Jumble-5-v0", tile_size=2), 1, seed=0).single_observation_space.shape == (10, 10, 3)
    assert make_vec(World("MiniGrid-Dynamic-Obstacles-6x6-v0"), 1, seed=0).single_action_space.n == 3
    env.reset()
    assert len(env.render()) == 3


@pytest.mark.parametrize("actions", [[0], [0, 7], [-1, 0], [0.0, 1.0], [[0, 1]]])
def test_actions_that_are_none_are_refused(actions):
    env = make_vec(World(DOOR), 2, seed=0)
    env.reset()
    with pytest.raises(InvalidInputError, match="actions: expected"):
        env.step(np.array(actions))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"seed": [1]}, "seed: expected 2 seeds, one an environment, found 1"),
        ({"options": {"reset_mask": [True, False]}}, "reset_mask: expected a bool array .* found list"),
        ({"options": {"reset_mask": np.array([1, 0])}}, "found int64"),
        ({"options": {"reset_mask": np.array([False, False])}}, "true at least once"),
        ({"options": {"reset_mask": np.array([True])}}, r"found bool \(1,\)"),
        ({"options": {"speed": 3}}, "options: expected reset_mask, found speed"),
    ],
)
@pytest.mark.parametrize("environment", [DOOR, "Corridor-v0"])
def test_resets_that_cannot_be_are_refused(environment, arguments, message):
    env = make_vec(World(environment), 2, seed=0)
    with pytest.raises(InvalidInputError, match=message):
        env.reset(**arguments)


def test_environments_that_cannot_be_drawn_from_tiles_are_refused():
    with pytest.raises(UnknownNameError, match="did you mean MiniGrid-DoorKey-5x5-v0"):
        make_vec(World("MiniGrid-DoorKey-5x5-v1"), 1, seed=0)
    with pytest.raises(InvalidInputError, match=r"overrides get_frame; expected MiniGrid"):
        make_vec(World("Selfish-v0"), 1, seed=0)
    with pytest.raises(InvalidInputError, match="wrapped in ImgObsWrapper; expected a bare MiniGrid"):
        make_vec(World("Jumble-wrapped-v0"), 1, seed=0)
    with pytest.raises(InvalidInputError, match="expected a MiniGrid, found Corridor-v0"):
        MiniGridVectorEnv(World("Corridor-v0"), 1)
    with pytest.raises(InvalidInputError, match="autoreset_mode: expected SAME_STEP or DISABLED"):
        MiniGridVectorEnv(World(DOOR), 1, autoreset_mode=AutoresetMode.NEXT_STEP)


def test_a_grid_that_changes_its_size_is_refused():
    env = make_vec(World("Growing-v0"), 1, seed=0)
    env.reset()
    with pytest.raises(InvalidInputError, match="expected grids of 5 x 5, found 6 x 6"):
        env.reset()


@pytest.mark.parametrize("view", ["agent", "full"])
def test_symbols_are_minigrids_own_grid(view):
    world = World(DOOR, sensor="symbolic", view=view)
    with closing(make_vec(world, 1, seed=4)) as env, closing(gymnasium.make(DOOR)) as plain:
        own = FullyObsWrapper(plain) if view == "full" else plain
        code, (grid, _) = env.reset()[0], own.reset(seed=4)
        for action in np.random.default_rng(0).integers(7, size=60):
            cells = code.reshape(*grid["image"].shape[:2], -1).transpose(1, 0, 2)
            numbers = [part.argmax(-1) for part in np.split(cells, [11, 17, 20, 25], axis=-1)]
            agent = grid["image"][..., 0] == 10  # drawn over what it stands on; its state is its direction
            assert np.array_equal(numbers[3][agent], grid["image"][agent][:, 2])
            unseen = grid["image"][..., 0] == 0  # shown as an empty cell that is not highlighted
            for symbol, expected in zip(numbers, np.moveaxis(grid["image"], -1, 0), strict=False):
                assert np.array_equal(symbol[~agent & ~unseen], expected[~agent & ~unseen])
            assert np.array_equal(render_views(env.symbolic()), own.unwrapped.get_frame(True, 8, view == "agent")[None])
            assert np.array_equal(family_of(world).render_views(env.symbolic(), world), code)
            assert family_of(world).render_views(env.symbolic()[:0], world).shape == (0, code.shape[1])
            code, _, terminated, truncated, _ = env.step(np.array([action]))
            grid = own.step(int(action))[0]
            if terminated or truncated:
                break


def test_symbols_have_no_look():
    with pytest.raises(InvalidInputError, match="look: the sensor symbolic gives vectors"):
        make_vec(World(DOOR, "red", sensor="symbolic"), 1, seed=0)


@pytest.mark.parametrize("sensor", ["pixels", "symbolic"])
def test_missions_are_observed_beside_the_view(sensor):
    world = World("MiniGrid-Fetch-5x5-N2-v0", sensor=sensor, keys=["image", "mission"])
    with closing(make_vec(world, 3, seed=4)) as env, closing(make_vec(replace(world, keys=()), 3, seed=4)) as plain:
        layout = family_of(world).layout(world)
        for steps in range(80):  # some episodes end, and their missions
            act = np.random.default_rng(steps).integers(7, size=3)
            seen, view = (one.step(act)[0] if steps else one.reset()[0] for one in (env, plain))
            parts = split_parts(seen, layout)
            assert np.array_equal(parts["image"], view)
            missions = [code_text(inner.mission) for inner in env.simulator._environments]
            assert np.array_equal(parts["mission"], missions)
        with pytest.raises(InvalidInputError, match="expected one with symbolic views"):
            symbolic_views(env)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"keys": ["mission"]}, "keys: expected image, or image and mission, found mission"),
        ({"keys": ["image", "mission"], "backend": "envpool"}, "keys: envpool has no missions"),
    ],
)
def test_other_keys_are_refused(fields, message):
    with pytest.raises(InvalidInputError, match=message):
        make_vec(World(DOOR, **fields), 1, seed=0)
