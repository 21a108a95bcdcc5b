"""Study `text-classification`: encoders and heads of text classifiers that were trained independently are joined.

Shows: three encoder architectures for texts (lsa, words, transformer) drive heads of one another
Data: TREC questions; with --quick synthetic questions
Time: quick: under 15 seconds; in full: minutes, as 15 networks are trained

After Moschella et al. 2022 (2209.15430, section 5, TREC) and Maiorca et al. 2023 (2311.00664), whose encoders were
large and pretrained; these are small and trained here on the questions alone.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from rlstitch.errors import ArtefactError
from rlstitch.modalities.synthetic_text import synthetic_questions
from rlstitch.modalities.text import TREC_FILES, LabelledTexts, read_trec
from rlstitch.studies.joining import ALL_TRANSLATIONS, ClassificationConfig, ClassificationStudy, JoiningTask
from rlstitch.studies.training.networks import TEXT_ARCHITECTURES, text_encoder, text_samples
from rlstitch.studies.training.trainers import ClassifierTrainer

_QUICK = (700, 300)


class Config(ClassificationConfig):
    """Everything that decides the result.

    `epochs` and `learning_rates` by architecture; `anchors` are training questions.
    """

    epochs: dict[str, int]
    learning_rates: dict[str, float]
    lsa_width: int


class TextClassification(ClassificationStudy[Config]):
    """Joins classifiers of questions."""

    quick = Config(
        dataset="made-up", seeds=(0, 1), epochs=dict.fromkeys(TEXT_ARCHITECTURES, 8),
        learning_rates=dict.fromkeys(TEXT_ARCHITECTURES, 1e-3), head_epochs=6, anchors=200, latent_dim=32,
        lsa_width=60,
    )  # fmt: skip
    full = Config(
        dataset="trec", seeds=(0, 1, 2, 3, 4), epochs={"lsa": 15, "words": 15, "transformer": 12},
        # Chosen on held-out training questions.
        learning_rates={"lsa": 1e-3, "words": 3e-3, "transformer": 3e-3}, head_epochs=5, anchors=500,
        latent_dim=64, lsa_width=300, translations=ALL_TRANSLATIONS,
    )  # fmt: skip

    def tasks(self) -> Iterator[JoiningTask]:
        """One task: all architectures on the test questions."""
        config = self.config
        train, test = self._load()
        encoders = {}
        for arch, epochs in config.epochs.items():
            known, tested = (text_samples(arch, texts, train, width=config.lsa_width) for texts in (train, test))
            encoders[arch] = ClassifierTrainer(
                train=known, test=tested, network=text_encoder, arch=arch, epochs=epochs, device=self.device,
                head_epochs=config.head_epochs, latent_dim=config.latent_dim,
                learning_rate=config.learning_rates[arch],
            )  # fmt: skip
        yield JoiningTask(encoders, config.anchors, test.labels, f"{len(test):,} test questions ({config.dataset})")

    def _load(self) -> tuple[LabelledTexts, LabelledTexts]:
        """Questions to train on and to test on, with none in common."""
        if self.config.dataset == "made-up":
            both = synthetic_questions(sum(_QUICK), seed=self.config.data_seed)
            texts = np.array(both.texts, dtype=object)
            train = np.arange(_QUICK[0])
            return both.subset(train), both.subset(np.flatnonzero(~np.isin(texts, texts[train])))
        folder = self.data.folder("trec")
        train_texts, test_texts = (read_trec(folder / file) for file in TREC_FILES.values())
        if not len(train_texts) or not len(test_texts):
            raise ArtefactError(
                f"{folder}: expected questions to train on and to test on, found {len(train_texts)}, {len(test_texts)}"
            )
        return train_texts, test_texts
