"""Study `asif`: images meet captions without training (Norelli et al. 2022, 2210.01738).

Shows: images meet captions that were never trained with them, and are classified by the texts of classes
Data: Fashion-MNIST and word vectors as npz; with --quick scikit-learn's digits, nothing to get
Time: quick: under 15 seconds; in full: some four minutes, as thirty networks are trained

Images are encoded by an autoencoder, which sees no label, captions by TF-IDF and SVD or by the mean of word vectors;
pairs of the two couple the spaces, and the nearest class text classifies an image. Captions name the class, so a class
that is among the pairs is weakly supervised; zero-shot are classes in no pair, classified among themselves.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from rlstitch.latent import couple, fit_affine, nearest
from rlstitch.modalities.text import mean_of_words, read_word_vectors, tfidf_space
from rlstitch.reporting.plots import Curves, Point
from rlstitch.studies.captions import attributes, captions, class_texts
from rlstitch.studies.data import WORD2VEC, load_images
from rlstitch.studies.study import Findings, ImagesConfig, Study
from rlstitch.studies.tables import Row, interval_table
from rlstitch.studies.training.networks import image_encoder
from rlstitch.studies.training.trainers import (
    Samples,
    accuracy,
    encode,
    image_samples,
    nearest_class_mean,
    train_autoencoder,
    train_classifier,
    train_head,
)

WEAK, ZERO = "weak supervision", "zero-shot"
RECALLS = (1, 10)
KEPT, POWER = 800, 8.0
"""The paper's k, or all pairs where there are fewer, and its power."""
COLUMNS = ("setting", "images", "texts", "method", "pairs", "k", "power")
_BASELINE: Row = {"texts": None, "pairs": None, "k": None, "power": None}

Rows = NDArray[np.int64]
TextEncoder = Callable[[Rows, int], torch.Tensor]
"""(rows of the training captions that it may know, seed) -> vectors of all texts (n, d)."""
Search = Callable[[torch.Tensor, torch.Tensor, int], Rows]
"""(query images (n, d_x), candidate texts (m, d_y), k) -> the k best candidates of each query (n, k)."""


class Config(ImagesConfig):
    """Everything that decides the result.

    `texts`: encoders of captions. `pairs`: numbers of pairs; with the largest, `kept` and `powers` are tried as well.
    `unseen_pairs`: pairs where classes are held out; `folds`: into how many parts the classes are split, each of which
    is held out once. `queries`: test images that search for their caption.
    """

    texts: tuple[str, ...]
    epochs: int
    classifier_epochs: int
    hidden: int
    pairs: tuple[int, ...]
    kept: tuple[int, ...]
    powers: tuple[float, ...]
    unseen_pairs: int
    folds: int
    queries: int


@dataclass(frozen=True, eq=False)
class _Images:
    """Latents of all training and all test images, (n, d), by one encoder."""

    name: str
    known: torch.Tensor
    test: torch.Tensor


