"""What is left of a grid and of a matrix whose processes are killed at any moment, and whether they end as if not.

    python benchmarks/kill_resume.py [--kills 10] [--seed 0] [--steps 16384] [--only grid|matrix]

A grid of four small trainings and the matrix of their agents run once undisturbed. Then each is begun anew, killed with
`kill -9`, every process of it at once, at a moment drawn uniformly from the time that it took undisturbed, begun again
by the same command, killed again, and so on; where it ends before its moment, it is compared with the undisturbed one
and the next begins in an empty folder. After every kill each file must be whole. Writes docs/results/kill-resume.md and
.json, where `--only` leaves the other part as it is.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from rlstitch.agents.artefact import load_agent
from rlstitch.storage import read_json, read_tensors, write_json

RESULTS = Path("docs/results/kill-resume")
GRID = """
axes: {{variation: [red, green], seed: [1, 2]}}
set:
  environment: MiniGrid-LavaCrossingS9N1-v0
  device: cpu
  threads: 1
  num_envs: 8
  total_steps: {steps}
  ppo: {{n_steps: 64, n_minibatches: 4, n_epochs: 2}}
  encoder.latent_dim: 32
  controller.hidden: [32]
  evaluation: {{every_steps: 4096, episodes: 5}}
  checkpoint.every_steps: 1024
"""
METHODS = ("naive", "orthogonal", "affine")
OPTIONS = ("--methods", ",".join(METHODS), "--episodes", "50", "--pairs", "200", "--workers", "2", "--out", "matrix")


@dataclass(frozen=True)
class Kill:
    """One kill and what it left."""

    what: str
    start: int
    """Begun in an empty folder for this time, from 1."""
    seconds: float
    """After the command was begun."""
    done: int
    """Runs or results of a matrix that are whole on the disk."""
    begun: int
    """Further runs that have a checkpoint."""
    files: int
    """Files that were read, each whole."""
    litter: int
    """Half-written files, under names that nothing reads."""


@dataclass(frozen=True)
class Work:
    """A command, what it leaves and how much of it is done."""

    what: str
    arguments: tuple[str, ...]
    prepare: Callable[[Path], None]
    results: Callable[[Path], dict[str, Any]]
    done: Callable[[Path], int]
    begun: Callable[[Path], int]
    expected: int


def begin(work: Work, folder: Path) -> subprocess.Popen[bytes]:
    """Begin the command in a session of its own."""
    program = "import sys; from rlstitch.cli.main import main; sys.exit(main(sys.argv[1:]))"
    with (folder / "told.txt").open("ab") as reported:
        return subprocess.Popen(
            [sys.executable, "-c", program, *work.arguments],
            cwd=folder,
            stdout=reported,
            stderr=reported,
            start_new_session=True,
        )


def members(session: int) -> list[int]:
    """Return the living processes of a session: the command, its workers, and theirs, whoever their parents are."""
    result = []
    for path in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            state, _, _, own = path.read_text().rpartition(")")[2].split()[:4]
            if int(own) == session and state != "Z":
                result.append(int(path.parent.name))
    return result


def kill(process: subprocess.Popen[bytes]) -> None:
    """Kill every process of the command's session, at once."""
    while left := members(process.pid):
        for number in left:
            with contextlib.suppress(ProcessLookupError):
                os.kill(number, signal.SIGKILL)
        process.poll()
    process.wait()


def check_files(folder: Path) -> tuple[int, int]:
    """Read all that is there; an error ends the benchmark. Returns how many files are whole and how many are litter."""
    whole = litter = 0
    for path in sorted(folder.rglob("*")):
        parts = path.relative_to(folder).parts
        if not path.is_file():
            continue
        if any(part.startswith(".") for part in parts):
            litter += 1
        elif path.suffix == ".json":
            read_json(path)
            whole += 1
        elif path.suffix == ".safetensors":
            read_tensors(path)
            whole += 1
    for manifest in folder.glob("agents/*/agent.json"):
        load_agent(manifest.parent)
    return whole, litter


def agents_of(folder: Path) -> dict[str, Any]:
    """Return what tells finished runs apart: weights, curves, and what the cards say but for seconds."""
    result: dict[str, Any] = {}
    for path in sorted(folder.glob("agents/*/agent.json")):
        card = read_json(path)
        (curve,) = folder.glob(f"runs/{path.parent.name}-????????/curve.json")
        training = {key: value for key, value in card["training"].items() if key != "seconds"}
        result[path.parent.name] = {"files": card["files"], "training": training, "curve": read_json(curve)}
    rows = read_json(folder / "runs/_grid/some.json")
    return {**result, "rows": [(row["name"], row["state"], row["steps"], row["return"]) for row in rows]}


def begun_runs(folder: Path) -> int:
    """Count the runs that have a checkpoint and no agent yet."""
    begun = {path.parents[1].name[:-9] for path in folder.glob("runs/*/checkpoints/0*")}
    return len(begun - {path.parent.name for path in folder.glob("agents/*/agent.json")})


def cells_of(folder: Path) -> dict[str, Any]:
    """Return every cell and the tables, without times."""
    times = ("seconds", "written")
    cells = {path.name: read_json(path) for path in sorted((folder / "matrix/cells").glob("*.json"))}
    plain = {name: {key: value for key, value in cell.items() if key not in times} for name, cell in cells.items()}
    rows = [
        {key: value for key, value in row.items() if key not in times}
        for row in read_json(folder / "matrix/cells.json")
    ]
    return {**plain, "rows": rows, "summary": read_json(folder / "matrix/matrix.json")["summary"]}


