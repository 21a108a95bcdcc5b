"""Items with labels and keys, as data sets of every modality have them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from rlstitch.errors import InvalidInputError


@dataclass(frozen=True, eq=False, kw_only=True)
class Labelled:
    """n items: a subclass adds arrays, tensors or tuples of them.

    Attributes:
        labels: int64 (n,) in [0, classes).
        keys: n different ones.
        classes: number of classes.
        name: of the data set.

    Raises InvalidInputError where these do not fit together, or another field has not one value an item.
    """

    labels: NDArray[np.int64]
    keys: tuple[str, ...]
    classes: int
    name: str = ""

    def __post_init__(self) -> None:
        sizes = {name: len(values) for name, values in self._values().items()}
        if len(set(sizes.values())) != 1 or self.labels.ndim != 1:
            raise InvalidInputError(f"expected one of each an item, found {sizes}")
        if len(set(self.keys)) != len(self):
            raise InvalidInputError(f"keys must be {len(self)} different ones, found {len(set(self.keys))}")
        if len(self) and not 0 <= int(self.labels.min()) <= int(self.labels.max()) < self.classes:
            raise InvalidInputError(
                f"labels must lie in [0, {self.classes}), found {self.labels.min()} to {self.labels.max()}"
            )

    def __len__(self) -> int:
        return len(self.keys)

    def subset(self, rows: Sequence[int] | NDArray[np.int64]) -> Self:
        """The items with these row numbers, in their order."""
        chosen = np.asarray(rows, dtype=np.int64)
        parts: dict[str, Any] = {
            name: tuple(values[row] for row in chosen) if isinstance(values, tuple) else values[chosen]
            for name, values in self._values().items()
        }
        return replace(self, **parts)

    def _values(self) -> dict[str, Any]:
        """The fields with one value an item."""
        values = {field.name: getattr(self, field.name) for field in fields(self)}
        return {name: value for name, value in values.items() if not isinstance(value, int | str)}
