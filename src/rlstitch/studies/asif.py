"""Study `asif`: images meet captions without training (Norelli et al. 2022, 2210.01738).

Images are encoded by an autoencoder, which sees no label, captions by TF-IDF and SVD or by the mean of word vectors;
pairs of the two couple the spaces, and the nearest class text classifies an image. Captions name the class, so a class
that is among the pairs is weakly supervised; zero-shot are classes that are in no pair, told apart among themselves.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from rlstitch.jobs.resources import resolve_device
from rlstitch.latent import couple, fit_affine, nearest
from rlstitch.modalities.autoencoders import train_autoencoder
from rlstitch.modalities.captions import attributes, captions, class_texts, mean_of_words
from rlstitch.modalities.class_means import nearest_class_mean
from rlstitch.modalities.classifiers import accuracy, encode, to_pixels, train_classifier, train_head
from rlstitch.modalities.image import LabelledImages
from rlstitch.modalities.text import read_word_vectors, tfidf_space
from rlstitch.reporting.plots import Point, curves_plot
from rlstitch.studies.images import load_images
from rlstitch.studies.study import Findings, Row, StudyOptions, find_data, mean_interval

WORDS = "word2vec-googlenews-300d.npz"
WEAK, ZERO = "weak supervision", "zero-shot"
RECALLS = (1, 10)
KEPT, POWER = 800, 8.0
"""The paper's k, or all pairs where there are fewer, and its power."""

_WHAT = "word vectors (an npz of words and vectors: GoogleNews word2vec, 300 wide)"

Rows = NDArray[np.int64]
TextEncoder = Callable[[Rows, int], torch.Tensor]
"""(rows of the training captions that it may know, seed) -> vectors of all texts (n, d)."""
Search = Callable[[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor, int], torch.Tensor]
"""(images of pairs, texts of pairs, images that ask, candidate texts, k) -> the k best candidates of each, int64."""


@dataclass(frozen=True)
class AsifConfig:
    """Everything that decides the outcome. `texts`: encoders of captions. `pairs`: numbers of pairs; with the largest,
    `kept` and `powers` are tried as well. `unseen_pairs`: pairs where classes are held out; `folds`: into how many
    parts the classes fall, of which each is held out once. `queries`: test images that look for their caption.
    """

    dataset: str
    seeds: tuple[int, ...]
    texts: tuple[str, ...]
    train_images: int
    epochs: int
    classifier_epochs: int
    batch_size: int
    latent_dim: int
    hidden: int
    pairs: tuple[int, ...]
    kept: tuple[int, ...]
    powers: tuple[float, ...]
    unseen_pairs: int
    folds: int
    queries: int
    data_seed: int = 0


def resolve(options: StudyOptions) -> Row:
    """The config as JSON: digits and TF-IDF alone where quick, else Fashion-MNIST and word vectors too."""
    seeds = tuple(range(options.seeds or (2 if options.quick else 5)))
    if options.quick:
        quick = AsifConfig(
            "digits", seeds, ("lsa",), 1200, 15, 5, 50, 16, 128, (100, 1000), (10, 100), (1.0, 2.0), 900, 5, 300
        )
        return asdict(quick)
    full = AsifConfig(
        "fashion-mnist", seeds, ("lsa", "words"), 12_000, 10, 3, 128, 32, 256, (100, 300, 1000, 3000, 10_000),
        (30, 100, 300), (1.0, 4.0, 16.0), 3000, 5, 1000,
    )  # fmt: skip
    return asdict(full)


def run(config: Row, options: StudyOptions) -> Findings:
    """Couple images and captions in every way for each seed, and measure classification and retrieval."""
    settings = AsifConfig(**{name: value for name, value in config.items() if name != "study"})
    device = resolve_device(options.device)
    train, test = load_images(settings.dataset, settings.train_images, settings.data_seed, options)
    middle = np.median(attributes(train.images), axis=0)
    told = captions(test, middle)
    distinct = tuple(dict.fromkeys(told))
    encoders = _text_encoders(settings, (*captions(train, middle), *distinct, *class_texts(train.name)), options)
    own_caption = np.array([distinct.index(text) for text in told], dtype=np.int64)
    following = dict(zip(settings.seeds, settings.seeds[1:] + settings.seeds[:1], strict=True))
    cells: list[Row] = []
    for seed in settings.seeds:
        world = _World(settings, seed, following[seed], train, test, own_caption, encoders, device)
        images = world.autoencoded()
        for part in (_weak, _retrieval, _zero_shot):
            cells += [{"seed": seed} | cell for cell in part(world, images)]
            options.on_progress(f"seed {seed}: {cells[-1]['setting']} done")
    table = _table(cells)
    return Findings(cells, table, _facts(table, settings, test), {"table.png": _plot(table)})


