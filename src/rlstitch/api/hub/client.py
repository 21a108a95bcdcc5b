"""What `push` and `pull` share: the files of an agent on the Hugging Face Hub, and calls of its client."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from rlstitch.agents.manifest import MANIFEST, WEIGHTS
from rlstitch.errors import InvalidInputError, needs_extra
from rlstitch.modalities.libraries import one_line, quiet
from rlstitch.storage import is_name, limits
from rlstitch.version import __version__

README, REPLAY = "README.md", "replay.mp4"  # the names that the Hub shows
FILES = {
    MANIFEST: limits.MANIFEST_BYTES,
    **dict.fromkeys(WEIGHTS, limits.WEIGHTS_BYTES),
    README: limits.README_BYTES,
    REPLAY: limits.MEDIA_BYTES,
}
"""All that is pushed and pulled, and how large each may be."""


def check_repo(repo: str) -> tuple[str, str]:
    """Return owner and name of a repository.

    Raises:
        InvalidInputError: where the text is not of the form OWNER/NAME.
    """
    owner, _, name = repo.partition("/")
    if not (is_name(owner) and is_name(name)):
        raise InvalidInputError(f"repository: expected OWNER/NAME on the Hugging Face Hub, found {repo[:120]!r}")
    return owner, name


@contextmanager
def hub_client(feature: str, repo: str, *, token: bool | None = None) -> Iterator[Any]:
    """Yield a `huggingface_hub.HfApi`, whose errors within the block become an `ArtefactError` of one line.

    Args:
        feature: that needs the client, for messages.
        repo: that is written or read, for messages.
        token: True: one is needed; None: it is used where there is one. The client finds it by its own means:
            `hf auth login` or the variable `HF_TOKEN`.

    Raises:
        MissingExtraError: `huggingface_hub` is not installed.
    """
    with needs_extra(feature, "hub"):
        from huggingface_hub import HfApi

    with one_line(f"cannot {feature} {repo}", "huggingface_hub", "httpx", "httpx2"), quiet("huggingface_hub"):
        yield HfApi(token=token, library_name="rlstitch", library_version=__version__)
