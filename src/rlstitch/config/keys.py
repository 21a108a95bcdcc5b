"""Keys of a config: one flat mapping of dotted keys in which files, overrides and sweeps meet.

The fields of the world may stand at the top (`environment`, `variation`, ...) or in the section `world`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from rlstitch.envs.world import WORLD_KEYS, World
from rlstitch.storage.validation import show, show_key


def full_key(key: str) -> str:
    """Return the dotted key that a short one stands for: `variation` and `look` are `world.look`."""
    name = key.removeprefix("world.")
    if name not in WORLD_KEYS:
        return key
    return "world.look" if name == "variation" else f"world.{name}"


def full_keys(items: Iterable[tuple[str, Any]], problems: list[str]) -> dict[str, Any]:
    """Return values under their full keys; a key that is given twice is added to the problems."""
    values: dict[str, Any] = {}
    for key, value in items:
        if full_key(key) in values:
            problems.append(f"{key}: expected one value, found two; {full_key(key)} is another name for it")
        values[full_key(key)] = value
    return values


def flatten(values: Mapping[str, Any], problems: list[str]) -> dict[str, Any]:
    """Return the values of a config, in sections or under dotted keys, as `full_keys` does."""
    items: list[tuple[str, Any]] = []
    for key, value in values.items():
        section = value.to_dict() if isinstance(value, World) else value
        if isinstance(section, Mapping) and section and key not in WORLD_KEYS:
            items += [(f"{key}.{name}", item) for name, item in section.items()]
        else:
            items.append((key, section))
    return full_keys(items, problems)


def nest(flat: Mapping[str, Any], problems: list[str]) -> dict[str, Any]:
    """Return the values of dotted keys as sections; what is set in a value that is no section is a problem."""
    values: dict[str, Any] = {"world": {}}
    for key, value in flat.items():
        section, dot, name = key.partition(".")
        outer = values.get(section, {})
        if not dot:
            values[key] = value if value != {} else outer or value
        elif isinstance(outer, Mapping):
            values[section] = {**outer, name: value}
        else:
            problems.append(f"{show_key(key)}: {show_key(section)} is {show(outer)}, not a section")
    return values
