"""What pydantic refuses, as one short text a problem: where, what was expected, what was found."""

from __future__ import annotations

import difflib
import re
import reprlib
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from rlstitch.errors import InvalidInputError, RlstitchError
from rlstitch.storage.text import controls

_SHORT = reprlib.Repr()
_SHORT.maxstring = _SHORT.maxother = _SHORT.maxlong = 200
_SHORT.maxlist = _SHORT.maxtuple = _SHORT.maxdict = 30

M = TypeVar("M", bound=BaseModel)

_SECTION = "a section of keys and values"
# What was expected, by pydantic's type of error; filled with the error's context.
_EXPECTED: dict[str, str] = {
    "literal_error": "{expected}",
    "greater_than": "more than {gt}",
    "greater_than_equal": "at least {ge}",
    "less_than": "less than {lt}",
    "less_than_equal": "at most {le}",
    "finite_number": "a finite number",
    **dict.fromkeys(("int_type", "int_parsing", "int_from_float", "int_parsing_size"), "a whole number"),
    **dict.fromkeys(("float_type", "float_parsing"), "a number"),
    **dict.fromkeys(("bool_type", "bool_parsing"), "true or false"),
    "string_type": "text",
    "string_too_short": "text of at least {min_length} character(s)",
    "string_too_long": "text of at most {max_length} characters",
    "string_pattern_mismatch": "text that matches {pattern}",
    **dict.fromkeys(("list_type", "tuple_type"), "a list"),
    "too_short": "at least {min_length} item(s)",
    "too_long": "at most {max_length} items",
    **dict.fromkeys(("dict_type", "mapping_type", "model_type", "model_attributes_type", "dataclass_type"), _SECTION),
}
_SHOWN = 20
_KNOWN_HERE = "; known here: "
_UNKNOWN = ("extra_forbidden", "unexpected_keyword_argument")


def describe_problems(error: ValidationError, known: Iterable[str] = (), *, inline: str = "") -> list[str]:
    """Return the problems of a validation, each on one line; the keys that are known in a section are listed once.

    Args:
        error: what pydantic raised.
        known: the keys that can be given, dotted; the nearest of them is offered for an unknown key.
        inline: a section whose keys are named without it.
    """
    keys = list(known)
    problems = error.errors(include_url=False)
    shown: list[str] = []
    listed = ""
    for problem in problems[:_SHOWN]:  # finding the nearest key takes time
        text, separator, names = _describe(problem, keys, inline).partition(_KNOWN_HERE)
        shown.append(text if names == listed else f"{text}{separator}{names}")
        listed = names or listed
    return shown + [f"and {len(problems) - _SHOWN:,} more"] * (len(problems) > _SHOWN)


def first_problem(error: ValidationError | RecursionError) -> str:
    """Return the first problem of a validation on one line."""
    if isinstance(error, RecursionError) or error.errors(include_input=False)[0]["type"].startswith("recursion"):
        return "nested too deeply"
    return describe_problems(error)[0]


def validated(model: type[M], values: object, where: str) -> M:
    """Return checked values.

    Raises:
        InvalidInputError: names `where` and all problems.
    """
    try:
        return model.model_validate(values)
    except ValidationError as error:
        raise InvalidInputError(f"{where}: {'; '.join(describe_problems(error, dotted_keys(model)))}") from None


def dotted_keys(model: type[BaseModel], prefix: str = "") -> Iterator[str]:
    """Yield every key of a model, `section.key` for those of its sections."""
    for name, field in model.model_fields.items():
        yield prefix + (field.alias or name)
        if isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel):
            yield from dotted_keys(field.annotation, f"{prefix}{name}.")


def as_rlstitch_error(error: ValidationError, known: Iterable[str] = ()) -> RlstitchError:
    """Return the error that a validator raised where it is the only problem, else one that names all problems."""
    problems = error.errors(include_url=False)
    cause = problems[0].get("ctx", {}).get("error")
    if len(problems) == 1 and isinstance(cause, RlstitchError):
        return cause
    return InvalidInputError("; ".join(describe_problems(error, known)))


def refuse_controls(value: object) -> None:
    """Raise InvalidInputError where a key or a text of a JSON value holds control characters, naming the key."""
    for key, text in _texts(value, ""):
        if controls(text):
            raise InvalidInputError(f"{show_key(key)}: expected text without control characters, found {show(text)}")


def _texts(value: object, where: str) -> Iterator[tuple[str, str]]:
    """Yield every key and text of a JSON value with its dotted key."""
    if isinstance(value, str):
        yield where, value
    items = value.items() if isinstance(value, Mapping) else enumerate(value) if isinstance(value, list) else ()
    for key, item in items:
        place = f"{where}.{key}" if where else str(key)
        yield place, str(key)
        yield from _texts(item, place)


def show(value: object) -> str:
    """Return a value as a message quotes it: at most 60 characters, however much it holds."""
    try:
        text = "nothing" if value is None else _SHORT.repr(value)
    except ValueError:  # whole numbers of thousands of digits
        return f"a {type(value).__name__}"
    return text if len(text) <= 60 else text[:57] + "..."


def show_key(key: str) -> str:
    """Return a dotted key as a message names it, quoted where it holds other characters than a key should."""
    return key if re.fullmatch(r"[\w.-]*", key) else show(key)


def _describe(problem: Mapping[str, Any], known: list[str], inline: str) -> str:
    loc = problem["loc"][1:] if len(problem["loc"]) > 1 and problem["loc"][0] == inline else problem["loc"]
    where, kind, context = show_key(".".join(str(part) for part in loc)), problem["type"], problem.get("ctx", {})
    if kind in _UNKNOWN:
        section, dot, name = str(problem["loc"][-1]).partition(".")
        if dot and any(key == section or key.startswith(f"{section}.") for key in known):
            return f"{where}: unknown key; write it as a section, {show_key(section)}: {{{show_key(name)}: ...}}"
        return f"{where}: unknown key{_nearest(where, known)}"
    if kind == "missing":
        return f"{where}: expected a value, found none"
    if kind == "value_error":
        text = str(context["error"])
        return text if not where or text.startswith(f"{where}: ") else f"{where}: {text}"
    if kind == "string_type" and isinstance(problem["input"], bool):
        return f"{where}: expected text, found {show(problem['input'])}; write yes, no, on and off in quotes, as 'no'"
    expected = _EXPECTED.get(kind)
    if expected is None:
        return f"{where}: {problem['msg']}, found {show(problem['input'])}"
    return f"{where}: expected {expected.format(**context)}, found {show(problem['input'])}"


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
    if near:
        return f"; did you mean {' or '.join(near)}?"
    return f"{_KNOWN_HERE}{', '.join(siblings.values()) or 'no key'}"
