"""`make fuzz`: mutated files and bombs for every reader, each in a process that is watched.

    python tests/fuzz/fuzz_run.py [--mutations 20000] [--seed 0] [--only NAME] [--workers N]

Each case must end in a load (an equal one, where the artefact is sealed by checksums) or in one of our errors: without
any other exception, within five seconds, within four times the honest artefact plus 200 MB of memory, with no control
character in what is printed, and without a file outside of its folder. The exit status is 1 where a case did not.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import resource
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from pathlib import Path
from typing import Any

sys.path.append(str(Path(__file__).parents[1] / "helpers"))

from fuzz_bombs import BOMBS, Bomb
from fuzz_cases import SECONDS, FuzzSubject, Result, detonate
from fuzz_subjects import SUBJECTS

GRACE = 115.0  # seconds on the clock, which a busy machine needs, after which a process is ended
ADDRESS_SPACE = 6 * 2**30  # beyond what the process has when it starts; measured is the memory that is touched
CHUNK = 100
MEMORY = Path("/dev/shm")


@dataclass
class Job:
    """Cases of one subject, in one process."""

    name: str
    cases: list[int]
    run: Callable[[int], Result]


def _work(job: Job, cases: Sequence[int], answers: Connection) -> None:
    _, most = resource.getrlimit(resource.RLIMIT_AS)
    now = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (now + ADDRESS_SPACE, most))
    for case in cases:
        answers.send((case, None))
        answers.send((case, job.run(case)))


def run_jobs(jobs: list[Job], workers: int) -> Iterator[tuple[Job, int, Result]]:
    """Run jobs in forked processes; a case that hangs or kills its process is one result, the rest goes on."""
    context = multiprocessing.get_context("fork")
    waiting = [(job, job.cases) for job in reversed(jobs)]
    running: dict[Connection, Any] = {}
    while waiting or running:
        while waiting and len(running) < workers:
            job, cases = waiting.pop()
            ours, theirs = context.Pipe(duplex=False)
            process = context.Process(target=_work, args=(job, cases, theirs), daemon=True)
            process.start()
            theirs.close()
            running[ours] = [process, job, list(cases), time.monotonic()]
        ready = wait(list(running), timeout=0.5)
        for connection in list(running):
            process, job, left, since = running[connection]
            problem = None
            if connection in ready:
                try:
                    case, result = connection.recv()
                except EOFError:
                    process.join()
                    problem = f"the process ended with {process.exitcode}"
                else:
                    running[connection][3] = time.monotonic()
                    if result is not None:
                        left.remove(case)
                        yield job, case, result
                        if not left:
                            process.join()
                            del running[connection]
                    continue
            elif time.monotonic() - since > SECONDS + GRACE:
                process.kill()
                process.join()
                problem = f"no end after {SECONDS + GRACE:.0f} s"
            if problem:
                del running[connection]
                case = left.pop(0)
                yield job, case, Result("foreign", problem)
                if left:
                    waiting.append((job, left))


def mutation_jobs(folder: Path, total: int, seed: int, subjects: Sequence[Any]) -> list[Job]:
    """Share mutations evenly among subjects."""
    jobs = []
    for number, subject in enumerate(subjects):
        cases = range(number, total, len(subjects))
        fuzz = FuzzSubject(subject, folder / str(number), seed)
        fuzz.prepare()
        jobs += [Job(subject.name, list(cases[i : i + CHUNK]), fuzz) for i in range(0, len(cases), CHUNK)]
    return jobs


def main() -> int:
    """Run what the arguments say and print a table; returns the exit status."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--mutations", type=int, default=20_000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", default="", help="part of a name of subjects and bombs")
    parser.add_argument("--workers", type=int, default=os.cpu_count() or 1)
    options = parser.parse_args()
    begin = time.monotonic()
    counts: dict[str, Counter[str]] = {}
    worst: dict[str, list[float]] = {}
    shown = Counter[str]()
    # In memory where the system has such a folder: what is flushed to a disk waits for others.
    with tempfile.TemporaryDirectory(dir=MEMORY if MEMORY.is_dir() else None) as folder:
        subjects = [subject for subject in SUBJECTS if options.only in subject.name]
        bombs = [bomb for bomb in BOMBS if options.only in bomb.name]
        jobs = mutation_jobs(Path(folder), options.mutations, options.seed, subjects)
        jobs += [_bomb_job(bomb, Path(folder)) for bomb in bombs]
        for job, case, result in run_jobs(jobs, options.workers):
            outcome = result.outcome
            counts.setdefault(job.name, Counter())[outcome] += 1
            peaks = worst.setdefault(job.name, [0.0, 0.0])
            peaks[:] = max(peaks[0], result.seconds), max(peaks[1], result.megabytes)
            kind = f"{job.name}: {outcome}: {result.text.splitlines()[-1][:120] if result.text else ''}"
            if not result.good:
                shown[kind] += 1
                if shown[kind] == 1:
                    print(f"--- {job.name}, case {case}: {outcome}", result.text[-1500:], sep="\n")
    total = sum(counts.values(), Counter[str]())
    print(f"\n{'reader':30} loaded refused   bad   most s  most MB")
    for name, count in counts.items():
        loaded, refused = count["loaded"], count["refused"]
        row = f"{loaded:6} {refused:7} {count.total() - loaded - refused:5}"
        print(f"{name[:60]:30} {row} {worst[name][0]:8.2f} {worst[name][1]:8.0f}")
    bad = total.total() - total["loaded"] - total["refused"]
    print(f"\n{total.total()} cases: {dict(total)}; {bad} bad; {time.monotonic() - begin:.0f} s")
    return int(bad > 0)


def _bomb_job(bomb: Bomb, folder: Path) -> Job:
    return Job(f"bomb: {bomb.name}", [0], lambda _: detonate(bomb, folder))


if __name__ == "__main__":
    sys.exit(main())
