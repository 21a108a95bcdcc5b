"""Means, intervals and tables, by hand."""

from __future__ import annotations

import pytest

from rlstitch.errors import InvalidInputError
from rlstitch.studies.tables import interval_table, markdown_table, mean_interval


def test_intervals_by_hand() -> None:
    # t(0.975, 2) = 4.302653, standard deviation 1.
    assert mean_interval([1.0, 2.0, 3.0]) == pytest.approx((2, 2 - 4.302653 / 3**0.5, 2 + 4.302653 / 3**0.5))
    assert mean_interval([0.9, 1.0], within=(0, 1)) == pytest.approx((0.95, 0.95 - 12.706205 * 0.05, 1))
    assert mean_interval([0.5]) == (0.5, 0.5, 0.5)
    with pytest.raises(InvalidInputError, match="found none"):
        mean_interval([])


def test_a_table_in_markdown() -> None:
    rows = [{"method": "a", "value": 0.25, "n": 3}, {"method": "bcdefgh", "value": None, "n": 12}]
    assert markdown_table(rows).splitlines() == [
        "| method  | value | n  |",
        "| ------- | ----- | -- |",
        "| a       | 0.250 | 3  |",
        "| bcdefgh | –     | 12 |",
    ]
    assert markdown_table([]) == ""


def test_the_unit_of_an_interval_is_the_mean_of_its_cells() -> None:
    cells = [
        {"method": method, "seed": seed, "accuracy": value, "other": other}
        for method, seed, value, other in (
            ("a", 0, 0.2, None), ("a", 0, 0.4, 2.0), ("b", 0, 1.0, None), ("a", 1, 0.5, 3.0),
        )
    ]  # fmt: skip
    one, other = interval_table(
        cells, lambda row: {"method": row["method"]}, "accuracy", unit=lambda row: row["seed"],
        means={"other": lambda row: row["other"]}, counts=("seeds", "cells"),
    )  # fmt: skip
    mean, low, high = mean_interval([0.3, 0.5], (0, 1))
    assert list(one) == ["method", "accuracy", "low", "high", "other", "seeds", "cells"]
    assert one == pytest.approx(
        {"method": "a", "accuracy": mean, "low": low, "high": high, "other": 2.5, "seeds": 2, "cells": 3}
    )
    assert other == {"method": "b", "accuracy": 1, "low": 1, "high": 1, "other": None, "seeds": 1, "cells": 1}
