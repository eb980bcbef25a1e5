from __future__ import annotations

import math
import re

import numpy as np
import pytest
import torch
from PIL import Image

from src.data.store import Split, Store
from src.pictures import sample_grid
from src.tasks import segmentation
from src.tasks.case_report import read_case_table, rows_of, save_case_picture
from src.tasks.segmentation import Segmentation, image_dice, image_hausdorff


def masks(*boxes: tuple[int, int] | None) -> torch.Tensor:
    """One image per box of rows (from, to) over the whole width of 8 pixels."""
    drawn = torch.zeros(len(boxes), 1, 8, 8, dtype=torch.bool)
    for mask, box in zip(drawn, boxes, strict=True):
        if box is not None:
            mask[0, box[0] : box[1]] = True
    return drawn


@pytest.mark.parametrize(
    ("predicted", "target", "dice"),
    [((0, 4), (0, 4), 1.0), ((0, 4), (2, 6), 0.5), ((0, 2), (4, 8), 0.0), ((0, 2), (0, 4), 2 / 3)],
)
def test_dice_is_twice_the_overlap_over_the_sum_of_sizes(predicted, target, dice):
    assert image_dice(masks(predicted), masks(target)).item() == pytest.approx(dice)


def test_two_empty_masks_agree_and_one_empty_mask_is_a_miss():
    found = image_dice(masks(None, (0, 2), None), masks(None, None, (0, 2)))
    assert found.flatten().tolist() == [1.0, 0.0, 0.0]


def test_every_image_and_class_has_its_own_dice():
    predicted = torch.cat([masks((0, 4), (0, 4)), masks((0, 4), (4, 8))], 1)
    target = torch.cat([masks((0, 4), (2, 6)), masks((0, 4), (4, 8))], 1)
    assert image_dice(predicted, target).tolist() == [[1.0, 1.0], [0.5, 1.0]]


def test_the_hausdorff_distance_of_shifted_boxes_is_the_shift_and_undefined_where_one_is_empty():
    found = image_hausdorff(masks((0, 4), (0, 4), None), masks((0, 4), (2, 6), (0, 2)))
    assert found[0].item() == 0 and found[1].item() == pytest.approx(2.0) and math.isnan(found[2].item())


def test_the_hausdorff_distance_is_the_95th_percentile_over_both_directions_together():
    box, with_a_tail = masks((0, 4)), masks((0, 4))
    with_a_tail[0, 0, 4:, 0] = True  # 1, 2, 3 and 4 pixels from the box; the other 20 of its outline are at 0
    pooled = torch.tensor([0.0] * 20 + [0.0] * 20 + [1.0, 2.0, 3.0, 4.0]).quantile(0.95)
    assert image_hausdorff(box, with_a_tail).item() == pytest.approx(pooled.item())
    assert image_hausdorff(with_a_tail, box).item() == pytest.approx(pooled.item())


def test_the_loss_falls_to_zero_for_sure_and_right_logits_also_where_a_mask_is_empty():
    target = masks((2, 5), None).to(torch.uint8)
    batch = {"mask": target}
    right, wrong = (target.float() * 2 - 1) * 30, -(target.float() * 2 - 1) * 30
    task = Segmentation(["cavity"])
    assert task.loss(right, batch).item() == pytest.approx(0, abs=1e-6)
    assert task.loss(wrong, batch).item() > 10


def test_the_dice_of_the_report_is_that_of_the_scores_and_taken_batch_by_batch(tmp_path, monkeypatch):
    truth = masks((0, 4), (2, 6), None, (1, 2)).numpy().astype(np.uint8)
    split = Split(Store(np.zeros((4, 1, 8, 8), np.uint8), np.zeros(4, int), truth, {}), np.arange(4))
    output = masks((0, 4), (0, 4), (0, 4), (1, 4)).float() * 2 - 1
    batches = [np.array([0, 1, 2]), np.array([3])]
    predictions = [(output[positions], split.gather(positions)) for positions in batches]
    sizes = []
    monkeypatch.setattr(segmentation, "image_dice", lambda *both: sizes.append(len(both[0])) or image_dice(*both))
    task = Segmentation(["cavity"])
    task.report(predictions, split, tmp_path, "test", torch.nn.Identity())
    assert sizes == [3, 1]
    dice, _ = read_case_table(tmp_path / "test_cases.csv")
    assert task.evaluate(predictions)["dice"] == pytest.approx(sum(dice.values()) / 4, abs=1e-6)


