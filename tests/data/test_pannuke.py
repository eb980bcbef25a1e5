"""PanNuke in its two layouts, with made arrays and with the real sample."""

from __future__ import annotations

import logging
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from src.core.errors import UserError
from src.data.pannuke import BACKGROUND, NUCLEI, PanNukeData

LAYOUTS = {
    "kaggle": ("Part {0}/Images/images.npy", "Part {0}/Images/types.npy", "Part {0}/Masks/masks.npy"),
    "original": ("Fold {0}/images/fold{0}/images.npy", "Fold {0}/images/fold{0}/types.npy",
                 "Fold {0}/masks/fold{0}/masks.npy"),
}  # fmt: skip


def make_fold(root: Path, number: int, layout: str = "kaggle", tissues: tuple[str, ...] = ("Breast", "Colon")) -> None:
    """Five patches of 16 px; the nucleus with id 7 is a square of a type that follows the patch."""
    images = np.full((5, 16, 16, 3), 10.0 * number)
    images[..., 0] += np.arange(5)[:, None, None]
    masks = np.zeros((5, 16, 16, 6))
    for patch in range(5):
        masks[patch, 4:12, 4:12, patch] = 7
    masks[..., 5] = (masks[..., :5] == 0).all(-1)
    types = np.array([tissues[patch % len(tissues)] for patch in range(5)])
    for file, array in zip(LAYOUTS[layout], (images, types, masks), strict=True):
        path = root / file.format(number)
        path.parent.mkdir(parents=True, exist_ok=True)
        np.save(path, array)


def pannuke(root: Path, **options: Any) -> PanNukeData:
    return PanNukeData(str(root), **{"cache": str(root.parent / "cache"), "resolution": 16, **options})


@pytest.mark.parametrize("layout", LAYOUTS)
def test_three_folds_are_three_splits_and_ids_are_masks_by_type(tmp_path: Path, layout: str) -> None:
    for number in (1, 2, 3):
        make_fold(tmp_path / "p", number, layout)
    data = pannuke(tmp_path / "p")
    assert {name: split.files()[0] for name, split in data.splits.items()} == {
        "train": "fold1/00000", "val": "fold2/00000", "test": "fold3/00000"
    }  # fmt: skip
    assert data.description.masks == (*NUCLEI, BACKGROUND) and len(data.description.classes) == 19
    batch = data.split("val").gather(np.arange(5))
    assert batch["image"][:, :, 0, 0].tolist() == [[20 + patch, 20, 20] for patch in range(5)]
    assert [data.description.classes[label] for label in batch["label"]] == [
        "Breast",
        "Colon",
        "Breast",
        "Colon",
        "Breast",
    ]
    for patch in range(5):
        nucleus = np.zeros((16, 16), np.uint8)
        nucleus[4:12, 4:12] = 1
        for channel in range(5):
            assert np.array_equal(batch["mask"][patch, channel], nucleus * (channel == patch))
        assert np.array_equal(batch["mask"][patch, 5], 1 - nucleus)


def test_at_half_the_size_every_pixel_is_of_a_nucleus_or_of_the_background(tmp_path: Path) -> None:
    make_fold(tmp_path / "p", 1)
    data = pannuke(tmp_path / "p", folds={"train": 1}, resolution=8)
    masks = data.split("train").gather(np.arange(5))["mask"].numpy()
    assert masks.shape == (5, 6, 8, 8) and (masks[:, :5].max(1) + masks[:, 5] == 1).all()
    assert masks[0, 0].sum() == 16


def test_folds_make_splits_as_they_are_told(tmp_path: Path) -> None:
    for number in (1, 2, 3):
        make_fold(tmp_path / "p", number)
    data = pannuke(tmp_path / "p", folds={"train": [1, 2], "test": 3})
    assert {name: len(split) for name, split in data.splits.items()} == {"train": 10, "test": 5}
    chosen = pannuke(tmp_path / "p", classes=["Colon"], masks=["dead"], channels=1)
    assert len(chosen.split("train")) == 2 and chosen.split("train").store.images.shape[1] == 1
    masks = chosen.split("train").store.masks
    assert masks is not None and masks.shape[1] == 1


def test_a_single_fold_is_divided_by_shares_which_is_said(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.WARNING)
    make_fold(tmp_path / "p", 1)
    data = pannuke(tmp_path / "p", splits={"train": 0.6, "test": 0.4})
    assert {name: len(split) for name, split in data.splits.items()} == {"train": 3, "test": 2}
    assert "of its three folds only 1 is there: their images are divided by data.splits" in caplog.text


def test_large_arrays_are_read_some_patches_at_a_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make_fold(tmp_path / "p", 1)
    whole = pannuke(tmp_path / "p", folds={"train": 1}).split("train").store
    modes, load = [], np.load

    def watched(path: Path, **how: Any) -> Any:
        modes.append(how.get("mmap_mode"))
        return load(path, **how)

    monkeypatch.setattr(np, "load", watched)
    monkeypatch.setattr("src.data.pannuke.CHUNK", 2)
    again = pannuke(tmp_path / "p", folds={"train": 1}, cache=str(tmp_path / "other")).split("train").store
    assert set(modes[:3]) == {"r"} and np.array_equal(whole.images, again.images)
    assert whole.masks is not None and again.masks is not None and np.array_equal(whole.masks, again.masks)


def break_shape(root: Path) -> None:
    np.save(root / "Part 1/Masks/masks.npy", np.zeros((4, 16, 16, 6)))


def break_file(root: Path) -> None:
    (root / "Part 1/Masks/masks.npy").write_bytes(b"\x93NUMPY")


def pickle_types(root: Path) -> None:
    np.save(root / "Part 1/Images/types.npy", np.array(["Breast"] * 5, object))


def other_tissue(root: Path) -> None:
    np.save(root / "Part 1/Images/types.npy", np.array(["Brain"] * 5))


@pytest.mark.parametrize(
    ("harm", "options", "said"),
    [
        (shutil.rmtree, {}, r"pannuke is not in .*/p \(neither Part 1/Images/images.npy nor .*get it from .*Kaggle"),
        (
            lambda root: (root / "Part 1/Masks/masks.npy").unlink(),
            {},
            "fold 1 of .*: .*masks.npy is missing",
        ),
        (break_shape, {}, r"arrays of \(5, 16, 16, 3\), \(4, 16, 16, 6\), \(5,\)"),
        (break_file, {}, "masks.npy cannot be read .*: copy it anew"),
        (pickle_types, {}, "types.npy cannot be read .*: copy it anew"),
        (other_tissue, {}, "names 'Brain', no tissue of PanNuke"),
        (None, {"folds": {"train": 1, "test": 2}}, "data.folds names fold 2, which is not in data.root"),
        (None, {"classes": ["Breast", "Brain"]}, "data.classes names 'Brain': PanNuke has Adrenal_gland"),
        (None, {"classes": ["Liver"]}, r"no image in .*/p is of data.classes=\['Liver'\]"),
    ],
)
def test_what_is_missing_or_damaged_is_one_clear_line(tmp_path: Path, harm: Any, options: dict, said: str) -> None:
    make_fold(tmp_path / "p", 1)
    if harm:
        harm(tmp_path / "p")
    with pytest.raises(UserError, match=said):
        pannuke(tmp_path / "p", **options).prepare()
