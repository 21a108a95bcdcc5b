"""Anchor sets: observations that mean the same under every look, in one fixed order, known by their content.

Pixels and embeddings are derived from an anchor set and are no part of it, so that two agents of different looks can
carry the same one (R3L, arXiv:2404.12917).
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

from rlstitch.errors import ArtefactError, InvalidInputError, RlstitchError, UnknownNameError
from rlstitch.storage import canonical_json, limits, staged_folder, unpack_tensors, write_json, write_tensors
from rlstitch.storage.files import read_stream
from rlstitch.storage.folders import opened_together
from rlstitch.storage.json_files import parse_json
from rlstitch.storage.staging import recover

if TYPE_CHECKING:
    from rlstitch.envs import World

SCHEMA_VERSION = 1
MANIFEST, CONTENT = "anchors.json", "anchors.safetensors"
SHORT = 16
"""Digits of the identity that name a stored set's folder."""

Kind = Literal["symbolic", "replay"]
View = Literal["agent", "full"]

PLAYED: dict[str, Any] = {"backend": "gymnasium", "actions": "own", "action_repeat": 1, "make_kwargs": {}}
"""The fields of a `World`, beside its environment, that decide where seeds and actions lead; and their defaults."""
_ARRAYS: dict[str, tuple[str, ...]] = {"symbolic": ("views",), "replay": ("seeds", "actions", "frames")}


