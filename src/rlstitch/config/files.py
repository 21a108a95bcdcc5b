"""Files of configs: presets, which are found by name in the working folder or in the package, and YAML, read safely."""

from __future__ import annotations

import re
from collections.abc import Hashable, Iterable, Mapping
from pathlib import Path
from typing import Any

import yaml

from rlstitch.envs.registry import all_families, installed_families
from rlstitch.errors import ArtefactError, InvalidInputError, UnknownNameError
from rlstitch.storage import limits
from rlstitch.storage.files import decode_text, read_bytes
from rlstitch.storage.text import printable
from rlstitch.storage.validation import show
from rlstitch.storage.workspace import data_roots


def list_presets() -> dict[str, Path]:
    """Return names and paths of the presets: of the working folder, of the package, and of installed families.

    One that comes first hides others of the same name.
    """
    presets: dict[str, Path] = {}
    for root in [
        *data_roots("configs"),
        *(family.presets for family in installed_families().values() if family.presets),
    ]:
        for path in sorted(root.glob("*.yaml")):
            presets.setdefault(path.stem, path)
    return dict(sorted(presets.items()))


def find_config(source: str | Path) -> Path:
    """Return the path of a config file: `source` itself where it is a file, else the preset of that name.

    `configs/<name>.yaml` works from any folder, because a user of the wheel has no `configs/` of their own.

    Raises:
        UnknownNameError: neither a file nor a preset.
    """
    return find_named("config file or preset", source, list_presets(), ("configs",))


def find_named(kind: str, source: str | Path, files: Mapping[str, Path], folders: Iterable[str]) -> Path:
    """Return a file: `source` itself where it is one, else that of its name, which may stand after one of `folders`.

    Raises:
        UnknownNameError: neither a file nor a known name; the nearest names are offered.
    """
    path = Path(source)
    if path.is_file():
        return path
    name = path.stem if path.suffix in {".yaml", ".yml"} else path.name
    if name in files and str(path.parent) in {".", *folders}:
        return files[name]
    raise UnknownNameError(kind, str(source) if path.suffix and path.parent.name else name, files)


def preset_stem(name: str) -> str:
    """Return what stands for a preset in a default name: without the prefix that a family's presets share."""
    for family in all_families():
        name = name.removeprefix(family.preset_prefix)
    return name


class _Loader(yaml.SafeLoader):
    """PyYAML's safe loader for what YAML 1.1 and YAML 1.2 read alike, and `1e-3` as the number that it is in YAML 1.2.

    Refused are scalars that the two read differently (`010`, `1:30`, dates, `<<`), whole numbers beyond 64 bits, tags,
    aliases, deep nesting and a key that is given twice. `yes`, `no`, `on` and `off` are booleans, as in YAML 1.1.
    """

    _nodes = 0

    def fetch_flow_collection_start(self, token_class: type[yaml.Token]) -> None:
        """Begin `[` or `{`; refused where nested too deeply: the scanner's time is cubic in the depth."""
        if self.flow_level >= limits.JSON_DEPTH:
            raise _refusal("nested too deeply", self.get_mark())
        super().fetch_flow_collection_start(token_class)

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:
        """Return a mapping whose keys are texts, all different."""
        seen: set[Hashable] = set()
        for key_node, _ in node.value:
            key = self.construct_object(key_node, deep=True)
            if not isinstance(key, str):
                raise _refusal(f"expected text as key, found {show(key)}", key_node.start_mark)
            if key in seen:
                raise _refusal(f"key {show(key)} is given twice", key_node.start_mark)
            seen.add(key)
        return super().construct_mapping(node, deep)

    def compose_node(self, parent: yaml.Node | None, index: int) -> yaml.Node | None:
        """Read the next key or value, which must be none of those that `_Loader` refuses."""
        event = self.peek_event()
        self._nodes += 1
        if self._nodes > limits.CONFIG_NODES:
            raise _refusal(f"more than {limits.CONFIG_NODES:,} keys and values", event.start_mark)
        if isinstance(event, yaml.events.AliasEvent):
            # A few lines of nested aliases can grow to terabytes; no config needs one.
            raise _refusal("aliases are not allowed", event.start_mark)
        if event.tag is not None:
            raise _refusal(f"tags are not allowed, found {show(event.tag)}", event.start_mark)
        if isinstance(event, yaml.events.ScalarEvent) and event.implicit[0]:
            tag = self.resolve(yaml.ScalarNode, event.value, event.implicit).rpartition(":")[2]
            if _is_ambiguous(tag, event.value):
                text = show(event.value)
                raise _refusal(
                    f"{text[1:-1]} is ambiguous, as YAML 1.1 and YAML 1.2 read it differently; write {text} in quotes "
                    "for text, or a number in plain digits",
                    event.start_mark,
                )
            if tag == "int" and (len(event.value) > 26 or abs(int(event.value, 0)) >= limits.JSON_INTEGER):
                raise _refusal(f"expected whole numbers below 2^63 in size, found {event.value:.40}", event.start_mark)
        return super().compose_node(parent, index)


def _refusal(problem: str, mark: Any) -> yaml.MarkedYAMLError:
    return yaml.composer.ComposerError(None, None, problem, mark)


def _is_ambiguous(tag: str, text: str) -> bool:
    """Whether YAML 1.2 reads a plain scalar as another value than YAML 1.1, which gives it this tag."""
    if tag == "int":
        return not re.fullmatch(r"[-+]?(0|[1-9]\d*|[1-9]\d{0,2}(_\d{3})+|0x[\da-fA-F]+)", text)
    if tag == "float":
        return ":" in text or "_" in text
    return tag in ("timestamp", "merge", "value") or bool(re.fullmatch(r"[-+]?0(o[0-7]+|\d+)", text))


_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:float", re.compile(r"^[-+]?(\d+\.?\d*|\.\d+)[eE][-+]?\d+$"), list("-+.0123456789")
)


def parse_yaml(text: str) -> object:
    """Return the value of a YAML text.

    Raises:
        InvalidInputError: the text is no YAML, or holds what `_Loader` refuses; the message has line and column.
    """
    try:
        return yaml.load(text, Loader=_Loader)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark
        place = f" (line {mark.line + 1}, column {mark.column + 1})" if mark else ""
        raise InvalidInputError(f"not valid YAML: {error.problem}{place}") from None
    except RecursionError:
        raise InvalidInputError("not valid YAML: nested too deeply") from None
    except (yaml.YAMLError, ValueError) as error:
        raise InvalidInputError(f"not valid YAML: {printable(error, limit=300)}") from None


def parse_yaml_file(path: Path) -> dict[str, Any]:
    """Return the mapping that a YAML file holds.

    Raises:
        InvalidInputError: unreadable, too large, not UTF-8, no YAML, or not a mapping.
    """
    try:
        values = parse_yaml(decode_text(read_bytes(path, max_bytes=limits.CONFIG_BYTES)))
    except ArtefactError as error:
        raise InvalidInputError(str(error)) from None
    except ValueError as error:
        raise InvalidInputError(f"{path}: {error}") from None
    if not isinstance(values, dict):
        raise InvalidInputError(f"{path}: expected keys and values, found {show(values)}")
    return values
