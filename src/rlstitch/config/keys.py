"""Keys of a config: one flat mapping of dotted keys in which files, overrides and sweeps meet.

The fields of the world may stand at the top (`environment`, `variation`, ...) or in the section `world`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rlstitch.envs.world import WORLD_KEYS, World
from rlstitch.storage.validation import show, show_key


def full_key(key: str) -> str:
    """Return the dotted key that a short one stands for: `variation` and `look` are `world.look`."""
    name = key.removeprefix("world.")
    if name not in WORLD_KEYS:
        return key
    return "world.look" if name == "variation" else f"world.{name}"


def flatten(values: Mapping[str, Any], problems: list[str]) -> dict[str, Any]:
    """Return the values of a config under full dotted keys.

    Args:
        values: sections, dotted keys, or both.
        problems: a key that is given twice is added.
    """
    flat: dict[str, Any] = {}
    for key, value in values.items():
        section = value.to_dict() if isinstance(value, World) else value
        inside = isinstance(section, Mapping) and section and key not in WORLD_KEYS
        for name, item in section.items() if inside else [("", value)]:
            short = f"{key}.{name}" if inside else key
            if full_key(short) in flat:
                problems.append(f"{short}: expected one value, found two; {full_key(short)} is another name for it")
            flat[full_key(short)] = item
    return flat


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
