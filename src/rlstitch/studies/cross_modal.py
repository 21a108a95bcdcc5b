"""Study `cross-modal`: encoders of two modalities are joined by pairs that share nothing but their label.

Pictures of digits meet spoken ones, and pictures of clothes meet the words for them, after Moschella et al. 2022
(2209.15430) and Maiorca et al. 2023 (2311.00664), whose pairs across modalities were of one item each. A pair here is
a training item of x and any training item of y of the same class; `class means` are the means of each class in either
space, one pair a class. Nothing is trained across modalities.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from rlstitch.errors import ArtefactError
from rlstitch.jobs.resources import resolve_device
from rlstitch.latent import fit, fit_inverse_projection, nearest
from rlstitch.modalities.audio import FSDD_FILE, LabelledSounds, log_mel, made_up_sounds, read_fsdd
from rlstitch.modalities.audio_encoders import train_audio_classifier
from rlstitch.modalities.classifiers import accuracy, encode, encode_inputs, train_classifier, train_head
from rlstitch.modalities.image import LabelledImages
from rlstitch.modalities.text import read_word_vectors
from rlstitch.studies.audio import TEST_TAKES
from rlstitch.studies.images import load_images
from rlstitch.studies.joining import INVERSE, RELATIVE
from rlstitch.studies.study import Findings, Row, StudyOptions, find_data, mean_interval

TRANSLATIONS = (
    "orthogonal", "scaled_orthogonal", "l_orthogonal", "linear", "ridge", "affine", "low_rank", "cca", "pls",
)  # fmt: skip
PAIRINGS = ("random", "class means")
NAMES = (
    "cotton shirt top", "pants jeans", "warm jersey", "dress", "coat jacket winter", "open shoes summer",
    "shirt formal", "running shoes", "bag purse", "ankle boots",
)  # fmt: skip
"""Fashion-MNIST's classes in words that the published vectors know, in the order of the labels; trousers, pullovers,
sandals and sneakers are not among the words, and are told by others."""

_VECTORS = "word2vec-googlenews-300d.npz"
_WORDS = f"word vectors (an npz of words and vectors: {_VECTORS}, GoogleNews word2vec, 300 wide)"
_SOUNDS = "FSDD, the Free Spoken Digit Dataset (its recordings as one tar.gz)"

Labels = NDArray[np.int64]


@dataclass(frozen=True)
class CrossModalConfig:
    """Everything that decides the outcome. `pairs`: how many of one label are drawn; `dataset`: made-up sounds and
    names of digits, or FSDD and Fashion-MNIST, of which `train_images` and `test_images` are taken.
    """

    dataset: str
    seeds: tuple[int, ...]
    image_epochs: int
    audio_epochs: int
    head_epochs: int
    pairs: int
    train_images: int
    test_images: int
    latent_dim: int
    data_seed: int = 0


def resolve(options: StudyOptions) -> Row:
    """The config as JSON: digits with made-up sounds and names where quick."""
    seeds = tuple(range(options.seeds or (2 if options.quick else 5)))
    if options.quick:
        return asdict(CrossModalConfig("made-up", seeds, 5, 6, 5, 150, 900, 900, 32))
    return asdict(CrossModalConfig("published", seeds, 10, 8, 5, 500, 6_000, 2_000, 64))


@dataclass(frozen=True, eq=False)
class Side:
    """One modality under one seed: latents (n, d) and labels of training items, of which pairs are drawn, and of test
    items; the head that was trained with the encoder, and how one is trained on features of the training items. Words
    have no head and no seed: the nearest of them is their class.
    """

    modality: str
    seed: int | None
    known: torch.Tensor
    labels: Labels
    test: torch.Tensor
    test_labels: Labels
    head: nn.Module | None = None
    train_head: Callable[[torch.Tensor], nn.Module] | None = None


def run(config: Row, options: StudyOptions) -> Findings:
    """Train every network, join the two modalities both ways, and measure retrieval and classification."""
    settings = CrossModalConfig(**{name: value for name, value in config.items() if name != "study"})
    device = resolve_device(options.device)
    sounds, digits, clothes, names = _data(settings, options)
    spectra = [log_mel(some.waves) for some in sounds]
    cells: list[Row] = []
    spoken, seen, worn = [], [], []
    for seed in settings.seeds:
        spoken.append(_audio_side(seed, sounds, spectra, settings, device))
        seen.append(_image_side(seed, digits, settings, device))
        worn.append(seen[-1] if clothes is digits else _image_side(seed, clothes, settings, device))
        options.on_progress(f"seed {seed}: encoders and heads trained")
    following = settings.seeds[1:] + settings.seeds[:1]
    for place, seed in enumerate(following):
        at = settings.seeds.index(seed)
        for x, y in ((seen[place], spoken[at]), (spoken[place], seen[at]), (worn[place], names), (names, worn[place])):
            cells += join(x, y, settings.pairs, settings.data_seed)
        options.on_progress(f"seed {settings.seeds[place]} joined to the next")
    table = table_of(cells)
    return Findings(cells, table, _facts(table, cells, settings))


def join(x: Side, y: Side, pairs: int, data_seed: int) -> list[Row]:
    """x joined to y by every method and pairing: a cell each, with those of the two sides alone.

    `precision@1`: the share of x's test items whose nearest test item of y, by the cosine in the common space, is of
    their class. `accuracy`: y's head on x's test items; None for words, which have none.
    """
    where: Row = {"from": x.modality, "to": y.modality, "encoder seed": x.seed, "head seed": y.seed}

    def cell(method: str, pairing: str, a: torch.Tensor, b: torch.Tensor, head: nn.Module | None) -> Row:
        found = nearest(a, b, 1).indices[:, 0].numpy()
        precision = float((y.test_labels[found] == x.test_labels).mean())
        score = None if head is None else accuracy(head, a, x.test_labels)
        return where | {"method": method, "pairs": pairing, "precision@1": precision, "accuracy": score}

    cells = [where | {"method": "no-stitch", "pairs": "–", **_alone(y)}]
    if x.known.shape[1] == y.known.shape[1]:
        cells.append(cell("absolute", "–", x.test, y.test, y.head))
    rng = np.random.default_rng([data_seed, *(side.seed or 0 for side in (x, y))])
    for pairing in PAIRINGS:
        source, target = paired(x, y, pairing, pairs, rng)
        maps: dict[str, nn.Module] = {method: fit(method, source, target) for method in TRANSLATIONS}
        maps[INVERSE] = fit_inverse_projection(source, target)
        cells += [cell(method, pairing, there(x.test), y.test, y.head) for method, there in maps.items()]
        for method, relate in RELATIVE.items():
            head = None if y.train_head is None else y.train_head(relate(y.known, target))
            cells.append(cell(method, pairing, relate(x.test, source), relate(y.test, target), head))
    return cells


def _alone(side: Side) -> Row:
    """A side by itself: its own head, and the nearest other test item of its own; each word is nearest to itself."""
    if side.head is None:
        return {"precision@1": 1.0, "accuracy": None}
    found = nearest(side.test, side.test, 1, exclude_self=True).indices[:, 0].numpy()
    own = accuracy(side.head, side.test, side.test_labels)
    return {"precision@1": float((side.test_labels[found] == side.test_labels).mean()), "accuracy": own}


def paired(x: Side, y: Side, pairing: str, pairs: int, rng: np.random.Generator) -> tuple[torch.Tensor, torch.Tensor]:
    """Latents (n, d_x), (n, d_y) of which row i has one label: drawn as evenly over classes as may be, or means."""
    classes = np.unique(x.labels)
    if pairing == "class means":
        return tuple(  # type: ignore[return-value]
            torch.stack([side.known[torch.tensor(side.labels == label)].mean(0) for label in classes])
            for side in (x, y)
        )
    drawn = classes[np.arange(pairs) % len(classes)]
    rows = [[int(rng.choice(np.flatnonzero(side.labels == label))) for label in drawn] for side in (x, y)]
    return x.known[rows[0]], y.known[rows[1]]


def table_of(cells: Sequence[Row]) -> list[Row]:
    """A row for each two modalities, kind of pairs and method; the value that counts once is the mean of a seed pair
    over both ways.
    """
    rows: list[Row] = []
    for other, pairs, method in dict.fromkeys(map(_kind, cells)):
        chosen = [row for row in cells if _kind(row) == (other, pairs, method)]
        ways = {
            "from images": [row["precision@1"] for row in chosen if row["to"] == other],
            "to images": [row["precision@1"] for row in chosen if row["from"] == other],
        }
        means = [float(np.mean(both)) for both in zip(*ways.values(), strict=True)]
        mean, low, high = mean_interval(means, within=(0.0, 1.0))
        scores = [row["accuracy"] for row in chosen if row["accuracy"] is not None]
        rows.append(
            {"images and": other, "pairs": pairs, "method": method, "precision@1": mean, "low": low, "high": high}
            | {way: float(np.mean(values)) for way, values in ways.items()}
            | {"accuracy": float(np.mean(scores)) if scores else None, "seed pairs": len(means)}
        )
    return rows


def _kind(row: Row) -> tuple[str, str, str]:
    return row["to"] if row["from"] == "images" else row["from"], row["pairs"], row["method"]


def _facts(table: Sequence[Row], cells: Sequence[Row], settings: CrossModalConfig) -> list[str]:
    facts = []
    for other in dict.fromkeys(row["images and"] for row in table):
        here = [row for row in table if row["images and"] == other]
        own = [row for row in cells if row["method"] == "no-stitch" and _kind(row)[0] == other]
        makes: Mapping[str, list[float]] = {
            side: [row["accuracy"] for row in own if row["to"] == side and row["accuracy"] is not None]
            for side in ("images", other)
        }
        scores = {side: float(np.mean(found)) for side, found in makes.items() if found}
        weaker = min(scores, key=scores.__getitem__)
        best = max((row for row in here if row["method"] != "no-stitch"), key=_worse_way)
        absolute = [row["precision@1"] for row in here if row["method"] == "absolute"]
        told = f"; both ways as they are {absolute[0]:.3f}" if absolute else ""
        facts.append(
            f"Images and {other} ({settings.dataset}), by labels alone: accuracy of each with its own head "
            f"{', '.join(f'{side} {value:.3f}' for side, value in scores.items())}; precision@1 in the worse way by "
            f"{best['method']} ({best['pairs']}) {_worse_way(best):.3f} = "
            f"{100 * _worse_way(best) / scores[weaker]:.1f} % of the weaker ({weaker}){told}."
        )
    return [*facts, "low and high: 95 % interval (Student's t) over seed pairs; the two sides never share a seed."]


def _worse_way(row: Row) -> float:
    return float(min(row["from images"], row["to images"]))


def _image_side(
    seed: int, images: tuple[LabelledImages, LabelledImages], settings: CrossModalConfig, device: str
) -> Side:
    train, test = images
    arch = "mlp" if train.name == "fashion-mnist" else "cnn"
    model = train_classifier(
        train, arch=arch, seed=seed, epochs=settings.image_epochs, latent_dim=settings.latent_dim, batch_size=64,
        device=device,
    )  # fmt: skip
    known, unseen = (encode(model.encoder, some, name=model.name, device=device).vectors for some in images)
    head = _head_trainer(train.labels, train.classes, seed, settings, device)
    return Side("images", seed, known, train.labels, unseen, test.labels, model.head, head)


def _audio_side(
    seed: int,
    sounds: tuple[LabelledSounds, LabelledSounds],
    spectra: Sequence[torch.Tensor],
    settings: CrossModalConfig,
    device: str,
) -> Side:
    train, test = sounds
    model = train_audio_classifier(
        spectra[0], train.labels, train.classes, kind="cnn", seed=seed, epochs=settings.audio_epochs,
        latent_dim=settings.latent_dim, device=device,
    )  # fmt: skip
    known, unseen = (
        encode_inputs(model.encoder, inputs, some.keys, name=model.name, device=device).vectors
        for inputs, some in zip(spectra, sounds, strict=True)
    )
    head = _head_trainer(train.labels, train.classes, seed, settings, device)
    return Side("sounds", seed, known, train.labels, unseen, test.labels, model.head, head)


def _head_trainer(
    labels: Labels, classes: int, seed: int, settings: CrossModalConfig, device: str
) -> Callable[[torch.Tensor], nn.Module]:
    def train(features: torch.Tensor) -> nn.Module:
        return train_head(
            features, labels, classes, seed=seed, epochs=settings.head_epochs, batch_size=64, device=device
        )

    return train


def _data(
    settings: CrossModalConfig, options: StudyOptions
) -> tuple[
    tuple[LabelledSounds, LabelledSounds],
    tuple[LabelledImages, LabelledImages],
    tuple[LabelledImages, LabelledImages],
    Side,
]:
    """Sounds, digits and clothes, each to train on and to test on, and the names of clothes."""
    digits = load_images("digits", 900, settings.data_seed, options)
    if settings.dataset == "made-up":
        sounds = made_up_sounds(30, classes=10, seed=settings.data_seed)
        vectors = torch.randn(10, 50, generator=torch.Generator().manual_seed(settings.data_seed))
        clothes = digits
    else:
        sounds = read_fsdd(find_data(options.data, "fsdd", [FSDD_FILE], _SOUNDS) / FSDD_FILE)
        folder = find_data(options.data, "word-vectors", [_VECTORS], _WORDS)
        words = read_word_vectors(folder / _VECTORS)
        if unknown := {word for name in NAMES for word in name.split()} - set(words.keys):
            raise ArtefactError(
                f"{folder / _VECTORS}: expected vectors of all words of the names, found none of {sorted(unknown)}"
            )
        vectors = torch.tensor(np.stack([words.select(name.split()).vectors.mean(0) for name in NAMES]))
        train, test = load_images("fashion-mnist", settings.train_images, settings.data_seed, options)
        clothes = train, test.subset(range(min(settings.test_images, len(test))))
    labels = np.arange(10)
    tested = sounds.takes < TEST_TAKES
    return (
        (sounds.subset(np.flatnonzero(~tested)), sounds.subset(np.flatnonzero(tested))),
        digits,
        clothes,
        Side("names", None, vectors, labels, vectors, labels),
    )
