"""Graphs with labelled nodes: Planetoid's citation graphs, and a stochastic block model that needs no download."""

from __future__ import annotations

import hashlib
import tempfile
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rlstitch.errors import ArtefactError, InvalidInputError, needs_extra, require_known
from rlstitch.storage.files import read_bytes
from rlstitch.storage.limits import DATASET_BYTES

PLANETOID: dict[str, dict[str, str]] = {
    "cora": {
        "ind.cora.x": "c4a91d008245403e7f26aa616b437191509793c0",
        "ind.cora.y": "58e30ef120d3553cfaac33ff28c6b5436dbef661",
        "ind.cora.tx": "6e856d777401ee15dc8619db76c97d0a40ba2d60",
        "ind.cora.ty": "da1734ab670b5c8ecee78a9c30b35566df916f4b",
        "ind.cora.allx": "44d53b1fece343538e45592caac521d73c6f98d6",
        "ind.cora.ally": "04fbd0b083d09341fcf16b395c642329637f0542",
        "ind.cora.graph": "4d3bf85dfc8b1c105a2c995597a1b3eed6947925",
        "ind.cora.test.index": "ded8092db4cd767a367eebe09003b954a5316f24",
    },
    "citeseer": {
        "ind.citeseer.x": "f094104a66f2689ffbd01085fe6a856689e9db9e",
        "ind.citeseer.y": "e857ac49b611da98e101a068cf4855350274f68a",
        "ind.citeseer.tx": "b2aff18aa1fc6f4f5e8c64db7643b59b24e42584",
        "ind.citeseer.ty": "3795f79df0cd1123f4478b77c148a5fbacc4cefb",
        "ind.citeseer.allx": "592091071ac35b78599c722d0e60b1c655711728",
        "ind.citeseer.ally": "7503f81a0b6ac1cc21cb5a97073542a6b1dfe99c",
        "ind.citeseer.graph": "a01dca663d0103c130f525017a4a9c313037e286",
        "ind.citeseer.test.index": "62d9e3d5ed53c66b069125af98529d76c70d9b3e",
    },
    "pubmed": {
        "ind.pubmed.x": "16c0eca8d2b3297014ff80327416f9332eda10d7",
        "ind.pubmed.y": "e86670576c85340eeb2271b3c918bfa89322b2cf",
        "ind.pubmed.tx": "eee4f3c988fde0da87a9ec7b01ca5e7863c1b1f1",
        "ind.pubmed.ty": "225a0bb9bb6430e3925d04688daf6a0da964c07a",
        "ind.pubmed.allx": "3b86bccf08111c37c632a9dd8ab63db25ea76361",
        "ind.pubmed.ally": "4c8bcdc80882dd225fe4dd4fafd723baa616ac97",
        "ind.pubmed.graph": "76eb87e628a6b9d43fc31ea42c8c6c8f3e52b404",
        "ind.pubmed.test.index": "41f6befcb7750cc4858cb852f2b349a9598cb2f4",
    },
}
"""Data set -> its files as published (github.com/kimiyoung/planetoid at af6abf4), each with its git blob id. They are
pickles, which PyTorch Geometric unpickles: only these exact contents ever reach it (see `SECURITY.md`).
"""


@dataclass(frozen=True, eq=False)
class LabelledGraph:
    """A graph of n nodes with labels.

    Attributes:
        features: float32 (n, f).
        edges: int64 (2, m), each in both directions.
        labels: int64 (n,) in [0, classes).
        train: row numbers of nodes; the three parts are disjoint.
        validation: row numbers.
        test: row numbers.
        classes: number of classes.
        name: of the data set.

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


def import_geometric() -> Any:
    """Import PyTorch Geometric.

    Returns:
        The package `torch_geometric`, with `nn` and `io` loaded.

    Raises:
        MissingExtraError: where it is not installed.
    """
    with needs_extra("A study of graphs", "graph"), warnings.catch_warnings():
        # It still scripts two of its classes, which torch warns of.
        warnings.filterwarnings("ignore", message=r".*torch\.jit\.script", category=DeprecationWarning)
        import torch_geometric.io
        import torch_geometric.nn
    return torch_geometric


def read_planetoid(folder: Path | str, name: str = "cora") -> LabelledGraph:
    """Read Cora, CiteSeer or PubMed with the public split of Yang et al. 2016 (1603.08861).

    Args:
        folder: holds the files that `PLANETOID` lists for the data set.
        name: `cora`, `citeseer` or `pubmed`.

    Returns:
        The graph: 20 training nodes a class, 500 validation nodes, 1,000 test nodes. Rows of features sum to 1, or to
        0 where a node has no words; edges are sorted and stand in both directions, without self-loops.

    Raises:
        UnknownNameError: for another data set.
        ArtefactError: where a file is missing, or its content is not the published one.
        MissingExtraError: where PyTorch Geometric is not installed.
    """
    require_known("Planetoid data set", name, PLANETOID)
    geometric = import_geometric()
    with tempfile.TemporaryDirectory() as checked:
        for file, blob in PLANETOID[name].items():
            content = read_bytes(Path(folder) / file, max_bytes=DATASET_BYTES)
            if hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest() != blob:
                raise ArtefactError(f"{Path(folder) / file}: expected the published file, found other content")
            Path(checked, file).write_bytes(content)
        with warnings.catch_warnings():  # its reader adds a filter of its own
            data = geometric.io.read_planetoid_data(checked, name)
    features, edges = data.x.numpy(), data.edge_index.numpy()
    train, validation, test = (
        np.flatnonzero(mask.numpy()) for mask in (data.train_mask, data.val_mask, data.test_mask)
    )
    return LabelledGraph(
        features / np.maximum(features.sum(1, keepdims=True), 1),
        np.unique(np.concatenate([edges, edges[::-1]], axis=1), axis=1),
        data.y.numpy(),
        train,
        validation,
        test,
        int(data.y.max()) + 1,
        name,
    )


def block_model(
    *, nodes: int = 700, classes: int = 5, words: int = 120, within: float = 0.02, between: float = 0.002, seed: int = 0
) -> LabelledGraph:
    """Sample a stochastic block model (Holland et al. 1983) with words at its nodes.

    Each node has 12 words, a third of them from the part of the vocabulary that its class prefers, so words alone are
    not enough. 20 nodes a class are for training, a fifth of all for validation, the rest for testing.

    Args:
        nodes: number of nodes.
        classes: number of classes.
        words: size of the vocabulary.
        within: probability of an edge between two nodes of one class.
        between: that between nodes of different classes.
        seed: random seed.

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
    preferred = words // classes
    for node, label in enumerate(labels):
        own = rng.integers(preferred, size=4) + preferred * label
        features[node, np.concatenate([own, rng.integers(words, size=8)])] = 1
    train = np.concatenate([np.flatnonzero(labels == label)[:20] for label in range(classes)])
    rest = rng.permutation(np.setdiff1d(np.arange(nodes), train))
    validation = nodes // 5
    scaled = features / features.sum(1, keepdims=True)
    return LabelledGraph(
        scaled, edges, labels, train, np.sort(rest[:validation]), np.sort(rest[validation:]), classes, "block-model"
    )


def _within(values: NDArray[np.int64], bound: int) -> bool:
    return bool(values.min() >= 0 and values.max() < bound)
