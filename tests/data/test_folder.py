"""A user's own images become a store."""

import logging
import os
from pathlib import Path

import numpy as np
import pytest
from hydra.utils import instantiate
from omegaconf import OmegaConf

from src.core.errors import UserError
from src.data import build
from src.data.listing import list_samples
from tests.data.folders import everything, flat, folder_data, snapshot, with_masks, write

REPOSITORY = Path(__file__).parents[2]


def test_a_flat_folder_has_no_classes_and_natural_order(tmp_path: Path) -> None:
    data = folder_data(flat(tmp_path / "data", 11))
    data.prepare()
    assert (data.description.channels, data.description.resolution) == (1, 8)
    assert data.description.classes == () and data.description.masks == ()
    assert everything(data)["image"][:, 0, 0, 0].tolist() == [10 * n for n in range(11)]  # 10.png comes last
    batch = data.split("train").gather(np.array([1, 0]))
    assert batch["image"].shape == (2, 1, 8, 8) and batch["label"].tolist() == [0, 0] and "mask" not in batch


def test_one_sub_folder_per_class_gives_labels_in_the_order_of_classes(tmp_path: Path) -> None:
    root = tmp_path / "data"
    for number in range(5):
        write(root / "cat" / f"{number}.png", 10)
        write(root / "dog" / f"{number}.png", 20)
        write(root / "eel" / f"{number}.png", 30)
    data = folder_data(root)
    assert data.description.classes == ("cat", "dog", "eel")
    assert everything(data)["label"].tolist() == [0] * 5 + [1] * 5 + [2] * 5
    some = folder_data(root, classes=["dog", "cat"])
    rows = everything(some)
    assert {(int(i), int(n)) for i, n in zip(rows["image"][:, 0, 0, 0], rows["label"], strict=True)} == {
        (20, 0),
        (10, 1),
    }
    with pytest.raises(UserError, match=r"data\.classes names 'cow', but .* has only cat, dog, eel"):
        folder_data(root, classes=["cow"]).prepare()


def test_masks_pair_by_all_but_the_last_suffix(tmp_path: Path) -> None:
    data = folder_data(with_masks(tmp_path / "data"), images="images", mask_folders={"cavity": "masks"}, resolution=12)
    assert data.description.masks == ("cavity",)
    masks = everything(data)["mask"]
    assert masks.dtype == np.uint8 and masks[:, 0, :, 0].sum(axis=1).tolist() == list(range(1, 11))


def test_a_store_is_built_once_for_all_splits_and_anew_when_a_file_changes(tmp_path: Path) -> None:
    root = flat(tmp_path / "data")
    folder_data(root).prepare()
    folder_data(root, seed=1, splits={"train": 0.5, "test": 0.5}).prepare()
    assert len(list((tmp_path / "cache").iterdir())) == 1
    write(root / "3.png", 255)
    assert everything(folder_data(root))["image"][3].min() == 255


def test_folders_alike_in_names_sizes_and_times_have_stores_of_their_own(tmp_path: Path) -> None:
    for name, value in (("old", 10), ("new", 200)):
        for number in range(3):
            os.utime(write(tmp_path / name / f"{number}.tif", value), (1e9, 1e9))  # as zip and rsync -a keep them
    for name, value in (("old", 10), ("new", 200)):
        (tmp_path / "current").unlink(missing_ok=True)
        (tmp_path / "current").symlink_to(name)
        assert (everything(folder_data(tmp_path / "current"))["image"] == value).all()


