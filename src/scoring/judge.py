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
from src.scoring.observation import Observation, generated_batches, observe
from src.scoring.passport import Passport
from src.scoring.reference import FORMAT, Reference, fingerprint, load_reference
from src.scoring.scores import Rules, compute_scores, resample, score_names
from src.scoring.space import load_space


class Judge:
    """What every scored set of images is scored by.

    Args:
        data: prepared; its training split are the real images.
        classifier: run folder or checkpoint of ``model=classifier``; None: random features and no class scores, or
            InceptionV3 alone.
        features: ``classifier`` or ``inception``: the space of all other scores.
        seed: of latents, subsets and resamples.
        batch_size: images seen at once.
        cache: the user's cache folder, for the real images' statistics.

    Raises:
        UserError: no such classifier, or one for other data; InceptionV3 cannot be had.
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
    ) -> None:
        self.data, self.seed, self.batch_size, self.rules = data, seed, batch_size, rules
        self.cache = Path(cache).expanduser()
        self.space = load_space(classifier, features, data.description)

    def check(self, count: int) -> str:
        """Why FID is left out of the scores of ``count`` images, in a line; empty where it is not.

        Raises:
            UserError: they, or the real ones, are too few for any score.
        """
        real = len(self.data.split("train"))
        self.rules.check(real, count)
        return self.rules.left_out(real, count, self.space.feature_count)

    def names(self, count: int) -> list[str]:
        """Of the scores of ``count`` generated images."""
        fid = not self.check(count)
        shape = self.data.split("train").store.images.shape
        return score_names(bool(self.space.classes), fid, min(shape[1:3]))

    @cached_property
    def reference(self) -> Reference:
        return load_reference(self.space, self.data, self.cache, self.batch_size)

    def observe(self, batches: Iterable[Tensor], name: str, cases: Sequence[str] | None = None) -> Observation:
        """``name`` says whose images they are; without ``cases`` each is its own."""
        return observe(self.space, batches, name, cases)

    def generated(self, module: Any, count: int) -> Iterator[Tensor]:
        """Batches of what a GAN makes; the network moves to where the GAN is."""
        self.space.to(module.device)
        return generated_batches(module, count, self.seed, self.data.description.channels, self.batch_size)

    def scores(self, seen: Observation) -> dict[str, float]:
        return compute_scores(self.reference, seen, self.rules, self.seed)

    def resample(self, seen: Observation, scores: Mapping[str, float]) -> dict[str, Resampled]:
        return resample(self.reference, seen, scores, self.seed)

    @cached_property
    def _identity(self) -> tuple[str, str]:
        return fingerprint(self.data.split("train")), self.space.digest()

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
            features=self.space.title,
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