@dataclass(frozen=True, eq=False)
class AnchorSet:
    """k anchors in order. Two sets are equal where their identities are.

    Make one with `AnchorSet.symbolic` or `AnchorSet.replay`. Its arrays are its own and read-only.

    Raises:
        InvalidInputError: where an array is missing, or has another type, shape or range than its kind asks for.
    """

    environment: str
    """Gymnasium's identifier, without a module in front."""
    view: View
    kind: Kind
    views: NDArray[np.uint8] | None = None
    """symbolic: `(k, h, w, 5)`, row first: object, colour, state, agent direction, highlighted."""
    seeds: NDArray[np.int64] | None = None
    """replay: `(e,)`, the seed of each recorded episode."""
    actions: NDArray[np.int64] | NDArray[np.float32] | None = None
    """replay: the actions of each episode under the standard task, `(e, t)` discrete or float32 `(e, t, A)` continuous;
    those after its last frame are unused."""
    frames: NDArray[np.int64] | None = None
    """replay: `(k, 2)`, each anchor's episode and the number of actions before it (0: the observation after reset)."""
    played: Mapping[str, Any] = field(default_factory=dict)
    """replay: the fields of a `World` that decide what seeds and actions do (`PLAYED`), but for those at their default.
    """

    def __post_init__(self) -> None:
        if self.view not in ("agent", "full"):
            raise InvalidInputError(f"view: expected 'agent' or 'full', found {str(self.view)[:40]!r}")
        if self.kind not in _ARRAYS:
            raise InvalidInputError(f"kind: expected 'symbolic' or 'replay', found {str(self.kind)[:40]!r}")
        object.__setattr__(self, "environment", _canonical_environment(self.environment))
        object.__setattr__(self, "played", MappingProxyType(_checked_played(self.played, self.kind)))
        for name in ("views", "seeds", "actions", "frames"):
            value = getattr(self, name)
            if (value is not None) != (name in _ARRAYS[self.kind]):
                raise InvalidInputError(
                    f"{name}: {'missing from' if value is None else 'no part of'} a {self.kind} set"
                )
        if self.kind == "symbolic":
            self._own("views", _checked_views(self.views))
        else:
            self._check_replay()

    def _own(self, name: str, array: NDArray[Any]) -> None:
        array = np.array(array, order="C", copy=True)
        array.setflags(write=False)
        object.__setattr__(self, name, array)

    def _check_replay(self) -> None:
        seeds, actions, frames = (np.asarray(getattr(self, name)) for name in _ARRAYS["replay"])
        _require(seeds.dtype.kind in "iu" and seeds.ndim == 1 and len(seeds) > 0, "seeds", "integers (e,)", seeds)
        actions = _checked_actions(actions)
        _require(len(actions) == len(seeds), "actions", f"{len(seeds)} rows, one a seed", actions)
        _require(
            frames.dtype.kind in "iu" and frames.ndim == 2 and frames.shape[1:] == (2,), "frames", "(k, 2)", frames
        )
        _require(0 < len(frames) <= limits.ANCHORS, "frames", f"1 to {limits.ANCHORS} anchors", frames)
        ends = np.array([len(seeds), actions.shape[1] + 1])
        _require(bool(((frames >= 0) & (frames < ends)).all()), "frames", f"entries below {ends.tolist()}", frames)
        _require(bool((seeds >= 0).all()), "seeds", "no negative number", seeds)
        self._own("seeds", seeds.astype(np.int64))
        self._own("actions", actions)
        self._own("frames", frames.astype(np.int64))

    @classmethod
    def symbolic(cls, environment: str, views: NDArray[np.uint8], *, view: View = "agent") -> AnchorSet:
        """Make a set of symbolic views uint8 `(k, h, w, 5)` (see `rlstitch.envs.render_views`)."""
        return cls(environment, view, "symbolic", views=views)

    @classmethod
    def replay(
        cls,
        environment: str,
        seeds: NDArray[np.int64],
        actions: NDArray[Any],
        frames: NDArray[np.int64],
        *,
        view: View = "full",
        played: Mapping[str, Any] | None = None,
    ) -> AnchorSet:
        """Make a set of frames `(k, 2)` (episode, actions before it) of episodes: seeds `(e,)`, and their actions.

        Actions are integers `(e, t)`, or floats `(e, t, A)` where they are continuous; `played`: how they are taken.
        """
        return cls(environment, view, "replay", seeds=seeds, actions=actions, frames=frames, played=played or {})

    def __len__(self) -> int:
        array = self.views if self.kind == "symbolic" else self.frames
        return 0 if array is None else len(array)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, AnchorSet) and self.identity == other.identity

    def __hash__(self) -> int:
        return hash(self.identity)

    def __repr__(self) -> str:
        return f"AnchorSet({self.environment}, {self.view} view, {self.kind}, {len(self)}, {self.identity[:SHORT]})"

    def arrays(self) -> dict[str, NDArray[Any]]:
        """Return the content by name: `views`, or `seeds`, `actions` and `frames`."""
        return {name: getattr(self, name) for name in _ARRAYS[self.kind]}

    @cached_property
    def identity(self) -> str:
        """sha256 (64 hexadecimal digits) over environment, view, kind and content: free of looks."""
        content = {
            name: [array.dtype.str, list(array.shape), hashlib.sha256(array.tobytes()).hexdigest()]
            for name, array in self.arrays().items()
        }
        described = {"environment": self.environment, "view": self.view, "kind": self.kind, "content": content}
        if self.played:
            described["played"] = dict(self.played)
        return hashlib.sha256(canonical_json(described)).hexdigest()

    def render(self, variation: str = "standard", tile_size: int = 8) -> NDArray[np.uint8]:
        """Draw the anchors under a look: uint8 `(k, H, W, 3)`, in order. Raises as `render_in`."""
        from rlstitch.envs import World

        return self.render_in(World(self.environment, variation, view=self.view, tile_size=tile_size))

    def render_in(self, world: World) -> NDArray[np.uint8]:
        """Draw the anchors as a world shows them: uint8 `(k, H, W, C)`, in order; backend and actions are the set's.

        Raises:
            UnknownNameError: for an unknown environment.
            InvalidInputError: where an episode cannot be played again, or comes out differently each time.
        """
        if self.views is not None:
            from rlstitch.envs import family_of

            return family_of(self.environment).render_views(self.views, world)
        from rlstitch.agents.anchor_replay import replay_frames
        from rlstitch.envs import World

        how = {name: self.played.get(name, default) for name, default in PLAYED.items()}
        how |= world.kwargs_in(World(self.environment, make_kwargs=how["make_kwargs"]))
        own = replace(world, environment=self.environment, task="standard", view=self.view, **how)
        return replay_frames(replace(own, look="standard"), own.variation, *self.arrays().values())

    def save(self, root: Path | str = "anchors") -> Path:
        """Store the set as `<root>/<first 16 digits of the identity>`; an existing copy is kept.

        Returns:
            The folder.

        Raises:
            ArtefactError: where the operating system refuses.
        """
        folder = Path(root) / self.identity[:SHORT]
        if self._is_stored(folder):
            return folder
        try:
            with staged_folder(folder, force=folder.exists(), marker=MANIFEST) as stage:
                self._write(stage)
        except RlstitchError:
            if not self._is_stored(folder):  # else another process was faster
                raise
        return folder

    def _is_stored(self, folder: Path) -> bool:
        try:
            return folder.is_dir() and _load(folder) == self
        except ArtefactError:  # a damaged copy is written anew
            return False

    def _write(self, folder: Path) -> None:
        write_tensors(folder / CONTENT, self.arrays())
        described = {
            "identity": self.identity,
            "environment": self.environment,
            "view": self.view,
            "kind": self.kind,
            "count": len(self),
        }
        if self.played:
            described["played"] = dict(self.played)
        write_json(folder / MANIFEST, described, schema_version=SCHEMA_VERSION)


