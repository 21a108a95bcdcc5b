from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from rlstitch.rollouts.distinct import identities


@given(st.integers(1, 40), st.integers(1, 9), st.integers(0, 2**31))
def test_identities_name_the_first_equal_observation(count: int, width: int, seed: int) -> None:
    observations = np.random.default_rng(seed).integers(0, 2, (count, 1, width), dtype=np.uint8)
    first = [next(j for j in range(count) if np.array_equal(observations[i], observations[j])) for i in range(count)]
    assert identities(observations).tolist() == first
