"""Finding what the masks outline."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torchmetrics.functional.segmentation import dice_score

from src.data.store import Batch, Split
from src.metrics.intervals import in_words, over_cases
from src.tasks.case_report import PICTURE, TABLE, save_case_picture, write_case_table

SMOOTH = 1.0  # pixels added to both terms of the Dice loss: defined and gentle where a mask is empty


class Segmentation:
    """Soft Dice loss plus binary cross-entropy, mask by mask: masks may overlap.

    Milletari et al., "V-Net", 3DV 2016, equation 3 (without squares), summed with cross-entropy as in nnU-Net
    (Isensee et al., Nature Methods 2021).

    Args:
        masks: their names, in the order of the channels.
        hausdorff: also evaluate the Hausdorff distance (pixels, 95th percentile), which is slow.
    """

    def __init__(self, masks: Sequence[str], hausdorff: bool = False) -> None:
        self.masks, self.hausdorff = tuple(masks), hausdorff
        self.scores = ("dice", *(f"dice_{name}" for name in self.masks), *(["hausdorff_95"] if hausdorff else []))

    def check(self, split: Split) -> None:
        """Nothing: without masks there is no network."""

    def loss(self, output: Tensor, batch: Batch) -> Tensor:
        logits, target = output.float(), batch["mask"].float()
        probability = logits.sigmoid()
        overlap = (probability * target).sum((2, 3))
        size = probability.sum((2, 3)) + target.sum((2, 3))
        dice = (2 * overlap + SMOOTH) / (size + SMOOTH)
        return 1 - dice.mean() + F.binary_cross_entropy_with_logits(logits, target)

    def evaluate(self, predictions: Sequence[tuple[Tensor, Batch]]) -> dict[str, float]:
        """``dice``: the mean over images and masks; and the mean of every mask."""
        dice = _dice_of(predictions)
        result = {"dice": dice.mean().item()}
        result |= {f"dice_{name}": value.item() for name, value in zip(self.masks, dice.mean(0), strict=True)}
        if self.hausdorff:
            distances = [image_hausdorff(output > 0, batch["mask"]) for output, batch in predictions]
            result["hausdorff_95"] = torch.cat(distances).nanmean().item()
        return result

    def result(self, predictions: Sequence[tuple[Tensor, Batch]], cases: Sequence[str]) -> str:
        dice = _dice_of(predictions).mean(1).cpu()
        ends = over_cases(lambda chosen: dice[chosen].mean().item(), cases)
        return in_words("Dice", dice.mean().item(), ends)

    def report(
        self, predictions: Sequence[tuple[Tensor, Batch]], split: Split, folder: Path, name: str, network: nn.Module
    ) -> None:
        """Write the Dice coefficient of every image of ``split``, and a picture of the best, median and worst."""
        image = torch.cat([batch["image"] for _, batch in predictions]).cpu()
        predicted = torch.cat([output > 0 for output, _ in predictions]).cpu()
        truth = torch.cat([batch["mask"] for _, batch in predictions]).bool().cpu()
        dice = _dice_of(predictions).cpu()
        write_case_table(folder / TABLE.format(name), split.files(), split.cases_or_files(), self.masks, dice)
        save_case_picture(folder / PICTURE.format(name), image, truth, predicted, dice.mean(1))


def image_dice(predicted: Tensor, target: Tensor) -> Tensor:
    """Dice coefficients (B, K) of masks (B, K, H, W): 1 where both are empty, 0 where one is."""
    predicted, target = predicted.long(), target.long()
    scores = dice_score(predicted, target, predicted.shape[1], average="none", aggregation_level="samplewise")
    both_empty = ~(predicted.any(3).any(2) | target.any(3).any(2))
    return torch.where(both_empty, 1.0, scores.view(both_empty.shape).nan_to_num(0.0))


def _dice_of(predictions: Sequence[tuple[Tensor, Batch]]) -> Tensor:
    """Dice coefficients (N, K) of a whole split, batch by batch, since each mask is copied as 64-bit numbers."""
    return torch.cat([image_dice(output > 0, batch["mask"]) for output, batch in predictions])


def image_hausdorff(predicted: Tensor, target: Tensor) -> Tensor:
    """Symmetric Hausdorff distance (B, K) in pixels, at the 95th percentile; NaN where one of the two masks is empty.

    That is the 95th percentile of the distances from every pixel of either outline to the other outline, both
    directions pooled. Where others report the larger of the two directions' own percentiles, it is another number.
    """
    rows = []
    for one, other in zip(predicted.flatten(0, 1), target.flatten(0, 1).bool(), strict=True):
        if not (one.any() and other.any()):
            rows.append(one.new_tensor(float("nan"), dtype=torch.float32))
            continue
        rows.append(_pooled_95(one, other))
    return torch.stack(rows).view(predicted.shape[:2])


def _pooled_95(one: Tensor, other: Tensor) -> Tensor:
    a, b = _outline(one), _outline(other)
    distances = torch.cdist(a, b)
    return torch.cat([distances.min(1).values, distances.min(0).values]).quantile(0.95)


def _outline(mask: Tensor) -> Tensor:
    """Positions (N, 2) of the pixels of a mask that touch its outside."""
    inner = F.max_pool2d(F.pad(1 - mask[None, None].float(), (1, 1, 1, 1), value=1.0), 3, 1)[0, 0] == 0
    return (mask & ~inner).nonzero().float()
