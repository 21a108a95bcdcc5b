"""Predict whether a stitch will work, and why not, before the stitched agent plays."""

from __future__ import annotations

import json
import math
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from rlstitch.agents.agent import Agent
from rlstitch.api.environment import AgentLike, placed
from rlstitch.api.stitch import coverage_lines, load_pairs
from rlstitch.envs import cell_world, made_otherwise
from rlstitch.errors import IncompatibleError, InvalidInputError
from rlstitch.evaluation.baselines import Baselines
from rlstitch.evaluation.options import CellOptions
from rlstitch.jobs.progress import OnProgress, ProgressReporter
from rlstitch.jobs.resources import torch_threads
from rlstitch.rollouts.statistics import Interval, gain, why_no_recovery
from rlstitch.stitching.diagnosis.indicators import Indicators, OwnStateMetrics, examine
from rlstitch.stitching.diagnosis.states import OwnStates, own_states
from rlstitch.stitching.diagnosis.verdict import Verdict, judge
from rlstitch.stitching.methods import get_method
from rlstitch.stitching.stitch import stitch_agents
from rlstitch.storage.text import aligned


@dataclass(frozen=True)
class NativeReturns:
    """What the native agent and random actions earn in a few episodes each; without a gain nothing is judged."""

    native_return: float
    random_return: float
    gain: Interval
    """Native - random, with its 95 % interval."""
    episodes: int
    """Of each of the two."""
    why_not: str
    """Why there is no recovery; empty where there is."""


@dataclass(frozen=True)
class Diagnosis:
    """Indicators of a stitch and the verdict on it. Its text is what the command prints."""

    encoder: str
    controller: str
    method: str
    """As it was asked for; `indicators.held.method` is the map that `auto` chose."""
    indicators: Indicators
    verdict: Verdict
    note: str = ""
    """Why the controller's own states are not among the indicators; how the encoder's world was made otherwise."""
    baselines: NativeReturns | None = None

    def to_dict(self) -> dict[str, Any]:
        """Return plain JSON values."""
        return {
            "encoder": self.encoder,
            "controller": self.controller,
            "method": self.method,
            "verdict": asdict(self.verdict) | {"reasons": list(self.verdict.reasons)},
            "indicators": self.indicators.to_dict(),
            "baselines": None if self.baselines is None else asdict(self.baselines),
            "note": self.note,
        }

    def to_json(self) -> str:
        """Return what `--json` prints."""
        return json.dumps(self.to_dict(), indent=2, ensure_ascii=False, allow_nan=False)

    def __str__(self) -> str:
        verdict = self.verdict
        held = self.indicators.held
        by = self.method if held.method == self.method else f"{self.method} ({held.method})"
        lines = [
            f"{self.encoder} -> {self.controller} by {by}: {verdict.label}"
            + ("" if verdict.score is None else f" (score {verdict.score:.2f})"),
            *(f"  - {reason}" for reason in verdict.reasons),
            "",
        ]
        lines += aligned([*_baseline_rows(self.baselines), *_rows(self.indicators)])
        lines += coverage_lines(held) + ([f"auto {held.choice}"] if held.choice else [])
        return "\n".join([*lines, *([f"({self.note})"] if self.note else [])])


@torch_threads()
def diagnose(
    encoder: AgentLike,
    policy: AgentLike,
    *,
    env: Any = None,
    method: str = "affine",
    pairs: int | str | Path | None = None,
    episodes: int = 32,
    seed: int = 0,
    progress: ProgressReporter | None = None,
) -> Diagnosis:
    """Join two agents and predict how well the stitched agent will do, without a rollout of it.

    The pairs and the map are those of `stitch` by the same arguments. The controller's own agent plays in its own
    world, and so do random actions: where it is no better than these, there is nothing to carry over.

    Args:
        encoder: name, folder or value of the agent whose encoder is used.
        policy: name, folder or value of the agent whose controller is used.
        env: another environment than the agents' own: its id (`module:Id` imports the module), or an object, see
            `rlstitch.envs.as_world`.
        method: name of a stitching method; see `rlstitch.stitching.methods`.
        pairs: number of views that a translation is fitted on, at most; or an `.npz` file of pairs; None: as `stitch`
            chooses.
        episodes: of the native agent and of random actions, at most; a quarter of them, where these tell the two apart.
        seed: random seed of pairs and own states.
        progress: shows how far each stage of the work is; None: nothing is shown.

    Raises:
        UnknownNameError: for an unknown agent or method.
        IncompatibleError: where the two cannot be joined by the method.
        ArtefactError: where an agent or a file of pairs cannot be read.
        InvalidInputError: where there are too few pairs, or for fewer than 2 episodes.
    """
    method = get_method(method).name
    progress = progress or ProgressReporter(style="none")
    if episodes < 2:
        raise InvalidInputError(f"episodes: expected 2 or more, found {episodes}")
    source = placed(encoder, env)
    target = placed(policy, env)
    [latents] = load_pairs([source], target, pairs, seed, on_progress=progress.stage("collecting pairs", "steps"))
    progress.stage(f"fitting {method}")
    joined = stitch_agents(source, target, latents, method=method)
    states, note = _own_states(source, target, seed, progress.stage("playing the controller's own agent", "steps"))
    progress.stage("comparing latents and actions")
    indicators = examine(source, target, joined, latents, states)
    baselines = _baselines(source, target, episodes, seed, progress)
    verdict = judge(indicators, baselines.why_not)
    note = "; ".join(filter(None, (note, made_otherwise(source.card.world, target.card.world))))
    return Diagnosis(source.card.name, target.card.name, method, indicators, verdict, note, baselines)


