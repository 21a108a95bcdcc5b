"""A function of one value object is called with the fields of that object, as keyword arguments or by position."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from typing import ParamSpec, TypeVar

P = ParamSpec("P")
Options = TypeVar("Options")
Result = TypeVar("Result")


def called_with(options: Callable[P, Options]) -> Callable[[Callable[[Options], Result]], Callable[P, Result]]:
    """Return a decorator: a function of a value object takes the arguments of `options`, the class of that object.

    Type checkers and `inspect.signature` show names, types and defaults of the arguments.
    """

    def decorate(function: Callable[[Options], Result]) -> Callable[P, Result]:
        @functools.wraps(function)
        def call(*args: P.args, **kwargs: P.kwargs) -> Result:
            return function(options(*args, **kwargs))

        returned = inspect.signature(function).return_annotation
        vars(call)["__signature__"] = inspect.signature(options).replace(return_annotation=returned)
        return call

    return decorate
