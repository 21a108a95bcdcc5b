"""Methods by name, with the options that each takes."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from typing import Any

from rlstitch.errors import InvalidInputError, require_known


def look_up(
    kind: str, name: str, methods: Mapping[str, Callable[..., Any]], options: Mapping[str, Any]
) -> Callable[..., Any]:
    """The method called `name`, which takes `options` as keyword arguments.

    Raises UnknownNameError for another name, InvalidInputError for an option that the method does not take.
    """
    require_known(kind, name, methods)
    known = (inspect.unwrap(methods[name]).__kwdefaults__ or {}).keys()
    if unknown := sorted(options.keys() - known):
        raise InvalidInputError(f"{kind} {name!r} takes the options {sorted(known)}, found {unknown}")
    return methods[name]