class Asif(Study[Config]):
    """Couples images and captions."""

    quick = Config(
        dataset="digits", seeds=(0, 1), texts=("lsa",), train_images=1200, epochs=15, classifier_epochs=5,
        batch_size=50, latent_dim=16, hidden=128, pairs=(100, 1000), kept=(10, 100), powers=(1.0, 2.0),
        unseen_pairs=900, folds=5, queries=300,
    )  # fmt: skip
    full = Config(
        dataset="fashion-mnist", seeds=(0, 1, 2, 3, 4), texts=("lsa", "words"), train_images=12_000, epochs=10,
        classifier_epochs=3, batch_size=128, latent_dim=32, hidden=256, pairs=(100, 300, 1000, 3000, 10_000),
        kept=(30, 100, 300), powers=(1.0, 4.0, 16.0), unseen_pairs=3000, folds=5, queries=1000,
    )  # fmt: skip

    def run(self) -> Findings:
        """Couple images and captions in every way for each seed, and measure classification and retrieval."""
        config = self.config
        images = load_images(config.dataset, config.train_images, config.data_seed, self.data)
        train, test = map(image_samples, images)
        median = np.median(attributes(images[0].images), axis=0)
        test_captions = captions(images[1], median)
        distinct = tuple(dict.fromkeys(test_captions))
        texts = (*captions(images[0], median), *distinct, *class_texts(images[0].name))
        own_caption = np.array([distinct.index(text) for text in test_captions], dtype=np.int64)
        encoders = self._text_encoders(texts)
        cells: list[Row] = []
        for seed in config.seeds:
            trial = _Trial(config, seed, train, test, own_caption, encoders, self.device)
            latents = trial.autoencoded()
            for setting in (trial.weak_supervision, trial.retrieval, trial.zero_shot):
                cells += [{"seed": seed} | cell for cell in setting(latents)]
                self.report(f"seed {seed}: {cells[-1]['setting']} done")
        # The mean of a seed counts once, as it holds every class out once.
        table = interval_table(
            cells, lambda row: {name: row[name] for name in COLUMNS}, "score", unit=lambda row: row["seed"]
        )
        return Findings(cells, table, self._facts(table, test), curves=_curves(table))

    def _text_encoders(self, texts: Sequence[str]) -> dict[str, TextEncoder]:
        """`lsa` knows the words of the pairs' captions alone; `words` has pretrained vectors and ignores the seed."""
        keys = [str(row) for row in range(len(texts))]

        def lsa(rows: Rows, seed: int) -> torch.Tensor:
            known = [texts[row] for row in rows]
            space = tfidf_space(texts, keys, width=self.config.latent_dim, fit_on=known, seed=seed)
            return torch.from_numpy(space.vectors).float()

        encoders: dict[str, TextEncoder] = {"lsa": lsa}
        if "words" in self.config.texts:
            vectors = read_word_vectors(self.data.folder("word-vectors", [WORD2VEC]) / WORD2VEC)
            means = torch.from_numpy(mean_of_words(texts, keys, vectors).vectors).float()
            encoders["words"] = lambda rows, seed: means
        return {kind: encoders[kind] for kind in self.config.texts}

    def _facts(self, table: Sequence[Row], test: Samples) -> list[str]:
        def score(setting: str, method: str, **others: Any) -> float:
            key = {"setting": setting, "method": method} | others
            return max(row["score"] for row in table if key.items() <= row.items())

        most = self.config.pairs[-1]
        paper = {"pairs": most, "k": min(KEPT, most), "power": POWER}
        return [
            f"{WEAK}, {len(test):,} test images of {self.config.dataset} in {test.classes} classes, {most:,} pairs "
            f"whose captions name the class, no training on them: ASIF {score(WEAK, 'ASIF', **paper):.3f} (k "
            f"{paper['k']}, power {POWER:g}), {score(WEAK, 'ASIF'):.3f} with the best k and power in hindsight, affine "
            f"{score(WEAK, 'affine', pairs=most):.3f}; nearest class mean of the same images "
            f"{score(WEAK, 'class means', images='autoencoder', pairs=most):.3f}, head on all labels "
            f"{score(WEAK, 'head, all labels'):.3f}, chance {score(WEAK, 'chance'):.3f}.",
            f"{ZERO}, classes in no pair told apart in {self.config.folds} folds, images by the autoencoder: "
            + "".join(
                f"{kind} captions ASIF {score(ZERO, 'ASIF', texts=kind, images='autoencoder'):.3f}, affine "
                f"{score(ZERO, 'affine', texts=kind, images='autoencoder'):.3f}; "
                for kind in self.config.texts
            )
            + f"chance {score(ZERO, 'chance'):.3f}, class means with their labels "
            f"{score(ZERO, 'class means, their labels', images='autoencoder'):.3f}.",
            "low and high: 95 % interval (Student's t) over seeds; the two sides never share a seed.",
        ]


