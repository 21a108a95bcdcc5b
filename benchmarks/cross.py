"""Every encoder with every controller, by a table of methods: one script, one YAML file a table.

    rlstitch sweep configs/grids/evidence.yaml                # the native agents of the MiniGrid tables
    python benchmarks/cross.py benchmarks/crosses/minigrid.yaml [--workers 2] [--agents agents] [--groups ...]
    python benchmarks/cross.py benchmarks/crosses/minigrid.yaml --page     # the page again, from the stored rows

A cell is one encoder with one controller of another seed. Random actions and the native controller are the ends of its
scale: 0 and 100 %. Agents whose own success is below the file's `gate` are listed and left out. Rows that are stored in
the file's `results` are kept. Beyond the methods of `rlstitch stitch` a table may name `controller cloned`, `affine map
of pixels`, controls (`affine-shuffled`, `affine-untrained`, `affine-self`), and, with `anchors`, `relative` (both
agents relativized on one anchor set), its first two controls, and `affine` (fitted on the anchors as pairs).
"""

from __future__ import annotations

import argparse
import hashlib
import itertools
import re
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass, field, fields
from functools import cache, lru_cache
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
import torch
import yaml

from cross_baselines import cloned_agent, pixel_agent
from cross_page import page, plot
from rlstitch.agents.agent import Agent
from rlstitch.agents.artefact import load_agent
from rlstitch.agents.encoder import TranslatedEncoder
from rlstitch.envs import World, cell_world
from rlstitch.evaluation.baselines import Baselines
from rlstitch.evaluation.cell import measure_cell
from rlstitch.evaluation.options import CellOptions
from rlstitch.jobs.progress import ProgressReporter
from rlstitch.latent import fit_affine
from rlstitch.rollouts.anchors import default_anchor_set
from rlstitch.rollouts.drivers import PerturbedAgent
from rlstitch.rollouts.image_pairs import collect_paired_images
from rlstitch.rollouts.views import collect_views
from rlstitch.stitching.controls import split_control, stitch_control, untrained_agent
from rlstitch.stitching.pairs import LatentPairs, cell_drivers, gather_latents
from rlstitch.stitching.relativize import Distillation, relativize_agent, visited_states
from rlstitch.stitching.stitch import Stitch, check_relative
from rlstitch.storage.json_files import read_json, write_table

HELD = 512
COLUMNS = ("group", "encoder", "controller", "label", "policy", "points", "distinct_views", "episodes", "success",
           "return_mean", "random_return", "native_return", "recovery", "recovery_low", "recovery_high",
           "fit_action_agreement", "fit_kl")  # fmt: skip
Row = dict[str, Any]


@dataclass(frozen=True)
class Method:
    """A line of a table: what stands between encoder and controller."""

    label: str
    join: str
    """A stitching method, one with rounds of refinement (`affine-refined-3`) or the control of one, `controller cloned`
    or `affine map of pixels`."""
    pairs: int = 1024
    perturb: float = 0.0
    """Share of random actions where the two agents play to collect pairs."""
    anchors: int = 0
    """Above 0: relativize on so many anchors, or fit on them as pairs."""
    drivers: tuple[str, ...] = ()
    """Ends of the names of the agents that play, beside random actions, where the anchors are found."""
    relativize: Mapping[str, Any] = field(default_factory=dict)
    greedy: bool = False
    among: tuple[str, ...] = ()
    """Ends of the names of the agents that are crossed; none: all."""
    groups: tuple[str, ...] = ()
    """Groups that the line is for; none: all."""


