"""Environments that a program has at hand: functions that make them, and objects of Gymnasium and Stable-Baselines3.

They get ids `live/NAME-NUMBER`, which hold as long as the process and mean nothing in another.
"""

from __future__ import annotations

import copy
import dataclasses
import inspect
import re
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import gymnasium
from gymnasium.vector import (
    VectorActionWrapper,
    VectorEnv,
    VectorObservationWrapper,
    VectorRewardWrapper,
    VectorWrapper,
)

from rlstitch.envs.packages import LIVE_PREFIX
from rlstitch.envs.single import LIVE, Factory, import_modules
from rlstitch.envs.world import World
from rlstitch.errors import InvalidInputError
from rlstitch.storage.text import printable

if TYPE_CHECKING:
    from stable_baselines3.common.vec_env import VecEnv

EXPECTED = "an id, a World, a function that makes an environment, a gymnasium.Env, a VectorEnv or a VecEnv"
_OF_BATCHES = ("num_envs", "vectorization_mode")  # what `gymnasium.make_vec` adds to the arguments of an environment
_IDS: list[tuple[object, str]] = []
# What copying an environment may raise that holds windows, files or memory of another language.
_COPY_ERRORS = (ArithmeticError, AttributeError, LookupError, NotImplementedError, OSError, RuntimeError, TypeError,
                ValueError, copy.Error)  # fmt: skip


def as_world(env: Any, **fields: Any) -> World:
    """Return the world of an environment, with further fields of it.

    Of batches, the first environment counts; what Stable-Baselines3's wrappers do to observations and rewards is left
    out, except that a VecFrameStack gives `frame_stack` and `padding`, where these are not among the fields.

    Args:
        env: an id (`module:Id` imports the module), a World, a function that makes an environment (which may take
            `render_mode` and, from `make_kwargs`, other arguments), a `gymnasium.Env` (it is copied, and itself neither
            played nor closed), a Gymnasium `VectorEnv`, or a `VecEnv` of Stable-Baselines3.
        fields: of the world, such as `look`.

    Raises:
        InvalidInputError: for anything else, for what cannot be made again, and for fields that cannot be used.
        UnknownNameError: for an unknown look or task.
    """
    if isinstance(env, str):
        env = World(env)
        import_modules(env.modules)
    known = getattr(env, "world", env)  # batches that `make_vec` made have one
    if isinstance(known, World):
        return dataclasses.replace(known, **fields)
    single, stacked = _first(env)
    return World(_identity(env, single), **{**stacked, **fields})


def _identity(env: object, factory: Factory) -> str:
    """The id of an object: always the same, since what is known of an environment is kept by its id."""
    for known, identity in _IDS:
        if known is env:
            return identity
    kind = getattr(env, "__name__", type(getattr(env, "unwrapped", env)).__name__)
    identity = f"{LIVE_PREFIX}{re.sub(r'[^A-Za-z0-9_]+', '', kind)[:100]}-{len(_IDS) + 1}"
    _IDS.append((env, identity))
    LIVE[identity] = factory
    return identity


def _first(env: Any) -> tuple[Factory, dict[str, Any]]:
    """A function that makes the first environment of what is given, and what a VecFrameStack says of its world."""
    if isinstance(env, gymnasium.Env):
        return _copies(env), {}
    if isinstance(env, VectorEnv):
        return _of_vector(env), {}
    from stable_baselines3.common.vec_env import VecEnv

    if isinstance(env, VecEnv):
        return _of_vec_env(env)
    if callable(env):
        return _made_by(env), {}
    raise InvalidInputError(f"env: expected {EXPECTED}, found {type(env).__name__}")


def _made_by(function: Callable[..., Any]) -> Factory:
    def make(render_mode: str | None = None, **kwargs: Any) -> gymnasium.Env[Any, Any]:
        if render_mode is not None and _takes(function, "render_mode"):
            kwargs["render_mode"] = render_mode
        made = function(**kwargs)
        if not isinstance(made, gymnasium.Env):
            raise InvalidInputError(f"env: expected a function that makes a gymnasium.Env, it made {_shown(made)}")
        return _rendering(made, render_mode)

    return make


