"""YAML of configs and overrides, read safely."""

from __future__ import annotations

import re
from collections.abc import Hashable
from pathlib import Path
from typing import Any

import yaml

from rlstitch.errors import InvalidInputError
from rlstitch.storage import limits
from rlstitch.storage.validation import show


class _Loader(yaml.SafeLoader):
    """PyYAML's safe loader, but `1e-3` is a number (YAML 1.2) and a key that is given twice is an error."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:
        seen: set[Hashable] = set()
        for key_node, _ in node.value:
            key = self.construct_object(key_node, deep=True)
            if not isinstance(key, str):
                raise yaml.constructor.ConstructorError(
                    None, None, f"expected text as key, found {key!r}", key_node.start_mark
                )
            if key in seen:
                raise yaml.constructor.ConstructorError(None, None, f"key {key!r} is given twice", key_node.start_mark)
            seen.add(key)
        return super().construct_mapping(node, deep)

    def compose_node(self, parent: yaml.Node | None, index: int) -> yaml.Node | None:
        if self.check_event(yaml.events.AliasEvent):
            # A few lines of nested aliases can grow to terabytes; no config needs one.
            raise yaml.composer.ComposerError(None, None, "aliases are not allowed", self.peek_event().start_mark)
        return super().compose_node(parent, index)


_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:float", re.compile(r"^[-+]?(\d[\d_]*\.?\d*|\.\d+)[eE][-+]?\d+$"), list("-+.0123456789")
)


def parse_yaml(text: str) -> object:
    """Return the value of a YAML text.

    Raises:
        InvalidInputError: the text is no YAML; the message has line and column.
    """
    try:
        return yaml.load(text, Loader=_Loader)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark
        place = f" (line {mark.line + 1}, column {mark.column + 1})" if mark else ""
        raise InvalidInputError(f"not valid YAML: {error.problem}{place}") from None
    except (yaml.YAMLError, RecursionError, ValueError) as error:
        raise InvalidInputError(f"not valid YAML: {' '.join(str(error).split())}") from None


def parse_yaml_file(path: Path) -> dict[str, Any]:
    """Return the mapping that a YAML file holds.

    Raises:
        InvalidInputError: unreadable, too large, not UTF-8, no YAML, or not a mapping.
    """
    try:
        if path.stat().st_size > limits.CONFIG_BYTES:
            raise InvalidInputError(f"expected at most {limits.CONFIG_BYTES} bytes, found {path.stat().st_size}")
        values = parse_yaml(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise InvalidInputError(f"{path}: cannot be read: {error.strerror}") from None
    except UnicodeDecodeError:
        raise InvalidInputError(f"{path}: expected UTF-8 text") from None
    except InvalidInputError as error:
        raise InvalidInputError(f"{path}: {error}") from None
    if not isinstance(values, dict):
        raise InvalidInputError(f"{path}: expected keys and values, found {show(values)}")
    return values