@dataclass(frozen=True)
class Cross:
    """A table, as its YAML file describes it."""

    title: str
    about: str
    results: Path
    groups: Mapping[str, Sequence[str]]
    """Names of agents; those of one group are crossed. Braces list alternatives: `lavagap-{red,green}-s{1,2}`."""
    methods: tuple[Method, ...]
    gate: float | None = 0.95
    bar: float = 95.0
    mean_bar: float | None = None
    episodes: int = 100
    more_episodes: int | None = None
    """Where the upper end of a cell is less than 5 points below the bar."""
    differ: tuple[str, ...] = ("seed",)
    """`seed`, `look`, `task`, `sensor`: in which both sides of a cell differ."""
    one_way: bool = False
    """Whether an encoder is joined only with the controllers of agents that its group names after its own."""
    one_rollout: bool = False
    """Whether all agents play in one rollout that every look sees, and pairs and anchors are its states."""
    success: bool = False
    """Whether the page has the mean success rate of a method's cells."""
    judged: tuple[str, ...] = ()
    """Labels of the methods that the bars are about; none: the last one."""
    plot: Mapping[str, Sequence[str]] = field(default_factory=dict)
    """Curves over the number of pairs or anchors: labels of methods by the curve's name."""
    notes: str = ""

    @classmethod
    def read(cls, path: Path) -> Cross:
        """Read a YAML file; a method is a mapping, or a name."""
        values = yaml.safe_load(path.read_text(encoding="utf-8"))
        named = [{"label": entry, "join": entry} if isinstance(entry, str) else entry for entry in values["methods"]]
        methods = tuple(Method(**{"join": entry["label"], **entry}) for entry in named)
        groups = {group: list(itertools.chain(*map(expand, names))) for group, names in values["groups"].items()}
        lists = {name: tuple(values.get(name, getattr(cls, name))) for name in ("differ", "judged")}
        return cls(**{**values, **lists, "results": Path(values["results"]), "groups": groups, "methods": methods})

    def names(self, group: str, folder: Path) -> dict[str, float | None]:
        """Return the success of a group's agents that exist, as their cards state it."""
        success = {}
        for name in self.groups[group]:
            if (folder / name / "agent.json").is_file():
                training = loaded(folder, name).card.training
                success[name] = training and training.success_rate
        return success

    def cells(self, group: str, folder: Path, method: Method) -> Iterator[tuple[str, str]]:
        """Yield encoder and controller of each cell, and relative agents with their own parts."""
        good = [
            name
            for name, success in self.names(group, folder).items()
            if (self.gate is None or (success or 0.0) >= self.gate)
            and (not method.among or name.endswith(tuple(method.among)))
        ]
        if method.join == "relative":
            yield from ((name, name) for name in good)
        for encoder, controller in (itertools.combinations if self.one_way else itertools.permutations)(good, 2):
            one, other = loaded(folder, encoder).card, loaded(folder, controller).card
            values = {"seed": (one.seed, other.seed), "look": (one.world.variation, other.world.variation),
                      "task": (one.world.task, other.world.task),
                      "sensor": tuple(card.world.sensor or "pixels" for card in (one, other))}  # fmt: skip
            if all(values[key][0] != values[key][1] for key in self.differ):
                yield encoder, controller


def expand(pattern: str) -> list[str]:
    """Return the names that a pattern with `{a,b}` stands for, as a shell expands it."""
    parts = re.split(r"\{([^}]*)\}", pattern)
    return [
        "".join(name)
        for name in itertools.product(*(part.split(",") if n % 2 else [part] for n, part in enumerate(parts)))
    ]


@cache
def loaded(folder: Path, name: str) -> Agent:
    """Load an agent once a process."""
    return load_agent(folder / name)


@lru_cache(maxsize=3)
def states_of(folder: Path, name: str) -> np.ndarray:
    """Return what an agent observes in its own world; a hundred megabytes each, so few are kept."""
    return visited_states(loaded(folder, name), seed=0)


