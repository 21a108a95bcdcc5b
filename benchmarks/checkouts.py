"""Two checkouts in turn: is this one as fast as an older one?

    git worktree add ../old 847a483
    python benchmarks/checkouts.py ../old [--rounds 7] [--only train latent] [--out docs/results/checkouts]

Each round runs every piece of work once in each checkout, in an order that alternates, each in a process of its own, so
that a machine whose speed drifts slows both. A ratio is the old checkout's time by the new one's: above 1 the new one
is faster. Times are processor time in one thread: of the work alone, after imports, or of a whole command. Modules are
compiled before, as they are once installed. The work uses public names only, which both checkouts have.
"""

from __future__ import annotations

import argparse
import compileall
import itertools
import json
import os
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
AGENTS = ("doorkey-red-s1", "doorkey-green-s2", "lavagap-red-s1", "lavagap-green-s2")

_TIMED = """
import contextlib, io, sys, time
import numpy as np
import torch
torch.set_num_threads(1)
import rlstitch
def timed(call, repeats=1, warm_up=True):
    with contextlib.redirect_stdout(io.StringIO()):
        if warm_up:
            call()
        start = time.process_time()
        for _ in range(repeats):
            call()
    print("seconds", time.process_time() - start)
"""
_TRAIN = """
def work():
    settings = {"total_steps": STEPS, "threads": 1, "evaluation.every_steps": 10**9, "checkpoint.every_steps": 10**9}
    settings |= {"evaluation.video": False}  # which is not the default of the older checkout
    settings |= {"evaluation.episodes": 4, "name": "agent", **OPTIONS}
    rlstitch.train(rlstitch.load_config("minigrid-doorkey", settings))
timed(work, warm_up=False)
"""
_ALL_VIEWS_FITTED = """
import rlstitch.stitching.pairs
rlstitch.stitching.pairs.FURTHER_STEPS = 1  # no new views are looked for to judge maps on, as in the older checkout
"""
_LATENT = """
from rlstitch import latent
rng = np.random.default_rng(0)
x, y, anchors = (torch.from_numpy(rng.normal(size=shape).astype("float32")) for shape in SHAPES)
timed(lambda: WORK, repeats=REPEATS)
"""


def _train(steps: int, **options: Any) -> str:
    return _TIMED + _TRAIN.replace("STEPS", str(steps)).replace("OPTIONS", repr(options))


def _latent(work: str, repeats: int, *shapes: tuple[int, int]) -> str:
    return _TIMED + _LATENT.replace("SHAPES", repr(shapes)).replace("WORK", work).replace("REPEATS", str(repeats))


_WIDE = ((20_000, 512), (20_000, 512), (512, 512))
_PAIRS = ((3_000, 256), (3_000, 256), (300, 256))
WORK: dict[str, str | list[str]] = {
    "rlstitch --help": ["--help"],
    "rlstitch list": ["list"],
    "rlstitch show": ["show", AGENTS[0]],
    "train, small encoder": _train(32_768),
    "train, nature encoder": _train(8_192, **{"encoder.arch": "nature"}),
    "train, relative": _train(16_384, representation="relative"),
    "evaluate, sampled": _TIMED + f"timed(lambda: rlstitch.evaluate({AGENTS[0]!r}, episodes=600))",
    "evaluate, greedy": _TIMED + f"timed(lambda: rlstitch.evaluate({AGENTS[2]!r}, episodes=600, deterministic=True))",
    "rlstitch stitch": [
        *("stitch", "--encoder", AGENTS[0], "--policy", AGENTS[1], "--method", "affine", "--pairs", "1024"),
        *("--episodes", "100", "--no-save"),
    ],
    "relativize": _TIMED + f"timed(lambda: rlstitch.relativize({AGENTS[2]!r}, episodes=20, save=False), warm_up=False)",
    "rlstitch matrix": ["matrix", *AGENTS, "--methods", "naive,affine,auto", "--episodes", "40"],
    "stitch, all views fitted": _TIMED
    + _ALL_VIEWS_FITTED
    + "settings = dict(method='affine', pairs=1024, episodes=100, save=False)\n"
    + f"timed(lambda: rlstitch.stitch({AGENTS[0]!r}, {AGENTS[1]!r}, **settings))",
    "matrix, all views fitted": _TIMED
    + _ALL_VIEWS_FITTED
    + "from rlstitch.cli.main import main\n"
    + f"timed(lambda: main(['matrix', *{AGENTS!r}, '--methods', 'naive,affine', '--episodes', '40']), warm_up=False)",
    "latent, cosine": _latent("latent.project_cosine(x, anchors)", 8, *_WIDE),
    "latent, L1": _latent("latent.project_l1(x[:4000], anchors[:256])", 4, *_WIDE),
    "latent, Mahalanobis": _latent('latent.project_mahalanobis(x, anchors)', 4, *_WIDE),
    "latent, geodesic": _latent("latent.project_geodesic(x, anchors)", 2, *_PAIRS),
    "latent, affine": _latent("latent.fit_affine(x, y)", 10, *_PAIRS),
    "latent, orthogonal": _latent("latent.fit_orthogonal(x, y)", 20, *_PAIRS),
    "latent, robust": _latent("latent.fit_robust(x, y)", 2, *_PAIRS),
    "latent, farthest anchors": _latent("latent.choose_farthest(x, 300)", 2, *_WIDE),
    "latent, CKA": _latent("latent.linear_cka(x, y)", 8, *_WIDE),
    "latent, neighbours": _latent("latent.nearest(x[:2000], y, 10)", 3, *_WIDE),
    "latent, ASIF": _latent("latent.couple(x, y)", 10, *_PAIRS),
}  # fmt: skip


