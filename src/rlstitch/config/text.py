"""Text to values and errors to text: the parts of config reading that know nothing of training."""

from __future__ import annotations

import difflib
import re
from collections.abc import Hashable, Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml
from pydantic import BaseModel, ValidationError

from rlstitch.errors import InvalidInputError
from rlstitch.storage import limits


class _Loader(yaml.SafeLoader):
    """PyYAML's safe loader, but `1e-3` is a number (YAML 1.2) and a key that stands twice is an error."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:
        seen: set[Hashable] = set()
        for key_node, _ in node.value:
            key = self.construct_object(key_node, deep=True)
            if not isinstance(key, str):
                raise yaml.constructor.ConstructorError(
                    None, None, f"expected text as key, found {key!r}", key_node.start_mark
                )
            if key in seen:
                raise yaml.constructor.ConstructorError(None, None, f"key {key!r} stands twice", key_node.start_mark)
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
    """One YAML value.

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
    """The mapping that a YAML file holds.

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
        raise InvalidInputError(f"{path}: expected keys and values, found {_show(values)}")
    return values


def set_dotted(values: dict[str, Any], key: str, value: object) -> str | None:
    """Put `value` at the dotted `key` of nested mappings, in place; what hindered it, or None."""
    *sections, leaf = key.split(".")
    here = values
    for depth, section in enumerate(sections, start=1):
        inner = here.get(section, {})
        if not isinstance(inner, dict):
            return f"{_show_key(key)}: {_show_key('.'.join(sections[:depth]))} is {_show(inner)}, not a section"
        here[section] = inner
        here = inner
    here[leaf] = value
    return None


def dotted_keys(model: type[BaseModel], prefix: str = "") -> Iterator[str]:
    """Every key that a config of this model can have, `section.key` for those of its sections."""
    for name, field in model.model_fields.items():
        yield prefix + name
        if isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel):
            yield from dotted_keys(field.annotation, f"{prefix}{name}.")


def describe_problems(error: ValidationError, model: type[BaseModel]) -> list[str]:
    """One short text a problem: where, what was expected, what was found."""
    known = list(dotted_keys(model))
    return [_describe(dict(problem), known) for problem in error.errors(include_url=False)]


def _describe(problem: Mapping[str, Any], known: list[str]) -> str:
    where = _show_key(".".join(str(part) for part in problem["loc"]))
    if problem["type"] == "extra_forbidden":
        return f"{where}: unknown key; {_nearest(where, known)}"
    if problem["type"] == "missing":
        return f"{where}: expected a value, found none"
    message = str(problem["msg"]).removeprefix("Value error, ")
    if problem["type"] == "value_error":
        return f"{where}: {message}" if where else message
    message = message.replace("Input should be", "expected").replace("String should", "expected text that should")
    message = re.sub(r"a valid dictionary or .*", "a section of keys and values", message)
    message = re.sub(r"^Tuple should have (.*) after validation, not \d+", r"expected \1", message)
    return f"{where}: {message}, found {_show(problem['input'])}"


def _nearest(key: str, known: list[str]) -> str:
    """Offer keys of the same last part (one that was put into the wrong section), else keys that are spelt alike."""
    section, _, leaf = key.rpartition(".")
    siblings = {name.rpartition(".")[2]: name for name in known if name.rpartition(".")[0] == section}
    leaves: dict[str, list[str]] = {}
    for name in known:
        leaves.setdefault(name.rpartition(".")[2], []).append(name)
    near = leaves.get(leaf, [])
    near = near or [siblings[name] for name in difflib.get_close_matches(leaf, siblings, n=2, cutoff=0.6)]
    near = near or [
        name for match in difflib.get_close_matches(leaf, leaves, n=2, cutoff=0.6) for name in leaves[match]
    ]
    return f"did you mean {' or '.join(near)}?" if near else f"known here: {', '.join(siblings.values()) or 'no key'}"


def _show_key(key: str) -> str:
    return key if re.fullmatch(r"[\w.-]*", key) else _show(key)


def _show(value: object) -> str:
    text = "nothing" if value is None else repr(value)
    return text if len(text) <= 60 else text[:57] + "..."
