"""Pickles as plain values: their instructions are followed one by one, and nothing that they ask for is run.

What would be made of a class or a function stays a description of it (`Made`); the readers of this package make tensors
and statistics of the few that they know.
"""

from __future__ import annotations

import pickletools
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple

from rlstitch.errors import ArtefactError
from rlstitch.storage.text import printable

_LITERALS = {
    "BINUNICODE", "SHORT_BINUNICODE", "BINUNICODE8", "BINBYTES", "SHORT_BINBYTES", "BININT", "BININT1", "BININT2",
    "LONG1", "BINFLOAT",
}  # fmt: skip
_CONSTANTS: dict[str, Any] = {"NONE": None, "NEWTRUE": True, "NEWFALSE": False, "EMPTY_TUPLE": ()}
_TUPLES = {"TUPLE1": 1, "TUPLE2": 2, "TUPLE3": 3}
_DICTIONARY = "collections OrderedDict"
_MARK = object()


class Name(NamedTuple):
    """Module and name of something of Python's; it is not looked up."""

    text: str


@dataclass(eq=False, repr=False)
class Made:
    """What a pickle asks to be made: of which name, with which arguments, and with which state."""

    name: str
    arguments: Any
    state: Any = None


def follow(instructions: bytes, where: str, *, takes: Callable[[str], bool], hint: str) -> Any:
    """Return the value that a pickle describes.

    Args:
        instructions: the pickle.
        where: the file's name, for the errors.
        takes: whether a name, `module name`, may occur.
        hint: ends the error of one that may not.

    Raises:
        ArtefactError: where it asks for another name, or holds other values than texts, numbers, bytes, tuples, lists,
            dictionaries with texts as keys, and what is made of names.
        LookupError, TypeError, ValueError: where the instructions make no sense.
    """
    stack: list[Any] = []
    kept: dict[Any, Any] = {}

    def refused(asked: str) -> ArtefactError:
        return ArtefactError(f"{where} asks for {printable(asked, limit=100)!r}; refused, nothing was run ({hint})")

    def name(text: str) -> Name:
        if not takes(text):
            raise refused(text)
        return Name(text)

    def pop(count: int) -> list[Any]:
        taken = stack[-count:]
        del stack[-count:]
        return taken

    def items() -> list[Any]:
        """Take what stands above the last mark off the stack."""
        place = max(i for i, value in enumerate(stack) if value is _MARK)
        return pop(len(stack) - place)[1:]

    for code, argument, _ in _read(instructions):
        match code.name:
            case "PROTO" | "FRAME" | "STOP":
                pass
            case "MARK":
                stack.append(_MARK)
            case "GLOBAL":
                stack.append(name(str(argument)))
            case "STACK_GLOBAL":
                last, module = stack.pop(), stack.pop()
                stack.append(name(f"{module} {last}"))
            case "EMPTY_DICT" | "EMPTY_LIST":
                stack.append({} if code.name == "EMPTY_DICT" else [])
            case "TUPLE":
                stack.append(_tuple(items()))
            case "BINPUT" | "LONG_BINPUT":
                kept[argument] = stack[-1]
            case "MEMOIZE":
                kept[len(kept)] = stack[-1]
            case "BINGET" | "LONG_BINGET":
                stack.append(kept[argument])
            case "BINPERSID":
                stack.append(Made("", stack.pop()))
            case "REDUCE" | "NEWOBJ":
                arguments = stack.pop()
                stack.append(_made(stack.pop(), arguments))
            case "SETITEM" | "SETITEMS":
                pairs = items() if code.name == "SETITEMS" else pop(2)
                _set(stack[-1], pairs)
            case "APPEND" | "APPENDS":
                values = items() if code.name == "APPENDS" else pop(1)
                _extend(stack[-1], values)
            case "BUILD":
                state = stack.pop()
                if isinstance(stack[-1], Made):  # of an OrderedDict: versions of modules, not needed
                    stack[-1].state = state
            case literal if literal in _LITERALS:
                stack.append(argument)
            case constant if constant in _CONSTANTS:
                stack.append(_CONSTANTS[constant])
            case short if short in _TUPLES:
                stack.append(_tuple(pop(_TUPLES[short])))
            case other:
                raise refused(other)
    if len(stack) != 1:
        raise ValueError("it is cut off")
    return stack[0]


def _read(instructions: bytes) -> Iterator[tuple[pickletools.OpcodeInfo, Any, int | None]]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # of escapes in texts of an old kind, which are refused
        yield from pickletools.genops(instructions)


def _made(name: Any, arguments: Any) -> Any:
    if not isinstance(name, Name) or not isinstance(arguments, tuple):
        raise ValueError("expected something to be made of values")
    return {} if name.text == _DICTIONARY and not arguments else Made(name.text, arguments)


def _tuple(values: list[Any]) -> tuple[Any, ...]:
    if any(isinstance(value, tuple) and any(isinstance(inner, tuple) and inner for inner in value) for value in values):
        raise ValueError("nested too deeply")
    return tuple(values)


def _set(target: Any, pairs: list[Any]) -> None:
    keys = pairs[::2]
    if not isinstance(target, dict) or len(pairs) % 2 or not all(isinstance(key, str) for key in keys):
        raise ValueError("expected names and values")
    target.update(zip(keys, pairs[1::2], strict=True))


def _extend(target: Any, values: list[Any]) -> None:
    if not isinstance(target, list):
        raise ValueError("expected a list")
    target.extend(values)
