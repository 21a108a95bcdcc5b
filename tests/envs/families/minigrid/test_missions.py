"""Missions that an agent does not see: said where they differ between episodes."""

from __future__ import annotations

import gymnasium
import pytest

from rlstitch.envs import World, family_of
from rlstitch.envs.families.minigrid.minigrid import _missions


@pytest.mark.parametrize(
    "environment",
    [
        "MiniGrid-Fetch-5x5-N2-v0",
        "MiniGrid-GoToDoor-5x5-v0",
        "MiniGrid-GoToObject-6x6-N2-v0",
        "MiniGrid-KeyCorridorS3R1-v0",
        "MiniGrid-LockedRoom-v0",
        "MiniGrid-PutNear-6x6-N2-v0",
        "MiniGrid-UnlockPickup-v0",
        "MiniGrid-BlockedUnlockPickup-v0",
        "MiniGrid-Unlock-v0",
        "MiniGrid-DoorKey-5x5-v0",
        "MiniGrid-LavaGapS5-v0",
        "MiniGrid-MemoryS7-v0",
        "MiniGrid-MultiRoom-N2-S4-v0",
        "MiniGrid-ObstructedMaze-1Dl-v0",
        "MiniGrid-RedBlueDoors-6x6-v0",
        "BabyAI-GoToObj-v0",
        "BabyAI-GoToLocalS5N2-v0",
        "BabyAI-GoToRedBallGrey-v0",
        "BabyAI-GoToRedBallNoDists-v0",
        "BabyAI-OpenRedDoor-v0",
        "BabyAI-OpenDoorColor-v0",
        "BabyAI-PickupLoc-v0",
        "BabyAI-KeyInBox-v0",
    ],
)
def test_what_is_said_of_a_mission_is_what_episodes_show(environment):
    said = family_of(environment).unseen(World(environment))
    assert bool(said) == (len(_missions(environment, 16)) > 1)
    assert not said or "mission" in said


def test_an_environment_of_another_name_is_asked_itself():
    for name, entry, differs in (
        ("Mine/Fetch-v0", "minigrid.envs:FetchEnv", True),
        ("Mine/Empty-v0", "minigrid.envs:EmptyEnv", False),
    ):
        gymnasium.register(name, entry_point=entry)
        try:
            assert bool(family_of(name).unseen(World(name))) == differs
        finally:
            del gymnasium.registry[name]
