"""Fetch an agent from the Hugging Face Hub."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rlstitch.agents import Agent, load_agent
from rlstitch.agents.manifest import MANIFEST
from rlstitch.api.hub.client import FILES, README, REPLAY, check_repo, hub_client
from rlstitch.errors import ArtefactError
from rlstitch.jobs.progress import ProgressReporter
from rlstitch.storage import AGENTS, reserved_agent, staged_folder


@dataclass(frozen=True)
class PullOutcome:
    """A pulled agent, its folder, and where it comes from. Its text is what the command prints."""

    agent: Agent
    folder: Path
    repo: str
    commit: str

    def __str__(self) -> str:
        world = self.agent.card.world
        return (
            f"world    {world.environment}, {world.look_in_words}, {world.task}\n"
            f"commit   {self.commit} of {self.repo}\n"
            f"agent    {self.folder}"
        )


def pull(
    repo: str,
    *,
    name: str | None = None,
    revision: str | None = None,
    force: bool = False,
    agents: Path = AGENTS,
    progress: ProgressReporter | None = None,
) -> PullOutcome:
    """Fetch an agent that `push` wrote, check it and save it.

    All files are of one commit. Weights have the sha256 that the manifest states and are loaded as those of any agent;
    no code is run, and no module that the agent names is imported. What else the repository holds is not fetched.

    Args:
        repo: OWNER/NAME.
        name: of the agent here; None: the repository's name.
        revision: branch, tag or commit; None: the newest commit.
        force: replace an agent of the same name.
        agents: where the agent is saved.
        progress: shows the stage of the work; None: nothing is shown.

    Raises:
        MissingExtraError: without the extra `hub`.
        InvalidInputError: for a text that names no repository or no agent, or where the agent is there already.
        ArtefactError: where the Hub refuses or cannot be reached, or its files are not a whole, unaltered agent.
    """
    _, own = check_repo(repo)
    progress = progress or ProgressReporter(style="none")
    with (
        reserved_agent(own if name is None else name, agents=agents, force=force) as folder,
        staged_folder(folder, force=force, marker=MANIFEST) as stage,
    ):
        progress.stage(f"fetching {repo}")
        with hub_client("pull", repo) as api:
            info = api.model_info(repo, revision=revision, files_metadata=True)
            _check_files(repo, {file.rfilename: file.size for file in info.siblings})
            api.snapshot_download(repo, revision=info.sha, allow_patterns=list(FILES), local_dir=stage)
        shutil.rmtree(stage / ".cache")  # what the client notes of a download
        try:
            agent = load_agent(stage)
        except ArtefactError as error:
            raise ArtefactError(str(error).replace(str(stage), repo)) from None
    return PullOutcome(agent, folder, repo, info.sha)


def _check_files(repo: str, sizes: dict[str, Any]) -> None:
    for name, most in FILES.items():
        if name not in sizes:
            if name not in (README, REPLAY):
                raise ArtefactError(f"{repo}: expected an agent of rlstitch, found no {name}")
        elif sizes[name] is None or sizes[name] > most:
            raise ArtefactError(f"{repo}/{name}: expected at most {most:,} bytes, found {sizes[name]}")