def load_anchor_set(reference: Path | str, *, root: Path | str = "anchors") -> AnchorSet:
    """Read an anchor set by its identity, the first digits of it (at least 4), or its folder.

    Raises:
        UnknownNameError: where `root` holds no set of this identity.
        InvalidInputError: where the digits fit more than one set.
        ArtefactError: where the set is damaged, or is not the one that it claims to be.
    """
    text = str(reference)
    if re.fullmatch(r"[0-9a-f]{4,64}", text):
        names = _stored_names(Path(root))
        fitting = [name for name in names if name.startswith(text[:SHORT])]
        if len(fitting) > 1:
            raise InvalidInputError(f"anchor set {text!r} is ambiguous: {', '.join(fitting[:5])}")
        if fitting:
            stored = _load(Path(root) / fitting[0])
            if not stored.identity.startswith(text):
                raise UnknownNameError("anchor set", text, names)
            return stored
        if not Path(text).is_dir():
            raise UnknownNameError("anchor set", text, names)
    return _load(Path(reference))


def _stored_names(root: Path) -> list[str]:
    recover(root)
    try:
        return sorted(path.name for path in root.iterdir() if re.fullmatch(rf"[0-9a-f]{{{SHORT}}}", path.name))
    except OSError:
        return []


def _load(folder: Path) -> AnchorSet:
    with opened_together(folder, [MANIFEST, CONTENT]) as files:
        described = read_stream(files[MANIFEST], folder / MANIFEST, max_bytes=limits.JSON_BYTES)
        content = read_stream(files[CONTENT], folder / CONTENT, max_bytes=limits.ANCHORS_BYTES)
    manifest = parse_json(described, str(folder / MANIFEST), schema_version=SCHEMA_VERSION)
    expected = {"schema_version", "identity", "environment", "view", "kind", "count"}
    if set(manifest) - {"played"} != expected:
        raise ArtefactError(f"{folder / MANIFEST}: expected the keys {sorted(expected)}, found {sorted(manifest)[:10]}")
    tensors, _ = unpack_tensors(content, str(folder / CONTENT))
    if set(tensors) - {"views", "seeds", "actions", "frames"}:
        raise ArtefactError(f"{folder / CONTENT}: holds tensors that no anchor set has")
    try:
        arrays = {name: tensor.numpy() for name, tensor in tensors.items()}
        played = manifest.get("played", {})
        anchors = AnchorSet(manifest["environment"], manifest["view"], manifest["kind"], **arrays, played=played)
    except (RlstitchError, TypeError) as error:  # TypeError: a tensor type that NumPy does not have
        raise ArtefactError(f"{folder}: not an anchor set: {error}") from None
    if anchors.identity != manifest["identity"] or len(anchors) != manifest["count"]:
        raise ArtefactError(f"{folder}: its content is not what {MANIFEST} says; it was altered or damaged")
    return anchors


def _canonical_environment(name: object) -> str:
    # Gymnasium takes "module:Name-v0" too: the module says who registers it, not what it is.
    plain = name.strip().rpartition(":")[2] if isinstance(name, str) else ""
    if not 0 < len(plain) <= 200:
        raise InvalidInputError(f"environment: expected the identifier of an environment, found {str(name)[:80]!r}")
    return plain


def _checked_played(played: object, kind: str) -> dict[str, Any]:
    if not isinstance(played, Mapping) or any(name not in PLAYED for name in played):
        raise InvalidInputError(f"played: expected some of {', '.join(PLAYED)}, found {str(played)[:80]}")
    if played and kind != "replay":
        raise InvalidInputError(f"played: no part of a {kind} set")
    from rlstitch.envs import World

    world = World("any", **played)  # what no world has is refused there
    return {name: getattr(world, name) for name, default in PLAYED.items() if getattr(world, name) != default}


def _checked_views(views: object) -> NDArray[np.uint8]:
    from rlstitch.envs.families.minigrid.tiles import encode_views

    array = np.asarray(views)
    fits = array.dtype == np.uint8 and array.ndim == 4 and array.shape[-1:] == (5,) and array.size > 0
    _require(fits, "views", "uint8 (k, h, w, 5)", array)
    _require(len(array) <= limits.ANCHORS, "views", f"at most {limits.ANCHORS} anchors", array)
    encode_views(array)  # refuses views that cannot be rendered
    return array


def _checked_actions(array: NDArray[Any]) -> NDArray[np.int64] | NDArray[np.float32]:
    if array.dtype.kind == "f" and array.ndim == 3:
        _require(array.size > 0, "actions", "floats (e, t, A)", array)
        with np.errstate(over="ignore"):
            continuous = array.astype(np.float32)
        _require(bool(np.isfinite(continuous).all()), "actions", "finite numbers of float32", array)
        return continuous
    fits = array.dtype.kind in "iu" and array.ndim == 2 and array.size > 0
    _require(fits, "actions", "integers (e, t) or floats (e, t, A)", array)
    return array.astype(np.int64)


def _require(holds: bool, name: str, expected: str, array: NDArray[Any]) -> None:
    if not holds:
        raise InvalidInputError(f"{name}: expected {expected}, found {array.dtype} {array.shape}")
