"""What a study says of itself."""

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from src.data.folder import FolderData
from src.data.phantom import PhantomData
from src.data.store import Split, Store
from src.downstream.page_content import cautions_of, collect, marked_everything
from src.downstream.plan import Job, UnetJob
from src.tasks.case_report import write_case_table


def test_the_page_says_where_images_of_one_patient_may_be_on_both_sides(tmp_path: Path) -> None:
    for number in range(20):
        Image.fromarray(np.full((8, 8), 10 * number, np.uint8)).save(tmp_path / f"p{number // 2}-{number % 2}.png")

    def said(group: str | None) -> bool:
        data = FolderData(str(tmp_path), str(tmp_path / "cache"), 8, group=group)
        return "data.group" in "".join(cautions_of(data))

    assert said(None) and not said("^(p.)")
    phantoms = PhantomData(16, 1, ["normal"], ["lung"], {"train": 2, "test": 2}, 0, tmp_path / "cache")
    assert not list(cautions_of(phantoms))


def test_the_page_says_where_two_splits_share_images(tmp_path: Path) -> None:
    for number in range(20):
        Image.fromarray(np.full((8, 8), 10 * (number // 2), np.uint8)).save(tmp_path / f"{number}.png")
    data = FolderData(str(tmp_path), str(tmp_path / "cache"), 8, group="(.+)")
    data.prepare()
    assert "lie in two splits with the same pixels" in "".join(cautions_of(data))


def test_marking_every_pixel_has_the_dice_of_the_share_that_is_marked():
    masks = np.zeros((3, 2, 4, 4), np.uint8)
    masks[0, 0], masks[1, :, :2], masks[2, 0, 0, 0] = 1, 1, 1  # all and nothing; half of both; one pixel and nothing
    store = Store(np.zeros((3, 1, 4, 4), np.uint8), np.zeros(3, int), masks, {"files": ["a", "b", "c"]})
    found = marked_everything(Split(store, np.arange(3)))
    # 2 · area / (area + 16), the mean of both masks; an empty mask counts as 0
    assert found == pytest.approx({"a": 1 / 2, "b": 2 * 8 / 24, "c": 2 / 17 / 2})


def test_the_fit_of_a_u_net_is_a_mean_over_cases(tmp_path):
    job = UnetJob(Job("unets/real", (), 1), "real", None, 0.0, (1.0,), 0)
    folder = tmp_path / "unets/real"
    folder.mkdir(parents=True)
    write_case_table(folder / "test_cases.csv", ["t"], ["p"], ["lesion"], torch.tensor([[0.5]]))
    assert collect([job], tmp_path)[0].training_dice is None
    dice = torch.tensor([[0.2], [0.4], [0.9]])
    write_case_table(folder / "train_cases.csv", ["x", "y", "z"], ["a", "a", "b"], ["lesion"], dice)
    assert collect([job], tmp_path)[0].training_dice == pytest.approx((0.3 + 0.9) / 2)
