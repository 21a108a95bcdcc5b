"""The stitching methods: what is put between an encoder and a controller.

A package adds a method by the entry point group `rlstitch.methods`, whose value is a `Method`:

    [project.entry-points."rlstitch.methods"]
    mine = "my_package:MINE"

    MINE = Method("mine", "least squares", lambda pairs, controller: fit_affine(pairs.x, pairs.y))

Without a package, `my_module:MINE` names a `Method`, or a function that fits one, wherever a method is named.

This module is read by the command line: it imports torch only where something is fitted.
"""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from rlstitch.errors import InvalidInputError, require_known
from rlstitch.storage.workspace import is_name

if TYPE_CHECKING:
    from rlstitch.agents.controller import Controller
    from rlstitch.latent import Translation
    from rlstitch.stitching.choice import Choice
    from rlstitch.stitching.pairs import LatentPairs

GROUP = "rlstitch.methods"
CANDIDATES = ("orthogonal", "linear", "affine", "balanced")
"""The methods that `auto` chooses from."""
DEFAULT = "task_matched"
"""The method of `stitch` where none is named."""


@dataclass(frozen=True)
class Method:
    """A way to join an encoder to a controller."""

    name: str
    description: str
    """A few words for `--help`."""
    fit: Callable[[LatentPairs, Controller], Translation | Choice | None]
    """Fits a translation on `pairs.x` and `pairs.y`; None puts nothing between the two. A `Choice` is the result of
    another method. The held-out pairs are for the report: a fit leaves them alone."""
    requires: Literal["common world", "equal widths", "one anchor set", "frames encoded alone"] = "common world"
    """What two agents must have in common."""
    version: str = ""
    """Results are stored under name and version. A method named by its module has a digest of its file."""


_LOADED: dict[str, Method] = {}


def get_method(name: str) -> Method:
    """Return a method by its name, or by `module:name`; after that its name alone will do.

    Raises:
        UnknownNameError: for an unknown name, with the nearest.
        InvalidInputError: where a method of another package cannot be imported.
    """
    if name in BUILT_IN:
        return BUILT_IN[name]
    if ":" in name:
        return _LOADED.get(name) or _load(name)
    methods = known_methods()
    require_known("stitching method", name, methods)
    return methods[name]


def fits_map(name: str) -> bool:
    """Return whether a method fits a map, so that it has controls and can be refined; errors as for `get_method`."""
    return get_method(name).requires not in ("equal widths", "one anchor set")


def load_methods(references: Iterable[str]) -> None:
    """Load methods by `module:name`, so that their names are known; raises as `get_method`."""
    for reference in references:
        get_method(reference)


def loaded_methods(names: Collection[str]) -> tuple[str, ...]:
    """Return those of some methods that were loaded by `module:name`, by this text, for other processes to load."""
    return tuple(reference for reference, method in _LOADED.items() if method.name in names)


def _load(reference: str) -> Method:
    """Load a method, or a function that fits one, which has the method's name then."""
    from rlstitch.envs.single import import_module

    source, _, name = reference.partition(":")
    module = import_module(source)
    method = getattr(module, name, None)
    if callable(method):
        method = Method(name, f"of {source}", method)
    if not isinstance(method, Method):
        raise InvalidInputError(f"{reference}: expected a Method or a function that fits one, found {method!r:.80}")
    if not is_name(method.name) or method.name in known_methods():
        raise InvalidInputError(f"{reference}: expected a method of a new name, found {method.name!r:.80}")
    file = getattr(module, "__file__", None)
    version = method.version or (hashlib.sha256(Path(file).read_bytes()).hexdigest()[:16] if file else "")
    return _LOADED.setdefault(reference, replace(method, version=version))


def known_methods() -> dict[str, Method]:
    """Return all methods that have a name in this process: built in, of packages, and loaded by `module:name`."""
    return {**all_methods(), **{method.name: method for method in _LOADED.values()}}


@functools.cache
def all_methods() -> Mapping[str, Method]:
    """Return the built-in methods and those of installed packages by name."""
    from importlib.metadata import entry_points

    methods = dict(BUILT_IN)
    for entry in sorted(entry_points(group=GROUP), key=lambda entry: entry.name):
        try:
            method = entry.load()
        except (ImportError, AttributeError) as error:
            raise InvalidInputError(f"entry point {GROUP} {entry.name!r}: cannot load {entry.value}: {error}") from None
        if not isinstance(method, Method) or method.name in methods:
            raise InvalidInputError(
                f"entry point {GROUP} {entry.name!r}: expected a Method of a new name, found {method}"
            )
        methods[method.name] = method
    return methods


