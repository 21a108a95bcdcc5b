"""The demo: train two agents independently, see that mixing them fails, stitch them, and write a report."""

from __future__ import annotations

import functools
import os
import platform
import shlex
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import chain
from multiprocessing import get_context
from pathlib import Path
from typing import Any

from rlstitch.agents import Agent, current_versions, load_agent, save_agent
from rlstitch.api.listing import steps_taken
from rlstitch.api.relativize import relativize
from rlstitch.config.training import TrainConfig, load_config
from rlstitch.envs.registry import named_family
from rlstitch.errors import InvalidInputError, RlstitchError
from rlstitch.evaluation.baselines import Baselines
from rlstitch.evaluation.cell import measure_cell
from rlstitch.evaluation.options import CellOptions
from rlstitch.evaluation.row import Row
from rlstitch.jobs.progress import ProgressReporter, Style
from rlstitch.jobs.resources import torch_threads
from rlstitch.reporting.cell_report import Report, write_report
from rlstitch.reporting.tables import table_text
from rlstitch.rollouts.video import video_side_by_side
from rlstitch.stitching.pairs import gather_pairs
from rlstitch.stitching.stitch import Stitch, stitch_agents
from rlstitch.storage import command_line, exclusive_lock, recover, write_table

PRESET = "minigrid-lavagap"
"""Trained in half a minute, and one wrong step is the last: a controller that misreads what it sees does not get by."""
LOOKS = ("red", "green")
GATE = 0.95
"""Success rate under which an agent counts as failed and is trained again with another seed."""
ATTEMPTS = 3
POST_HOC = "relative (post-hoc)"
_EPISODES = 100
_LOCK = "lock"
_Each = Callable[..., list[Any]]
"""Calls a function on each of some arguments, as `map` does, and returns the results."""


@dataclass(frozen=True)
class _Side:
    """A trained agent of the demo: its look, and the folders of it and of the relative agent made of it."""

    look: str
    folder: Path
    relative: Path


@dataclass(frozen=True)
class DemoOutcome:
    """The results of the demo and the paths of its files. Its text is what the command prints.

    `cells` have sampled actions, `greedy` are the same rows with the likeliest ones: in a small world a controller that
    misreads its input succeeds now and then by sampled actions, and hardly ever by greedy ones; and the greedy actions
    of a good one may repeat for ever.
    """

    cells: list[Row]
    greedy: list[Row]
    summary: str
    remarks: list[str]
    report: Path
    seconds: float
    next_commands: list[tuple[str, str]]

    def __str__(self) -> str:
        lines = [table_text(self.cells), "", table_text(self.greedy), "", self.summary, *self.remarks, ""]
        lines.append(f"report   {self.report}   ({self.seconds:.0f} s in all)")
        lines += ["", "Next commands:"]
        for comment, command in self.next_commands:
            lines += [f"  # {comment}", f"  {command}"]
        return "\n".join(lines)


def demo(
    *,
    seed: int = 0,
    out: Path = Path("runs/demo"),
    preset: str = PRESET,
    workers: int | None = None,
    settings: Mapping[str, object] | None = None,
    gate: float = GATE,
    progress: ProgressReporter | None = None,
) -> DemoOutcome:
    """Train two agents independently, stitch them both ways, and write videos and a report.

    One sees a red floor, the other a green one; their seeds differ. Rows: random, native, naive, translated (affine)
    and relative (post-hoc), in both directions.

    Args:
        seed: random seed; the two agents get `2 * seed + 1` and `2 * seed + 2`.
        out: folder to write; an older demo in it is replaced.
        preset: what to train on, a preset or a config file.
        workers: processes that do the work; None: as many as there are processors, at most two.
        settings: dotted keys of the training config, laid over the preset; look, seed and name stay the demo's.
        gate: success rate under which an agent counts as failed and is trained again with another seed.
        progress: shows how far each stage of the work is; None: nothing is shown.

    Raises:
        BusyError: where another demo is being written to `out`.
        InvalidInputError: where `out` is a folder that holds something other than a demo.
        RlstitchError: where an agent does not pass the gate in `ATTEMPTS` attempts.
    """
    started = time.perf_counter()
    progress = progress or ProgressReporter(style="none")
    _check_folder(out)
    configure = functools.partial(_config, preset, settings=settings or {}, seed=seed)
    configure(look=LOOKS[0], attempt=0)  # a mistake in the settings is said before anything is written
    with exclusive_lock(out / _LOCK, f"the demo in {out}"):
        with _processes(workers or min(2, os.cpu_count() or 1)) as each:
            agents, remarks = _train_two(configure, out, each, gate, progress)
            (cells, greedy), videos = _measure_all(agents, seed, out, each, progress)
        write_table([cell.to_row() for cell in cells], out / "cells")
        write_table([cell.to_row() for cell in greedy], out / "cells-greedy")
        summary = _summary(cells, greedy)
        next_commands = _next_commands(agents, out)
        seconds = time.perf_counter() - started
        report = Report(
            title="rlstitch demo: two agents, trained apart, as interchangeable parts",
            summary=summary,
            cells=cells,
            panels=videos,
            facts=_facts(seed, agents, seconds, remarks),
            next_commands=next_commands,
        )
        page = out / "report.html"
        write_report(report, page)
    return DemoOutcome(cells, greedy, summary, remarks, page, seconds, next_commands)


