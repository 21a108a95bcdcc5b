"""An environment of a user's own: agents of independent looks and seeds, stitched by the default settings.

    python benchmarks/own_environment.py [--folder runs/own-environment] [--relative] [--episodes 200]

Trains two agents a look in `benchmarks/courier` (agents that are in the folder are kept), joins each encoder with a
controller of the other look and another seed by `rlstitch.stitch`, and by `rlstitch.relativize` of both, none of them
with an option beyond the controls, and writes `docs/results/own-environment.md`, anew after each cell. `--relative`:
relative agents alone, both ways.
"""

from __future__ import annotations

import argparse
import os
import platform
import sys
import time
from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path

import rlstitch
from rlstitch.agents import Agent
from rlstitch.evaluation.row import Row

HERE = Path(__file__).resolve().parent
SEEDS = {"inverted": (1, 2), "channels:gbr": (3, 4)}
PAGE = HERE.parent / "docs/results/own-environment.md"


def native(look: str, seed: int) -> Agent:
    """Return the agent of a look and a seed; it is trained where it is not in the working folder."""
    config = rlstitch.load_config(HERE / "courier/courier.yaml", {"look": look, "seed": seed})
    if not Path("agents", config.name, "agent.json").is_file():
        rlstitch.train(config, resume=Path("runs", f"{config.name}-{config.hash8}").is_dir())
    return rlstitch.load_agent(config.name)


def cell(row: Row | None) -> str:
    """Return a row's recovery with its interval."""
    if row is None or row.recovery is None:
        return "–"
    return f"{row.recovery:.1f} [{row.recovery_low:.1f}, {row.recovery_high:.1f}]"


def write(page: Path, rows: Mapping[tuple[str, str], Mapping[str, Row]], episodes: int, seconds: float) -> None:
    """Write and print the results."""
    methods = list(dict.fromkeys(name for cells in rows.values() for name in cells if name not in ("random", "native")))
    natives = {controller: cells for (_, controller), cells in rows.items()}
    packages = ", ".join(f"{name} {version(name)}" for name in ("torch", "stable-baselines3", "gymnasium"))
    lines = [
        "# An environment of one's own", "",
        "64×64 RGB images of an environment that belongs to no family (`benchmarks/courier`: fetch a parcel and bring",
        "it to a door, 8×8 places), two looks, four seeds. Recovery in percent (0: random actions, 100: the native",
        f"controller in its own world) with 95 % intervals; {episodes} episodes a row, sampled actions. `stitch`",
        "(column `task_matched`) and `relativize` are called without an option.", "",
        "```", "python benchmarks/own_environment.py", "```", "",
        "| agent | return | success | random |", "|---|---|---|---|",
        *(f"| {name} | {cells['native'].return_mean:.3f} | {cells['native'].success or 0:.0%} | "
          f"{cells['random'].return_mean:.3f} |" for name, cells in natives.items()), "",
        f"| encoder | controller | {' | '.join(methods)} |", "|---|---" + "|---" * len(methods) + "|",
        *(f"| {a} | {b} | " + " | ".join(cell(cells.get(method)) for method in methods) + " |"
          for (a, b), cells in rows.items()), "",
        f"{packages}, Python {platform.python_version()}.", "",
    ]  # fmt: skip
    page.write_text("\n".join(lines), encoding="utf-8")
    print("\n".join(lines), f"{seconds:.0f} s", flush=True)


def main() -> None:
    """Train, stitch, measure and write."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--folder", type=Path, default=Path("runs/own-environment"))
    parser.add_argument("--page", type=Path, default=PAGE)
    parser.add_argument("--relative", action="store_true")
    parser.add_argument("--episodes", type=int, default=100)
    options = parser.parse_args()
    sys.path.append(str(HERE / "courier"))
    place = options.page.absolute()
    options.folder.mkdir(parents=True, exist_ok=True)
    os.chdir(options.folder)
    agents = {
        agent.card.name: agent for look, seeds in SEEDS.items() for seed in seeds for agent in [native(look, seed)]
    }
    names, start = list(agents), time.perf_counter()
    ring = [(names[0], names[2]), (names[2], names[1]), (names[1], names[3]), (names[3], names[0])]
    rows: dict[tuple[str, str], dict[str, Row]] = {}
    if options.relative:
        ring = [*ring, *((b, a) for a, b in ring)]
    for a, b in () if options.relative else ring:
        cells = rlstitch.stitch(agents[a], agents[b], controls=not rows, save=False, episodes=options.episodes).cells
        rows[a, b] = {row.method: row for row in cells}
        write(place, rows, options.episodes, time.perf_counter() - start)
    made = {name: rlstitch.relativize(agent, save=False).agent for name, agent in agents.items()}
    for a, b in ring:
        cells = rlstitch.stitch(made[a], made[b], method="relative", save=False, episodes=options.episodes).cells
        by_method = {row.method: row for row in cells}
        rows.setdefault((a, b), {name: by_method[name] for name in ("random", "native")})["relativize"] = cells[-1]
        write(place, rows, options.episodes, time.perf_counter() - start)


if __name__ == "__main__":
    main()
