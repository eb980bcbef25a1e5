"""Instances that touch stay parts of their own where the user says so."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy import ndimage

from src.core.errors import UserError
from src.data.instances import separated
from tests.data.folders import everything, folder_data, write


def parts(mask: np.ndarray) -> int:
    return int(ndimage.label(mask, np.ones((3, 3)))[1])


def tiles() -> np.ndarray:
    """Nine squares, side by side."""
    return np.kron(np.arange(1, 10).reshape(3, 3), np.ones((8, 8), int)).astype(np.uint8)


def test_what_touches_is_parted_by_a_line_and_what_does_not_stays() -> None:
    assert parts(tiles()) == 1
    mask = separated(tiles().astype(int))
    assert parts(mask) == 9 and mask.sum() == 24 * 24 - 2 * 24 * 2 + 4
    apart = np.zeros((10, 10), int)
    apart[1:3, 1:3], apart[5:8, 5:8] = 1, 2
    np.testing.assert_array_equal(separated(apart), apart > 0)
    corner = np.zeros((4, 4), int)
    corner[:2, :2], corner[2:, 2:] = 1, 2
    assert parts(separated(corner)) == 2


@pytest.mark.parametrize("kind", ["files", "values"])
@pytest.mark.parametrize("resolution", [24, 16])
def test_files_and_values_are_instances_also_when_made_smaller(tmp_path: Path, kind: str, resolution: int) -> None:
    root = tmp_path / "data"
    for number in range(4):
        write(root / "images" / f"{number}.png", np.random.default_rng(number).integers(0, 255, (24, 24), np.uint8))
        if kind == "values":
            write(root / "masks" / f"{number}.png", tiles())
        for place in range(1, 10) if kind == "files" else ():
            write(root / "masks" / f"{number}_{place}.png", 255 * (tiles() == place).astype(np.uint8))
    options: dict[str, Any] = {"images": "images", "resolution": resolution, "inverted_masks": []}
    if kind == "files":
        options["mask_folders"] = {"nucleus": "masks/*_**"}
    else:
        options = {**options, "mask_folders": {"x": "masks"}, "mask_labels": {"nucleus": "nonzero"}}
    joined, apart = (everything(folder_data(root, instances=how, **options))["mask"] for how in ("joined", "separated"))
    assert joined.all() and [parts(mask[0]) for mask in apart] == [9] * 4


def test_masks_of_several_folders_must_all_be_of_the_images_size(tmp_path: Path) -> None:
    root = tmp_path / "data"
    for number in range(3):
        write(root / "images" / f"{number}.png", np.random.default_rng(number).integers(0, 255, (24, 24), np.uint8))
        write(root / "a" / f"{number}.png", tiles() // 5)
        write(root / "b" / f"{number}.png", np.eye(20, dtype=np.uint8))
    with pytest.raises(UserError, match=r"mask .*b/0\.png is of 20x20 pixels, its image images/0\.png of 24x24"):
        folder_data(root, images="images", mask_folders={"a": "a", "b": "b"}, inverted_masks=[]).prepare()
