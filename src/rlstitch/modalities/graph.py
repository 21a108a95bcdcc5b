"""Graphs with labelled nodes: Cora from its Planetoid files, and a stochastic block model that is made here."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from rlstitch.errors import ArtefactError, InvalidInputError
from rlstitch.modalities.planetoid_pickle import read_planetoid_pickle

PARTS = ("x", "y", "tx", "ty", "allx", "ally", "graph")
CORA_FILES = (*(f"ind.cora.{part}" for part in PARTS), "ind.cora.test.index")

_VALIDATION = 500


@dataclass(frozen=True, eq=False)
class LabelledGraph:
    """A graph of n nodes: `features` float32 (n, f), `edges` int64 (2, m), each in both directions, `labels` int64 (n,)
    in [0, classes); `train`, `validation` and `test` are rows of nodes that share none.

    Raises InvalidInputError where these do not fit together.
    """

    features: NDArray[np.float32]
    edges: NDArray[np.int64]
    labels: NDArray[np.int64]
    train: NDArray[np.int64]
    validation: NDArray[np.int64]
    test: NDArray[np.int64]
    classes: int
    name: str = ""

    def __post_init__(self) -> None:
        n = len(self.features)
        if self.features.ndim != 2 or self.labels.shape != (n,):
            raise InvalidInputError(
                f"features must be (n, f) and labels (n,), found {self.features.shape} and {self.labels.shape}"
            )
        if self.edges.ndim != 2 or len(self.edges) != 2 or (self.edges.size and not _within(self.edges, n)):
            raise InvalidInputError(f"edges must be (2, m) of nodes in [0, {n}), found shape {self.edges.shape}")
        if n and not _within(self.labels, self.classes):
            raise InvalidInputError(
                f"labels must lie in [0, {self.classes}), found {self.labels.min()} to {self.labels.max()}"
            )
        rows = np.concatenate([self.train, self.validation, self.test])
        if not len(self.train) or not len(self.test) or len(set(rows.tolist())) != len(rows) or not _within(rows, n):
            raise InvalidInputError("train, validation and test must be rows of nodes that share none, found otherwise")

    def __len__(self) -> int:
        return len(self.features)

    @property
    def keys(self) -> tuple[str, ...]:
        """`node-<row>`, one a node."""
        return tuple(f"node-{row}" for row in range(len(self)))


def read_cora(folder: Path | str) -> LabelledGraph:
    """Cora (2,708 papers, 1,433 words, 7 classes) with the public split of Yang et al. 2016 (1603.08861): 20 nodes a
    class to train on, 500 to choose by, 1,000 to test on. Rows of features sum to 1.

    Raises:
        ArtefactError: where a file is missing or damaged, or the files do not fit together.
    """
    folder = Path(folder)
    part = {name: read_planetoid_pickle(folder / f"ind.cora.{name}") for name in PARTS}
    order = _test_index(folder / "ind.cora.test.index")
    known, labelled = part["allx"].shape[0], len(part["y"])
    if sorted(order) != list(range(known, known + part["tx"].shape[0])) or len(part["ty"]) != len(order):
        raise ArtefactError(f"{folder}: expected a test index of the rows from {known} on, one for each row of tx")
    rows = np.array(order, dtype=np.int64)
    features = np.concatenate([part["allx"].toarray(), part["tx"].toarray()])
    onehot = np.concatenate([part["ally"], part["ty"]])
    features[rows], onehot[rows] = features[known:].copy(), onehot[known:].copy()
    try:
        return LabelledGraph(
            features / np.maximum(features.sum(1, keepdims=True), 1),
            _edges(part["graph"]),
            onehot.argmax(1).astype(np.int64),
            np.arange(labelled),
            np.arange(labelled, labelled + _VALIDATION),
            np.sort(rows),
            onehot.shape[1],
            "cora",
        )
    except InvalidInputError as error:
        raise ArtefactError(f"{folder}: the files do not fit together: {error}") from None


def block_model(
    *, nodes: int = 700, classes: int = 5, words: int = 120, within: float = 0.02, between: float = 0.002, seed: int = 0
) -> LabelledGraph:
    """A stochastic block model (Holland et al. 1983) whose nodes speak of their class.

    Two nodes of one class are joined with probability `within`, of different classes with `between`. Each node holds
    12 words, a third of them from the fifth of the vocabulary that its class likes, so that words alone say little.
    20 nodes a class are for training, a fifth of all to choose by, the rest to test on.

    Raises:
        InvalidInputError: where fewer than 50 nodes a class are asked for, or a probability is not in [0, 1].
    """
    if nodes < 50 * classes or classes < 2 or words < 5 * classes:
        raise InvalidInputError(
            "expected at least 2 classes, 50 nodes and 5 words a class, found "
            f"classes {classes}, nodes {nodes}, words {words}"
        )
    if not (0 <= between <= 1 and 0 <= within <= 1):
        raise InvalidInputError(f"within and between must lie in [0, 1], found {within} and {between}")
    rng = np.random.default_rng(seed)
    labels = rng.permutation(np.arange(nodes) % classes).astype(np.int64)
    chance = np.where(labels[:, None] == labels[None], within, between)
    upper = np.triu(rng.random((nodes, nodes)) < chance, 1)
    edges = np.stack(np.nonzero(upper | upper.T)).astype(np.int64)
    features = np.zeros((nodes, words), dtype=np.float32)
    liked = words // classes
    for node, label in enumerate(labels):
        own = rng.integers(liked, size=4) + liked * label
        features[node, np.concatenate([own, rng.integers(words, size=8)])] = 1
    train = np.concatenate([np.flatnonzero(labels == label)[:20] for label in range(classes)])
    rest = rng.permutation(np.setdiff1d(np.arange(nodes), train))
    held = nodes // 5
    scaled = features / features.sum(1, keepdims=True)
    return LabelledGraph(
        scaled, edges, labels, train, np.sort(rest[:held]), np.sort(rest[held:]), classes, "block-model"
    )


def _edges(graph: Mapping[object, object]) -> NDArray[np.int64]:
    """Both directions of every edge once, sorted, without loops."""
    found: set[tuple[int, int]] = set()
    for node, neighbours in graph.items():
        if not isinstance(neighbours, list) or any(type(value) is not int for value in (node, *neighbours)):
            raise ArtefactError(f"graph: expected a list of node numbers for each node, found {neighbours!r:.60}")
        for other in neighbours:
            found |= {(node, other), (other, node)} if node != other else set()  # type: ignore[arg-type]
    return np.array(sorted(found), dtype=np.int64).reshape(-1, 2).T.copy()


def _test_index(path: Path) -> list[int]:
    try:
        return [int(line) for line in path.read_text(encoding="ascii").split()]
    except FileNotFoundError:
        raise ArtefactError(f"cannot read {path}: there is no such file") from None
    except (OSError, ValueError) as error:
        raise ArtefactError(f"{path}: expected one row number a line: {error}") from None


def _within(values: NDArray[np.int64], bound: int) -> bool:
    return bool(values.min() >= 0 and values.max() < bound)
