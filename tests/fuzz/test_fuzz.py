"""Whatever a file holds: it is read, or refused by one line of ours, in bounded time and memory.

`make fuzz` is the long version, in processes that may hang or crash.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from fuzz_cases import FuzzSubject
from fuzz_subjects import SUBJECTS, Subject

MUTATIONS = 2_000 // len(SUBJECTS) + 1
ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.parametrize("subject", SUBJECTS, ids=lambda subject: subject.name.replace(" ", "-"))
def test_mutated_files(subject: Subject, tmp_path: Path) -> None:
    fuzz = FuzzSubject(subject, tmp_path, seed=0)
    fuzz.prepare()
    results = {case: fuzz(case) for case in range(MUTATIONS)}
    assert {case: result for case, result in results.items() if not result.good} == {}


def test_bombs() -> None:
    """In processes of their own, as a process that crashes could not report it."""
    command = [sys.executable, str(Path(__file__).with_name("fuzz_run.py")), "--mutations", "0"]
    ended = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stdout[-4000:] + ended.stderr[-2000:]
