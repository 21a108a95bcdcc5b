"""The tasks of a matrix on a Ray cluster: its agents travel to the nodes, its cells travel back."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from rlstitch.config.sweep import Resources
from rlstitch.evaluation.matrix.tasks import forget_agents
from rlstitch.jobs.local import Outcome, Progress, Task
from rlstitch.jobs.on_ray import run_tasks_on_ray
from rlstitch.jobs.worker import find_callable

CALL = "rlstitch.evaluation.matrix.on_ray:play"
_AGENTS = ("agent", "encoder")
"""Keys under which the arguments of tasks hold the folder of an agent."""


def run_cells_on_ray(
    tasks: Iterable[Task],
    folder: Path,
    *,
    address: str,
    resources: Resources,
    on_done: Callable[[Outcome], None] | None = None,
    on_progress: Callable[[Progress], None] | None = None,
) -> list[Outcome]:
    """Run the tasks of a matrix on a cluster.

    Args:
        tasks: from `open_work`; their agents' paths are absolute.
        folder: of the matrix, where cells come back to.
        address: as for `run_tasks_on_ray`.
        resources: what a task occupies; `shared` where every node sees the current folder, that of the matrix and
            those of the agents under the same paths.
        on_done, on_progress: as for `run_tasks_on_ray`.

    Raises:
        MissingExtraError: Ray is not installed.
        InvalidInputError: no cluster answers at the address.
    """
    return run_tasks_on_ray(
        [remote(task if resources.shared else portable(task)) for task in tasks],
        address=address,
        threads=max(1, int(resources.cpus)),
        **resources.model_dump(),
        partial=True,  # a task in which one agent could not be read has cells of the others
        root=folder,
        on_done=on_done,
        on_progress=on_progress,
    )


def remote(task: Task) -> Task:
    """Return a task that `play` runs."""
    return replace(task, call=CALL, arguments={"call": task.call, "arguments": task.arguments})


def play(call: str, arguments: dict[str, Any]) -> None:
    """Run a task of a matrix where another one may have run before, with other agents under the same paths.

    Raises:
        RlstitchError: as the task does.
    """
    forget_agents()  # a process of Ray's outlives a task
    find_callable(call)(**arguments)


def portable(task: Task) -> Task:
    """Return a task of a matrix as it runs in a folder of its own: it writes there, and its agents are inputs."""
    inputs: dict[str, Path] = {}

    def moved(value: Any, key: str = "") -> Any:
        if key in _AGENTS:
            name = f"agents/{Path(value).name}"  # agents of one matrix have different names
            inputs[name] = Path(value)
            return name
        if isinstance(value, Mapping):
            return {name: moved(item, name) for name, item in value.items()}
        return [moved(item) for item in value] if isinstance(value, (list, tuple)) else value

    arguments = {**moved(dict(task.arguments)), "folder": "."}
    return replace(task, arguments=arguments, inputs=inputs)
