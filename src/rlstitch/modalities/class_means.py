"""The nearest class mean, the plainest way to classify with labels."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray

from rlstitch.errors import InvalidInputError
from rlstitch.latent import nearest


def nearest_class_mean(known: torch.Tensor, labels: NDArray[np.int64], queries: torch.Tensor) -> NDArray[np.int64]:
    """For each of the queries (m, d) the label (m,) of the class whose mean of `known` (n, d) is nearest to it by
    cosine, both seen from the mean of all of `known`. Classes that `labels` (n,) does not hold are never found.

    Raises:
        InvalidInputError: where there is not one label a known row, or no row at all.
    """
    if labels.shape != (len(known),) or not len(known):
        raise InvalidInputError(f"labels must be (n,), one a known row ({len(known)}), found {labels.shape}")
    middle = known.mean(0)
    present = np.unique(labels)
    means = torch.stack([known[torch.from_numpy(labels == label)].mean(0) for label in present])
    found: NDArray[np.int64] = present[nearest(queries - middle, means - middle, 1).indices[:, 0].numpy()]
    return found