def test_another_version_of_the_decoder_decodes_anew(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root = flat(tmp_path / "data")
    folder_data(root).prepare()
    monkeypatch.setattr(build, "DECODER_VERSION", build.DECODER_VERSION + 1)
    folder_data(root).prepare()
    assert len(list((tmp_path / "cache").iterdir())) == 2


def test_nothing_is_written_beside_the_data(tmp_path: Path) -> None:
    root = with_masks(tmp_path / "data")
    before = snapshot(root)
    folder_data(root, images="images", mask_folders={"cavity": "masks"}).prepare()
    assert snapshot(root) == before


def test_other_and_hidden_files_are_ignored(tmp_path: Path) -> None:
    root = flat(tmp_path / "data")
    for name in ("README.md", "._0.png", "table.csv", ".hidden/0.png"):
        (root / name).parent.mkdir(exist_ok=True)
        (root / name).write_text("not an image")
    assert len(everything(folder_data(root))["image"]) == 10


def test_files_passed_over_are_counted_by_suffix_with_an_example(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    root = tmp_path / "data"
    for label in ("a", "b"):
        for number in range(3):
            write(root / label / f"{number}.png", number)
    (root / "README.md").touch()
    (root / "a" / "scan.xyz").touch()
    folder_data(root).prepare()
    assert "folder: passed over 1 .md (such as README.md), 1 .xyz (such as a/scan.xyz)" in caplog.messages
    assert "deeper" not in caplog.text
    write(root / "a" / "old" / "0.png", 1)
    write(root / "b" / ".hidden" / "0.png", 1)
    write(root / "masks" / "a" / "0.png", np.eye(12, dtype=np.uint8))
    listing = list_samples(root, None, {"lesion": "masks"}, ["a"], None)  # neither masks nor the class b are missed
    assert listing.passed_over == ["README.md", "a/old/0.png", "a/scan.xyz"]
    caplog.clear()
    folder_data(root, mask_folders={"lesion": "masks"}, classes=["a"], on_error="skip", splits={"train": 1.0}).prepare()
    assert "folder: passed over 1 images in deeper folders, such as a/old/0.png: data.layout=class" in caplog.text
    assert next(record for record in caplog.records if "deeper" in record.message).levelname == "WARNING"


def test_a_class_with_images_only_below_it_is_refused_unless_the_layout_is_said(tmp_path: Path) -> None:
    root = tmp_path / "data"
    for file in ("a/0.png", "b/0.png", "c/p1/0.png", "c/p2/0.png"):
        write(root / file, 1)
    with pytest.raises(
        UserError, match=r"data/c holds images only in folders below it, such as c/p\d/0\.png: data\.lay"
    ):
        list_samples(root, None, {}, None, None)
    assert [sample.label for sample in list_samples(root, None, {}, ["b", "a"], None).samples] == ["a", "b"]
    assert [sample.label for sample in list_samples(root, None, {}, None, None, "class").samples] == [*"abcc"]


def test_names_that_count_alike_have_one_order(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("p1/0.png", "p01/0.png", "p001/0.png"):
        write(tmp_path / name, 1)
    listed = Path.iterdir
    orders = []
    for backwards in (False, True):
        monkeypatch.setattr(Path, "iterdir", lambda folder, back=backwards: iter(sorted(listed(folder), reverse=back)))
        orders.append([sample.file for sample in list_samples(tmp_path, None, {}, None, None, "class").samples])
    assert orders[0] == orders[1] == ["p001/0.png", "p01/0.png", "p1/0.png"]


def test_colour_is_detected_and_grey_saved_as_colour_is_grey(tmp_path: Path) -> None:
    root = tmp_path / "data"
    for number in range(3):
        write(root / f"{number}.png", np.full((12, 12, 3), 40, np.uint8))
    assert folder_data(root).description.channels == 1
    assert folder_data(root, channels=3).description.channels == 3
    write(root / "red.png", np.full((12, 12, 3), [200, 0, 0], np.uint8))
    data = folder_data(root)
    assert data.description.channels == 3
    assert everything(data)["image"][3, :, 0, 0].tolist() == [200, 0, 0]
    assert folder_data(root, channels=1).description.channels == 1


def test_16_bit_is_windowed_to_the_whole_range(tmp_path: Path) -> None:
    root = tmp_path / "data"
    for number in range(3):
        values = np.arange(144, dtype=np.uint16).reshape(12, 12) * 10 + 1000
        write(root / f"{number}.png", values)
    data = folder_data(root, resolution=12)
    images = everything(data)["image"]
    assert images.dtype == np.uint16 and images.min() == 0 and images.max() == 65535
    assert data.split("train").store.meta["window"] == [1000, 2430]
    own = everything(folder_data(root, resolution=12, window=[1000, 1010]))["image"][0, 0].ravel()
    assert own[:3].tolist() == [0, 65535, 65535]


def test_16_bit_images_of_unlike_maxima_are_named_with_the_window(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    root = tmp_path / "data"
    ramp = np.arange(144, dtype=np.uint16).reshape(12, 12)
    write(root / "blank.png", ramp * 0)
    for bits in (10, 12):
        write(root / f"{bits}.png", ramp * (2**bits // 144))
    folder_data(root).prepare()
    assert "maxima" not in caplog.text
    write(root / "14.png", ramp * (2**14 // 144))
    folder_data(root, window=[0, 1023]).prepare()
    assert "maxima" not in caplog.text
    folder_data(root).prepare()
    assert "maxima of the 16-bit images go from 1001 (10.png) to 16159 (14.png)" in caplog.text
    assert "set data.window=[low, high]" in caplog.text


def test_8_bit_among_16_bit_is_widened_not_windowed(tmp_path: Path) -> None:
    root = flat(tmp_path / "data", 2)
    write(root / "2.png", np.full((12, 12), 255, np.uint8))
    write(root / "3.png", np.arange(144, dtype=np.uint16).reshape(12, 12))
    for window in (None, [0, 143]):
        assert everything(folder_data(root, window=window))["image"][:3, 0, 0, 0].tolist() == [0, 10 * 257, 65535]
    (root / "3.png").unlink()
    with pytest.raises(UserError, match=r"data\.window is for 16-bit images, these have 8 bits"):
        folder_data(root, window=[0, 9]).prepare()


@pytest.mark.parametrize(("fit", "done"), [("pad", "padded with black"), ("crop", "cropped to their centre")])
def test_non_square_images_are_fitted_and_said_so(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, fit: str, done: str
) -> None:
    root = flat(tmp_path / "data", 3)
    write(root / "wide.png", np.full((6, 12), 90, np.uint8))
    caplog.set_level(logging.INFO)
    image = everything(folder_data(root, fit=fit))["image"][3, 0]
    assert (image[0, 0], image[4, 4]) == ((0, 90) if fit == "pad" else (90, 90))
    assert f"1 of 4 images are not square (1 of 12x6): {done}" in caplog.text


def test_masks_that_a_crop_leaves_nothing_of_are_counted_and_else_no_dot_is_lost(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    root = with_masks(tmp_path / "data", 3)
    dot = np.zeros((12, 12), np.uint8)
    dot[0, 0] = 255
    write(root / "masks" / "1.dcm.png", dot)
    caplog.set_level(logging.INFO)
    masks = {"images": "images", "mask_folders": {"cavity": "masks"}, "aspect": (2, 3), "resolution": 3, "seed": 0}
    assert everything(folder_data(root, **masks))["mask"].any((1, 2, 3)).all()
    assert "masks are empty" not in caplog.text
    folder_data(root, **masks, fit="crop").prepare()
    assert "3 masks are empty after crop to 3 pixels" in caplog.text  # a dot and a few rows at the border


def test_the_configuration_builds_it(tmp_path: Path) -> None:
    config = OmegaConf.create({"resolution": 8, "paths": {"cache": str(tmp_path / "cache")}})
    config.data = OmegaConf.load(REPOSITORY / "conf/data/folder.yaml")
    with pytest.raises(Exception, match=r"data\.root is missing"):
        instantiate(config.data)
    config.data.root = str(with_masks(tmp_path / "data"))
    config.data.images, config.data.mask_folders = "images", {"cavity": "masks"}
    data = instantiate(config.data)
    data.prepare()
    described = {"channels": 1, "resolution": 8, "classes": [], "masks": ["cavity"], "aspect": [1, 1]}
    assert data.description.as_config() == described
    assert {name: len(split) for name, split in data.splits.items()} == {"train": 7, "val": 1, "test": 2}


def test_an_aspect_stores_images_that_are_not_square(tmp_path: Path) -> None:
    root = with_masks(tmp_path / "data")
    data = folder_data(root, images="images", mask_folders={"cavity": "masks"}, aspect=(3, 4))
    data.prepare()
    batch = data.split("train").gather(np.arange(2))
    assert batch["image"].shape == (2, 1, 6, 8) and batch["mask"].shape == (2, 1, 6, 8)
    assert data.description.shape == (1, 6, 8) and data.description.resolution == 8
    assert data.split("train").at(4).gather(np.arange(1))["image"].shape == (1, 1, 3, 4)


def test_an_aspect_without_whole_pixels_is_one_clear_line(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"at data.resolution=256: take a multiple of 3, such as 192$"):
        folder_data(with_masks(tmp_path / "data"), resolution=256, aspect=(400, 600))