def _takes(function: Callable[..., Any], name: str) -> bool:
    try:
        inspect.signature(function).bind_partial(**{name: None})
    except (TypeError, ValueError):
        return False
    return True


def _copies(env: gymnasium.Env[Any, Any]) -> Factory:
    """Make environments alike: copies of it, or made by Gymnasium anew where it cannot be copied."""

    def make(render_mode: str | None = None) -> gymnasium.Env[Any, Any]:
        try:
            made = copy.deepcopy(env)
        except _COPY_ERRORS as error:
            if env.spec is None:
                raise InvalidInputError(
                    f"env: {_shown(env)} cannot be copied ({printable(error, limit=200)}); expected a function that "
                    "makes it"
                ) from error
            made = _by_spec(env.spec)
        return _rendering(made, render_mode)

    return make


def _by_spec(spec: Any) -> gymnasium.Env[Any, Any]:
    # Stable-Baselines3's Monitor, which changes nothing, does not tell Gymnasium how it was made.
    wrappers = tuple(wrapper for wrapper in spec.additional_wrappers if wrapper.name != "Monitor")
    try:
        return gymnasium.make(dataclasses.replace(spec, additional_wrappers=wrappers))
    except (ValueError, gymnasium.error.Error) as error:
        raise InvalidInputError(
            f"env: {spec.id} cannot be made again ({printable(error, limit=200)}); expected a function that makes it"
        ) from error


def _rendering(made: gymnasium.Env[Any, Any], render_mode: str | None) -> gymnasium.Env[Any, Any]:
    if render_mode not in (None, made.render_mode):
        raise InvalidInputError(
            f"env: expected one with the render mode {render_mode!r} for its pixels, {_shown(made)} has "
            f"{made.render_mode!r}"
        )
    return made


def _of_vector(env: VectorEnv[Any, Any, Any]) -> Factory:
    while isinstance(env, VectorWrapper):
        if isinstance(env, (VectorActionWrapper, VectorObservationWrapper, VectorRewardWrapper)):
            raise InvalidInputError(f"env: {type(env).__name__} wraps a batch; expected one around single environments")
        env = env.env
    if made_by := getattr(env, "env_fns", ()):
        return _made_by(made_by[0])
    if (spec := env.spec) is None:
        raise InvalidInputError(f"env: {_shown(env)} has no single environments; expected a function that makes one")
    own = {name: value for name, value in spec.kwargs.items() if name not in _OF_BATCHES}
    return _made_by(lambda **kwargs: gymnasium.make(spec.id, **{**own, **kwargs}))


def _of_vec_env(env: VecEnv) -> tuple[Factory, dict[str, Any]]:
    from stable_baselines3.common.monitor import Monitor
    from stable_baselines3.common.vec_env import (
        DummyVecEnv,
        VecCheckNan,
        VecEnvWrapper,
        VecFrameStack,
        VecMonitor,
        VecNormalize,
        VecTransposeImage,
    )

    stacked: dict[str, Any] = {}
    while isinstance(env, VecEnvWrapper):
        if isinstance(env, VecFrameStack):
            stacked = {"frame_stack": env.stacked_obs.n_stack, "padding": "zeros"}
        elif not isinstance(env, (VecCheckNan, VecMonitor, VecNormalize, VecTransposeImage)):
            raise InvalidInputError(f"env: {type(env).__name__} wraps a batch; expected one around single environments")
        env = env.venv
    if isinstance(env, DummyVecEnv):
        single = env.envs[0]
        return _copies(single.env if isinstance(single, Monitor) else single), stacked
    (spec,) = env.get_attr("spec", 0)
    if spec is None:
        raise InvalidInputError(f"env: {_shown(env)} cannot be made again; expected a function that makes one of them")
    return _made_by(lambda: _by_spec(spec)), stacked


def _shown(thing: object) -> str:
    return f"a {type(thing).__name__}"