@contextmanager
def _processes(workers: int) -> Iterator[_Each]:
    """Yield what calls a function on each of some arguments, in several processes or in this one."""
    if workers == 1:
        yield lambda function, *arguments: list(map(function, *arguments))
        return
    # Spawned, not forked: torch's threads do not survive a fork.
    with ProcessPoolExecutor(workers, mp_context=get_context("spawn")) as pool:
        yield lambda function, *arguments: list(pool.map(function, *arguments))


def _measure_all(
    agents: list[Agent], seed: int, out: Path, each: _Each, progress: ProgressReporter
) -> tuple[list[list[Row]], list[tuple[str, Path]]]:
    """Return the rows with sampled and with greedy actions, and the videos."""
    folders = [out / "agents" / agent.card.name for agent in agents]
    shared: dict[str, Any] = {"seed": seed, "out": out, "style": _style(progress)}
    progress.write("relativizing both agents on one anchor set")
    relative = each(functools.partial(_relativize_one, **shared), folders)
    progress.write("stitching both ways, recording and playing")
    sides = [_Side(*side) for side in zip(LOOKS, folders, relative, strict=True)]
    crossed = each(functools.partial(_cross, **shared), sides, sides[::-1])
    baselines, world = Baselines(), agents[0].card.world
    tables = []
    with torch_threads():
        for kind, *rows in zip(_kinds(seed), *(tables for tables, _ in crossed), strict=True):
            natives = [baselines.native_row(agent, kind) for agent in agents]
            tables.append([baselines.random_row(world, kind), *natives, *chain(*rows)])
    captions = [f"Encoder trained on {x}, controller trained on {y}" for x, y in (LOOKS, LOOKS[::-1])]
    return tables, [(caption, video) for caption, (_, video) in zip(captions, crossed, strict=True)]


def _style(progress: ProgressReporter) -> Style:
    """Return how processes of their own report: in lines, as two bars would overwrite each other, or not at all."""
    return "none" if progress.style == "none" else "lines"


def _kinds(seed: int) -> list[CellOptions]:
    """Return the options of the cells with sampled and with greedy actions."""
    return [CellOptions(episodes=_EPISODES, seed=seed, greedy=greedy) for greedy in (False, True)]


def _relativize_one(folder: Path, *, seed: int, out: Path, style: Style) -> Path:
    """Relativize an agent and return the relative agent's folder."""
    with ProgressReporter(name=folder.name, style=style) as progress:
        agent = relativize(folder, seed=seed, episodes=_EPISODES, save=False, progress=progress).agent
    return save_agent(agent, out / "agents" / agent.card.name, force=True)


@torch_threads()
def _cross(encoders: _Side, controllers: _Side, *, seed: int, out: Path, style: Style) -> tuple[list[list[Row]], Path]:
    """Join the encoder of one agent to the controller of the other by each method, play, and write a video of all."""
    x, y = encoders.look, controllers.look
    with ProgressReporter(name=f"{x} encoder, {y} controller", style=style) as progress:
        progress.stage("stitching")
        encoder, policy = load_agent(encoders.folder), load_agent(controllers.folder)
        methods = _joined(encoder, policy, load_agent(encoders.relative), load_agent(controllers.relative), seed)
        for method in ("affine", POST_HOC):
            made = methods[method].agent
            save_agent(made, out / "agents" / f"demo-{x}-to-{y}-{made.card.method}", force=True)
        shown = [
            (f"native: {y} encoder, {y} controller", policy),
            (f"naive: {x} encoder, {y} controller", methods["naive"].agent),
            ("translated (affine)", methods["affine"].agent),
            (POST_HOC, methods[POST_HOC].agent),
        ]
        path, recording = out / "videos" / f"{x}-encoder-{y}-controller", progress.stage("recording", "episodes")
        video, _ = video_side_by_side(shown, path, seed=seed, on_progress=recording)
        # Of each kind the three methods, random actions and the native agent, which the recoveries are made of.
        baselines = Baselines(progress.stage("playing", "episodes"), 10)
        tables = [
            [
                measure_cell(encoder, policy, method, kind, stitched=stitched, baselines=baselines)
                for method, stitched in methods.items()
            ]
            for kind in _kinds(seed)
        ]
    return tables, video


def _joined(
    encoder: Agent, policy: Agent, relative_encoder: Agent, relative_policy: Agent, seed: int
) -> dict[str, Stitch]:
    """Join two agents naively and by an affine map, and the relative agents made of them."""
    pairs = gather_pairs(encoder, policy, seed=seed)
    relative_pairs = gather_pairs(relative_encoder, relative_policy, seed=seed)
    return {
        "naive": stitch_agents(encoder, policy, pairs, method="naive"),
        "affine": stitch_agents(encoder, policy, pairs, method="affine"),
        POST_HOC: stitch_agents(relative_encoder, relative_policy, relative_pairs, method="relative"),
    }


