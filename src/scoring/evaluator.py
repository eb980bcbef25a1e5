"""Scores sets of images against one data set, in one feature space, by one seed."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from src.data.base import ImageData
from src.metrics.diversity import WINDOW
from src.metrics.intervals import Resampled
from src.scoring.feature_extractors import load_extractor
from src.scoring.halves import between_halves
from src.scoring.image_features import ImageFeatures, extract, generated_batches
from src.scoring.passport import Passport
from src.scoring.reference import FORMAT, Reference, fingerprint, load_reference
from src.scoring.scores import Rules, compared, compute_scores, resample, score_names
from src.scoring.titles import FurtherScore, register


class Evaluator:
    """What every scored set of images is scored by.

    Args:
        data: prepared; its training split are the real images.
        classifier: run folder or checkpoint of ``model=classifier``; None: random features and no class scores, or
            InceptionV3 alone.
        features: the space of all other scores: ``classifier``, or one of ``BESIDE_CLASSIFIER``.
        seed: of latents, subsets and resamples.
        batch_size: images seen at once.
        cache: the user's cache folder, for the real images' statistics.
        also: further scores by name.

    Raises:
        UserError: no such classifier, or one for other data; what ``features`` needs cannot be had.
    """

    def __init__(
        self,
        data: ImageData,
        classifier: str | None,
        features: str,
        seed: int,
        batch_size: int,
        rules: Rules,
        cache: str | Path,
        also: Mapping[str, FurtherScore] | None = None,
    ) -> None:
        self.data, self.seed, self.batch_size, self.rules = data, seed, batch_size, rules
        self.cache = Path(cache).expanduser()
        self.also = dict(also or {})
        for name, score in self.also.items():
            register(name, score)
        self.extractor = load_extractor(classifier, features, data.description)

    def check(self, count: int) -> str:
        """Why FID is left out of the scores of ``count`` images, in a line; empty where it is not.

        Raises:
            UserError: they, or the real ones, are too few for any score.
        """
        real = len(self.data.split("train"))
        self.rules.check(real, count)
        return self.rules.left_out(real, count, self.extractor.feature_count)

    def names(self, count: int) -> list[str]:
        """Of the scores of ``count`` generated images."""
        fid = not self.check(count)
        shape = self.data.split("train").store.images.shape
        own = score_names(bool(self.extractor.classes), fid, min(shape[1:3]), self.extractor.standardised)
        return [*own, *self.also]

    @cached_property
    def reference(self) -> Reference:
        return load_reference(self.extractor, self.data, self.cache, self.batch_size)

    def extract(self, batches: Iterable[Tensor], name: str, cases: Sequence[str] | None = None) -> ImageFeatures:
        """``name`` says whose images they are; without ``cases`` each is its own."""
        seen = extract(self.extractor, batches, name, cases)
        return seen._replace(features=self.reference.standardised(seen.features))

    def generated(self, module: Any, count: int) -> Iterator[Tensor]:
        """Batches of what a GAN makes; the network moves to where the GAN is."""
        self.extractor.to(module.device)
        return generated_batches(module, count, self.seed, self.data.description.channels, self.batch_size)

    @cached_property
    def between_halves(self) -> dict[str, float]:
        """The scores of one half of the real patients against the other: the floor of all distances."""
        return between_halves(self.reference, self.rules, self.seed)

    def scores(self, seen: ImageFeatures) -> dict[str, float]:
        scores = compute_scores(self.reference, seen, self.rules, self.seed)
        return scores | {name: float(score(*compared(self.reference, seen))) for name, score in self.also.items()}

    def resample(self, seen: ImageFeatures, scores: Mapping[str, float]) -> dict[str, Resampled]:
        return resample(self.reference, seen, scores, self.seed)

    @cached_property
    def _identity(self) -> tuple[str, str]:
        return fingerprint(self.data.split("train")), self.extractor.digest()

    def passport(self, n_fake: int, module: Any = None, measured: bool = True) -> Passport:
        """Of scores of ``n_fake`` images; ``module`` is the GAN that made them, None for images without one.

        What only a look at the real images tells, the classifier's accuracies, is None unless ``measured``.
        """
        data, network = self._identity
        split = self.data.split("train")
        real = len(split)
        return Passport(
            n_real=real,
            n_fake=n_fake,
            data=str(getattr(self.data, "name", type(self.data).__name__)),
            fingerprint=data,
            split="train",
            features=self.extractor.title,
            network=network,
            cases=len(set(split.cases_or_files())),
            accuracy=self.reference.accuracy if measured else None,
            balanced_accuracy=self.reference.balanced_accuracy if measured else None,
            resolution=self.data.description.resolution,
            seed=self.seed,
            kid_subset=self.rules.subset(real, n_fake),
            ssim_window=WINDOW,
            ema=None if module is None else module.ema is not None,
            images_shown=None if module is None else module.clock.images,
            version=f"torch {torch.__version__}, scores {FORMAT}",
        )
