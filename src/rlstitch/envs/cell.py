"""Where one agent's encoder meets another's controller: the world of both, and the actions that two worlds share."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from gymnasium import spaces

from rlstitch.envs.family import family_of, with_sensor
from rlstitch.envs.observation import Shape, is_image
from rlstitch.envs.tasks.task import ActionMap
from rlstitch.envs.world import World
from rlstitch.errors import IncompatibleError, InvalidInputError


def cell_world(encoder_world: World, controller_world: World) -> World:
    """Return the world where one agent's encoder drives another's controller: the observations of one, the
    environment of the other.

    The sensor, the look (with the arguments `look_kwargs`) and all that shapes an observation are the encoder's; the
    environment, the task and its actions, and how often an action is repeated are the controller's. Where the backends
    differ it is Gymnasium, which has every look and task.

    Raises:
        IncompatibleError: where the two environments have no observations in common: their images differ in shape or in
            kind.
        UnknownNameError: where an environment is not registered.
    """
    same_backend = encoder_world.backend == controller_world.backend
    cell = replace(
        encoder_world,
        environment=controller_world.environment,
        task=controller_world.task,
        backend=controller_world.backend if same_backend else "gymnasium",
        actions=controller_world.actions,
        action_repeat=controller_world.action_repeat,
        modules=tuple(dict.fromkeys(controller_world.modules + encoder_world.modules)),
        family=controller_world.family,
        **encoder_world.kwargs_in(controller_world),
    )
    if all(getattr(encoder_world, name) == getattr(cell, name) for name in ("environment", "make_kwargs")):
        return cell
    encoder_kind, encoder_shape = family_of(encoder_world).observation_kind(encoder_world)
    sensor = with_sensor(encoder_world).sensor
    if sensor != with_sensor(cell).sensor:  # the environments' own observations differ
        cell = replace(cell, sensor=sensor)
    try:
        controller_kind, controller_shape = family_of(cell).observation_kind(cell)
    except InvalidInputError as error:  # what shapes the encoder's observations is none for the other environment
        raise IncompatibleError(
            f"{encoder_world.environment} and {controller_world.environment} have no common observations: {error}"
        ) from error
    if (encoder_kind, encoder_shape) != (controller_kind, controller_shape):
        raise IncompatibleError(
            f"{encoder_world.environment} and {controller_world.environment} have no common observations: the encoder "
            f"sees {encoder_kind} {_what(encoder_shape)} {encoder_shape}, the controller's environment gives "
            f"{controller_kind} {_what(controller_shape)} {controller_shape}"
        )
    return cell


def made_otherwise(encoder_world: World, controller_world: World) -> str:
    """Return a line that names the arguments of `gymnasium.make` that the encoder does without; empty where none is.

    A cell is made with those of the controller's world. Where such an argument changes what is seen, the encoder sees
    something that it was not trained on.
    """
    own, made = encoder_world.make_kwargs, encoder_world.kwargs_in(controller_world)["make_kwargs"]
    if own == made:
        return ""
    names = sorted(name for name in own.keys() | made.keys() if own.get(name) != made.get(name))
    stated = [", ".join(f"{name}={each[name]!r}" for name in names if name in each) or "none" for each in (made, own)]
    return (
        f"environment made with {stated[0]}, as for the controller; the encoder was trained with {stated[1]}; if "
        f"these change only what is seen, --look-kwargs {','.join(names)} lets each agent see its own"
    )


def _what(shape: Shape) -> str:
    return "images" if is_image(shape) else "vectors"


def translate_actions(own: World, world: World) -> ActionMap | None:
    """Return the action of a world that does what each action of another world does, `(n,)`; -1 where none does.

    Environments say by number what an action does, so that both must have equally many. None where both are continuous:
    they mean the same as they are.

    Raises:
        IncompatibleError: where the two have no action in common.
        UnknownNameError, InvalidInputError: where one cannot be made.
    """
    space, target = (family_of(one).action_space(one) for one in (own, world))
    if space != target:
        raise IncompatibleError(
            f"{own.environment} takes the actions {space}, {world.environment} takes {target}: none is the same"
        )
    if not isinstance(space, spaces.Discrete):
        return None
    mine, theirs = (family_of(one).task(one).action_map(int(space.n)) for one in (own, world))
    places = np.full(int(space.n), -1, dtype=np.intp)
    places[theirs] = np.arange(len(theirs))
    if (places[mine] < 0).all():
        raise IncompatibleError(f"the tasks {own.task!r} and {world.task!r} have no action in common")
    return np.asarray(places[mine])
