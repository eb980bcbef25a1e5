"""Masks of COCO's JSON are drawn as its own library draws them."""

import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from src.core.errors import UserError
from src.data.folder import FolderData
from tests.data.folders import everything, folder_data, write

pytest.importorskip("pycocotools")
DATA_DIR = Path(os.environ.get("DATA_DIR", Path(__file__).parents[3] / "shared" / "datasets"))


def picture(seed: int) -> np.ndarray:
    return np.random.default_rng(seed).integers(20, 250, (16, 16), np.uint8)


def runs(mask: np.ndarray) -> dict[str, Any]:
    """Run lengths down the columns, of outside first."""
    flat = mask.T.ravel()
    changes = np.flatnonzero(np.diff(flat)) + 1
    lengths = np.diff([0, *changes.tolist(), len(flat)]).tolist()
    return {"size": list(mask.shape), "counts": [0, *lengths] if flat[0] else lengths}


def square(left: int) -> np.ndarray:
    mask = np.zeros((16, 16), np.uint8)
    mask[4:8, left : left + 4] = 1
    return mask


def write_set(root: Path, **changes: Any) -> Path:
    """Five images; each has a polyp as runs, an instrument as a polygon, but for the last, which has nothing."""
    images, shapes = [], []
    for number in range(5):
        write(root / "images" / f"{number}.png", picture(number))
        images.append({"id": 10 + number, "file_name": f"images/{number}.png", "height": 16, "width": 16})
        if number < 4:
            polygon = [[number + 8, 10, number + 12, 10, number + 12, 14, number + 8, 14]]
            shapes.append({"image_id": 10 + number, "category_id": 1, "segmentation": runs(square(number))})
            shapes.append({"image_id": 10 + number, "category_id": 7, "segmentation": polygon})
    categories = [{"id": 1, "name": "polyp"}, {"id": 7, "name": "instrument"}]
    content = {"images": images, "annotations": shapes, "categories": categories, **changes}
    (root / "annotations.json").write_text(json.dumps(content))
    return root


def read(root: Path, **options: Any) -> FolderData:
    return folder_data(root, resolution=16, images="images", mask_folders={"x": "annotations.json"}, **options)


def test_runs_and_polygons_become_masks_and_an_image_without_shapes_has_an_empty_one(tmp_path: Path) -> None:
    data = read(write_set(tmp_path / "data"), mask_labels={"polyp": "polyp", "tool": 7})
    assert data.description.masks == ("polyp", "tool")
    masks = everything(data)["mask"]
    for number in range(4):
        np.testing.assert_array_equal(masks[number, 0], square(number))
        expected = np.zeros((16, 16), np.uint8)
        expected[10:14, number + 8 : number + 12] = 1
        np.testing.assert_array_equal(masks[number, 1], expected)
    assert not masks[4].any()
    np.testing.assert_array_equal(everything(read(tmp_path / "data"))["mask"][:, 0], masks.max(1))  # all categories


def test_what_is_wrong_in_the_file_is_one_line(tmp_path: Path) -> None:
    root = write_set(tmp_path / "data")
    with pytest.raises(UserError, match=r"no category lesion: it has polyp \(1\), instrument \(7\)"):
        read(root, mask_labels={"lesion": "lesion"}).prepare()
    (root / "images" / "3.png").unlink()
    with pytest.raises(UserError, match=r"names 1 images that are not there, such as images/3\.png: .*skip"):
        read(root).prepare()
    assert len(everything(read(root, on_error="skip"))["image"]) == 4
    write(root / "images" / "9.png", picture(9))
    write(root / "images" / "3.png", picture(3))
    with pytest.raises(UserError, match=r"images/9\.png has no mask in the folder 'annotations\.json' \(1 of 6"):
        read(root).prepare()
    (root / "images" / "9.png").unlink()
    write_set(root, categories=None)
    with pytest.raises(UserError, match=r"annotations\.json is no JSON of COCO's form, with images"):
        read(root).prepare()
    write_set(root, images=[])
    with pytest.raises(UserError, match=r"an annotation is of the image 10, which is not in the file"):
        read(root).prepare()
    with pytest.raises(UserError, match=r"there is no file .*x\.json: there are annotations\.json"):
        folder_data(root, images="images", mask_folders={"x": "x.json"}).prepare()


def test_the_runs_of_pannuke_are_its_label_maps(tmp_path: Path) -> None:
    root = DATA_DIR / "pannuke-breast-sample"
    if not root.is_dir():
        pytest.skip(f"no pannuke-breast-sample in DATA_DIR={DATA_DIR}")
    options: dict[str, Any] = {"images": "images", "resolution": 256, "splits": {"train": 1.0}}
    labels = {"neoplastic": 1, "other": 2}
    drawn = FolderData(
        str(root), str(tmp_path), mask_folders={"nuclei": "coco_annotation.json"}, mask_labels=labels, **options
    )
    named = FolderData(str(root), str(tmp_path), mask_folders={"nuclei": "masks"}, mask_labels=labels, **options)
    one, other = everything(drawn)["mask"], everything(named)["mask"]
    assert one.shape == (25, 2, 256, 256) and one.any((0, 2, 3)).all()
    np.testing.assert_array_equal(one, other)
    stem = Path(drawn.split("train").files()[0]).stem
    np.testing.assert_array_equal(one[0, 0], np.asarray(Image.open(root / "masks" / f"{stem}.png")) == 1)
