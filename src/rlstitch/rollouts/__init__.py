"""Agents in worlds: evaluation, collection of views and pairs, statistics, video."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rlstitch.rollouts.actors import Actor, RandomAgent
    from rlstitch.rollouts.collection import ViewCollection, collect_views
    from rlstitch.rollouts.episodes import episode_seed
    from rlstitch.rollouts.evaluation import Evaluation, evaluate
    from rlstitch.rollouts.frames import caption_frames, side_by_side
    from rlstitch.rollouts.pairs import (
        ViewSplit,
        choose_anchor_set,
        encode_views_of,
        latent_pairs,
        split_views,
    )
    from rlstitch.rollouts.pool import EvaluationPool
    from rlstitch.rollouts.recordings import (
        choose_replay_anchor_set,
        collect_paired_images,
        collect_recording,
        paired_images,
    )
    from rlstitch.rollouts.statistics import (
        Interval,
        Summary,
        bootstrap_interval,
        iqm,
        recovery,
        summarize,
        wilson_interval,
    )
    from rlstitch.rollouts.video import Film, record, write_gif, write_mp4

_HOMES = {
    "Actor": "actors",
    "RandomAgent": "actors",
    "ViewCollection": "collection",
    "ViewSplit": "pairs",
    "choose_anchor_set": "pairs",
    "collect_paired_images": "recordings",
    "collect_views": "collection",
    "encode_views_of": "pairs",
    "latent_pairs": "pairs",
    "choose_replay_anchor_set": "recordings",
    "collect_recording": "recordings",
    "paired_images": "recordings",
    "split_views": "pairs",
    "episode_seed": "episodes",
    "Evaluation": "evaluation",
    "evaluate": "evaluation",
    "caption_frames": "frames",
    "side_by_side": "frames",
    "EvaluationPool": "pool",
    "Interval": "statistics",
    "Summary": "statistics",
    "bootstrap_interval": "statistics",
    "iqm": "statistics",
    "recovery": "statistics",
    "summarize": "statistics",
    "wilson_interval": "statistics",
    "Film": "video",
    "record": "video",
    "write_gif": "video",
    "write_mp4": "video",
}

__all__ = [
    "Actor",
    "Evaluation",
    "EvaluationPool",
    "Film",
    "Interval",
    "RandomAgent",
    "Summary",
    "ViewCollection",
    "ViewSplit",
    "bootstrap_interval",
    "caption_frames",
    "choose_anchor_set",
    "choose_replay_anchor_set",
    "collect_paired_images",
    "collect_recording",
    "collect_views",
    "encode_views_of",
    "episode_seed",
    "evaluate",
    "iqm",
    "latent_pairs",
    "paired_images",
    "record",
    "recovery",
    "side_by_side",
    "split_views",
    "summarize",
    "wilson_interval",
    "write_gif",
    "write_mp4",
]


def __getattr__(name: str) -> Any:
    """Import a public name where it is first used."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
