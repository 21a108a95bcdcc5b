"""The README.md of an agent on the Hugging Face Hub: metadata in the Hub's form, and text for people."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from rlstitch.agents.card import AgentCard
from rlstitch.envs.observation import describe_shape

_TASK = "reinforcement-learning"


@dataclass(frozen=True)
class Measured:
    """Returns of an agent in its own world, sampled actions."""

    return_mean: float
    return_interval: tuple[float, float] | None = None
    """Bootstrap 95 % interval of the mean."""
    success_rate: float | None = None
    """Between 0 and 1."""
    episodes: int | None = None

    def __str__(self) -> str:
        text = f"{self.return_mean:.3f}"
        if self.return_interval is not None:
            text += " [{:.3f}, {:.3f}]".format(*self.return_interval)
        if self.success_rate is not None:
            text += f", success {self.success_rate:.1%}"
        return text + (f", {self.episodes} episodes" if self.episodes else "")


def model_card(card: AgentCard, repo: str, *, base_models: Sequence[str] = (), measured: Measured | None = None) -> str:
    """Return the model card of an agent: YAML between two lines of hyphens, then Markdown.

    Args:
        card: of the agent.
        repo: OWNER/NAME, where it is published.
        base_models: repositories of the agents that its parts come from.
        measured: its returns; None: the card states none.
    """
    name, world = card.name, card.world
    origin = f"It was trained by {_code(card.training.algorithm)}." if card.training else ""
    sections = [
        f"---\n{_metadata(card, base_models, measured)}\n---",
        f"# {name}",
        f"An agent of rlstitch, `controller(encoder(observation))`, for {_code(world.environment)}. {origin}".strip(),
        *([f"Joined or kept by {_code(card.method)} from:\n\n{_parents(card)}"] if card.parents else []),
        "## Use\n\n"
        "```bash\n"
        "pip install 'rlstitch[hub]'\n"
        f"rlstitch pull {repo}\n"
        f"rlstitch evaluate {repo.partition('/')[2]}\n"
        f"rlstitch stitch --encoder {repo.partition('/')[2]} --policy ANOTHER-AGENT\n"
        "```\n\n"
        "Weights are safetensors; `rlstitch pull` compares their sha256 with `agent.json` and runs no code of this "
        "repository.",
        "## World\n\n"
        + _table(
            ("environment", _code(world.environment)),
            ("sensor", _code(world.sensor or "pixels")),
            ("look", _code(world.look_in_words)),
            ("task", _code(world.task)),
            ("observation", describe_shape(card.observation_shape)),
            ("seed", str(card.seed)),
        ),
    ]
    if measured is not None:
        sections.append(f"## Evaluation\n\nReturn in this world, sampled actions: {measured} (95 % interval).")
    return "\n\n".join(sections) + "\n"


def _metadata(card: AgentCard, base_models: Sequence[str], measured: Measured | None) -> str:
    from huggingface_hub import EvalResult, ModelCardData

    world = card.world
    values = {} if measured is None else {"mean_reward": measured.return_mean, "success_rate": measured.success_rate}
    data = ModelCardData(
        library_name="rlstitch",
        pipeline_tag=_TASK,
        tags=[_TASK, "rlstitch", "model-stitching", world.environment],
        base_model=list(base_models) or None,
        model_name=card.name,
        eval_results=[
            EvalResult(
                task_type=_TASK,
                task_name=_TASK,
                dataset_type=world.environment,
                dataset_name=f"{world.environment}, look {world.look_in_words}, task {world.task}",
                metric_type=metric,
                metric_name=metric,
                metric_value=value,
            )
            for metric, value in values.items()
            if value is not None
        ]
        or None,
    )
    return str(data.to_yaml()).strip()


def _parents(card: AgentCard) -> str:
    rows = [(parent.role, f"{_code(parent.name)}, sha256 `{parent.sha256}`") for parent in card.parents]
    return _table(*rows)


def _table(*rows: tuple[str, str]) -> str:
    return "\n".join(["| | |", "|---|---|", *(f"| {key} | {value} |" for key, value in rows)])


def _code(text: str | None) -> str:
    """Return a text of a card as code, in which Markdown and HTML mean nothing."""
    return f"`{(text or '').replace('`', '').replace('|', '/')}`"
