"""How long the report of a large matrix takes to write and to open in Chromium, and how large its page is.

    python benchmarks/matrix_report.py [--agents 100] [--methods 3] [--no-browser]

The results are generated: tables as `rlstitch matrix` writes them, of agents that never were.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np

from rlstitch.evaluation.matrix.plan import CELL
from rlstitch.evaluation.matrix.run import SCHEMA_VERSION
from rlstitch.evaluation.matrix.table import LEVELS, Comparison, MatrixCell, MethodSummary
from rlstitch.evaluation.row import Row
from rlstitch.storage import write_json, write_table

REPEATS = 5
OPENING_GATE, SIZE_GATE = 3.0, 15 * 10**6  # seconds to open; bytes of the page
METHODS = ("naive", "affine", "auto", "orthogonal", "linear", "ridge")
TASKS = ("doorkey", "lavagap", "unlock", "simplecrossing")
CHROMIUM, DRIVER = Path("/usr/bin/chromium"), Path("/usr/bin/chromedriver")
# Headless, and silent on the network: what a page shows must come out of its own file.
FLAGS = (
    "--headless=new",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)


def generate(folder: Path, agents: int, methods: Sequence[str], *, seed: int = 0) -> None:
    """Write a matrix of made-up results: agents of four tasks and two looks; refusals, gaps and pairs of one seed."""
    rng = np.random.default_rng(seed)
    names = [f"{TASKS[i % 4]}-{('red', 'green')[i // 4 % 2]}-s{i}" for i in range(agents)]
    rows = list(_rows(rng, names, methods))
    summary = [_summary(method, [row for row in rows if row.method == method]) for method in methods]
    interval = {"estimate": 0.25, "low": 0.2, "high": 0.3}
    test = {"cells": len(rows) // len(methods), "median_difference": -12.5, "statistic": 10.0, "p_value": 0.001}
    write_table([row.to_dict() for row in rows], folder / "cells")
    content = {
        "complete": all(row.state != "missing" for row in rows),
        "command": "rlstitch matrix '*' --episodes 100",
        "methods": list(methods),
        "options": {"episodes": 100, "pairs": 1024, "seed": seed, "greedy": False},
        "same_seed_counted": False,
        "agents": [{"name": name, "identity": f"{i:064x}", "seed": i % 5, "world": {}} for i, name in enumerate(names)],
        "refused": [],
        "failed": [],
        "summary": [asdict(entry) for entry in summary],
        "comparisons": [asdict(Comparison(*pair, interval, test)) for pair in combinations(methods, 2)],
    }
    write_json(folder / "matrix.json", content, schema_version=SCHEMA_VERSION)


def _rows(rng: np.random.Generator, names: Sequence[str], methods: Sequence[str]) -> Iterator[MatrixCell]:
    natives = rng.uniform(0.85, 0.98, size=len(names))
    for i, encoder in enumerate(names):
        for j, controller in enumerate(names):
            for place, method in enumerate(methods if i != j else ()):
                known: dict[str, Any] = {
                    "encoder": encoder,
                    "controller": controller,
                    "method": method,
                    "world": f"MiniGrid-{controller.partition('-')[0]}-v0, {encoder.split('-')[1]}",
                    "encoder_seed": i % 5,
                    "controller_seed": j % 5,
                    "same_seed": i % 5 == j % 5,
                    "place": CELL,
                }
                if (i + j) % 9 == 0 and method == "naive":
                    reason = "the encoder gives latents of width 64, the controller takes 128"
                    yield MatrixCell(**known, state="refused", reason=reason)
                elif (5 * i + 3 * j) % 19 == 18:
                    yield MatrixCell(**known, state="missing")
                else:
                    yield _done(rng, known, natives[j], place)


def _done(rng: np.random.Generator, known: dict[str, Any], native: float, place: int) -> MatrixCell:
    share = float(np.clip(rng.normal((0.15, 0.9, 0.97)[place % 3], 0.12), -0.1, 1.1))
    mean, noise = share * native, float(rng.uniform(0.005, 0.03))
    agreement = float(np.clip(share + rng.normal(0, 0.15), 0, 1))
    kl = float(np.exp(-5 * share + rng.normal(0, 0.5)))
    r2 = float(np.clip(share + rng.normal(0, 0.2), -1, 1))
    row = Row(
        encoder=known["encoder"],
        controller=known["controller"],
        method=known["method"],
        world=known["world"],
        episodes=100,
        return_mean=mean,
        return_low=mean - noise,
        return_high=mean + noise,
        random_return=0.02,
        native_return=native,
        recovery=100 * share,
        recovery_low=100 * (share - noise),
        recovery_high=100 * (share + noise),
        success=min(1.0, max(0.0, share)),
        success_low=None,
        success_high=None,
        length_mean=float(360 - 340 * min(1.0, max(0.0, share))),
        policy="sampled",
        diagnostics={
            "method": "ridge" if known["method"] == "auto" else known["method"],
            "action_agreement": agreement,
            "kl": kl,
            "r2": r2,
        },
    )
    return MatrixCell(**known, state="done", counted=not known["same_seed"], row=row)


def _summary(method: str, rows: Sequence[MatrixCell]) -> MethodSummary:
    scores = np.array([row.recovery for row in rows if row.counted])
    interval = {"estimate": float(scores.mean()), "low": float(scores.mean()) - 1, "high": float(scores.mean()) + 1}
    share = [float((scores > level).mean()) for level in LEVELS]
    profile = {"levels": [float(level) for level in LEVELS], "share": share}
    profile |= {"low": [max(0.0, x - 0.01) for x in share], "high": [min(1.0, x + 0.01) for x in share]}
    states = {state: sum(row.state == state for row in rows) for state in ("refused", "missing")}
    recovered = float((scores >= 90).mean())
    return MethodSummary(
        method, len(scores), **states, mean=interval, iqm=interval, recovered=recovered, success=0.5, profile=profile
    )


def open_page(page: Path) -> list[tuple[float, float]]:
    """Open a page in a fresh Chromium, several times; returns the seconds until loaded and until drawn."""
    from selenium import webdriver
    from selenium.webdriver.chrome.service import Service

    walls = []
    for _ in range(REPEATS):
        with tempfile.TemporaryDirectory() as profile:
            options = webdriver.ChromeOptions()
            options.binary_location = str(CHROMIUM)
            for flag in (*FLAGS, "--window-size=1280,900", f"--user-data-dir={profile}"):
                options.add_argument(flag)
            driver = webdriver.Chrome(options=options, service=Service(executable_path=str(DRIVER)))
            try:
                started = time.perf_counter()
                driver.get(page.as_uri())
                loaded = time.perf_counter() - started
                # Two frames later what the script drew is on the screen.
                driver.execute_async_script(
                    "const d = arguments[0]; requestAnimationFrame(() => requestAnimationFrame(d))"
                )
                walls.append((loaded, time.perf_counter() - started))
            finally:
                driver.quit()
    return walls


def main() -> None:
    """Generate, report, open, and print the times."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--agents", type=int, default=100)
    parser.add_argument("--methods", type=int, default=3)
    parser.add_argument("--no-browser", action="store_true")
    chosen = parser.parse_args()
    for program in (CHROMIUM, DRIVER):
        if not chosen.no_browser and not program.is_file():
            parser.error(f"{program} is not there (apt-get install chromium chromium-driver); or give --no-browser")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name) / "matrix"
        generate(folder, chosen.agents, METHODS[: chosen.methods])
        command = [sys.executable, "-m", "rlstitch.cli.main", "report", str(folder), "--latents", "0"]
        started = time.perf_counter()
        subprocess.run(command, capture_output=True, check=True, cwd=name)
        wall, page = time.perf_counter() - started, folder / "report.html"
        size = page.stat().st_size
        cells = len(json.loads((folder / "cells.json").read_text()))
        print(f"{chosen.agents} x {chosen.agents} x {chosen.methods}, {cells:,} cells")
        print(f"written in {wall:.2f} s, TensorBoard's figures included")
        print(
            f"page: {size / 1e6:.2f} MB; gate of {SIZE_GATE / 1e6:.0f} MB: {'kept' if size <= SIZE_GATE else 'missed'}"
        )
        if not chosen.no_browser:
            loaded, drawn = zip(*open_page(page), strict=True)
            median = statistics.median(drawn)
            print(f"opened: loaded in {statistics.median(loaded):.2f} s, drawn in {median:.2f} s, medians of {REPEATS}")
            print(f"drawn in {min(drawn):.2f} to {max(drawn):.2f} s")
            print(f"gate of {OPENING_GATE:.0f} s: {'kept' if median <= OPENING_GATE else 'missed'}")


if __name__ == "__main__":
    main()