def differences(one: dict[str, Any], other: dict[str, Any]) -> list[str]:
    """Return the names of results that are lost, too many, or not equal."""
    return [name for name in sorted(one.keys() | other.keys()) if one.get(name) != other.get(name)]


def works(reference: Path, steps: int) -> list[Work]:
    """Return the grid, and the matrix of the agents that it leaves in `reference`."""

    def grid_file(folder: Path) -> None:
        (folder / "some.yaml").write_text(GRID.format(steps=steps))

    def grid_agents(folder: Path) -> None:
        (folder / "agents").symlink_to(reference / "agents")

    return [
        Work(
            "grid",
            ("grid", "some.yaml", "--workers", "2", "--threads", "1"),
            grid_file,
            agents_of,
            lambda folder: len(list(folder.glob("agents/*/agent.json"))),
            begun_runs,
            4,
        ),
        Work(
            "matrix",
            ("matrix", "lavacrossing*", *OPTIONS),
            grid_agents,
            cells_of,
            lambda folder: len(list(folder.glob("matrix/cells/[0-9a-f]*.json"))),
            lambda folder: 0,
            4 + 1 + 4 * 3 * len(METHODS),
        ),
    ]


def undisturbed(work: Work, folder: Path) -> float:
    """Run a command to its end; returns the seconds that it took."""
    folder.mkdir(exist_ok=True)
    work.prepare(folder)
    started = time.perf_counter()
    finish(work, begin(work, folder), folder)
    return time.perf_counter() - started


def finish(work: Work, process: subprocess.Popen[bytes], folder: Path) -> None:
    """Wait for the end, which must be a good one."""
    if process.wait() != 0 or work.done(folder) != work.expected:
        raise SystemExit(f"{work.what}: status {process.returncode}, {(folder / 'reported.txt').read_text()[-2000:]}")


def disturbed(
    work: Work, place: Path, expected: dict[str, Any], wall: float, count: int, draw: random.Random
) -> list[Kill]:
    """Kill and begin again until `count` kills are done and all that was begun has ended well."""
    kills: list[Kill] = []
    start, folder = 0, place
    while len(kills) < count:
        start, folder = start + 1, place / f"{work.what}-{start + 1}"
        folder.mkdir()
        work.prepare(folder)
        while True:
            process, moment = begin(work, folder), draw.uniform(0, wall)
            if len(kills) == count:
                break
            try:
                process.wait(moment)
                break
            except subprocess.TimeoutExpired:
                kill(process)
            whole, litter = check_files(folder)
            kills.append(Kill(work.what, start, round(moment, 2), work.done(folder), work.begun(folder), whole, litter))
            print(kills[-1], flush=True)
        finish(work, process, folder)
        check_files(folder)
        if result := differences(expected, work.results(folder)):
            raise SystemExit(f"{work.what}: not as undisturbed: {', '.join(result)}; see {folder}")
        print(f"{work.what} {start}: as undisturbed", flush=True)
    return kills


def page(parts: dict[str, Any]) -> str:
    """The result in Markdown."""
    seeds = " and ".join(sorted({str(part["seed"]) for part in parts.values()}))
    lines = [
        "# Killed at any moment",
        "",
        f"`python benchmarks/kill_resume.py --seed {seeds}`: four trainings on LavaCrossing, two workers; and the",
        f"matrix of their agents, {len(METHODS)} methods, 50 sampled episodes a cell, two workers. `kill -9` of every",
        "process at once, at moments drawn uniformly from the time that the whole took undisturbed; then the same",
        "command again. In brackets: runs with a checkpoint.",
        "",
        "| | steps a training | undisturbed | kills | begun anew | results at kills | files read | half-written |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for what, part in parts.items():
        kills = part["kills"]
        done = ", ".join(f"{entry['done']}{f' (+{begun})' if (begun := entry['begun']) else ''}" for entry in kills)
        counts = f"{sum(entry['files'] for entry in kills)} | {sum(entry['litter'] for entry in kills)}"
        anew = max(entry["start"] for entry in kills)
        size = f"{part['steps']:,} | {part['wall']:.0f} s"
        lines.append(f"| {what} | {size} | {len(kills)} | {anew} × | {done} | {counts} |")
    lines += [
        "",
        "After every kill each JSON file, tensor file and agent loaded. Each command that was begun ended well, with",
        "as many results as wanted and none twice; weights, learning curves, cards (but for seconds), the returns of",
        "every episode and the tables equal those of the undisturbed run, bit for bit.",
    ]
    return "\n".join(lines) + "\n"


def main() -> None:
    """Run, kill, resume, compare, and write the page."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=10)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--steps", type=int, default=16_384, help="of each training")
    parser.add_argument("--only", choices=("grid", "matrix"))
    options = parser.parse_args()
    stored = RESULTS.with_suffix(".json")
    parts: dict[str, Any] = read_json(stored) if options.only and stored.is_file() else {}
    with tempfile.TemporaryDirectory() as name:
        place = Path(name)
        reference = place / "reference"
        for number, work in enumerate(works(reference, options.steps)):
            folder = reference if number == 0 else place / "reference-matrix"
            wall = undisturbed(work, folder)
            print(f"{work.what}: {wall:.1f} s undisturbed", flush=True)
            if options.only in (None, work.what):
                draw = random.Random(f"{work.what} {options.seed}")
                kills = disturbed(work, place, work.results(folder), wall, options.kills, draw)
                reported = [asdict(entry) for entry in kills]
                parts[work.what] = {
                    "seed": options.seed,
                    "steps": options.steps,
                    "wall": round(wall, 2),
                    "kills": reported,
                }
    write_json(stored, {what: parts[what] for what in ("grid", "matrix") if what in parts})
    RESULTS.with_suffix(".md").write_text(page(parts))


if __name__ == "__main__":
    main()
