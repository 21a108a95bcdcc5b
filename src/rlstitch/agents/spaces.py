"""What a world gives to an agent and takes from it."""

from __future__ import annotations

from rlstitch.agents.actions import actions_of
from rlstitch.agents.specs import AnyActions
from rlstitch.envs import Shape, World, family_of, make_vec
from rlstitch.envs.single import plain_space


def spaces_of(world: World) -> tuple[Shape, AnyActions]:
    """Return the shape of a world's observations, and its actions.

    These are as its environment takes them, unless a task leaves some of them out.
    """
    environments = make_vec(world, 1, seed=0)
    try:
        taken, own = environments.single_action_space, family_of(world).own_actions(world)
        return environments.single_observation_space.shape or (), actions_of(
            own if plain_space(own) == taken else taken
        )
    finally:
        environments.close()