@dataclass(frozen=True)
class Workplace:
    """What the cells of one process share."""

    cross: Cross
    folder: Path
    baselines: Baselines = field(default_factory=Baselines)
    relative: dict[Any, Agent] = field(default_factory=dict)
    images: dict[Any, Any] = field(default_factory=dict)
    latents: dict[Any, list[LatentPairs]] = field(default_factory=dict)

    def world(self, name: str) -> World:
        """Return an agent's own world."""
        return loaded(self.folder, name).card.world

    def rollout(self, encoder: str, controller: str, count: int) -> tuple[np.ndarray, np.ndarray]:
        """Return images of the same states under two looks, of one rollout that all agents of the table drive."""
        worlds = (self.world(encoder), self.world(controller))
        if (*worlds, count) not in self.images:
            names = dict.fromkeys(itertools.chain(*self.cross.groups.values()))
            agents = [loaded(self.folder, name) for name in names]
            x, y = collect_paired_images(*worlds, count=count + HELD, agents=agents)
            order = np.random.default_rng(0).permutation(len(x))
            self.images[(*worlds, count)] = x[order], y[order]
            self.images[(*worlds[::-1], count)] = y[order], x[order]
        return self.images[(*worlds, count)]

    def anchors(self, group: str, encoder: str, controller: str, method: Method) -> tuple[np.ndarray, np.ndarray, str]:
        """Return the anchors as both agents observe them, and the identity of the set."""
        if self.cross.one_rollout:
            other = controller if encoder != controller else self.partner(encoder)
            x, y = (images[:-HELD] for images in self.rollout(encoder, other, method.anchors))
            identity = hashlib.sha256(min(x.tobytes(), y.tobytes())).hexdigest()
            return x, (y if encoder != controller else x), identity
        key = (group, method.anchors, method.drivers)
        if key not in self.images:
            drivers = [loaded(self.folder, f"{group}-{end}") for end in method.drivers]
            self.images[key] = default_anchor_set(self.world(controller), method.anchors, drivers=drivers)
        anchor_set = self.images[key]
        x, y = (anchor_set.render_in(self.world(name)) for name in (encoder, controller))
        return x, y, anchor_set.identity

    def partner(self, name: str) -> str:
        """Return an agent of another look, for a rollout that two looks see."""
        names = itertools.chain(*self.cross.groups.values())
        return next(other for other in names if self.world(other).variation != self.world(name).variation)

    def pairs(self, encoder: str, controller: str, method: Method) -> list[LatentPairs]:
        """Return latents of the same states under the two agents of a cell, and, for its control, untrained ones."""
        own, policy = (loaded(self.folder, name) for name in (encoder, controller))
        controls = [split_control(one.join)[1] for one in self.cross.methods]
        encoders = [own, untrained_agent(own)] if "untrained" in controls else [own]
        key = (encoder, controller, method.pairs, method.perturb)
        if key in self.latents:
            return self.latents[key]
        if self.cross.one_rollout:
            x, y = self.rollout(encoder, controller, method.pairs)
            latents = policy.encode(y)
            pairs = [
                LatentPairs(seen[:-HELD], latents[:-HELD], seen[-HELD:], latents[-HELD:], distinct_views=len(x))
                for seen in (agent.encode(x) for agent in encoders)
            ]
        else:
            drivers = cell_drivers(own, policy, cell_world(own.card.world, policy.card.world))
            if method.perturb:
                drivers = [PerturbedAgent(one.encoder, one.controller, one.card, method.perturb) for one in drivers]
            pairs = gather_latents(encoders, policy, pairs=method.pairs, seed=0, drivers=drivers)
        self.latents[key] = pairs
        return pairs

    def relativized(self, name: str, images: np.ndarray, identity: str, method: Method, control: str = "") -> Agent:
        """Return an agent made relative to anchors, or the encoder's side of a control, once a process."""
        key = (name, identity, control, *sorted(method.relativize.items()))
        if key not in self.relative:
            agent = loaded(self.folder, name)
            if control == "untrained":
                agent = untrained_agent(agent)
            elif control == "shuffled":
                images = images[np.random.default_rng(0).permutation(len(images))]
            names = [field.name for field in fields(Distillation) if field.name in method.relativize]
            self.relative[key] = relativize_agent(
                agent,
                images,
                states_of(self.folder, name),
                anchor_set=identity,
                distillation=Distillation(**{name: method.relativize[name] for name in names}),
                judge=False,
                **{name: value for name, value in method.relativize.items() if name not in names},
            ).agent
        return self.relative[key]

    def joined(
        self, group: str, encoder: str, controller: str, method: Method
    ) -> tuple[Stitch | Agent, int, int | None]:
        """Return the two agents joined, the number of pairs or anchors, and that of distinct views where counted."""
        x_agent, y_agent = (loaded(self.folder, name) for name in (encoder, controller))
        if method.anchors:
            x, y, identity = self.anchors(group, encoder, controller, method)
            base, control = split_control(method.join)
            if base == "relative":
                one = self.relativized(encoder, x, identity, method, control)
                other = self.relativized(controller, y, identity, method)
                check_relative(one, other)
                return Agent(one.encoder, other.controller, y_agent.card), len(x), None
            translation = fit_affine(x_agent.encode(x), y_agent.encode(y))
            return (
                Agent(TranslatedEncoder(x_agent.encoder, translation), y_agent.controller, y_agent.card),
                len(x),
                None,
            )
        pairs, *untrained = self.pairs(encoder, controller, method)
        every = len(pairs.x) + len(pairs.x_held)
        if method.join == "controller cloned":
            x, y = torch.cat([pairs.x, pairs.x_held]), torch.cat([pairs.y, pairs.y_held])
            return cloned_agent(x_agent, y_agent, x, y), every, pairs.distinct_views
        if method.join == "affine map of pixels":
            world = self.world(controller)
            plain = World(world.environment, task=world.task, view=world.view, tile_size=world.tile_size)
            seen = collect_views(plain, count=method.pairs, seed=0, agents=[y_agent, x_agent])
            return pixel_agent(x_agent, y_agent, seen.views), len(seen), pairs.distinct_views
        stitched = stitch_control(x_agent, y_agent, pairs, method.join, *untrained)
        return stitched, stitched.report.pairs, stitched.report.distinct_views

    def row(self, group: str, encoder: str, controller: str, method: Method) -> Row:
        """Measure one cell by one method."""
        agent, points, views = self.joined(group, encoder, controller, method)
        x_agent, y_agent = (loaded(self.folder, name) for name in (encoder, controller))
        if split_control(method.join)[1] == "self":
            x_agent = y_agent
        for episodes in (self.cross.episodes, self.cross.more_episodes or self.cross.episodes):
            options = CellOptions(episodes=episodes, greedy=method.greedy)
            row = measure_cell(x_agent, y_agent, method.label, options, stitched=agent, baselines=self.baselines)
            near = row.recovery_high is not None and self.cross.bar - 5 < row.recovery_high < self.cross.bar
            if not near:
                break
        stated = {**row.to_row(), "random_return": row.random_return, "native_return": row.native_return}
        more = {"group": group, "encoder": encoder, "label": method.label, "points": points, "distinct_views": views}
        return {name: {**stated, **more}.get(name) for name in COLUMNS} | dict(method.relativize)