def _searches(
    x: torch.Tensor, y: torch.Tensor, choices: Sequence[tuple[int, float]] = ()
) -> Iterator[tuple[Row, Search]]:
    """Yield every way to find texts for images, with its columns.

    Args:
        x: images of the pairs (n, d_x); all vectors are centred on their mean, and texts on that of `y`.
        y: their texts (n, d_y).
        choices: k and power that ASIF is tried with, besides the paper's.
    """
    x_mean, y_mean = x.mean(0), y.mean(0)
    x, y = x - x_mean, y - y_mean

    def way(
        method: str, search: Callable[..., Any], k: int | None = None, power: float | None = None
    ) -> tuple[Row, Search]:
        columns = {"method": method, "pairs": len(x), "k": k, "power": power}
        return columns, lambda queries, texts, best: search(queries - x_mean, texts - y_mean, best).indices.numpy()

    if x.shape[1] == y.shape[1]:
        yield way("absolute", nearest)
    affine = fit_affine(x, y)
    yield way("affine", lambda queries, texts, best: nearest(affine(queries), texts, best))
    for k, power in ((min(KEPT, len(x)), POWER), *choices):
        yield way("ASIF", couple(x, y, k=k, power=power).retrieve, k, power)


@dataclass(frozen=True, eq=False)
class _Trial:
    """The measurements of one seed; captions are encoded with the next one.

    Attributes:
        own_caption: for each test image the number of its caption among the distinct captions of test images.
        encoders: of texts: captions of training images, these distinct captions, and the texts of the classes.
    """

    config: Config
    seed: int
    train: Samples
    test: Samples
    own_caption: Rows
    encoders: Mapping[str, TextEncoder]
    device: str

    def autoencoded(self) -> _Images:
        """Latents of an autoencoder of all training images; it sees no labels."""
        model = train_autoencoder(
            self.train.inputs, kind="ae", seed=self.seed, epochs=self.config.epochs, latent_dim=self.config.latent_dim,
            hidden=self.config.hidden, batch_size=self.config.batch_size, device=self.device,
        )  # fmt: skip
        return self._encoded("autoencoder", model.encoder)

    def _classified(self, rows: Rows, fold: int) -> _Images:
        """Latents of a classifier of these training images."""
        model = train_classifier(
            self.train.subset(rows), image_encoder, "mlp", seed=self.seed + 100 * (fold + 1),
            epochs=self.config.classifier_epochs, latent_dim=self.config.latent_dim,
            batch_size=self.config.batch_size, device=self.device,
        )  # fmt: skip
        return self._encoded("classifier of the others", model.encoder)

    def _encoded(self, name: str, encoder: torch.nn.Module) -> _Images:
        return _Images(name, *(encode(encoder, data, device=self.device).vectors for data in (self.train, self.test)))

    def _texts(self, kind: str, rows: Rows) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Captions of the pairs (training `rows`), distinct captions of test images, and texts of the classes."""
        vectors = self.encoders[kind](rows, self.config.next_seed[self.seed])
        images, classes = len(self.train), self.train.classes
        return vectors[rows], vectors[images : len(vectors) - classes], vectors[len(vectors) - classes :]

    def _rng(self) -> np.random.Generator:
        return np.random.default_rng([self.config.data_seed, self.seed])

    def weak_supervision(self, images: _Images) -> Iterator[Row]:
        """Classify test images; all classes are among the pairs, whose captions name them."""
        config, test, train = self.config, self.test, self.train
        order = self._rng().permutation(len(train))
        setting: Row = {"setting": WEAK, "images": images.name}
        yield setting | _BASELINE | {"images": None, "method": "chance", "score": 1 / train.classes}
        head = train_head(
            images.known, train.labels, train.classes, seed=self.seed, epochs=config.epochs,
            batch_size=config.batch_size, device=self.device,
        )  # fmt: skip
        score = accuracy(head, images.test, test.labels)
        yield setting | _BASELINE | {"method": "head, all labels", "score": score}
        pixels = _Images("pixels", *(data.inputs.flatten(1) for data in (train, test)))
        for space in (pixels, images):
            for number in config.pairs:
                rows = order[:number]
                predicted = nearest_class_mean(space.known[rows], train.labels[rows], space.test)
                score = float((predicted == test.labels).mean())
                means: Row = {"images": space.name, "method": "class means", "pairs": number, "score": score}
                yield setting | _BASELINE | means
        for kind in config.texts:
            for number in config.pairs:
                rows = order[:number]
                x = images.known[rows]
                y, _, classes = self._texts(kind, rows)
                choices = [(kept, POWER) for kept in config.kept]
                choices += [(min(KEPT, number), power) for power in config.powers]
                for columns, search in _searches(x, y, choices if number == config.pairs[-1] else ()):
                    predicted = search(images.test, classes, 1)[:, 0]
                    score = float((predicted == test.labels).mean())
                    yield setting | columns | {"texts": kind, "score": score}

    def retrieval(self, images: _Images) -> Iterator[Row]:
        """Let test images search for their caption among the distinct ones of all test images."""
        config = self.config
        rng = self._rng()
        rows = rng.permutation(len(self.train))[: config.pairs[-1]]
        queries = rng.permutation(len(self.test))[: config.queries]
        own = self.own_caption[queries, None]
        x = images.known[rows]
        for kind in config.texts:
            y, candidates, _ = self._texts(kind, rows)
            results = [
                (columns, search(images.test[queries], candidates, max(RECALLS))) for columns, search in _searches(x, y)
            ]
            for k in RECALLS:
                setting: Row = {"setting": f"retrieval, recall@{k}", "images": images.name}
                yield setting | _BASELINE | {"texts": kind, "method": "chance", "score": k / len(candidates)}
                for columns, best in results:
                    yield setting | columns | {"texts": kind, "score": float((best[:, :k] == own).any(1).mean())}

    def zero_shot(self, images: _Images) -> Iterator[Row]:
        """Classify test images of classes that are in no pair; each class is held out once."""
        config, train, test = self.config, self.train, self.test
        rng = self._rng()
        order = rng.permutation(len(train))
        for fold, held_out in enumerate(np.array_split(rng.permutation(train.classes), config.folds)):
            rows = order[~np.isin(train.labels[order], held_out)]
            queries = np.flatnonzero(np.isin(test.labels, held_out))
            setting: Row = {"setting": ZERO, "held out": " ".join(map(str, sorted(held_out.tolist())))}
            yield setting | _BASELINE | {"images": None, "method": "chance", "score": 1 / len(held_out)}
            chosen = rows[: config.unseen_pairs]
            texts = {kind: self._texts(kind, chosen) for kind in config.texts}
            known = np.flatnonzero(np.isin(train.labels, held_out))
            for space in (images, self._classified(rows, fold)):
                predicted = nearest_class_mean(space.known[known], train.labels[known], space.test[queries])
                score = float((predicted == test.labels[queries]).mean())
                means: Row = {"images": space.name, "method": "class means, their labels", "score": score}
                yield setting | _BASELINE | means
                x = space.known[chosen]
                for kind, (y, _, classes) in texts.items():
                    for columns, search in _searches(x, y):
                        predicted = held_out[search(space.test[queries], classes[held_out], 1)[:, 0]]
                        score = float((predicted == test.labels[queries]).mean())
                        yield setting | columns | {"images": space.name, "texts": kind, "score": score}


def _curves(table: Sequence[Row]) -> Curves:
    """Accuracy over the number of pairs, where classes are among them."""
    curves: dict[str, list[Point]] = {}
    levels: dict[str, float] = {}
    for row in table:
        if row["images"] == "pixels" or row["setting"] != WEAK:
            continue
        if row["pairs"] is None:
            levels[row["method"]] = row["score"]
        elif row["k"] in (None, min(KEPT, row["pairs"])) and row["power"] in (None, POWER):
            name = f"{row['method']}, {row['texts'] or row['images']}"
            curves.setdefault(name, []).append((row["pairs"], row["score"], row["low"], row["high"]))
    return Curves(curves, "pairs", "accuracy", levels, log=True)
