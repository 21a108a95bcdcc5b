"""A latent space as a value: vectors, and a key for each that says what it is the vector of.

Parallel anchors: Moschella et al. 2022 (2209.15430), section 3.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Generic, TypeVar, cast

import numpy as np
import torch
from numpy.typing import NDArray

from rlstitch.errors import IncompatibleError, InvalidInputError
from rlstitch.latent._arrays import as_array, require_count, to_tensor
from rlstitch.latent.anchors import choose_anchors

V = TypeVar("V", bound=torch.Tensor | NDArray[Any])
W = TypeVar("W", bound=torch.Tensor | NDArray[Any])


@dataclass(frozen=True, eq=False)
class LatentSpace(Generic[V]):
    """Vectors (n, d), finite, of torch or NumPy (lists and data frames become arrays), and n different keys; equal keys
    in two spaces mean the same sample.

    Without keys the rows are called "0", "1", .... Raises InvalidInputError where keys repeat or their number is not n.

    Examples:
        >>> one = LatentSpace(np.eye(3), ("cat", "dog", "owl"))
        >>> other = LatentSpace(np.ones((2, 5)), ("owl", "cat"))
        >>> left, right = one.pair(other)
        >>> left.keys, right.vectors.shape
        (('cat', 'owl'), (2, 5))
    """

    vectors: V
    keys: tuple[str, ...] = ()
    name: str = ""

    def __post_init__(self) -> None:
        object.__setattr__(self, "vectors", as_array(self.vectors, "vectors"))
        n = len(to_tensor(self.vectors, "vectors"))
        keys = tuple(self.keys) or tuple(str(row) for row in range(n))
        if len(keys) != n:
            raise InvalidInputError(f"keys must have one entry a vector ({n}), found {len(keys)}")
        if wrong := [key for key in keys if not isinstance(key, str)]:
            raise InvalidInputError(f"keys must be strings, found {wrong[0]!r}")
        if len(set(keys)) != n:
            twice = next(key for key, count in Counter(keys).items() if count > 1)
            raise InvalidInputError(f"keys must differ, found {twice!r} more than once")
        object.__setattr__(self, "keys", keys)

    def __len__(self) -> int:
        return len(self.keys)

    @property
    def width(self) -> int:
        """d."""
        return int(self.vectors.shape[1])

    def subset(self, rows: Sequence[int] | torch.Tensor | NDArray[Any]) -> LatentSpace[V]:
        """The rows with these numbers, in their order, or those where a mask of n booleans is true. Raises
        InvalidInputError for a number outside [0, n) or named twice, and a mask of another length.
        """
        given = rows.cpu().numpy() if isinstance(rows, torch.Tensor) else np.asarray(rows)
        if given.dtype == bool:
            if given.shape != (len(self),):
                raise InvalidInputError(f"rows must be a mask of {len(self)} booleans, found shape {given.shape}")
            given = np.flatnonzero(given)
        numbers = [int(row) for row in given]
        if outside := [row for row in numbers if not 0 <= row < len(self)]:
            raise InvalidInputError(f"rows must lie in [0, {len(self)}), found {outside[0]}")
        return replace(self, vectors=cast("V", self.vectors[numbers]), keys=tuple(self.keys[row] for row in numbers))

    def select(self, keys: Iterable[str]) -> LatentSpace[V]:
        """The rows with these keys, in their order. Raises InvalidInputError for a key that is not here."""
        row_of = {key: row for row, key in enumerate(self.keys)}
        names = list(keys)
        if missing := [key for key in names if key not in row_of]:
            raise InvalidInputError(
                f"keys must be among those of the space, found {len(missing)} others: {missing[:3]}"
            )
        return self.subset([row_of[key] for key in names])

    def sample(self, k: int, seed: int = 0) -> LatentSpace[V]:
        """k rows drawn without replacement."""
        require_count(k, len(self), "k", "the number of vectors")
        return self.subset(np.random.default_rng(seed).permutation(len(self))[:k].tolist())

    def map(self, function: Callable[[V], W]) -> LatentSpace[W]:
        """The same keys, the vectors through `function` (n, d) -> (n, d'): a normalisation, projection or
        translation.
        """
        return LatentSpace(function(self.vectors), self.keys, self.name)

    def pair(self, other: LatentSpace[W]) -> tuple[LatentSpace[V], LatentSpace[W]]:
        """Both spaces cut to their common keys, in this one's order: row i of one means row i of the other.

        Raises IncompatibleError where they have no key in common.
        """
        common = set(self.keys) & set(other.keys)
        if not common:
            raise IncompatibleError(
                f"the spaces have no key in common: {self.name or 'one'} has {list(self.keys[:3])}, "
                f"{other.name or 'the other'} has {list(other.keys[:3])}"
            )
        keys = [key for key in self.keys if key in common]
        return self.select(keys), other.select(keys)


def parallel_anchors(
    spaces: Sequence[LatentSpace[V]], k: int, *, method: str = "random", seed: int = 0
) -> list[LatentSpace[V]]:
    """k anchors with the same keys in the same order in every space, chosen by `method` in the first among the keys
    common to all.

    The spaces may hold samples of another domain than the one to be projected (out-of-domain anchors): all that counts
    is that every encoder has seen them.

    Args:
        spaces: at least one.
        k: number of anchors.
        method: a name of `ANCHOR_METHODS`.
        seed: random seed.

    Returns:
        One space of k rows for each given one, with equal keys.

    Raises:
        IncompatibleError: where fewer than k keys are common.
        UnknownNameError: for another method.

    Examples:
        >>> one = LatentSpace(np.eye(3), ("cat", "dog", "owl"))
        >>> other = LatentSpace(np.ones((2, 5)), ("owl", "cat"))
        >>> [sorted(space.keys) for space in parallel_anchors([one, other], 2)]
        [['cat', 'owl'], ['cat', 'owl']]
    """
    if not spaces:
        raise InvalidInputError("spaces must hold at least one space, found none")
    common = set(spaces[0].keys).intersection(*(space.keys for space in spaces[1:]))
    if len(common) < k:
        raise IncompatibleError(f"{k} parallel anchors need {k} keys common to all spaces, found {len(common)}")
    first = spaces[0].select([key for key in spaces[0].keys if key in common])
    keys = first.subset(choose_anchors(method, to_tensor(first.vectors, "vectors"), k, seed)).keys
    return [space.select(keys) for space in spaces]