def method_help() -> str:
    """Return the built-in methods as text for `--help`."""
    return "; ".join(f"{method.name} ({method.description})" for method in BUILT_IN.values())


def _nothing(pairs: LatentPairs, controller: Controller) -> None:
    """Put nothing between encoder and controller."""


def _latent(name: str) -> Callable[[LatentPairs, Controller], Translation]:
    """Return the fit of a translation of `rlstitch.latent`."""

    def fit(pairs: LatentPairs, controller: Controller) -> Translation:
        from rlstitch import latent

        return latent.fit(name, pairs.x, pairs.y)

    return fit


def _balanced(pairs: LatentPairs, controller: Controller) -> Translation:
    from rlstitch.stitching.maps import fit_balanced

    return fit_balanced(pairs.x, pairs.y)


def _per_frame(pairs: LatentPairs, controller: Controller) -> Translation:
    from rlstitch.stitching.maps import fit_per_frame

    return fit_per_frame(pairs.x, pairs.y, pairs.frames)


def _corrected(name: Literal["fit_local", "fit_residual"]) -> Callable[[LatentPairs, Controller], Translation]:
    """Return the fit of a map that is not affine."""

    def fit(pairs: LatentPairs, controller: Controller) -> Translation:
        from rlstitch.latent.translation import corrected

        translation: Translation = getattr(corrected, name)(pairs.x, pairs.y)
        return translation

    return fit


def _robust(pairs: LatentPairs, controller: Controller) -> Translation:
    from rlstitch.latent import screen_pairs
    from rlstitch.stitching.maps import fit_balanced

    trusted = screen_pairs(pairs.x, pairs.y)
    return fit_balanced(pairs.x[trusted], pairs.y[trusted], method="robust")


def _task_matched(pairs: LatentPairs, controller: Controller) -> Translation:
    from rlstitch.stitching.maps import fit_balanced, match_task

    return match_task(fit_balanced(pairs.x, pairs.y), controller, pairs.x, pairs.y)


def _best_of(names: Sequence[str]) -> Callable[[LatentPairs, Controller], Choice]:
    """Return the choice among methods."""

    def fit(pairs: LatentPairs, controller: Controller) -> Choice:
        from rlstitch.stitching.choice import choose_map

        return choose_map({name: BUILT_IN[name].fit for name in names}, pairs, controller)  # type: ignore[misc]

    return fit


BUILT_IN: Mapping[str, Method] = {
    method.name: method
    for method in (
        Method("naive", "nothing", _nothing, requires="equal widths"),
        Method("relative", "nothing: both agents use one anchor set", _nothing, requires="one anchor set"),
        Method("orthogonal", "a rotation", _latent("orthogonal")),
        Method("linear", "least squares", _latent("linear")),
        Method("affine", "least squares with a shift", _latent("affine")),
        Method("balanced", "affine, with long latents weighing less", _balanced),
        Method("scaled_orthogonal", "a rotation with one scale", _latent("scaled_orthogonal")),
        Method("ridge", "penalized least squares", _latent("ridge")),
        Method("calibrated", "affine without its shrinkage, for encoders with errors", _latent("calibrated")),
        Method("low_rank", "affine of as few directions as hold 99 % of the variance", _latent("low_rank")),
        Method("per_frame", "one affine map for every frame of a stack", _per_frame, requires="frames encoded alone"),
        Method("local", "affine, corrected in each cluster of latents", _corrected("fit_local")),
        Method("residual", "affine, corrected by a small network", _corrected("fit_residual")),
        Method("robust", "balanced, where pairs may be wrong", _robust),
        Method("task_matched", "fitted through the controller, for the least change of its actions", _task_matched),
        Method("auto", f"of {', '.join(CANDIDATES)}, the one that changes actions least", _best_of(CANDIDATES)),
        Method(
            "auto_matched",
            "auto with task_matched among the candidates, which takes many times as long",
            _best_of((*CANDIDATES, "task_matched")),
        ),
    )
}
