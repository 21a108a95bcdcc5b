"""Fetch a model of another library from the Hugging Face Hub, for `import_agent`."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rlstitch.api.hub.client import check_repo, hub_client
from rlstitch.errors import ArtefactError, IncompatibleError, InvalidInputError
from rlstitch.storage import limits, printable, sha256_of

PREFIX = "hub:"
STATISTICS = "vec_normalize.pkl"
"""What RL-Zoo3 calls the statistics of a model's VecNormalize."""


@dataclass(frozen=True)
class Origin:
    """Where a model comes from."""

    repository: str
    file: str
    commit: str
    sha256: str

    def __str__(self) -> str:
        return f"{self.file} at commit {self.commit} of {self.repository}, sha256 {self.sha256}"


@dataclass(frozen=True)
class HubModel:
    """A model that was fetched: its file, that of its statistics where there is one, and where they come from."""

    path: Path
    statistics: Path | None
    origin: Origin


@contextmanager
def hub_model(repo: str, file: str | None = None, revision: str | None = None) -> Iterator[HubModel]:
    """Fetch the zip of a model and, where the repository has them, its statistics; they are there within the block.

    Nothing else is fetched, and nothing is run. Both files are of one commit, and have the sha256 that the Hub states.

    Args:
        repo: OWNER/NAME.
        file: of the repository; None: its only zip.
        revision: branch, tag or commit; None: the newest commit.

    Raises:
        MissingExtraError: without the extra `hub`.
        InvalidInputError: for a text that names no repository, or where it is not clear which file is meant.
        ArtefactError: where the Hub refuses or cannot be reached, or a file is too large or altered.
    """
    check_repo(repo)
    with tempfile.TemporaryDirectory() as place:
        with hub_client("import", repo) as api:
            info = api.model_info(repo, revision=revision, files_metadata=True)
            files = {entry.rfilename: entry for entry in info.siblings}
            name = _chosen(repo, files, file)
            largest = {name: limits.SB3_POLICY_BYTES, STATISTICS: limits.SB3_PICKLE_BYTES}
            for one in largest.keys() & files.keys():
                _check(f"{repo}/{one}", files[one], largest[one])
            paths = {
                one: Path(api.hf_hub_download(repo, one, revision=info.sha, local_dir=place))
                for one in largest
                if one in files
            }
        for one, path in paths.items():
            if (digest := sha256_of(path)) != files[one].lfs.sha256:
                raise ArtefactError(f"{repo}/{one}: expected the sha256 {files[one].lfs.sha256}, found {digest}")
        origin = Origin(repo, name, info.sha, files[name].lfs.sha256)
        try:
            yield HubModel(paths[name], paths.get(STATISTICS), origin)
        except (ArtefactError, IncompatibleError, InvalidInputError) as error:
            raise type(error)(str(error).replace(place, repo)) from None


def _chosen(repo: str, files: Mapping[str, Any], file: str | None) -> str:
    zips = [name for name in sorted(files) if name.endswith(".zip")]
    if file is None and len(zips) == 1:
        return zips[0]
    if file is None or file not in files:
        shown = printable(", ".join(zips) or "none", limit=200)
        raise InvalidInputError(
            f"file: expected a file of {repo}; its zips: {shown}; found {'none given' if file is None else repr(file)}"
        )
    return file


def _check(name: str, file: Any, most: int) -> None:
    if file.lfs is None or file.size is None or file.size > most:
        stated = "no sha256" if file.lfs is None else f"{file.size} bytes"
        raise ArtefactError(f"{name}: expected a file of at most {most:,} bytes with a stated sha256, found {stated}")
