"""List agents and presets, and describe one of them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from rlstitch.agents.card import AgentCard, TrainingCard
from rlstitch.agents.manifest import PARTS, AgentEntry, count_parameters, find_agent, list_agents, opened_agent
from rlstitch.config.files import find_config, list_presets
from rlstitch.config.training import TrainConfig, load_config
from rlstitch.envs.world import World
from rlstitch.errors import UnknownNameError
from rlstitch.storage.text import aligned, fitted, printable

_NO_AGENTS = {False: "no agents here; `rlstitch train` makes one", True: "no agents of such a world"}
_HEADER = ("agent", "environment", "look", "task", "kind", "return", "success")


@dataclass(frozen=True)
class Listing:
    """Agents and presets, sorted by name; as text, two tables."""

    agents: tuple[AgentEntry, ...]
    presets: Mapping[str, Path]
    filtered: bool = False
    """Whether only agents of some worlds are listed, and no presets."""

    def __str__(self) -> str:
        rows = [_row(entry.card) for entry in self.agents if entry.card is not None]
        lines = fitted([_HEADER, *rows], left=5) if rows else [_NO_AGENTS[self.filtered]]
        lines += aligned([[entry.name, f"broken: {entry.reason}"] for entry in self.agents if entry.card is None])
        if not self.filtered:
            lines += ["", "presets: " + (", ".join(map(printable, self.presets)) or "none")]
        return "\n".join(lines)


@dataclass(frozen=True)
class AgentDetails:
    """One agent, read and checked in full."""

    path: Path
    card: AgentCard
    parameters: Mapping[str, int]
    """Number of weights in `encoder` and `controller`."""

    def __str__(self) -> str:
        from rlstitch.envs.observation import describe_shape

        card, world = self.card, self.card.world
        pairs = [
            ("agent", card.name),
            ("folder", str(self.path)),
            ("environment", world.environment),
            ("look", world.look_in_words),
            ("task", world.task),
            ("observation", describe_shape(card.observation_shape) + _observation_details(world)),
            *_key_lines(card),
            *([("not seen", unseen)] if (unseen := _unseen(world)) else []),
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
        return "\n".join(aligned(pairs))


def _observation_details(world: World) -> str:
    """Settings of observations and actions that differ from the environment's own."""
    from rlstitch.envs.registry import named_family

    parts = [
        named_family(world.environment).describe(world),
        f"sensor {world.sensor}" * (world.sensor not in (None, "pixels")),
        f"{world.frame_stack} frames" * (world.frame_stack > 1),
        f"each action {world.action_repeat} times" * (world.action_repeat > 1),
        f"by {world.backend}" * (world.backend != "gymnasium"),
    ]
    text = ", ".join(part for part in parts if part)
    return f" ({text})" if text else ""


def _key_lines(card: AgentCard) -> list[tuple[str, str]]:
    """The keys of observations that have several, and what they hold."""
    from rlstitch.agents.specs import PartsSpec, RelativeSpec, TranslatedSpec, parse_encoder_spec
    from rlstitch.envs.observation import describe_shape

    spec = parse_encoder_spec(card.encoder)
    while isinstance(spec, RelativeSpec | TranslatedSpec):
        spec = spec.base
    if not isinstance(spec, PartsSpec):
        return []
    return [
        ("keys", ", ".join(f"{part.key} ({describe_shape(part.encoder.observation_shape)})" for part in spec.parts))
    ]


def _unseen(world: World) -> str:
    from rlstitch.envs.registry import named_family

    return named_family(world.environment).unseen(world)


@dataclass(frozen=True)
class PresetDetails:
    """A preset or config file, with the defaults of what it leaves out; as text, YAML."""

    path: Path
    config: TrainConfig

    def __str__(self) -> str:
        import yaml

        unseen = _unseen(self.config.world)
        head = f"# {printable(self.path)}\n" + (f"# {unseen}\n" if unseen else "")
        return f"{head}{yaml.safe_dump(self.config.resolved(), sort_keys=False).rstrip()}"


def list_everything(
    *,
    environment: str | None = None,
    look: str | None = None,
    task: str | None = None,
    roots: Iterable[Path] | None = None,
) -> Listing:
    """Return the agents and presets that can be found by name.

    Args:
        environment, look, task: leave out agents whose world does not hold this text, in upper or lower case.
        roots: look for agents in these folders instead of `./agents` and those that came with the package.
    """
    texts = {"environment": environment, "look": look, "task": task}
    filters = {name: text.lower() for name, text in texts.items() if text is not None}
    entries = list_agents(roots=roots)
    if filters:
        entries = [entry for entry in entries if entry.card is not None and _matches(entry.card.world, filters)]
    return Listing(agents=tuple(entries), presets=list_presets(), filtered=bool(filters))


def _matches(world: World, filters: Mapping[str, str]) -> bool:
    return all(text in getattr(world, name).lower() for name, text in filters.items())


def show(name: str | Path, *, roots: Iterable[Path] | None = None) -> AgentDetails | PresetDetails:
    """Return what an agent is, or a preset or config file with its defaults.

    Raises:
        UnknownNameError: where no agent and no preset has this name.
        ArtefactError, InvalidInputError: as `show_agent` and `load_config`.
    """
    presets = list_presets()
    try:
        if Path(name).suffix in (".yaml", ".yml"):
            return PresetDetails(find_config(name), load_config(name))
        return show_agent(name, roots=roots)
    except UnknownNameError:
        if str(name) in presets:
            return PresetDetails(find_config(name), load_config(name))
        names = {entry.name for entry in list_agents(roots=roots)}
        raise UnknownNameError("agent", str(name), names | presets.keys()) from None


def show_agent(name_or_folder: str | Path, *, roots: Iterable[Path] | None = None) -> AgentDetails:
    """Return what an agent is; its weight files are checked too, so that a damaged agent is refused.

    Raises:
        UnknownNameError: where no agent has this name.
        ArtefactError: where the folder is not a whole, unaltered agent.
    """
    folder = find_agent(name_or_folder, roots=roots)
    with opened_agent(folder) as agent:
        return AgentDetails(folder, agent.card, {part: count_parameters(agent, part) for part in PARTS})


def _row(card: AgentCard) -> tuple[str, ...]:
    training = card.training
    mean = "-" if training is None or training.return_mean is None else f"{training.return_mean:.3f}"
    success = "-" if training is None or training.success_rate is None else f"{training.success_rate:.0%}"
    return (card.name, card.world.environment, card.world.look_in_words, card.world.task, _kind(card), mean, success)


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


def steps_taken(training: TrainingCard) -> str:
    """Return how many steps a training took, and in what time where that is recorded."""
    if training.seconds == 0:
        return f"{training.steps:,} steps"
    digits = 0 if training.seconds >= 10 else 1
    return f"{training.steps:,} steps in {training.seconds:,.{digits}f} s"


def _training_lines(training: TrainingCard | None) -> list[tuple[str, str]]:
    if training is None:
        return []
    lines = [("trained", f"{training.algorithm}, {steps_taken(training)}")]
    if isinstance(origin := training.hyperparameters.get("origin"), dict):
        lines.append(("origin", ", ".join(f"{name} {value}" for name, value in origin.items())))
    if training.return_mean is not None:
        low_high = training.return_interval
        interval = f" (95 % interval {low_high[0]:.3f} to {low_high[1]:.3f})" if low_high else ""
        episodes = f" over {training.episodes} episodes" if training.episodes else ""
        lines.append(("return", f"{training.return_mean:.3f}{interval}{episodes}"))
    if training.success_rate is not None:
        lines.append(("success", f"{training.success_rate:.1%}"))
    return lines
