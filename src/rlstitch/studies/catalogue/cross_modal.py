"""Study `cross-modal`: encoders of two modalities are joined by pairs that have only their label in common.

Shows: images meet sounds and words by pairs that share nothing but their label; each drives the other's head
Data: FSDD, Fashion-MNIST and word vectors as npz; with --quick digits, sounds and names that need no download
Time: quick: under 15 seconds; in full: minutes, as 15 networks and 90 heads are trained

Images of digits meet spoken ones, and images of clothes meet the words for them, after Moschella et al. 2022
(2209.15430) and Maiorca et al. 2023 (2311.00664), whose pairs across modalities were of one item each. A pair here is
a training item of x and any training item of y of the same class; `class means` are the means of each class in either
space, one pair a class. Nothing is trained across modalities.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from rlstitch.errors import ArtefactError
from rlstitch.latent import nearest
from rlstitch.modalities.image import LabelledImages
from rlstitch.modalities.text import read_word_vectors
from rlstitch.studies.data import WORD2VEC, load_images, load_sounds
from rlstitch.studies.joining import INTERVALS, INVERSE, RELATIVE, TRANSLATIONS, fit_map
from rlstitch.studies.study import DatasetConfig, Findings, Study
from rlstitch.studies.tables import Row, interval_table
from rlstitch.studies.training.networks import audio_encoder, image_encoder
from rlstitch.studies.training.trainers import (
    ClassifierTrainer,
    Samples,
    accuracy,
    image_samples,
    sound_samples,
)

PAIRINGS = ("random", "class means")
TEST_TAKES = 5
"""Takes of every speaker and digit that are for testing, as FSDD's own page has it."""
NAMES = (
    "cotton shirt top", "pants jeans", "warm jersey", "dress", "coat jacket winter", "open shoes summer",
    "shirt formal", "running shoes", "bag purse", "ankle boots",
)  # fmt: skip
"""Fashion-MNIST's classes in words that the published vectors know, in the order of the labels; trousers, pullovers,
sandals and sneakers are not among the words, and are described by others."""

Labels = NDArray[np.int64]
Split = tuple[Samples, Samples]
"""Training and test samples."""


class Config(DatasetConfig):
    """Everything that decides the result.

    `pairs`: number of pairs of one label; `dataset`: synthetic sounds and names of digits (`made-up`), or FSDD and
    Fashion-MNIST (`published`), of which `train_images` and `test_images` are taken.
    """

    image_epochs: int
    audio_epochs: int
    head_epochs: int
    pairs: int
    train_images: int
    test_images: int
    latent_dim: int


@dataclass(frozen=True, eq=False)
class Side:
    """One modality under one seed. Words have no head and no seed: the nearest of them is their class.

    Attributes:
        modality: its name.
        seed: of the encoder.
        known: latents (n, d) of training items, of which pairs are made.
        labels: of these.
        test: latents of test items.
        test_labels: of these.
        head: trained together with the encoder.
        train_head: trains another on features of the training items.
    """

    modality: str
    seed: int | None
    known: torch.Tensor
    labels: Labels
    test: torch.Tensor
    test_labels: Labels
    head: nn.Module | None = None
    train_head: Callable[[torch.Tensor], nn.Module] | None = None


