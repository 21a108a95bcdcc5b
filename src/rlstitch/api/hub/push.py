"""Publish an agent on the Hugging Face Hub."""

from __future__ import annotations

import tempfile
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rlstitch.agents import Agent, AgentCard, load_agent
from rlstitch.agents.card import ParentCard
from rlstitch.agents.manifest import MANIFEST, WEIGHTS, find_agent
from rlstitch.api.hub.client import FILES, README, REPLAY, check_repo, hub_client
from rlstitch.errors import InvalidInputError
from rlstitch.jobs.progress import ProgressReporter
from rlstitch.jobs.resources import torch_threads
from rlstitch.reporting.model_card import Measured, model_card
from rlstitch.rollouts.evaluation import check_counts, evaluate
from rlstitch.rollouts.video import require_recordable, video_side_by_side
from rlstitch.storage import is_name, read_bytes, write_bytes

_EPISODES = 100
_OTHERS = {".gitattributes", README}
"""What a repository may hold before the first agent is pushed to it."""


@dataclass(frozen=True)
class PushOutcome:
    """A pushed agent. Its text is what the command prints."""

    url: str
    commit: str
    files: tuple[str, ...]
    base_models: tuple[str, ...]
    measured: Measured | None

    def __str__(self) -> str:
        lines = [f"files    {', '.join(self.files)}"]
        lines += [f"return   {self.measured}"] * (self.measured is not None)
        lines += [f"parents  {', '.join(self.base_models)}"] * bool(self.base_models)
        return "\n".join([*lines, f"commit   {self.commit}", f"page     {self.url}"])


@torch_threads()
def push(
    agent: str | Path,
    repo: str,
    *,
    episodes: int | None = None,
    video: bool = False,
    private: bool = False,
    progress: ProgressReporter | None = None,
) -> PushOutcome:
    """Publish a saved agent: manifest and weights as they are, a model card, and a video where there is one.

    One commit changes all files. A README.md or replay.mp4 in the agent's folder is pushed as it is; without one, the
    model card is made of what the agent states, and of an evaluation.

    Args:
        agent: name or folder.
        repo: OWNER/NAME; it is made where it does not exist.
        episodes: of an evaluation for the model card, with sampled actions; 0: none. None: the evaluation that the
            agent states, or one of 100 episodes where it states none.
        video: record three episodes as replay.mp4.
        private: a repository that is made is private.
        progress: shows how far each stage of the work is; None: nothing is shown.

    Raises:
        MissingExtraError: without the extra `hub`.
        UnknownNameError: for an unknown agent.
        InvalidInputError: for a text that names no repository, a repository that holds something else, a number below
            0, or a video of an environment that does not render.
        ArtefactError: where the agent is not whole, or the Hub refuses (there is no token) or cannot be reached.
    """
    owner, _ = check_repo(repo)
    if episodes:
        check_counts(episodes=episodes)
    progress = progress or ProgressReporter(style="none")
    source = find_agent(agent)
    with tempfile.TemporaryDirectory() as place:
        stage = Path(place, source.name)
        stage.mkdir()
        for name, most in FILES.items():
            if name in (MANIFEST, *WEIGHTS) or (source / name).is_file():
                write_bytes(stage / name, read_bytes(source / name, max_bytes=most))
        player = load_agent(stage)
        card = player.card
        if video:
            require_recordable(card.world, card.observation_shape)
        progress.stage(f"looking at {repo}")
        with hub_client("push", repo, token=True) as api:
            _check_contents(api, repo)
            base_models = _parents_on_hub(api, owner, card.parents)
        measured = _measured(player, episodes, progress)
        if not (stage / README).is_file():
            text = model_card(card, repo, base_models=base_models, measured=measured)
            write_bytes(stage / README, text.encode())
        if video:
            drawing = progress.stage("video", "episodes")
            video_side_by_side([(card.name, player)], stage / Path(REPLAY).stem, on_progress=drawing)
        progress.stage(f"uploading to {repo}")
        with hub_client("push", repo, token=True) as api:
            api.create_repo(repo, private=private, exist_ok=True)
            commit = api.upload_folder(
                repo_id=repo,
                folder_path=stage,
                allow_patterns=list(FILES),
                delete_patterns=REPLAY,  # of an agent that was pushed before
                commit_message=f"Agent {card.name}",
            )
        files = tuple(name for name in FILES if (stage / name).is_file())
    return PushOutcome(commit.repo_url.url, commit.oid, files, base_models, measured)


def _check_contents(api: Any, repo: str) -> None:
    from huggingface_hub.errors import RepositoryNotFoundError

    with suppress(RepositoryNotFoundError):
        names = set(api.list_repo_files(repo)) - _OTHERS
        if names and MANIFEST not in names:
            raise InvalidInputError(f"cannot push to {repo}: it holds other files and no {MANIFEST}")


def _parents_on_hub(api: Any, owner: str, parents: Iterable[ParentCard]) -> tuple[str, ...]:
    """The repositories of this owner that are named after the parents and hold their very weights."""
    from huggingface_hub.errors import RepositoryNotFoundError

    repos: dict[str, None] = {}
    for parent in parents:
        repo = f"{owner}/{parent.name}"
        with suppress(RepositoryNotFoundError):
            files = api.get_paths_info(repo, f"{parent.role}.safetensors") if is_name(parent.name) else []
            if any(file.lfs is not None and file.lfs.sha256 == parent.sha256 for file in files):
                repos[repo] = None
    return tuple(repos)


def _measured(agent: Agent, episodes: int | None, progress: ProgressReporter) -> Measured | None:
    if episodes == 0:
        return None
    if episodes is None and (stated := _stated(agent.card)) is not None:
        return stated
    playing = progress.stage("playing", "episodes")
    summary = evaluate(agent, episodes=episodes or _EPISODES, on_progress=playing).summary()
    success = None if summary.success is None else summary.success.estimate
    return Measured(summary.mean.estimate, (summary.mean.low, summary.mean.high), success, summary.episodes)


def _stated(card: AgentCard) -> Measured | None:
    training = card.training
    if training is None or training.return_mean is None:
        return None
    return Measured(training.return_mean, training.return_interval, training.success_rate, training.episodes)