def seconds(checkout: Path, work: str | list[str]) -> float:
    """Return the processor time of one piece of work in a checkout.

    Raises:
        SystemExit: the work failed; its error is printed.
    """
    environment = {**os.environ, "PYTHONPATH": str(checkout / "src"), "OMP_NUM_THREADS": "1"}
    code = (
        work
        if isinstance(work, str)
        else "import sys\nfrom rlstitch.cli.main import main\nsys.exit(main(sys.argv[1:]))"
    )
    arguments = [] if isinstance(work, str) else work
    with tempfile.TemporaryDirectory() as folder:
        Path(folder, "agents").symlink_to(ROOT / "agents")
        if isinstance(work, str) and "rlstitch.train" in work:
            Path(folder, "agents").unlink()
        before = os.times()
        done = subprocess.run(
            [sys.executable, "-c", code, *arguments],
            cwd=folder,
            env=environment,
            capture_output=True,
            text=True,
            check=False,
        )
        after = os.times()
    if done.returncode:
        sys.exit(f"{checkout}: {done.stderr[-2000:]}")
    if isinstance(work, str):
        return float(done.stdout.split()[-1])
    return (after.children_user + after.children_system) - (before.children_user + before.children_system)


def main() -> None:
    """Measure, print and write the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("old", type=Path, help="the older checkout")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--only", nargs="+", default=[""], help="parts of the names of the work to run")
    parser.add_argument("--out", type=Path, help="where to write a table, without suffix")
    options = parser.parse_args()
    chosen = {name: work for name, work in WORK.items() if any(part in name for part in options.only)}
    times: dict[str, list[tuple[float, float]]] = {name: [] for name in chosen}
    old = options.old.resolve()
    for checkout in (old, ROOT):
        compileall.compile_dir(checkout / "src", quiet=1)
    for number, (name, work) in itertools.product(range(options.rounds), chosen.items()):
        order = (old, ROOT) if number % 2 else (ROOT, old)
        taken = {checkout: seconds(checkout, work) for checkout in order}
        times[name].append((taken[old], taken[ROOT]))
        print(f"{number + 1}  {name}: {taken[old] / taken[ROOT]:.2f}", flush=True)
    lines = ["| work | old, s | new, s | old ÷ new, median | lowest | highest |", "|---|---|---|---|---|---|"]
    for name, pairs in times.items():
        ratios = [before / after for before, after in pairs]
        medians = [statistics.median(column) for column in zip(*pairs, strict=True)]
        row = (*medians, statistics.median(ratios), min(ratios), max(ratios))
        lines.append(f"| {name} | " + " | ".join(f"{value:.2f}" for value in row) + " |")
    print("\n".join(lines))
    if options.out:
        options.out.with_suffix(".json").write_text(json.dumps({"rounds": options.rounds, "seconds": times}, indent=1))
        options.out.with_suffix(".md").write_text(
            "# This version beside an older one\n\n"
            f"`python benchmarks/checkouts.py OLD --rounds {options.rounds}`: both checkouts in turn, one thread.\n\n"
            + "\n".join(lines)
            + "\n"
        )


if __name__ == "__main__":
    main()
