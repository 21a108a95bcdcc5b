"""Reading images, and training classifiers that fall into two parts."""

from __future__ import annotations

import gzip
import os
from pathlib import Path

import numpy as np
import pytest
import torch

from rlstitch.errors import ArtefactError, InvalidInputError, UnknownNameError
from rlstitch.modalities.classifiers import accuracy, encode, to_pixels, train_classifier, train_head
from rlstitch.modalities.image import (
    FASHION_FILES,
    LabelledImages,
    load_digits,
    read_fashion_mnist,
    read_idx,
)
from rlstitch.modalities.image_encoders import ARCHITECTURES, classifier_head, image_encoder


def packed(content: bytes) -> bytes:
    """Compress without the time: it would stand in the names of parametrized tests, which must be equal everywhere."""
    return gzip.compress(content, mtime=0)


def idx(array: np.ndarray, magic: bytes | None = None) -> bytes:
    """The naive writer of what `read_idx` reads."""
    head = magic or bytes([0, 0, 8, array.ndim])
    return head + b"".join(size.to_bytes(4, "big") for size in array.shape) + array.tobytes()


def fashion(folder: Path, n: int = 5, labels: int | None = None) -> None:
    images = np.arange(n * 16, dtype=np.uint8).reshape(n, 4, 4)
    for images_name, labels_name in FASHION_FILES.values():
        (folder / images_name).write_bytes(gzip.compress(idx(images)))
        (folder / labels_name).write_bytes(gzip.compress(idx(np.arange(labels or n, dtype=np.uint8))))


def test_idx_gives_back_what_was_written(tmp_path: Path) -> None:
    array = np.random.default_rng(0).integers(256, size=(3, 5, 2), dtype=np.uint8)
    (tmp_path / "a.gz").write_bytes(gzip.compress(idx(array)))
    assert np.array_equal(read_idx(tmp_path / "a.gz", dimensions=3), array)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"not gzip", "whole gzip"),
        (packed(bytes(100))[:-12], "whole gzip"),
        (packed(b""), "found nothing"),
        (packed(idx(np.zeros((2, 3), np.uint8), magic=b"\0\0\x0d\x02")), "found 00000d02"),
        (packed(idx(np.zeros(6, np.uint8))), "found 00000801"),
        (packed(idx(np.zeros((2, 3), np.uint8)) + b"more"), r"says 6 bytes \[2, 3\], found 10"),
        (packed(idx(np.zeros((2, 3), np.uint8))[:-1]), "found 5"),
    ],
)
def test_a_damaged_idx_file_is_refused(tmp_path: Path, content: bytes, message: str) -> None:
    (tmp_path / "a.gz").write_bytes(content)
    with pytest.raises(ArtefactError, match=message):
        read_idx(tmp_path / "a.gz", dimensions=2)


def test_a_missing_idx_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(ArtefactError, match=r"b\.gz: there is no such file"):
        read_idx(tmp_path / "b.gz", dimensions=1)


def test_fashion_mnist_of_both_splits(tmp_path: Path) -> None:
    fashion(tmp_path)
    train, test = (read_fashion_mnist(tmp_path, split) for split in ("train", "test"))
    assert (len(train), train.images.shape, train.labels.tolist()) == (5, (5, 4, 4), [0, 1, 2, 3, 4])
    assert not set(train.keys) & set(test.keys)
    with pytest.raises(InvalidInputError, match="train, test, found 'validation'"):
        read_fashion_mnist(tmp_path, "validation")


@pytest.mark.parametrize(("n", "labels"), [(5, 4), (11, 11)])
def test_labels_that_do_not_fit_are_refused(tmp_path: Path, n: int, labels: int) -> None:
    fashion(tmp_path, n, labels)
    with pytest.raises(ArtefactError, match=f"found {n} images and {labels} labels"):
        read_fashion_mnist(tmp_path)


@pytest.mark.skipif("RLSTITCH_DATA" not in os.environ, reason="RLSTITCH_DATA does not name the folder of real data")
def test_the_published_fashion_mnist() -> None:
    test = read_fashion_mnist(Path(os.environ["RLSTITCH_DATA"]) / "fashion-mnist", "test")
    assert test.images.shape == (10_000, 28, 28)
    assert np.bincount(test.labels).tolist() == [1000] * 10


def test_digits_and_subsets() -> None:
    digits = load_digits()
    assert digits.images.shape == (1797, 8, 8)
    assert (digits.images.min(), digits.images.max(), digits.classes) == (0, 255, 10)
    some = digits.subset([7, 3])
    assert some.keys == ("digit-7", "digit-3")
    assert np.array_equal(some.images[1], digits.images[3])


@pytest.mark.parametrize(
    ("images", "labels", "keys", "message"),
    [
        (np.zeros((2, 4, 4)), [0, 1], "ab", "uint8"),
        (np.zeros((2, 4, 4), np.uint8), [0], "ab", "one an image"),
        (np.zeros((2, 4, 4), np.uint8), [0, 1], "aa", "1 different keys"),
        (np.zeros((2, 4, 4), np.uint8), [0, 3], "ab", r"\[0, 3\), found 0 to 3"),
    ],
)
def test_images_that_do_not_fit_together_are_refused(
    images: np.ndarray, labels: list[int], keys: str, message: str
) -> None:
    with pytest.raises(InvalidInputError, match=message):
        LabelledImages(images, np.array(labels), tuple(keys), 3)


