"""Methods by name: each module of a package `methods` lists its own in `METHODS`, so that a new one is one new file."""

from __future__ import annotations

import inspect
import pkgutil
from collections.abc import Callable, Mapping
from importlib import import_module
from types import ModuleType
from typing import Any

from rlstitch.errors import InvalidInputError, require_known


def methods_of(package: ModuleType) -> dict[str, Callable[..., Any]]:
    """The methods of all modules of a package, by name."""
    modules = (import_module(f"{package.__name__}.{module.name}") for module in pkgutil.iter_modules(package.__path__))
    return {name: function for module in modules for name, function in getattr(module, "METHODS", {}).items()}


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
