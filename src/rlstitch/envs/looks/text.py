"""The text of a look: `noise:0.05,seed=3` is a name, a colon, and arguments by comma; looks are joined with a plus.

What is read is written in one way only: arguments in their order, those at their default left out, numbers without
needless digits. So the same look has the same text wherever it is stored or compared.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

from rlstitch.errors import InvalidInputError, UnknownNameError, require_known

Colour: TypeAlias = tuple[int, int, int]
Value: TypeAlias = float | int | str | Colour | None
Values: TypeAlias = dict[str, Any]
Layer: TypeAlias = Literal["none", "tint", "recolour", "camera", "pixels"]


@dataclass(frozen=True)
class Parameter:
    """One argument of a look.

    Numbers lie in `low..high`, colours are six hexadecimal digits RRGGBB, a choice is one of `choices`. Where `named`,
    it can be given as `name=value` only; where `optional`, it may be left out and is then `default`.
    With a `period` above 0 a number is brought to 0..period, where it means the same.
    """

    name: str
    kind: Literal["number", "whole", "colour", "choice"]
    default: Value = None
    optional: bool = False
    named: bool = False
    low: float = 0.0
    high: float = 0.0
    choices: tuple[str, ...] = ()
    period: float = 0.0

    def read(self, text: str, look: str) -> Value:
        """Return the value of a text.

        Raises:
            InvalidInputError: for a text that is no such value.
            UnknownNameError: for an unknown choice.
        """
        if self.kind == "choice":
            require_known(f"{self.name} of {look}", text, self.choices)
            return text
        if self.kind == "colour":
            if not re.fullmatch(r"#?[0-9a-fA-F]{6}", text):
                raise self._error(look, "six hexadecimal digits RRGGBB", text)
            return colour_of(text)
        number = r"-?\d{1,12}" if self.kind == "whole" else r"-?(\d+(\.\d*)?|\.\d+)([eE]-?\d+)?"
        expected = f"a {'whole ' if self.kind == 'whole' else ''}number from {write(self.low)} to {write(self.high)}"
        if not re.fullmatch(number, text, re.ASCII):
            raise self._error(look, expected, text)
        value = int(text) if self.kind == "whole" else float(text)
        if not self.low <= value <= self.high:
            raise self._error(look, expected, text)
        return value % self.period % self.period if self.period else value  # -1e-20 % 360.0 is 360.0

    def _error(self, look: str, expected: str, text: str) -> InvalidInputError:
        return InvalidInputError(f"look: {look}: {self.name}: expected {expected}, found {text!r}")

    @property
    def usage(self) -> str:
        """The argument as a user writes it, `SIGMA` or `seed=0`."""
        if self.optional:
            return f"{self.name}={'...' if self.default is None else write(self.default)}"
        shape = {"colour": "RRGGBB", "choice": "|".join(self.choices)}.get(self.kind, self.name.upper())
        return f"{self.name}={shape}" if self.named else shape


@dataclass(frozen=True)
class LookKind:
    """A named look with its parameters.

    `make` takes their values by name and returns fields of a `Variation`. `layer` says what they change: looks of the
    layers tint, recolour and camera are drawn by the environment, whatever their place in the text.
    """

    name: str
    layer: Layer
    description: str
    make: Callable[..., dict[str, Any]]
    parameters: tuple[Parameter, ...] = ()
    aliases: tuple[str, ...] = ()
    example: str = ""

    @property
    def usage(self) -> str:
        """The look as a user writes it: its name and its arguments."""
        return self.name + (":" if self.parameters else "") + ",".join(p.usage for p in self.parameters)

    def read(self, text: str) -> Values:
        """Return the values of the arguments, given as the text behind the colon.

        Raises:
            InvalidInputError, UnknownNameError: for arguments that do not fit, naming the argument.
        """
        given: Values = {}
        places = iter([parameter for parameter in self.parameters if not parameter.named])
        for argument in text.split(",") if text else []:
            key, equals, value = (piece.strip() for piece in argument.partition("="))
            parameter = self._by_name(key) if equals else next(places, None)
            if parameter is None:
                raise InvalidInputError(f"look: expected {self.usage}, found {self.name}:{text}")
            if parameter.name in given:
                raise InvalidInputError(f"look: {self.name}: {parameter.name} is given twice in {text!r}")
            given[parameter.name] = parameter.read(value if equals else key, self.name)
        missing = [p.name for p in self.parameters if p.name not in given and not p.optional]
        if missing:
            raise InvalidInputError(
                f"look: {self.name}: {missing[0]} is missing; expected {self.usage}, found "
                f"{self.name + ':' * bool(text) + text!r}"
            )
        return {p.name: given.get(p.name, p.default) for p in self.parameters}

    def text(self, values: Mapping[str, Any]) -> str:
        """Return the canonical text of the look with these values; the inverse of `read`."""
        pieces, by_place = [], True
        for parameter in self.parameters:
            value = values[parameter.name]
            if parameter.optional and value == parameter.default:
                by_place = False  # what follows has lost its place
                continue
            named = parameter.named or not by_place
            pieces.append(f"{parameter.name}={write(value)}" if named else write(value))
        return self.name + (":" + ",".join(pieces) if pieces else "")

    def _by_name(self, name: str) -> Parameter:
        for parameter in self.parameters:
            if parameter.name == name:
                return parameter
        raise UnknownNameError(f"argument of {self.name}", name, [p.name for p in self.parameters])


def factor(low: float = 0.0, high: float = 10.0, name: str = "factor") -> tuple[Parameter, ...]:
    """Return the parameters of a look that has one number."""
    return (Parameter(name, "number", low=low, high=high),)


def parse_looks(text: str, kinds: Mapping[str, LookKind]) -> list[tuple[LookKind, Values]]:
    """Return the looks of a text in its order, each with the values of its arguments.

    Args:
        text: looks joined with a plus.
        kinds: all that are known, by name and by alias.

    Raises:
        UnknownNameError: for an unknown look, argument or choice, with the nearest valid.
        InvalidInputError: for arguments that are missing, too many, given twice, no number or out of range.
    """
    looks = []
    for part in text.split("+"):
        name, colon, arguments = part.strip().partition(":")
        require_known("look", name, kinds)
        if colon and not arguments:
            raise InvalidInputError(f"look: expected {kinds[name].usage}, found {part!r}")
        looks.append((kinds[name], kinds[name].read(arguments)))
    return looks


def colour_of(text: str) -> Colour:
    """Return (R, G, B) in 0..255 of six hexadecimal digits, after a # or not."""
    red, green, blue = bytes.fromhex(text.removeprefix("#"))
    return red, green, blue


def write(value: Value) -> str:
    """Return a value as text: colours as RRGGBB, numbers without needless digits."""
    if isinstance(value, tuple):
        return bytes(value).hex()
    if isinstance(value, float):
        return str(int(value)) if value.is_integer() else repr(value)
    return str(value)
