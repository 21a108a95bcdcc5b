"""List agents and presets, and describe one agent."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from rlstitch.agents.card import AgentCard, TrainingCard
from rlstitch.agents.manifest import PARTS, AgentEntry, count_parameters, find_agent, list_agents, read_card
from rlstitch.config.files import list_presets
from rlstitch.envs.world import World
from rlstitch.storage.text import aligned

_HEADER = ("agent", "environment", "look", "task", "kind", "return", "success")


@dataclass(frozen=True)
class Listing:
    """Agents and presets, sorted by name; as text, two tables."""

    agents: tuple[AgentEntry, ...]
    presets: Mapping[str, Path]

    def __str__(self) -> str:
        rows = [_row(entry.card) for entry in self.agents if entry.card is not None]
        lines = aligned([_HEADER, *rows]) if rows else ["no agents here; `rlstitch train` makes one"]
        lines += [f"{entry.name}  broken: {entry.reason}" for entry in self.agents if entry.card is None]
        lines += ["", "presets: " + (", ".join(self.presets) or "none")]
        return "\n".join(lines)


@dataclass(frozen=True)
class AgentDetails:
    """One agent, read and checked in full."""

    path: Path
    card: AgentCard
    parameters: Mapping[str, int]
    """Number of weights in `encoder` and `controller`."""

    def __str__(self) -> str:
        card, world = self.card, self.card.world
        height, width, channels = card.observation_shape
        pairs = [
            ("agent", card.name),
            ("folder", str(self.path)),
            ("environment", world.environment),
            ("look", world.look),
            ("task", world.task),
            ("observation", f"{height}x{width}x{channels}{_observation_details(world)}"),
            ("kind", _kind(card)),
            ("seed", str(card.seed)),
            ("encoder", f"{self.parameters['encoder']:,} weights"),
            ("controller", f"{self.parameters['controller']:,} weights"),
            *_anchor_lines(card),
            *[(f"{parent.role} from", f"{parent.name} ({parent.sha256[:12]})") for parent in card.parents],
            *_training_lines(card.training),
            ("versions", ", ".join(f"{name} {version}" for name, version in card.versions.items())),
            ("command", card.command or "not recorded"),
            ("created", card.created),
        ]
        return "\n".join(f"{key:<17}{value}" for key, value in pairs)


def _observation_details(world: World) -> str:
    """Settings of observations and actions that differ from the environment's own."""
    from rlstitch.envs.registry import named_family

    parts = [
        named_family(world.environment).describe(world),
        f"sensor {world.sensor}" * (world.sensor != "pixels"),
        f"{world.frame_stack} images" * (world.frame_stack > 1),
        f"each action {world.action_repeat} times" * (world.action_repeat > 1),
        f"by {world.backend}" * (world.backend != "gymnasium"),
    ]
    text = ", ".join(part for part in parts if part)
    return f" ({text})" if text else ""


def list_everything(*, roots: Iterable[Path] | None = None) -> Listing:
    """Return the agents and presets that can be found by name.

    Args:
        roots: look for agents in these folders instead of `./agents` and those that came with the package.
    """
    return Listing(agents=tuple(list_agents(roots=roots)), presets=list_presets())


def show_agent(name_or_folder: str | Path, *, roots: Iterable[Path] | None = None) -> AgentDetails:
    """Return what an agent is; its weight files are checked too, so that a damaged agent is refused.

    Raises:
        UnknownNameError: where no agent has this name.
        ArtefactError: where the folder is not a whole, unaltered agent.
    """
    folder = find_agent(name_or_folder, roots=roots)
    return AgentDetails(folder, read_card(folder), {part: count_parameters(folder, part) for part in PARTS})


def _row(card: AgentCard) -> tuple[str, ...]:
    training = card.training
    mean = "-" if training is None or training.return_mean is None else f"{training.return_mean:.3f}"
    success = "-" if training is None or training.success_rate is None else f"{training.success_rate:.0%}"
    return (card.name, card.world.environment, card.world.look, card.world.task, _kind(card), mean, success)


def _kind(card: AgentCard) -> str:
    if card.parents:
        return card.method or "stitched"
    return "relative" if card.anchors else "absolute"


def _anchor_lines(card: AgentCard) -> list[tuple[str, str]]:
    anchors = card.anchors
    if anchors is None:
        return []
    how = f"{anchors.similarity} after {anchors.normalization}"
    return [("anchors", f"{anchors.count} of {anchors.identity[:16]} ({how})")]


def _training_lines(training: TrainingCard | None) -> list[tuple[str, str]]:
    if training is None:
        return []
    lines = [("trained", f"{training.algorithm}, {training.steps:,} steps in {training.seconds:,.0f} s")]
    if training.return_mean is not None:
        low_high = training.return_interval
        interval = f" (95 % interval {low_high[0]:.3f} to {low_high[1]:.3f})" if low_high else ""
        episodes = f" over {training.episodes} episodes" if training.episodes else ""
        lines.append(("return", f"{training.return_mean:.3f}{interval}{episodes}"))
    if training.success_rate is not None:
        lines.append(("success", f"{training.success_rate:.1%}"))
    return lines