@pytest.mark.parametrize("arch", ARCHITECTURES)
@pytest.mark.parametrize("shape", [(8, 8), (28, 28), (12, 16)])
def test_every_encoder_gives_latents_of_its_width(arch: str, shape: tuple[int, int]) -> None:
    if arch == "vit" and shape == (12, 16):
        shape = (16, 20)
    encoder = image_encoder(arch, shape, latent_dim=7)
    images = torch.rand(3, 1, *shape)
    latents = encoder(images)
    assert latents.shape == (3, 7)
    # No image sees another.
    assert torch.allclose(encoder(images[1:2]), latents[1:2], atol=1e-5)


@pytest.mark.parametrize("arch", ["cnn", "vit"])
def test_an_encoder_sees_where_things_are(arch: str) -> None:
    torch.manual_seed(0)
    image = torch.zeros(1, 1, 8, 8)
    image[..., :2, :2] = 1
    encoder = image_encoder(arch, (8, 8), latent_dim=5)
    assert not torch.allclose(encoder(image), encoder(image.flip(3)), atol=1e-3)


def test_encoders_that_cannot_be_made() -> None:
    with pytest.raises(UnknownNameError, match="did you mean"):
        image_encoder("cnnn", (8, 8))
    with pytest.raises(InvalidInputError, match="multiple of the patches' side 2"):
        image_encoder("vit", (9, 8))
    with pytest.raises(InvalidInputError, match="at least 4 x 4"):
        image_encoder("mlp", (3, 8))


@pytest.fixture(scope="module")
def some_digits() -> tuple[LabelledImages, LabelledImages]:
    digits = load_digits()
    return digits.subset(np.arange(400)), digits.subset(np.arange(400, 600))


def test_training_learns_and_is_fixed_by_its_seed(some_digits: tuple[LabelledImages, LabelledImages]) -> None:
    train, test = some_digits
    torch.manual_seed(5)
    before = torch.random.get_rng_state()
    one, again, other = (
        train_classifier(train, arch="mlp", seed=seed, epochs=15, latent_dim=8, batch_size=32) for seed in (1, 1, 2)
    )
    assert torch.equal(torch.random.get_rng_state(), before)
    assert one.name == "mlp-s1"
    assert one.losses[-1] < one.losses[0] / 2
    spaces = [encode(model.encoder, test, name=model.name) for model in (one, again, other)]
    assert torch.equal(spaces[0].vectors, spaces[1].vectors)
    assert not torch.allclose(spaces[0].vectors, spaces[2].vectors, atol=0.1)
    assert spaces[0].keys == test.keys
    assert accuracy(one.head, spaces[0].vectors, test.labels) > 0.7
    # A head trained alone on another's latents does as well; as it is, the first head does not.
    head = train_head(encode(other.encoder, train).vectors, train.labels, 10, seed=0, epochs=15, batch_size=32)
    assert accuracy(head, spaces[2].vectors, test.labels) > 0.7
    assert accuracy(one.head, spaces[2].vectors, test.labels) < 0.5


def test_encoding_in_batches_is_encoding_at_once(some_digits: tuple[LabelledImages, LabelledImages]) -> None:
    images = some_digits[1]
    torch.manual_seed(0)
    encoder = image_encoder("cnn", (8, 8), latent_dim=6)
    with torch.no_grad():
        naive = encoder(to_pixels(images.images))
    assert torch.allclose(encode(encoder, images, batch_size=64).vectors, naive, atol=1e-5)


def test_accuracy_by_hand() -> None:
    head = torch.nn.Identity()
    logits = torch.tensor([[1.0, 0.0], [0.0, 1.0], [3.0, 2.0], [0.0, 9.0]])
    assert accuracy(head, logits, np.array([0, 1, 1, 1])) == 0.75


@pytest.mark.parametrize("wrong", [{"epochs": 0}, {"batch_size": 0}, {"learning_rate": float("inf")}])
def test_training_that_cannot_be_done(
    some_digits: tuple[LabelledImages, LabelledImages], wrong: dict[str, float]
) -> None:
    options = {"epochs": 1, **wrong}
    with pytest.raises(InvalidInputError, match=f"{next(iter(wrong))} must be above 0"):
        train_classifier(some_digits[0], arch="mlp", seed=0, **options)  # type: ignore[arg-type]


def test_nothing_to_train_on_or_to_encode(some_digits: tuple[LabelledImages, LabelledImages]) -> None:
    none = some_digits[0].subset([])
    with pytest.raises(InvalidInputError, match="at least one sample"):
        train_classifier(none, arch="mlp", seed=0, epochs=1)
    with pytest.raises(InvalidInputError, match="at least one row"):
        encode(classifier_head(64, 2), none)
    with pytest.raises(InvalidInputError, match=r"labels \(n,\), found \(3, 2\)"):
        train_head(torch.zeros(3, 2), np.zeros(2, np.int64), 2, seed=0, epochs=1)