def _check_folder(out: Path) -> None:
    if out.is_file():
        raise InvalidInputError(f"out: expected a folder, found the file {out}")
    recover(out)  # what a demo that was killed left half-written
    known = {"agents", "videos", "training", "report.html", _LOCK}
    known |= {f"cells{kind}.{ending}" for kind in ("", "-greedy") for ending in ("csv", "json")}
    if out.is_dir() and (strange := sorted({path.name for path in out.iterdir()} - known)):
        raise InvalidInputError(f"out: {out} holds something other than a demo ({strange[0]}); name another folder")


def _train_two(
    configure: Callable[..., TrainConfig], out: Path, each: _Each, gate: float, progress: ProgressReporter
) -> tuple[list[Agent], list[str]]:
    """Train one agent a look, apart and at once; train those again that failed, and say so."""
    train_one = functools.partial(_train_one, out=out, style=_style(progress))
    agents: dict[str, Agent] = {}
    remarks: list[str] = []
    for attempt in range(ATTEMPTS):
        missing = [look for look in LOOKS if look not in agents]
        configs = [configure(look=look, attempt=attempt) for look in missing]
        if not configs:
            break
        environment, steps = configs[0].world.environment, configs[0].total_steps
        environment = named_family(environment).short_name(environment)
        progress.write(
            f"training {' and '.join(missing)} apart ({environment} from pixels, up to {steps:,} steps each)"
        )
        for look, agent in zip(missing, map(load_agent, each(train_one, configs)), strict=True):
            success = agent.card.training.success_rate if agent.card.training is not None else None
            if success is not None and success >= gate:
                agents[look] = agent
            else:
                remarks.append(
                    f"The {look} agent of seed {agent.card.seed} failed (success {success or 0:.0%}, gate {gate:.0%}) "
                    "and was trained again with another seed."
                )
    if missing := [look for look in LOOKS if look not in agents]:
        raise RlstitchError(
            f"the {missing[0]} agent did not reach success {gate:.0%} in {ATTEMPTS} attempts; try another seed"
        )
    return [agents[look] for look in LOOKS], remarks


def _config(preset: str, *, look: str, seed: int, attempt: int, settings: Mapping[str, object]) -> TrainConfig:
    values = {"device": "cpu", "evaluation.video": True, **settings}
    own = {"variation": look, "seed": 2 * seed + 1 + LOOKS.index(look) + 100_000 * attempt, "name": f"demo-{look}"}
    return load_config(preset, {**values, **own})


def _train_one(config: TrainConfig, *, out: Path, style: Style) -> Path:
    """Train in this process (which may be a worker's) and return the agent's folder."""
    from rlstitch.api.train import train

    return train(config, force=True, agents=out / "agents", runs=out / "training", progress=style).folder


def _summary(cells: list[Row], greedy: list[Row]) -> str:
    means, likeliest = _means(cells), _means(greedy)
    text = "The native agents earn no more than random actions, so that there is nothing to keep."
    if means is not None:
        naive = f"{means[2]:.0f} %" if means[2] >= 1 else "nothing"
        text = (
            f"Stitched agents keep {means[0]:.0f} % (translation) and {means[1]:.0f} % (relative) "
            f"of what the native agents earn; mixed naively they keep {naive}."
        )
    shares = "nothing to keep" if likeliest is None else "{:.0f} %, {:.0f} % and {:.0f} %".format(*likeliest)
    return f"{text} With greedy actions: {shares}."


def _means(cells: list[Row]) -> list[float] | None:
    """Return the mean recovery of translation, relative stitching and the naive combination; None without one."""
    recoveries = [
        [cell.recovery for cell in cells if cell.method == method and cell.recovery is not None]
        for method in ("affine", POST_HOC, "naive")
    ]
    return [sum(values) / len(values) for values in recoveries] if all(recoveries) else None


def _facts(seed: int, agents: list[Agent], seconds: float, remarks: list[str]) -> dict[str, str]:
    facts = {"seed": str(seed), "time": f"{seconds:.0f} s", "command": command_line()}
    for agent in agents:
        training = agent.card.training
        if training is not None:
            facts[agent.card.name] = f"seed {agent.card.seed}, {steps_taken(training)}"
    facts["machine"] = f"{platform.system()} {platform.machine()}, {os.cpu_count()} processors"
    facts["versions"] = ", ".join(f"{name} {number}" for name, number in current_versions().items())
    if remarks:
        facts["remarks"] = " ".join(remarks)
    return facts


def _next_commands(agents: list[Agent], out: Path) -> list[tuple[str, str]]:
    red, green, training = (
        shlex.quote(str(path)) for path in (*(out / "agents" / agent.card.name for agent in agents), out / "training")
    )
    return [
        ("curves, sample observations and videos of the two trainings", f"tensorboard --logdir {training}"),
        (
            "another way to join the same two agents",
            f"rlstitch stitch --encoder {red} --policy {green} --method orthogonal",
        ),
        ("the agents that came with the package", "rlstitch list"),
        ("an agent of your own", "rlstitch train configs/minigrid-doorkey.yaml --variation blue --seed 3"),
    ]