class CrossModal(Study[Config]):
    """Joins images to sounds and to words."""

    quick = Config(
        dataset="made-up", seeds=(0, 1), image_epochs=5, audio_epochs=6, head_epochs=5, pairs=150,
        train_images=900, test_images=900, latent_dim=32,
    )  # fmt: skip
    full = Config(
        dataset="published", seeds=(0, 1, 2, 3, 4), image_epochs=10, audio_epochs=8, head_epochs=5, pairs=500,
        train_images=6_000, test_images=2_000, latent_dim=64,
    )  # fmt: skip

    def run(self) -> Findings:
        """Train every network, join the two modalities both ways, and measure retrieval and classification."""
        config = self.config
        sounds, digits, clothes, names = self._load()
        spoken, written, worn = {}, {}, {}
        for seed in config.seeds:
            spoken[seed] = self._side("sounds", seed, sounds)
            written[seed] = self._side("images", seed, digits)
            worn[seed] = written[seed] if clothes is digits else self._side("images", seed, clothes, "mlp")
            self.report(f"seed {seed}: encoders and heads trained")
        cells: list[Row] = []
        for seed, following in config.next_seed.items():
            for x, y in (
                (written[seed], spoken[following]),
                (spoken[seed], written[following]),
                (worn[seed], names),
                (names, worn[seed]),
            ):
                cells += join(x, y, config.pairs, config.data_seed)
            self.report(f"seed {seed} joined to the next")
        table = modality_table(cells)
        return Findings(cells, table, [*self._facts(table, cells), INTERVALS])

    def _side(self, modality: str, seed: int, data: Split, arch: str = "cnn") -> Side:
        config, (train, test) = self.config, data
        trainer = partial(
            ClassifierTrainer, train=train, test=test, arch=arch, head_epochs=config.head_epochs,
            latent_dim=config.latent_dim, device=self.device,
        )  # fmt: skip
        if modality == "images":
            trained = trainer(network=image_encoder, epochs=config.image_epochs)(seed)
        else:
            trained = trainer(network=audio_encoder, epochs=config.audio_epochs, learning_rate=2e-3)(seed)
        return Side(
            modality, seed, trained.known.vectors, train.labels, trained.test.vectors, test.labels, trained.head,
            trained.train_head,
        )  # fmt: skip

    def _load(self) -> tuple[Split, Split, Split, Side]:
        """Sounds, digits, clothes, and the names of clothes."""
        config = self.config
        digits = _split(load_images("digits", 900, config.data_seed, self.data))
        sounds = load_sounds(
            "made-up" if config.dataset == "made-up" else "fsdd", config.data_seed, self.data, classes=10
        )
        if config.dataset == "made-up":
            vectors = torch.randn(10, 50, generator=torch.Generator().manual_seed(config.data_seed))
            clothes = digits
        else:
            path = self.data.folder("word-vectors", [WORD2VEC]) / WORD2VEC
            words = read_word_vectors(path)
            if unknown := {word for name in NAMES for word in name.split()} - set(words.keys):
                raise ArtefactError(
                    f"{path}: expected vectors of all words of the names, found none of {sorted(unknown)}"
                )
            vectors = torch.tensor(np.stack([words.select(name.split()).vectors.mean(0) for name in NAMES]))
            train, test = load_images("fashion-mnist", config.train_images, config.data_seed, self.data)
            clothes = _split((train, test.subset(range(min(config.test_images, len(test))))))
        tested = sounds.takes < TEST_TAKES
        spoken = tuple(sound_samples(sounds.subset(np.flatnonzero(rows))) for rows in (~tested, tested))
        labels = np.arange(10)
        return (spoken[0], spoken[1]), digits, clothes, Side("names", None, vectors, labels, vectors, labels)

    def _facts(self, table: Sequence[Row], cells: Sequence[Row]) -> list[str]:
        facts = []
        for other in dict.fromkeys(row["images and"] for row in table):
            lines = [row for row in table if row["images and"] == other]
            own = [row for row in cells if row["method"] == "no-stitch" and _other(row) == other]
            scores = {
                side: float(np.mean(values))
                for side in ("images", other)
                if (values := [r["accuracy"] for r in own if r["to"] == side and r["accuracy"] is not None])
            }
            weaker = min(scores, key=scores.__getitem__)
            best = max((row for row in lines if row["method"] != "no-stitch"), key=_worse_way)
            absolute = [row["precision@1"] for row in lines if row["method"] == "absolute"]
            unjoined = f"; both ways as they are {absolute[0]:.3f}" if absolute else ""
            facts.append(
                f"Images and {other} ({self.config.dataset}), by labels alone: accuracy of each with its own head "
                f"{', '.join(f'{side} {value:.3f}' for side, value in scores.items())}; precision@1 in the worse way "
                f"by {best['method']} ({best['pairs']}) {_worse_way(best):.3f} = "
                f"{100 * _worse_way(best) / scores[weaker]:.1f} % of the weaker ({weaker}){unjoined}."
            )
        return facts


