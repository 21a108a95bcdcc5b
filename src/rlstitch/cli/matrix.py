"""`rlstitch matrix`."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, ClassVar

from tyro.conf import Positional, arg

from rlstitch.cli.console import complain, say, split_names
from rlstitch.cli.options import EnvironmentOptions, Threads


@dataclass(frozen=True, kw_only=True)
class Matrix(EnvironmentOptions):
    """Join every encoder to every controller of the matching agents, under several methods, and measure all cells."""

    SEVERAL: ClassVar[str] = "agents"
    """The argument that takes several values, between options too."""

    agents: Annotated[Positional[tuple[str, ...]], arg(metavar="AGENTS", help_behavior_hint="(required)")]
    """Names with * ("doorkey-*"), or folders; one or more."""
    methods: Annotated[str, arg(metavar="METHOD,...")] = "naive,affine,auto"
    """Stitching methods, separated by commas: see rlstitch stitch; affine-refined-2 has 2 rounds of refinement."""
    episodes: Annotated[int, arg(metavar="NUMBER")] = 100
    """Episodes a cell."""
    pairs: Annotated[int, arg(metavar="NUMBER")] = 1024
    """Paired observations that a translation is fitted on, at most."""
    seed: Annotated[int, arg(metavar="NUMBER")] = 0
    """Random seed of pairs and episodes."""
    greedy: bool = False
    """Take the most likely action instead of a sampled one."""
    workers: Annotated[int, arg(metavar="NUMBER")] = 1
    """Processes that measure cells at once."""
    ray: Annotated[str | None, arg(metavar="ADDRESS", help_behavior_hint="(default: processes on this machine)")] = None
    """Measure on a Ray cluster: auto, local (starts one here), or an address."""
    cpus: Annotated[float, arg(metavar="NUMBER")] = 1
    """On Ray: processors that a task occupies, and its threads."""
    shared: bool = False
    """On Ray: every node sees the folders of agents and cells, so that no files are sent."""
    same_seed: bool = False
    """Count pairs of agents of one seed in the means, too."""
    controls: bool = False
    """Measure each method on shuffled pairs, with untrained encoders and with the controllers' own, too."""
    without: Annotated[str, arg(metavar="NAME,...", help_behavior_hint="(default: none)")] = ""
    """Agents to leave out of those that match a name with *: names, separated by commas, with * too."""
    derived: bool = False
    """Let names with * match stitched and relativized agents, too."""
    worlds: Annotated[str, arg(metavar="WORLD,...")] = "cell"
    """Where every cell is played: cell (the encoder's look, the controller's task), LOOK or LOOK/TASK, ...."""
    video: Annotated[int, arg(metavar="NUMBER")] = 0
    """Record so many cells of the best method, the worst first; rlstitch report shows them."""
    out: Annotated[Path | None, arg(metavar="FOLDER", help_behavior_hint="(default: runs/matrix-HASH)")] = None
    """Folder of cells and tables."""
    threads: Threads = None

    def run(self) -> int:
        """Measure what is missing and print the table; 1 where tasks failed, 130 where it was interrupted."""
        from rlstitch.api.matrix import matrix
        from rlstitch.config.sweep import Resources
        from rlstitch.jobs.progress import ProgressReporter
        from rlstitch.storage.validation import validated

        resources = validated(Resources, {"cpus": self.cpus, "shared": self.shared}, "resources") if self.ray else None
        with ProgressReporter("results") as reporter:
            result = matrix(
                self.agents,
                env=self.environment(),
                methods=split_names(self.methods),
                episodes=self.episodes,
                pairs=self.pairs,
                seed=self.seed,
                deterministic=self.greedy,
                workers=self.workers,
                same_seed=self.same_seed,
                controls=self.controls,
                without=split_names(self.without),
                derived=self.derived,
                worlds=split_names(self.worlds),
                video=self.video,
                out=self.out,
                ray=self.ray,
                resources=resources,
                on_progress=reporter,
            )
        say(str(result))
        for outcome in result.failed:
            complain(f"failed: {outcome.error}")
        if result.interrupted:
            complain("interrupted; the same command goes on")
            return 130
        return 1 if result.failed or result.video_problem else 0