@cache
def workplace(path: Path, folder: Path) -> Workplace:
    """Return what a process keeps between cells."""
    torch.set_num_threads(1)
    return Workplace(Cross.read(path), folder)


def measure(path: Path, folder: Path, group: str, encoder: str, controller: str, labels: Sequence[str]) -> list[Row]:
    """Measure the rows of a cell that are missing."""
    place = workplace(path, folder)
    return [place.row(group, encoder, controller, method) for method in place.cross.methods if method.label in labels]


def write(cross: Cross, folder: Path, rows: Sequence[Row]) -> None:
    """Write the rows, and the page that is made of them."""
    order = {method.label: number for number, method in enumerate(cross.methods)}
    groups = list(cross.groups)
    ordered = sorted(rows, key=lambda row: (groups.index(row["group"]), order.get(row["label"], len(order))))
    write_table(ordered, cross.results)
    cross.results.with_suffix(".md").write_text(page(cross, ordered), encoding="utf-8")
    if image := plot(cross, ordered):
        cross.results.with_suffix(".png").write_bytes(image)


def main() -> None:
    """Measure what is missing; the table is written after every cell."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("table", type=Path, help="a file of benchmarks/crosses")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--agents", type=Path, default=Path("agents"))
    parser.add_argument("--groups", nargs="+", help="measure these groups only")
    parser.add_argument("--limit", type=int, help="measure so many cells in this run")
    parser.add_argument("--page", action="store_true", help="write the page from the stored rows, measure nothing")
    options = parser.parse_args()
    cross = Cross.read(options.table)
    stored = cross.results.with_suffix(".json")
    rows: list[Row] = list(read_json(stored)) if stored.is_file() else []  # type: ignore[arg-type]
    known = {(row["encoder"], row["controller"], row["label"]) for row in rows}
    missing: dict[tuple[str, str, str], list[str]] = {}
    for group in () if options.page else options.groups or cross.groups:
        for method in cross.methods:
            if method.groups and group not in method.groups:
                continue
            for cell in cross.cells(group, options.agents, method):
                if (*cell, method.label) not in known:
                    missing.setdefault((group, *cell), []).append(method.label)
    todo = list(missing.items())[: options.limit]
    print(f"{len(todo)} cells to measure")
    if not todo:
        write(cross, options.agents, rows)
        return
    with ProcessPoolExecutor(options.workers, mp_context=get_context("spawn")) as pool:
        futures = [pool.submit(measure, options.table, options.agents, *cell, labels) for cell, labels in todo]
        with ProgressReporter("cells", interval=0) as progress:
            progress(0, len(todo))
            for done, future in enumerate(as_completed(futures), 1):
                rows += future.result()
                write(cross, options.agents, rows)
                progress(done, len(todo))


if __name__ == "__main__":
    main()
