"""Arrays, sparse matrices and lists of neighbours out of Planetoid's protocol-2 pickles, without unpickling.

`pickletools.genops` splits the file into instructions and runs none. Those few that arrays need are carried out here on
values of our own; every other instruction, and every name of a class or function but six, is refused. The names are
never looked up: each stands for one way of putting numbers together that is written below.
"""

from __future__ import annotations

import math
import pickletools
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from rlstitch.errors import ArtefactError

_MAX_BYTES = 1 << 28
_MAX_MEMO = 1 << 20
_MARK = object()
_DTYPES = {"i4", "i8", "f4", "f8"}

_CSR, _ARRAY, _NEW_ARRAY, _DTYPE = "csr_matrix", "ndarray", "_reconstruct", "dtype"
_DEFAULTDICT, _LIST = "defaultdict", "list"
_GLOBALS = {
    "scipy.sparse.csr csr_matrix": _CSR,
    "numpy.core.multiarray _reconstruct": _NEW_ARRAY,
    "numpy ndarray": _ARRAY,
    "numpy dtype": _DTYPE,
    "collections defaultdict": _DEFAULTDICT,
    "__builtin__ list": _LIST,
}
_PLAIN = {"BININT", "BININT1", "BININT2", "SHORT_BINSTRING", "BINSTRING"}
_NEW: dict[str, Callable[[], Any]] = {
    "MARK": lambda: _MARK,
    "NONE": lambda: None,
    "NEWTRUE": lambda: True,
    "NEWFALSE": lambda: False,
    "EMPTY_TUPLE": tuple,
    "EMPTY_LIST": list,
    "EMPTY_DICT": dict,
}
_TUPLES = {"TUPLE1": 1, "TUPLE2": 2, "TUPLE3": 3}


class _Refused(ValueError):
    """What stands in the file is not of the known form."""


@dataclass(eq=False)
class _Name:
    """A name that the file speaks of."""

    text: str


@dataclass(eq=False)
class _Dtype:
    """A dtype, little-endian; its state is checked when it is built."""

    code: str


@dataclass(eq=False)
class _Array:
    """An array that is made first and filled later."""

    value: NDArray[Any] | None = None


@dataclass(eq=False)
class _Csr:
    """A sparse matrix that is made first and filled later."""

    value: Any = None


def read_planetoid_pickle(path: Path | str) -> Any:
    """One `ind.<name>.<part>` file: a dense array, a CSR matrix (float32), or a dict of lists of neighbours.

    Raises:
        ArtefactError: where the file is missing, larger than 256 MiB, damaged, or asks for anything that arrays, lists
            and dicts of numbers do not need.
    """
    path = Path(path)
    try:
        with path.open("rb") as stream:
            content = stream.read(_MAX_BYTES + 1)
    except FileNotFoundError:
        raise ArtefactError(f"cannot read {path}: there is no such file") from None
    except OSError as error:
        raise ArtefactError(f"cannot read {path}: {error}") from None
    if len(content) > _MAX_BYTES:
        raise ArtefactError(f"cannot read {path}: it is larger than {_MAX_BYTES:,} bytes")
    try:
        return _finished(_interpret(content))
    except (ValueError, IndexError, KeyError, TypeError, OverflowError) as error:
        raise ArtefactError(f"{path}: expected a Planetoid file of plain arrays: {error}") from None


def _interpret(content: bytes) -> Any:
    stack: list[Any] = []
    memo: dict[object, Any] = {}
    for code, argument, _ in pickletools.genops(content):
        name = code.name
        if name in _PLAIN:
            stack.append(argument)
        elif name in _NEW:
            stack.append(_NEW[name]())
        elif name in _TUPLES:
            count = _TUPLES[name]
            stack[-count:] = [tuple(stack[-count:])]
        elif name in ("BINPUT", "LONG_BINPUT"):
            memo[argument] = stack[-1]
            if len(memo) > _MAX_MEMO:
                raise _Refused("too many remembered values")
        elif name in ("BINGET", "LONG_BINGET"):
            stack.append(memo[argument])
        elif name == "GLOBAL":
            if argument not in _GLOBALS:
                raise _Refused(f"it asks for {argument!r}")
            stack.append(_Name(_GLOBALS[argument]))
        elif name == "STOP":
            (value,) = stack
            return value
        elif name in _STEPS:
            _STEPS[name](stack)
        elif name != "PROTO" or argument != 2:
            raise _Refused(f"it holds the instruction {name} {argument if name == 'PROTO' else ''}".rstrip())
    raise _Refused("it ends early")


