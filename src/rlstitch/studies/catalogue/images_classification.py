"""Study `images-classification`: encoders and heads of image classifiers that were trained independently are joined.

Shows: three encoder architectures (cnn, mlp, vit) drive heads of one another, by every way of joining them
Data: Fashion-MNIST; with --quick scikit-learn's digits, nothing to get
Time: quick: under 15 seconds; in full: some 25 minutes of one core, as 15 networks are trained

After Moschella et al. 2022 (2209.15430, section 5) and Maiorca et al. 2023 (2311.00664, section 4.1), with small
networks trained here.
"""

from __future__ import annotations

from collections.abc import Iterator

from rlstitch.studies.joining import ALL_TRANSLATIONS, ClassificationConfig, ClassificationStudy, JoiningTask
from rlstitch.studies.study import ImagesConfig
from rlstitch.studies.training.networks import IMAGE_ARCHITECTURES, image_encoder
from rlstitch.studies.training.trainers import ClassifierTrainer, load_image_samples


class Config(ImagesConfig, ClassificationConfig):
    """Everything that decides the result. `epochs`: one number for each architecture; `anchors` are training images."""

    architectures: tuple[str, ...] = IMAGE_ARCHITECTURES
    epochs: tuple[int, ...]


class ImagesClassification(ClassificationStudy[Config]):
    """Joins classifiers of images."""

    quick = Config(
        dataset="digits", seeds=(0, 1), train_images=900, epochs=(5, 5, 5), batch_size=50, anchors=200,
        head_epochs=5, latent_dim=32,
    )  # fmt: skip
    full = Config(
        dataset="fashion-mnist", seeds=(0, 1, 2, 3, 4), train_images=60_000, epochs=(6, 12, 4), batch_size=128,
        anchors=500, head_epochs=3, latent_dim=64, translations=ALL_TRANSLATIONS,
    )  # fmt: skip

    def tasks(self) -> Iterator[JoiningTask]:
        """One task: all architectures on the test images."""
        config = self.config
        train, test = load_image_samples(config, self.data)
        encoders = {
            arch: ClassifierTrainer(
                train=train, test=test, network=image_encoder, arch=arch, epochs=epochs, device=self.device,
                head_epochs=config.head_epochs, latent_dim=config.latent_dim, batch_size=config.batch_size,
            )
            for arch, epochs in zip(config.architectures, config.epochs, strict=True)
        }  # fmt: skip
        yield JoiningTask(encoders, config.anchors, test.labels, f"{len(test):,} test images of {config.dataset}")
