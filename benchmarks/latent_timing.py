"""How benchmarks/latent_core.py and latent_coupling.py measure, and the page that they share.

Ours and the peer take turns on the same data in one process with the same number of threads, for some seconds a case
and three turns at least. The ratio is that of the best turns: other work on the machine only ever adds time. Peak
memory is that of one call in a fresh process, above what the data takes.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import scipy
import sklearn
import torch

Call = Callable[[], Any]
NOISE = 0.02


@dataclass
class Case:
    """Two calls on the same data.

    `bar` is the most that ours / peer may be in time (None: only told); `memory_share` the most of the peer's peak
    memory, `memory_mib` the most in MiB; `quality` compares the results; `scale` says how many times its work the peer
    would have to do to have done the same (1 unless it only does a share).
    """

    ours: Call
    peer: Call
    what: str
    peer_name: str
    bar: float | None = 1.0
    memory_share: float | None = None
    memory_mib: float | None = None
    scale: float = 1.0
    quality: Callable[[Any, Any], dict[str, float]] = field(default=lambda ours, peer: {})


Cases = Mapping[str, Callable[[bool], Case]]


def difference(ours: Any, peer: Any) -> dict[str, float]:
    """How far two results lie apart."""
    return {"largest difference": float(np.abs(np.asarray(ours) - np.asarray(peer)).max())}


def take_turns(case: Case, seconds: float) -> tuple[list[float], list[float], dict[str, float]]:
    """Seconds of each turn of ours and of the peer, and what their results say of each other."""
    quality = case.quality(case.ours(), case.peer())  # the turn that warms up
    times: tuple[list[float], list[float]] = ([], [])
    end = time.perf_counter() + seconds
    while len(times[0]) < 3 or (time.perf_counter() < end and len(times[0]) < 60):
        for call, taken in zip((case.ours, case.peer), times, strict=True):
            start = time.perf_counter()
            call()
            taken.append(time.perf_counter() - start)
    return *times, quality


def measure(name: str, cases: Cases, tiny: bool, seconds: float) -> dict[str, Any]:
    """One line of the table."""
    case = cases[name](tiny)
    ours, peer, quality = take_turns(case, seconds)
    row: dict[str, Any] = {"case": name, "what": case.what, "peer": case.peer_name, "turns": len(ours), "bar": case.bar}
    for role, times, scale in (("ours", ours, 1.0), ("peer", peer, case.scale)):
        row |= {f"{role}_best_s": min(times) * scale, f"{role}_median_s": statistics.median(times) * scale}
    row["ratio"] = row["ours_best_s"] / row["peer_best_s"]
    row["median_ratio"] = row["ours_median_s"] / row["peer_median_s"]
    row |= {"memory_share": case.memory_share, "memory_mib": case.memory_mib, "quality": quality}
    kept = [case.bar is None or row["ratio"] <= case.bar * (1 + NOISE)]
    if case.bar is not None and "held-out residual" in quality:
        kept.append(quality["held-out residual"] <= 1.001 * quality["the peer's"])
    if case.memory_share is not None or case.memory_mib is not None:
        del case
        row |= {f"{role}_peak_mib": peak_in_child(name, role, tiny) for role in ("ours", "peer")}
        if row["memory_share"] is not None:
            kept.append(row["ours_peak_mib"] <= row["memory_share"] * row["peer_peak_mib"])
        if row["memory_mib"] is not None:
            kept.append(row["ours_peak_mib"] <= row["memory_mib"])
    return row | {"ok": tiny or all(kept)}


def peak_in_child(name: str, role: str, tiny: bool) -> float:
    """Peak memory in MiB of one call above what was there before, in a fresh process."""
    command = [sys.executable, sys.argv[0], "--peak", name, role, *(["--tiny"] if tiny else [])]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return float(done.stdout)


def peak_of(call: Call) -> float:
    """What the fresh process of `peak_in_child` does."""
    # getrusage alone would answer with the parent's peak, which a child starts with.
    status = Path("/proc/self/status")
    if not status.exists():
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        call()
        return (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024

    def kib(name: str) -> int:
        return int(status.read_text().split(f"{name}:")[1].split()[0])

    Path("/proc/self/clear_refs").write_text("5")  # the peak is now what is used now
    before = kib("VmRSS")
    call()
    return (kib("VmHWM") - before) / 1024


def about(seconds: float) -> dict[str, Any]:
    """What the figures depend on."""
    return {
        "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "threads": torch.get_num_threads(),
        "seconds": seconds,
        "python": platform.python_version(),
        "numpy": np.__version__,
        "scipy": scipy.__version__,
        "scikit-learn": sklearn.__version__,
        "torch": torch.__version__,
    }


def page(parts: dict[str, Any]) -> str:
    """The page of results: one table a script."""
    lines = [
        "# Speed of the latent core",
        "",
        "Ours and its peer take turns on the same data in one process. `time` is ours / peer, best turn against best",
        "turn (in brackets: medians); peak memory is that of one call in a fresh process, above what the data takes.",
        f"A bar is what is asked of `time` (to within {NOISE:.0%}: two runs of one call differ by that), or of the",
        "memory. All figures: `latent-speed.json`.",
    ]
    for script, part in parts.items():
        reported = part["about"]
        versions = ", ".join(f"{k} {reported[k]}" for k in ("python", "numpy", "scipy", "scikit-learn", "torch"))
        lines += [
            "",
            f"`python benchmarks/{script}.py --out docs/results`: {reported['cores']} x86-64 cores, "
            f"{reported['threads']} thread(s), {reported['seconds']:g} s a case; {versions}.",
            "",
            "| what | peer | time | bar | ours, s | peer, s | ours, MiB | peer, MiB | results |",
            "|---|---|---|---|---|---|---|---|---|",
            *(table_row(row) for row in part["rows"]),
        ]
    return "\n".join(lines) + "\n"


def table_row(row: dict[str, Any]) -> str:
    """One line of the page."""
    bars = [f"≤ {row['bar']:.3g}"] if row["bar"] is not None else []
    bars += [f"memory ≤ {row['memory_share']:.3g} of it"] if row["memory_share"] is not None else []
    bars += [f"≤ {row['memory_mib']:,.0f} MiB"] if row["memory_mib"] is not None else []
    memory = [f"{row[key]:,.0f}" if key in row else "" for key in ("ours_peak_mib", "peer_peak_mib")]
    cells = [
        row["what"],
        row["peer"],
        f"{row['ratio']:.2f} ({row['median_ratio']:.2f})" + ("" if row["ok"] else " **above the bar**"),
        ", ".join(bars) or "–",
        f"{row['ours_best_s']:.3f}",
        f"{row['peer_best_s']:.3f}",
        *memory,
        "; ".join(f"{key} {value:.4g}" for key, value in row["quality"].items()),
    ]
    return f"| {' | '.join(cells)} |"


def save(folder: Path, script: str, reported: dict[str, Any], rows: list[dict[str, Any]]) -> None:
    """Put this script's rows beside those of the other, and write the page anew; cases that did not run stay."""
    file = folder / "latent-speed.json"
    parts = json.loads(file.read_text()) if file.exists() else {}
    before = {row["case"]: row for row in parts.get(script, {}).get("rows", [])}
    parts[script] = {"about": reported, "rows": list((before | {row["case"]: row for row in rows}).values())}
    folder.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps(parts, indent=2) + "\n")
    (folder / "latent-speed.md").write_text(page(parts))


def main(cases: Cases, description: str) -> None:
    """Parse, measure, print."""
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tiny", action="store_true", help="small data: shows that it runs, says nothing of speed")
    parser.add_argument("--only", nargs="+", choices=list(cases), default=list(cases))
    parser.add_argument("--seconds", type=float, default=15.0, help="how long the two sides of a case take turns")
    parser.add_argument("--out", type=Path, help="folder for latent-speed.json and latent-speed.md")
    parser.add_argument("--peak", nargs=2, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.peak:
        name, role = arguments.peak
        print(peak_of(getattr(cases[name](arguments.tiny), role)))
        return
    if arguments.tiny:
        arguments.seconds = 0.0
        if arguments.out:
            parser.error("--tiny says nothing that is worth --out")
    reported = about(arguments.seconds)
    print(reported)
    rows = []
    for name in arguments.only:
        rows.append(measure(name, cases, arguments.tiny, arguments.seconds))
        print(name, table_row(rows[-1]), flush=True)
    if arguments.out:
        save(arguments.out, Path(sys.argv[0]).stem, reported, rows)
