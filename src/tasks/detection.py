"""Telling generated images from real ones."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from matplotlib.figure import Figure
from torch import Tensor, nn
from torchmetrics.functional.classification import binary_auroc, binary_roc

from src.core.atomic import write_atomically
from src.core.errors import UserError
from src.core.pixels import to_unit_range
from src.data.base import ImageData
from src.data.description import Description
from src.data.store import Batch, Split, Store
from src.data.training_images import concatenate, read_synthetic
from src.metrics.intervals import in_words, over_cases
from src.pictures.figures import COLOURS, figure_png
from src.pictures.sample_grid import save_grid
from src.tasks.classification import Classification

CLASSES = ("real", "generated")
SHOWN = 8  # images of each class in the strip of what the detector looks at


class RealOrGenerated(ImageData):
    """Real images and as many generated ones, labelled; no generated image is in two splits.

    Args:
        real: the data whose splits are kept.
        generated: folder that src.generate wrote, divided among the splits.
        others: by name, folders of other generators: a further test split ``test_<name>`` each, with the real images
            of ``test``, or as many of them as the folder has images.
        cache: folder of decoded data.

    Raises:
        UserError: no folder, or one with too few images; ``others`` for data without a test split.
    """

    def __init__(
        self, name: str, real: ImageData, generated: str | None, others: Mapping[str, str] | None, cache: str
    ) -> None:
        super().__init__()
        if generated is None:
            raise UserError("data.generated is missing: give a folder that src.generate wrote")
        if real.balance:
            raise UserError("data.real.balance=true: a detector learns from as many real images as generated ones of "
                            "no class, leave it out")  # fmt: skip
        self.name, self.real, self.generated, self.others, self.cache = name, real, generated, dict(others or {}), cache
        self._splits: dict[str, Split] = {}

    @property
    def description(self) -> Description:
        real = self.real.description
        return Description(real.channels, real.resolution, CLASSES, (), real.aspect)

    @property
    def splits(self) -> dict[str, Split]:
        self.prepare()
        return self._splits

    def prepare(self) -> None:
        if self._splits:
            return
        self.real.prepare()
        real = self.real.splits
        if self.others and "test" not in real:
            raise UserError(f"data.others needs a test split, the real data have {', '.join(real)}: leave it out")
        made = self._read(self.generated)
        wanted = sum(len(split) for split in real.values())
        share = min(1.0, len(made) / wanted)  # of the real images, where fewer were generated
        counts = {name: int(len(split) * share) for name, split in real.items()}
        if not all(counts.values()):
            raise UserError(f"data.generated={self.generated} has {len(made)} images, too few: generate {wanted}")
        splits, start = {}, 0
        for name, split in real.items():
            splits[name] = _labelled(split.draw(counts[name]), made.take(np.arange(start, start + counts[name])))
            start += counts[name]
        for name, folder in self.others.items():
            other = self._read(folder)
            count = min(len(other), counts["test"])
            splits[f"test_{name}"] = _labelled(real["test"].draw(count), other.take(np.arange(count)))
        self._splits = splits

    def _read(self, folder: str) -> Split:
        real = self.real.description
        return read_synthetic(folder, Description(real.channels, real.resolution, (), (), real.aspect), self.cache)


def _labelled(real: Split, generated: Split) -> Split:
    """Both, without masks; the label is 1 for generated images."""

    def plain(split: Split, label: int) -> Split:
        store = Store(split.store.images[split.rows], np.full(len(split), label), None, {"files": split.files()})
        return Split(store, np.arange(len(split)), split.cases_or_files())

    return concatenate(plain(real, 0), plain(generated, 1))


class Detection(Classification):
    """Cross-entropy on real (0) and generated (1)."""

    scores = (*Classification.scores, "auc")

    def evaluate(self, predictions: Sequence[tuple[Tensor, Batch]]) -> dict[str, float]:
        """As ``Classification``, and ``auc``: the chance that a generated image looks more so than a real one."""
        score, label = _scores(predictions)
        return {**super().evaluate(predictions), "auc": auc(score, label)}

    def result(self, predictions: Sequence[tuple[Tensor, Batch]], cases: Sequence[str]) -> str:
        score, label = (values.cpu() for values in _scores(predictions))

        def of(chosen: Tensor) -> float:
            return auc(score[chosen], label[chosen]) if label[chosen].unique().numel() == 2 else math.nan

        ends = over_cases(of, cases)
        return f"{in_words('AUC', auc(score, label), ends)} · {super().result(predictions, cases)}"

    def report(
        self, predictions: Sequence[tuple[Tensor, Batch]], split: Split, folder: Path, name: str, network: nn.Module
    ) -> None:
        """Write the ROC curve, and images of both classes above what the detector looks at in them."""
        score, label = _scores(predictions)
        save_roc(score, label, folder / f"{name}_roc.png")
        labels = torch.cat([batch["label"] for _, batch in predictions]).cpu()
        chosen = torch.cat([(labels == value).nonzero()[:SHOWN, 0] for value in (0, 1)])
        images = to_unit_range(split.gather(chosen.numpy())["image"])
        save_grid(look_strip(network, images), folder / f"{name}_looked_at.png", min(3, images.shape[1]), SHOWN)


def _scores(predictions: Sequence[tuple[Tensor, Batch]]) -> tuple[Tensor, Tensor]:
    """The logit of being generated (N,), in float64, and the label (N,)."""
    output = torch.cat([output for output, _ in predictions]).double()
    return output[:, 1] - output[:, 0], torch.cat([batch["label"] for _, batch in predictions])


def places(score: Tensor) -> Tensor:
    """The place of each score among the distinct ones, from 0 to 1, float64: all that a ROC curve asks of scores.

    Of scores beyond [0, 1] torchmetrics takes the sigmoid, which is 1 for every float32 above 17: an order is lost.
    """
    distinct, place = score.unique(return_inverse=True)
    return place.double() / len(distinct)


def auc(score: Tensor, label: Tensor) -> float:
    """The share of pairs of a generated and a real image whose scores (N,) are in this order; half of a tie counts.

    Args:
        label: (N,), 1 for generated images.
    """
    return binary_auroc(places(score), label).item()


def save_roc(score: Tensor, label: Tensor, path: Path) -> None:
    """The share of generated images found, over the share of real ones taken for generated, at every threshold."""
    false, true, _ = binary_roc(places(score), label)
    figure = Figure(figsize=(4, 4), layout="constrained")
    axes = figure.subplots()
    axes.plot(false.cpu(), true.cpu(), color=COLOURS[0], linewidth=1.6)
    axes.plot([0, 1], [0, 1], color="#c8ccd2", linewidth=1)
    axes.set(
        xlabel="real images taken for generated", ylabel="generated images found",
        title=f"AUC {auc(score, label):.3f}", xlim=(0, 1), ylim=(0, 1.01), aspect="equal",
    )  # fmt: skip
    write_atomically(path, figure_png(figure, facecolor="white"))


def look_strip(network: nn.Module, images: Tensor) -> Tensor:
    """Images (N, C, H, W), N a multiple of ``SHOWN``: each row followed by what moves the answer most, in [-1, 1].

    That is |∂(logit of generated − logit of real) / ∂x|, smoothed over 5 pixels (Simonyan et al., 2014).
    """
    images = images.to(next(network.parameters()).device).requires_grad_()
    output = network(images)
    (gradient,) = torch.autograd.grad((output[:, 1] - output[:, 0]).sum(), images)
    heat = F.avg_pool2d(gradient.abs().sum(1, keepdim=True), 5, 1, 2)
    heat = heat / heat.amax((1, 2, 3), keepdim=True).clamp_min(1e-12) * 2 - 1
    shown, heat = images.detach()[:, :3], heat.expand(-1, min(3, images.shape[1]), -1, -1)
    rows = zip(shown.split(SHOWN), heat.split(SHOWN), strict=True)
    return torch.cat([part for row in rows for part in row]).cpu()
