"""Errors that a user can act on: each says what was expected and what was found."""

from __future__ import annotations

import contextlib
import difflib
from collections.abc import Collection, Iterable, Iterator

_LISTED = 20
"""Names that a message lists where none is near."""


class RlstitchError(Exception):
    """Base of every error that rlstitch raises on purpose; the command line prints it in one line and exits with 2."""


class UnknownNameError(RlstitchError, ValueError):
    """A name that is not among the known ones.

    The message offers the nearest valid names, or all of them where none is near, unless there is another hint.
    """

    def __init__(self, kind: str, name: str, known: Iterable[str], *, hint: str = "") -> None:
        known = sorted(known)
        near = difflib.get_close_matches(name, known, n=3, cutoff=0.5)
        if hint:
            pass
        elif near:
            hint = f"did you mean {' or '.join(near)}?"
        elif known:
            more = f" and {len(known) - _LISTED} more" if len(known) > _LISTED else ""
            hint = f"known: {', '.join(known[:_LISTED])}{more}"
        else:
            hint = f"there is no {kind} yet"
        super().__init__(f"unknown {kind} {name!r}; {hint}")
        self.kind, self.name = kind, name


def require_known(kind: str, name: str, known: Collection[str]) -> None:
    """Raise UnknownNameError where `known` does not hold the name.

    Args:
        kind: of thing that is named, for the message.
        name: what the user asked for.
        known: all valid names.
    """
    if name not in known:
        raise UnknownNameError(kind, name, known)


class InvalidInputError(RlstitchError, ValueError):
    """A value, shape or combination that cannot be used."""


class TooFewPairsError(InvalidInputError):
    """Fewer pairs than a map can be fitted on."""

    def __init__(self, what: str, minimum: int, count: int) -> None:
        super().__init__(f"{what} needs at least {minimum} pairs, found {count}")
        self.minimum, self.count = minimum, count


class ArtefactError(RlstitchError):
    """A stored file that is missing, truncated, altered, or not what it claims to be."""


class IncompatibleError(RlstitchError):
    """Two agents, spaces or anchor sets that cannot be put together."""


class BusyError(RlstitchError):
    """Something that another process is working on right now; later it may be had."""


class MissingExtraError(RlstitchError, ImportError):
    """An optional dependency that is not installed; the message names the line that installs it."""

    def __init__(self, feature: str, extra: str) -> None:
        super().__init__(f"{feature} needs an optional package: pip install 'rlstitch[{extra}]'")
        self.feature, self.extra = feature, extra


@contextlib.contextmanager
def needs_extra(feature: str, extra: str) -> Iterator[None]:
    """Turn an import that fails within the block into a `MissingExtraError`.

    Args:
        feature: that needs the import, for the message.
        extra: of rlstitch that installs it.
    """
    try:
        yield
    except ImportError:
        raise MissingExtraError(feature, extra) from None