@pytest.mark.parametrize("hausdorff", [False, True])
def test_the_names_of_the_scores_are_known_before_they_are(hausdorff):
    both = torch.cat([masks((2, 5)), masks((1, 4))], 1)
    task = Segmentation(["cavity", "wall"], hausdorff)
    assert tuple(task.evaluate([(both.float(), {"mask": both})])) == task.scores


def test_the_report_holds_every_image_with_its_case_and_a_picture(tmp_path):
    images = np.zeros((3, 1, 8, 8), np.uint8)
    truth = masks((0, 4), (2, 6), None).numpy().astype(np.uint8)
    split = Split(Store(images, np.zeros(3, int), truth, {"files": ["a", "b", "c"]}), np.arange(3), ["p", "p", "q"])
    output = masks((0, 4), (0, 4), (0, 4)).float() * 2 - 1
    Segmentation(["cavity"]).report(
        [(output, split.gather(np.arange(3)))], split, tmp_path, "test", torch.nn.Identity()
    )
    dice, cases = read_case_table(tmp_path / "test_cases.csv")
    assert dice == {"a": 1.0, "b": 0.5, "c": 0.0} and cases == {"a": "p", "b": "p", "c": "q"}
    assert (tmp_path / "test_cases.png").stat().st_size > 0


def test_the_picture_of_the_best_and_the_worst_says_which_row_is_which(tmp_path, monkeypatch):
    named, write = [], sample_grid.ImageDraw.ImageDraw.text

    def text(draw, place, name, *more, **options):
        named.append((name, place[1]))
        write(draw, place, name, *more, **options)

    monkeypatch.setattr(sample_grid.ImageDraw.ImageDraw, "text", text)
    truth = masks(*[(0, 4)] * 30).bool()
    save_case_picture(tmp_path / "cases.png", torch.zeros(30, 1, 8, 8).byte(), truth, truth, torch.linspace(0, 1, 30))
    assert [name for name, _ in named] == [
        f"{which}, {whose}" for which in ("best", "median", "worst") for whose in ("true", "found")
    ]
    heights = [height for _, height in named]
    assert heights == [2 + 5 + 10 * row for row in range(6)]
    with Image.open(tmp_path / "cases.png") as picture:
        pixels = np.asarray(picture)
    margin = pixels.shape[1] - (8 * 10 + 2)
    assert margin > 40 and pixels[:, :margin].max() > 200


@pytest.mark.parametrize("count", [1, 5, 9, 23, 24, 25, 100])
def test_no_image_is_in_two_rows_and_few_are_all_shown(count):
    rows = rows_of(torch.arange(count))
    shown = torch.cat([*rows.values()]).tolist()
    assert shown == sorted({*shown}) and len(shown) == min(count, 24)
    assert all(1 <= len(row) <= 8 for row in rows.values()) and (len(rows) == 1) == (count <= 8)
    if count > 8:
        assert count // 2 in rows["median"] and shown[-1] == count - 1


def test_a_picture_of_few_images_is_one_row_of_them(tmp_path):
    truth = masks((0, 4), (2, 6)).bool()
    save_case_picture(tmp_path / "cases.png", torch.zeros(2, 1, 8, 8).byte(), truth, truth, torch.tensor([0.9, 0.1]))
    with Image.open(tmp_path / "cases.png") as picture:
        assert picture.height == 2 * 10 + 2


def test_the_result_is_the_dice_of_the_images_with_its_interval_over_cases():
    truth = masks((0, 4), (2, 6), (0, 4), (1, 3))
    output = masks((0, 4), (0, 4), (0, 4), (1, 3)).float() * 2 - 1
    task = Segmentation(["cavity"])
    said = task.result([(output, {"mask": truth})], ["p", "q", "r", "s"])
    low, high = map(float, re.fullmatch(r"Dice 0\.875 \(95% interval (\S+) to (\S+)\)", said).groups())
    assert 0 < low < 0.5 and 0.875 < high < 1  # of four cases
    alone = task.result([(output, {"mask": truth})], ["p"] * 4)
    assert alone == "Dice 0.875 (too little varies to tell its interval)"