def _to_mark(stack: list[Any]) -> list[Any]:
    """Take what lies above the last mark, and the mark."""
    at = max(place for place, value in enumerate(stack) if value is _MARK)
    values = stack[at + 1 :]
    del stack[at:]
    return values


def _tuple(stack: list[Any]) -> None:
    stack.append(tuple(_to_mark(stack)))


def _append(stack: list[Any]) -> None:
    value = stack.pop()
    _expect(stack[-1], list).append(value)


def _appends(stack: list[Any]) -> None:
    values = _to_mark(stack)
    _expect(stack[-1], list).extend(values)


def _set_items(stack: list[Any]) -> None:
    values = _to_mark(stack)
    _expect(stack[-1], dict).update(zip(values[::2], values[1::2], strict=True))


def _new_object(stack: list[Any]) -> None:
    arguments, kind = stack.pop(), stack.pop()
    if not isinstance(kind, _Name) or kind.text != _CSR or arguments != ():
        raise _Refused("it makes an object that is no CSR matrix")
    stack.append(_Csr())


def _reduce(stack: list[Any]) -> None:
    """A call: of the three that are known, each with the arguments that it always has."""
    arguments, function = _expect(stack.pop(), tuple), _expect(stack.pop(), _Name).text
    names = tuple(value.text if isinstance(value, _Name) else value for value in arguments)
    if function == _NEW_ARRAY and names == (_ARRAY, (0,), "b"):
        stack.append(_Array())
    elif function == _DTYPE and names[0] in _DTYPES and names[1:] == (0, 1):
        stack.append(_Dtype(names[0]))
    elif function == _DEFAULTDICT and names == (_LIST,):
        stack.append({})
    else:
        raise _Refused(f"it calls {function} in a way that arrays do not need")


def _build(stack: list[Any]) -> None:
    """Fill what was made."""
    state, target = stack.pop(), stack[-1]
    if isinstance(target, _Dtype):
        if state[:2] != (3, "<") or state[2:5] != (None, None, None):
            raise _Refused(f"expected numbers in little-endian order, found {state!r:.60}")
    elif isinstance(target, _Array):
        target.value = _filled(state)
    elif isinstance(target, _Csr):
        target.value = _sparse(_expect(state, dict))
    else:
        raise _Refused(f"it fills a {type(target).__name__}")


_STEPS: dict[str, Callable[[list[Any]], None]] = {
    "TUPLE": _tuple,
    "APPEND": _append,
    "APPENDS": _appends,
    "SETITEMS": _set_items,
    "NEWOBJ": _new_object,
    "REDUCE": _reduce,
    "BUILD": _build,
}


def _filled(state: tuple[Any, ...]) -> NDArray[Any]:
    version, shape, dtype, fortran, text = _expect(state, tuple)
    code = "<" + _expect(dtype, _Dtype).code
    content = _expect(text, str).encode("latin-1")
    if version != 1 or not 1 <= len(shape) <= 2 or any(type(side) is not int or side < 0 for side in shape):
        raise _Refused(f"expected an array of one or two dimensions, found version {version} of shape {shape!r:.60}")
    if math.prod(shape) * np.dtype(code).itemsize != len(content):
        raise _Refused(f"an array of shape {shape} of {code} does not take {len(content)} bytes")
    return np.frombuffer(content, dtype=code).reshape(shape, order="F" if fortran is True else "C")


def _sparse(state: dict[Any, Any]) -> Any:
    if state.get("format") != "csr":
        raise _Refused(f"expected a CSR matrix, found {state.get('format')!r:.60}")
    parts = tuple(_expect(_expect(state[name], _Array).value, np.ndarray) for name in ("data", "indices", "indptr"))
    matrix = sparse.csr_matrix(parts, shape=state["_shape"])
    matrix.check_format(full_check=True)
    return matrix.astype(np.float32)


def _finished(value: Any) -> Any:
    return value.value if isinstance(value, _Array | _Csr) else _expect(value, dict)


def _expect(value: Any, kind: type[Any]) -> Any:
    if not isinstance(value, kind):
        raise _Refused(f"expected {kind.__name__.strip('_')}, found {type(value).__name__.strip('_')}")
    return value
