"""Videos of the cells of a matrix that its means hide: the worst of the best method."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from rlstitch.agents import load_agent
from rlstitch.evaluation.matrix.run import MatrixOutcome
from rlstitch.evaluation.matrix.table import MatrixCell, MatrixResults, ranked_methods
from rlstitch.evaluation.matrix.tasks import cell_path, join_cell
from rlstitch.jobs.progress import OnProgress, part, silent
from rlstitch.rollouts.video import video_side_by_side
from rlstitch.stitching.stitch import joined_name

EPISODES = 3


def worst_cells(results: MatrixResults, count: int) -> list[MatrixCell]:
    """Return the cells of the lowest recovery under the method of the highest mean, the lowest first.

    The method is one of `ranked_methods`. The cells are those of the first world; none where no cell has a recovery.
    """
    place = results.methods[0].place
    ranked = ranked_methods(results.counted_cells(place))
    shown = [entry for entry in results.methods if entry.place == place and entry.method in ranked]
    best = max(shown, key=lambda entry: entry.mean["estimate"] if entry.mean else 0.0, default=None)
    cells = [
        (cell.recovery, number, cell)
        for number, cell in enumerate(results.cells)
        if best and cell.method == best.method and cell.place == place and cell.counted and cell.recovery is not None
    ]
    return [cell for _, _, cell in sorted(cells, key=lambda entry: entry[:2])[:count]]


def record_cells(outcome: MatrixOutcome, cells: Sequence[MatrixCell], on_progress: OnProgress = silent) -> list[Path]:
    """Write a video of each cell into `videos` in the folder of the matrix, beside the controller's own agent.

    A video that is younger than its cell is kept.

    Args:
        outcome: of the matrix.
        cells: that were measured in their own worlds.
        on_progress: called with the episodes drawn, and those in all.

    Returns:
        The MP4 files, in the order of the cells.

    Raises:
        ArtefactError: where an agent cannot be read, or a video cannot be written.
        InvalidInputError: where an episode does not come out as it did, so that it cannot be shown.
    """
    plan, paths = outcome.plan, []
    folders = {member.name: member.folder for member in plan.members}
    pairings = {(pairing.encoder.name, pairing.controller.name): pairing for pairing in reversed(plan.pairings)}
    for number, cell in enumerate(cells):
        path = outcome.folder / "videos" / joined_name(cell.encoder, cell.controller, cell.method)
        paths.append(path.with_name(f"{path.name}.mp4"))
        identity = pairings[cell.encoder, cell.controller].identity(cell.method, plan.options)
        measured = cell_path(outcome.folder, identity).stat().st_mtime
        if paths[-1].is_file() and paths[-1].stat().st_mtime >= measured:
            continue
        encoder, policy = (load_agent(folders[name]) for name in (cell.encoder, cell.controller))
        stitch, _ = join_cell(encoder, policy, cell.method, plan.options)
        video_side_by_side(
            [("native controller", policy), (f"stitched ({cell.method})", stitch.agent)],
            path,
            episodes=min(EPISODES, plan.options.episodes),
            seed=plan.options.seed,
            deterministic=plan.options.greedy,
            on_progress=part(on_progress, number, len(cells)),
        )
    return paths