def _baselines(encoder: Agent, policy: Agent, episodes: int, seed: int, progress: ProgressReporter) -> NativeReturns:
    """Evaluate the native agent and random actions by sampled actions, first in a few episodes."""
    world = cell_world(encoder.card.world, policy.card.world)
    for count in dict.fromkeys((max(2, episodes // 4), episodes)):
        options = CellOptions(episodes=count, seed=seed)
        measured = Baselines(progress.stage("playing the native agent and random actions", "episodes"), 2)
        random, native = measured.random(world, options).returns, measured.native(policy, options).returns
        why_not = why_no_recovery(random, native)
        if not why_not:
            break
    return NativeReturns(float(native.mean()), float(random.mean()), gain(random, native), len(native), why_not)


def _baseline_rows(baselines: NativeReturns | None) -> list[tuple[str, str]]:
    if baselines is None:
        return []
    b = baselines
    text = f"native {b.native_return:.3g}, random {b.random_return:.3g} ({b.episodes} episodes each), difference "
    return [("returns", text + f"{b.gain.estimate:.3g} [{b.gain.low:.3g}, {b.gain.high:.3g}]")]


def _own_states(encoder: Agent, policy: Agent, seed: int, on_progress: OnProgress) -> tuple[OwnStates | None, str]:
    try:
        return own_states(encoder, policy, seed=seed, on_progress=on_progress), ""
    except (IncompatibleError, InvalidInputError) as error:
        return None, f"no states of the controller's own agent: {error}"


def _rows(indicators: Indicators) -> list[tuple[str, str]]:
    held = indicators.held
    rows = [
        ("pairs", f"{held.pairs or 'none'} fitted, {held.held_out} held out, of {held.distinct_views} distinct views"),
        ("held out", f"residual {held.residual:.3f}, R² {held.r2:.3f}, mean cosine {held.mean_cosine:.3f}"),
        ("held-out actions", f"same {held.action_agreement:.1%} [{100 * held.agreement.low:.1f}, "
                             f"{100 * held.agreement.high:.1f}] (by chance {indicators.held_chance:.1%}), "
                             f"KL {held.kl:.3f} nats"),
        *_own_rows(indicators.own),
        ("mutual neighbours", _share(indicators.mutual_knn, indicators.knn_chance)),
        ("CKA", "–" if indicators.cka is None else f"{indicators.cka:.3f}"),
        ("effective rank", f"encoder {indicators.effective_rank_x:.1f} of {indicators.width_x}, controller's agent "
                           f"{indicators.effective_rank_y:.1f} of {indicators.width_y}"),
    ]  # fmt: skip
    if held.rank is not None and held.condition_number is not None:
        condition = "" if math.isinf(held.condition_number) else f", condition number {held.condition_number:.3g}"
        rows.append(("map", f"{held.method}, rank {held.rank}{condition}"))
    return rows


def _own_rows(own: OwnStateMetrics | None) -> list[tuple[str, str]]:
    if own is None:
        return []
    return [
        ("own states", f"{own.states} met, {own.covered:.1%} of visits among the pairs, distance {own.distance:.3f}"),
        ("own actions", f"greedy same {own.agreement:.1%}, sampled same {own.overlap:.1%} (by chance "
                        f"{own.chance:.1%}), KL {own.kl:.3f} nats, beside the path {own.stray_overlap:.1%}"),
    ]  # fmt: skip


def _share(share: float | None, chance: float | None) -> str:
    return "–" if share is None or chance is None else f"{share:.3f} in common (by chance {chance:.3f})"
