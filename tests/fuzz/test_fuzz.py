"""Whatever a file holds: it is read, or refused by one line of ours, in bounded time and memory.

`make fuzz` is the long version, in processes that may hang or crash.
"""

from __future__ import annotations

from pathlib import Path

import fuzz_cases
import pytest
from fuzz_bombs import BOMBS, Bomb
from fuzz_cases import FuzzSubject, detonate
from fuzz_subjects import SUBJECTS, Subject

ALL = 2_000
FEWER = {"report": 6}  # a page takes a third of a second
EACH = -(-(ALL - sum(FEWER.values())) // (len(SUBJECTS) - len(FEWER)))


def name_of(case: Subject | Bomb) -> str:
    return case.name.replace(" ", "-")


@pytest.fixture(autouse=True)
def _time_of_a_slow_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    """Here only what hangs is too slow; `make fuzz` measures against five seconds of processor time."""
    monkeypatch.setattr(fuzz_cases, "SECONDS", 60.0)


@pytest.mark.parametrize("subject", SUBJECTS, ids=name_of)
def test_mutated_files(subject: Subject, tmp_path: Path) -> None:
    fuzz = FuzzSubject(subject, tmp_path, seed=0)
    fuzz.prepare()
    results = {case: fuzz(case) for case in range(FEWER.get(subject.name, EACH))}
    assert {case: result for case, result in results.items() if not result.good} == {}


@pytest.mark.parametrize("bomb", BOMBS, ids=name_of)
def test_bombs(bomb: Bomb, tmp_path: Path) -> None:
    result = detonate(bomb, tmp_path)
    assert result.good, result