def _split(images: tuple[LabelledImages, LabelledImages]) -> Split:
    return image_samples(images[0]), image_samples(images[1])


def join(x: Side, y: Side, pairs: int, data_seed: int) -> list[Row]:
    """Join x to y by every method and pairing: a cell each, with those of the two sides alone.

    `precision@1`: the share of x's test items whose nearest test item of y, by the cosine in the common space, is of
    their class. `accuracy`: y's head on x's test items; None for words, which have none.
    """
    ways: Row = {"from": x.modality, "to": y.modality, "encoder seed": x.seed, "head seed": y.seed}

    def cell(method: str, pairing: str, a: torch.Tensor, b: torch.Tensor, head: nn.Module | None) -> Row:
        neighbours = nearest(a, b, 1).indices[:, 0].numpy()
        precision = float((y.test_labels[neighbours] == x.test_labels).mean())
        score = None if head is None else accuracy(head, a, x.test_labels)
        return ways | {"method": method, "pairs": pairing, "precision@1": precision, "accuracy": score}

    cells = [ways | {"method": "no-stitch", "pairs": "–", **_alone(y)}]
    if x.known.shape[1] == y.known.shape[1]:
        cells.append(cell("absolute", "–", x.test, y.test, y.head))
    rng = np.random.default_rng([data_seed, *(side.seed or 0 for side in (x, y))])
    for pairing in PAIRINGS:
        source, target = paired(x, y, pairing, pairs, rng)
        cells += [
            cell(method, pairing, fit_map(method, source, target)(x.test), y.test, y.head)
            for method in (*TRANSLATIONS, INVERSE)
        ]
        for method, relate in RELATIVE.items():
            head = None if y.train_head is None else y.train_head(relate(y.known, target))
            cells.append(cell(method, pairing, relate(x.test, source), relate(y.test, target), head))
    return cells


def _alone(side: Side) -> Row:
    """A side by itself: its own head, and the nearest other test item of its own; each word is nearest to itself."""
    if side.head is None:
        return {"precision@1": 1.0, "accuracy": None}
    neighbours = nearest(side.test, side.test, 1, exclude_self=True).indices[:, 0].numpy()
    precision = float((side.test_labels[neighbours] == side.test_labels).mean())
    return {"precision@1": precision, "accuracy": accuracy(side.head, side.test, side.test_labels)}


def paired(x: Side, y: Side, pairing: str, pairs: int, rng: np.random.Generator) -> tuple[torch.Tensor, torch.Tensor]:
    """Pair latents by label.

    Args:
        x: one side.
        y: the other.
        pairing: `class means`, or `random` pairs spread evenly over the classes.
        pairs: number of random pairs.
        rng: chooses them.

    Returns:
        Latents (n, d_x) and (n, d_y); row i of both has one label.
    """
    classes = np.unique(x.labels)
    if pairing == "class means":
        means = [
            torch.stack([side.known[torch.tensor(side.labels == label)].mean(0) for label in classes])
            for side in (x, y)
        ]
        return means[0], means[1]
    chosen = classes[np.arange(pairs) % len(classes)]
    rows = [[int(rng.choice(np.flatnonzero(side.labels == label))) for label in chosen] for side in (x, y)]
    return x.known[rows[0]], y.known[rows[1]]


def modality_table(cells: Sequence[Row]) -> list[Row]:
    """A line for each two modalities, kind of pairs and method; the unit is a seed pair, over both ways."""

    def way(end: str) -> Callable[[Row], float | None]:
        return lambda row: row["precision@1"] if row[end] == "images" else None

    return interval_table(
        cells,
        lambda row: {"images and": _other(row), "pairs": row["pairs"], "method": row["method"]},
        "precision@1",
        unit=lambda row: row["head seed"] if row["encoder seed"] is None else row["encoder seed"],
        means={"from images": way("from"), "to images": way("to"), "accuracy": lambda row: row["accuracy"]},
        counts=("seed pairs",),
    )


def _other(row: Row) -> str:
    """The modality that is not images."""
    return row["to"] if row["from"] == "images" else row["from"]


def _worse_way(row: Row) -> float:
    return float(min(row["from images"], row["to images"]))