def _text_encoders(settings: AsifConfig, texts: Sequence[str], options: StudyOptions) -> dict[str, TextEncoder]:
    """`lsa` knows the words of the pairs' captions alone; `words` has its vectors from elsewhere and knows no seed."""
    keys = [str(row) for row in range(len(texts))]

    def lsa(rows: Rows, seed: int) -> torch.Tensor:
        known = [texts[row] for row in rows]
        return torch.from_numpy(
            tfidf_space(texts, keys, width=settings.latent_dim, fit_on=known, seed=seed).vectors
        ).float()

    encoders: dict[str, TextEncoder] = {"lsa": lsa}
    if "words" in settings.texts:
        vectors = read_word_vectors(find_data(options.data, "word-vectors", [WORDS], _WHAT) / WORDS)
        means = torch.from_numpy(mean_of_words(texts, keys, vectors).vectors).float()
        encoders["words"] = lambda rows, seed: means
    return {kind: encoders[kind] for kind in settings.texts}


@dataclass(frozen=True, eq=False)
class _Images:
    """What an encoder makes of all training and all test images, (n, d)."""

    name: str
    known: torch.Tensor
    unseen: torch.Tensor


@dataclass(frozen=True, eq=False)
class _World:
    """What a seed is tried on. `own_caption`: for each test image the number of its caption among the different
    captions of test images. Texts are captions of training images, these, and those of the classes.
    """

    settings: AsifConfig
    seed: int
    text_seed: int
    train: LabelledImages
    test: LabelledImages
    own_caption: Rows
    encoders: Mapping[str, TextEncoder]
    device: str

    def autoencoded(self) -> _Images:
        """Latents of an autoencoder of all training images; it sees no labels."""
        model = train_autoencoder(
            self.train, kind="ae", seed=self.seed, epochs=self.settings.epochs, latent_dim=self.settings.latent_dim,
            hidden=self.settings.hidden, batch_size=self.settings.batch_size, device=self.device,
        )  # fmt: skip
        return self.encoded("autoencoder", model.encoder)

    def classified(self, rows: Rows, fold: int) -> _Images:
        """Latents of a classifier of these training images."""
        model = train_classifier(
            self.train.subset(rows), arch="mlp", seed=self.seed + 100 * (fold + 1),
            epochs=self.settings.classifier_epochs, latent_dim=self.settings.latent_dim,
            batch_size=self.settings.batch_size, device=self.device,
        )  # fmt: skip
        return self.encoded("classifier of the others", model.encoder)

    def encoded(self, name: str, encoder: torch.nn.Module) -> _Images:
        known, unseen = (encode(encoder, images, device=self.device).vectors for images in (self.train, self.test))
        return _Images(name, known, unseen)

    def pixels(self) -> _Images:
        known, unseen = (to_pixels(images.images).flatten(1) for images in (self.train, self.test))
        return _Images("pixels", known, unseen)

    def texts(self, kind: str, rows: Rows) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Captions of the pairs (training `rows`), different captions of test images, and texts of the classes."""
        found = self.encoders[kind](rows, self.text_seed)
        middle, classes = len(self.train), self.train.classes
        return found[rows], found[middle : len(found) - classes], found[len(found) - classes :]

    def rng(self) -> np.random.Generator:
        return np.random.default_rng([self.settings.data_seed, self.seed])


def _asif(kept: int, power: float) -> Search:
    return lambda x, y, queries, texts, k: couple(x, y, k=kept, power=power).retrieve(queries, texts, k).indices


METHODS: dict[str, Search] = {
    "absolute": lambda x, y, queries, texts, k: nearest(queries, texts, k).indices,
    "affine": lambda x, y, queries, texts, k: nearest(fit_affine(x, y)(queries), texts, k).indices,
}
"""What ASIF is compared with; absolute where the widths agree."""


def _searches(x: torch.Tensor, y: torch.Tensor) -> Iterator[tuple[Row, Search]]:
    for method, search in METHODS.items():
        if method != "absolute" or x.shape[1] == y.shape[1]:
            yield {"method": method, "pairs": len(x), "k": None, "power": None}, search
    kept = min(KEPT, len(x))
    yield {"method": "ASIF", "pairs": len(x), "k": kept, "power": POWER}, _asif(kept, POWER)


def _ask(
    search: Search, x: torch.Tensor, y: torch.Tensor, queries: torch.Tensor, texts: torch.Tensor, k: int = 1
) -> Rows:
    """The k best texts (n, k) of each query, where both spaces have been centred on the pairs."""
    middle, centre = x.mean(0), y.mean(0)
    found: Rows = search(x - middle, y - centre, queries - middle, texts - centre, k).numpy()
    return found


def _weak(world: _World, images: _Images) -> Iterator[Row]:
    """All classes are among the pairs, whose captions name them."""
    settings, test, train = world.settings, world.test, world.train
    order = world.rng().permutation(len(train))
    where: Row = {"setting": WEAK, "images": images.name, "texts": None}
    none: Row = {"pairs": None, "k": None, "power": None}
    yield where | none | {"images": None, "method": "chance", "score": 1 / train.classes}
    head = train_head(
        images.known, train.labels, train.classes, seed=world.seed, epochs=settings.epochs,
        batch_size=settings.batch_size, device=world.device,
    )  # fmt: skip
    yield where | none | {"method": "head, all labels", "score": accuracy(head, images.unseen, test.labels)}
    for space in (world.pixels(), images):
        for number in settings.pairs:
            rows = order[:number]
            found = nearest_class_mean(space.known[rows], train.labels[rows], space.unseen)
            score = float((found == test.labels).mean())
            yield where | none | {"images": space.name, "method": "class means", "pairs": number, "score": score}
    for kind in settings.texts:
        for number in settings.pairs:
            rows = order[:number]
            x = images.known[rows]
            y, _, classes = world.texts(kind, rows)
            tried = list(_searches(x, y))
            if number == settings.pairs[-1]:
                choices = [(kept, POWER) for kept in settings.kept]
                choices += [(min(KEPT, number), power) for power in settings.powers]
                tried += [
                    ({"method": "ASIF", "pairs": number, "k": kept, "power": power}, _asif(kept, power))
                    for kept, power in choices
                ]
            for how, search in tried:
                found = _ask(search, x, y, images.unseen, classes)[:, 0]
                yield where | how | {"texts": kind, "score": float((found == test.labels).mean())}


def _retrieval(world: _World, images: _Images) -> Iterator[Row]:
    """Test images look for their caption among the different ones of all test images."""
    settings = world.settings
    rng = world.rng()
    rows = rng.permutation(len(world.train))[: settings.pairs[-1]]
    asked = rng.permutation(len(world.test))[: settings.queries]
    own = world.own_caption[asked, None]
    x, most = images.known[rows], max(RECALLS)
    for kind in settings.texts:
        y, candidates, _ = world.texts(kind, rows)
        ways = [(how, _ask(search, x, y, images.unseen[asked], candidates, most)) for how, search in _searches(x, y)]
        for k in RECALLS:
            where: Row = {"setting": f"retrieval, recall@{k}", "images": images.name, "texts": kind}
            chance: Row = {"method": "chance", "pairs": None, "k": None, "power": None}
            yield where | chance | {"score": k / len(candidates)}
            for how, found in ways:
                yield where | how | {"score": float((found[:, :k] == own).any(1).mean())}


def _zero_shot(world: _World, images: _Images) -> Iterator[Row]:
    """Classes that are in no pair are told apart; each class is held out once."""
    settings, train, test = world.settings, world.train, world.test
    rng = world.rng()
    order = rng.permutation(len(train))
    for fold, held in enumerate(np.array_split(rng.permutation(train.classes), settings.folds)):
        rows = order[~np.isin(train.labels[order], held)]
        asked = np.flatnonzero(np.isin(test.labels, held))
        where: Row = {"setting": ZERO, "texts": None, "held out": " ".join(map(str, sorted(held.tolist())))}
        none: Row = {"images": None, "pairs": None, "k": None, "power": None}
        yield where | none | {"method": "chance", "score": 1 / len(held)}
        chosen = rows[: settings.unseen_pairs]
        texts = {kind: world.texts(kind, chosen) for kind in settings.texts}
        shown = np.flatnonzero(np.isin(train.labels, held))
        for space in (images, world.classified(rows, fold)):
            found = nearest_class_mean(space.known[shown], train.labels[shown], space.unseen[asked])
            score = float((found == test.labels[asked]).mean())
            yield where | none | {"images": space.name, "method": "class means, their labels", "score": score}
            x = space.known[chosen]
            for kind, (y, _, classes) in texts.items():
                for how, search in _searches(x, y):
                    found = held[_ask(search, x, y, space.unseen[asked], classes[held])[:, 0]]
                    score = float((found == test.labels[asked]).mean())
                    yield where | how | {"images": space.name, "texts": kind, "score": score}


COLUMNS = ("setting", "images", "texts", "method", "pairs", "k", "power")


def _table(cells: Sequence[Row]) -> list[Row]:
    """A row for each way; the value that counts once is the mean of a seed, which holds every class out once."""
    groups: dict[tuple[Any, ...], dict[int, list[float]]] = {}
    for row in cells:
        group = groups.setdefault(tuple(row[name] for name in COLUMNS), {})
        group.setdefault(row["seed"], []).append(row["score"])
    rows: list[Row] = []
    for key, by_seed in groups.items():
        mean, low, high = mean_interval([float(np.mean(values)) for values in by_seed.values()], within=(0.0, 1.0))
        rows.append(dict(zip(COLUMNS, key, strict=True)) | {"score": mean, "low": low, "high": high})
        rows[-1]["seeds"] = len(by_seed)
    return rows


def _plot(table: Sequence[Row]) -> bytes:
    """Accuracy over the number of pairs, where classes are among them."""
    curves: dict[str, list[Point]] = {}
    levels: dict[str, float] = {}
    for row in table:
        if row["images"] == "pixels":
            continue
        if row["setting"] == WEAK and row["pairs"] is None:
            levels[row["method"]] = row["score"]
        elif row["setting"] == WEAK and row["k"] in (None, min(KEPT, row["pairs"])) and row["power"] in (None, POWER):
            name = f"{row['method']}, {row['texts'] or row['images']}"
            curves.setdefault(name, []).append((row["pairs"], row["score"], row["low"], row["high"]))
    return curves_plot(curves, "pairs", "accuracy", levels=levels, log=True).png()


def _facts(table: Sequence[Row], settings: AsifConfig, test: LabelledImages) -> list[str]:
    def score(setting: str, method: str, **others: Any) -> float:
        wanted = {"setting": setting, "method": method} | others
        found: float = max(row["score"] for row in table if all(row[key] == value for key, value in wanted.items()))
        return found

    most = settings.pairs[-1]
    kept = {"pairs": most, "k": min(KEPT, most), "power": POWER}
    return [
        f"{WEAK}, {len(test):,} test images of {settings.dataset} in {test.classes} classes, {most:,} pairs whose "
        f"captions name the class, no training on them: ASIF {score(WEAK, 'ASIF', **kept):.3f} (k {kept['k']}, power "
        f"{POWER:g}), {score(WEAK, 'ASIF'):.3f} with the best k and power in hindsight, affine "
        f"{score(WEAK, 'affine', pairs=most):.3f}; nearest class mean of the same images "
        f"{score(WEAK, 'class means', images='autoencoder', pairs=most):.3f}, head on all labels "
        f"{score(WEAK, 'head, all labels'):.3f}, chance {score(WEAK, 'chance'):.3f}.",
        f"{ZERO}, classes in no pair told apart in {settings.folds} folds, images by the autoencoder: "
        + "".join(
            f"{kind} captions ASIF {score(ZERO, 'ASIF', texts=kind, images='autoencoder'):.3f}, affine "
            f"{score(ZERO, 'affine', texts=kind, images='autoencoder'):.3f}; "
            for kind in settings.texts
        )
        + f"chance {score(ZERO, 'chance'):.3f}, class means with their labels "
        f"{score(ZERO, 'class means, their labels', images='autoencoder'):.3f}.",
        "low and high: 95 % interval (Student's t) over seeds; the two sides never share a seed.",
    ]
