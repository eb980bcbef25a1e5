"""A user's own images become a store; what cannot be used is one clear line."""

import logging
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hydra.utils import instantiate
from omegaconf import OmegaConf
from PIL import Image

from src.data import build, decode
from src.data.folder import FolderData
from src.data.listing import list_samples
from src.data.store import count_splits
from src.errors import UserError

REPOSITORY = Path(__file__).parents[2]


def write(path: Path, pixels: Any, side: int = 12) -> Path:
    """Save an image of one value, or of an array."""
    array = np.full((side, side), pixels, np.uint8) if np.isscalar(pixels) else np.asarray(pixels)
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(array).save(path)
    return path


def flat(root: Path, count: int = 10) -> Path:
    for number in range(count):
        write(root / f"{number}.png", number * 10)
    return root


def with_masks(root: Path, count: int = 10) -> Path:
    for number in range(count):
        write(root / "images" / f"{number}.dcm.jpg", 50)
        mask = np.zeros((12, 12), np.uint8)
        mask[: number + 1] = 255
        write(root / "masks" / f"{number}.dcm.png", mask)
    return root


def folder_data(root: Path, **options: Any) -> FolderData:
    return FolderData(str(root), **{"cache": str(root.parent / "cache"), "resolution": 8, **options})


def everything(data: FolderData) -> dict[str, np.ndarray]:
    """All rows of the data in the order of the files."""
    store = data.split("train").store
    masks = {} if store.masks is None else {"mask": store.masks}
    return {"image": store.images, "label": store.labels, **masks}


def snapshot(folder: Path) -> dict[Path, int]:
    return {path: path.stat().st_mtime_ns for path in folder.rglob("*")}


def assert_nothing_written(root: Path) -> None:
    cache = root.parent / "cache"
    assert not cache.exists() or not list(cache.iterdir())


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


def test_folders_that_come_split_stay_so(tmp_path: Path) -> None:
    root = tmp_path / "data"
    for split in ("train", "test"):
        for label in ("NORMAL", "PNEUMONIA"):
            write(root / split / label / f"{split}-person1_{label}.jpeg", 10)
    data = folder_data(root, split_folders={"train": "train", "test": "test"})
    assert {name: len(split) for name, split in data.splits.items()} == {"train": 2, "test": 2}
    assert data.split("test").gather(np.arange(2))["label"].tolist() == [0, 1]
    with pytest.raises(UserError, match="the group 'person1' is in the splits test and train"):
        folder_data(root, split_folders={"train": "train", "test": "test"}, group=r"person\d+").prepare()


def test_groups_named_in_two_ways_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"data\.group and data\.group_starts both name"):
        folder_data(tmp_path, group=".*", group_starts=[1, 5])


def test_classes_and_groups_may_come_from_tables(tmp_path: Path) -> None:
    root = flat(tmp_path / "data", 6)
    rows = [f"{n}.png,{'sick' if n % 2 else 'healthy'},patient{n // 2}" for n in range(6)]
    (root / "table.csv").write_text("\n".join(["file,class,group", *rows]))
    data = folder_data(root, labels_csv="table.csv", group_csv="table.csv")
    assert data.description.classes == ("healthy", "sick")
    assert everything(data)["label"].tolist() == [0, 1, 0, 1, 0, 1]
    assert all(len(split) == 2 and len(set(split.rows // 2)) == 1 for split in data.splits.values())  # one patient each


def test_classes_of_a_table_are_selected_as_sub_folders_are(tmp_path: Path) -> None:
    root = flat(tmp_path / "data", 12)
    (root / "table.csv").write_text("\n".join(["file,class", *(f"{n}.png,{'abc'[n % 3]}" for n in range(12))]))
    rows = everything(data := folder_data(root, labels_csv="table.csv", classes=["c", "a"]))
    assert data.description.classes == ("c", "a")
    assert rows["image"][:, 0, 0, 0].tolist() == [0, 20, 30, 50, 60, 80, 90, 110]
    assert rows["label"].tolist() == [1, 0] * 4
    with pytest.raises(UserError, match=r"data\.classes names 'd', but data\.labels_csv has only a, b, c"):
        folder_data(root, labels_csv="table.csv", classes=["d"]).prepare()
    with pytest.raises(UserError, match=r"data\.classes=\['a', 'a'\] names one twice"):
        folder_data(root, labels_csv="table.csv", classes=["a", "a"])


@pytest.mark.parametrize("option", ["group", "labels"])
def test_an_empty_cell_is_no_group_and_no_class(tmp_path: Path, option: str) -> None:
    root = flat(tmp_path / "data", 3)
    (root / "table.csv").write_text("file,class,group\n0,a,1\n1,,\n2\n")
    with pytest.raises(UserError, match=rf"data\.{option}_csv: .*table\.csv has no \w+ for 1\.png: fill in its row"):
        folder_data(root, **{f"{option}_csv": "table.csv"}).prepare()


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


def test_images_without_a_group_are_not_counted_as_cases(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    for patient in range(10):
        for image in range(2):
            write(tmp_path / "data" / f"p{patient}_{image}.png", 10 * patient + image)
    grouped = folder_data(tmp_path / "data", group="^(.*)_")
    assert (
        count_splits(grouped.splits) == "train 14 images of 7 cases, val 2 images of 1 cases, test 4 images of 2 cases"
    )
    folder_data(tmp_path / "data", splits={"train": 1.0}).prepare()
    assert not caplog.messages  # where nothing is split, cases do not matter
    assert count_splits(folder_data(tmp_path / "data").splits) == "train 14 images, val 2 images, test 4 images"
    hint = "folder: each image counts as a case of its own: set data.group if several show one patient"
    assert caplog.messages == [hint]


def test_a_split_without_a_class_is_named(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    for number in range(10):
        write(tmp_path / "data" / "common" / f"{number}.png", 10 * number)
    for number in range(2):
        write(tmp_path / "data" / "rare" / f"{number}.png", 200 + number)
    data = folder_data(tmp_path / "data", seed=1)
    lacking = [name for name, split in data.splits.items() if not data.split("train").store.labels[split.rows].any()]
    assert lacking
    line = "; ".join(f"{name} has no image of rare" for name in lacking)
    assert f"folder: {line}: add images, or try another data.seed or data.splits" in caplog.messages
    caplog.clear()
    write(tmp_path / "data" / "rare" / "2.png", 202)
    folder_data(tmp_path / "data", seed=1).prepare()
    assert "has no image" not in caplog.text


def test_the_same_picture_in_two_splits_is_counted(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    root = tmp_path / "data"
    for number in range(6):
        write(root / "train" / f"{number}.png", 10 * number)
    for number in range(3):
        write(root / "test" / f"x{number}.png", 100 + 10 * number)
    options: dict[str, Any] = {"split_folders": {"train": "train", "test": "test"}}
    write(root / "train" / "6.png", 0)  # a copy within its split is no harm
    folder_data(root, **options).prepare()
    assert "two splits" not in caplog.text
    write(root / "test" / "x0.tif", 0)
    (root / "test" / "x0.png").unlink()
    (root / "test" / "x1.png").write_bytes((root / "train" / "5.png").read_bytes())
    for _ in ("built", "opened"):
        caplog.clear()
        folder_data(root, **options).prepare()
        counted = (
            "folder: 5 images lie in two splits with the same pixels, such as test/x0.tif in test and train/0.png in"
        )
        assert counted in caplog.text
    caplog.clear()
    folder_data(root, splits={"train": 1.0}, images="train").prepare()
    assert "two splits" not in caplog.text


def test_other_and_hidden_files_are_ignored(tmp_path: Path) -> None:
    root = flat(tmp_path / "data")
    for name in ("README.md", "._0.png", "table.csv", ".hidden/0.png"):
        (root / name).parent.mkdir(exist_ok=True)
        (root / name).write_text("not an image")
    assert len(everything(folder_data(root))["image"]) == 10


def test_files_passed_over_are_counted_in_one_line(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    root = tmp_path / "data"
    for label in ("a", "b"):
        for number in range(3):
            write(root / label / f"{number}.png", number)
    (root / "README.md").touch()
    list_samples(root, None, {}, None, None)
    assert caplog.messages == [f"{root}: passed over 1 files of other suffixes (.md)"]
    write(root / "a" / "old" / "0.png", 1)
    write(root / "b" / ".hidden" / "0.png", 1)
    write(root / "masks" / "a" / "0.png", 1)
    list_samples(root, None, {"lesion": "masks"}, ["a"], None)  # neither masks nor the class b are missed
    line = f"{root}: passed over 1 images in deeper folders, such as a/old/0.png and 1 files of other suffixes (.md)"
    assert caplog.messages[1:] == [line] and caplog.records[1].levelname == "WARNING"


def test_a_class_with_images_only_below_it_is_refused(tmp_path: Path) -> None:
    root = tmp_path / "data"
    for file in ("a/0.png", "b/0.png", "c/p1/0.png", "c/p2/0.png"):
        write(root / file, 1)
    with pytest.raises(UserError, match=r"data/c holds images only in folders below it, such as .*c/p\d/0\.png: move"):
        list_samples(root, None, {}, None, None)
    assert [sample.label for sample in list_samples(root, None, {}, ["b", "a"], None)] == ["a", "b"]


def test_names_that_count_alike_have_one_order(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("p1/0.png", "p01/0.png", "p001/0.png"):
        write(tmp_path / name, 1)
    listed = Path.iterdir
    orders = []
    for backwards in (False, True):
        monkeypatch.setattr(Path, "iterdir", lambda folder, back=backwards: iter(sorted(listed(folder), reverse=back)))
        orders.append([sample.file for sample in list_samples(tmp_path, None, {}, None, None)])
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
    assert everything(folder_data(root))["image"][:3, 0, 0, 0].tolist() == [0, 10 * 257, 65535]
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


def test_masks_that_vanish_at_the_resolution_are_counted(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    root = with_masks(tmp_path / "data", 3)
    dot = np.zeros((12, 12), np.uint8)
    dot[0, 0] = 255
    write(root / "masks" / "1.dcm.png", dot)
    caplog.set_level(logging.INFO)
    folder_data(root, images="images", mask_folders={"cavity": "masks"}, resolution=3, seed=0).prepare()
    assert "2 masks are empty after pad to 3 pixels" in caplog.text  # the dot, and a single row


def test_a_missing_or_empty_folder_is_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"data\.root is missing: give the folder"):
        FolderData(None, str(tmp_path), 8)
    with pytest.raises(UserError, match=r"data\.root: there is no folder .*data: check the path"):
        folder_data(tmp_path / "data").prepare()
    (tmp_path / "data").mkdir()
    with pytest.raises(UserError, match=r"data holds no images \(\.dcm, .*check data\.root"):
        folder_data(tmp_path / "data").prepare()
    assert_nothing_written(tmp_path / "data")
    with pytest.raises(UserError, match=r"data\.mask_folders\.cavity: there is no folder .*none"):
        folder_data(flat(tmp_path / "data"), mask_folders={"cavity": "none"}).prepare()


def test_images_beside_folders_of_images_are_ambiguous(tmp_path: Path) -> None:
    root = flat(tmp_path / "data")
    write(root / "masks" / "0.png", 1)
    with pytest.raises(UserError, match=r"images and sub-folders of images \(masks\): name the folder"):
        folder_data(root).prepare()


def test_two_files_of_one_stem_in_a_folder_are_refused(tmp_path: Path) -> None:
    root = with_masks(tmp_path / "data")
    options: dict[str, Any] = {"images": "images", "mask_folders": {"cavity": "masks"}}
    write(root / "masks" / "4.dcm.tif", np.zeros((12, 12), np.uint8))
    with pytest.raises(UserError, match=r"two masks of one name, .*4\.dcm\.png and 4\.dcm\.tif: remove or rename one"):
        folder_data(root, **options).prepare()
    write(root / "images" / "3.dcm.tif", 50)
    with pytest.raises(UserError, match=r"two images of one name, .*3\.dcm\.jpg and 3\.dcm\.tif: remove or rename one"):
        folder_data(root, images="images").prepare()
    for label in ("a", "b"):  # in two folders they are two pictures
        write(root / "classes" / label / "0.png", 1)
    assert len(list_samples(root, "classes", {}, None, None)) == 2


BAD = {"empty.png": b"", "text.png": b"no image", "cut.jpg": None}


def with_bad_file(root: Path, name: str) -> Path:
    flat(root)
    if BAD[name] is None:
        noise = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)
        (root / name).write_bytes(write(root / name, noise).read_bytes()[:-1500])
    else:
        (root / name).write_bytes(BAD[name] or b"")
    return root


@pytest.mark.parametrize("name", BAD)
def test_a_bad_file_fails_by_default_and_leaves_nothing(tmp_path: Path, name: str) -> None:
    root = with_bad_file(tmp_path / "data", name)
    with pytest.raises(UserError, match=rf"cannot read .*{name}: .*data\.on_error=skip leaves it out") as error:
        folder_data(root).prepare()
    assert "\n" not in str(error.value)
    assert_nothing_written(root)


@pytest.mark.parametrize("name", BAD)
def test_skip_goes_on_and_counts_bad_files(tmp_path: Path, caplog: pytest.LogCaptureFixture, name: str) -> None:
    root = with_bad_file(tmp_path / "data", name)
    data = folder_data(root, on_error="skip")
    assert sorted(everything(data)["image"][:, 0, 0, 0].tolist()) == [10 * n for n in range(10)]
    assert sum(map(len, data.splits.values())) == 10
    assert data.description.channels == 1
    assert list(data.split("train").store.meta["skipped"]) == [name]
    assert "1 of 11 images left out, the first: cannot read" in caplog.text
    with pytest.raises(UserError, match="cannot read"):  # the store with a gap is not taken for the whole
        folder_data(root).prepare()


def test_all_files_bad_is_an_error_also_with_skip(tmp_path: Path) -> None:
    root = tmp_path / "data"
    root.mkdir()
    for number in range(3):
        (root / f"{number}.png").write_bytes(b"")
    with pytest.raises(UserError, match=r"none of the 3 images can be used, the first because: cannot read .*0\.png"):
        folder_data(root, on_error="skip").prepare()
    assert_nothing_written(root)


def test_an_image_without_its_mask_is_named_with_the_count(tmp_path: Path) -> None:
    root = with_masks(tmp_path / "data")
    for number in (3, 7):
        (root / "masks" / f"{number}.dcm.png").unlink()
    options: dict[str, Any] = {"images": "images", "mask_folders": {"cavity": "masks"}}
    with pytest.raises(UserError, match=r"images/3\.dcm\.jpg has no mask in the folder 'masks' \(2 of 10 .*skip"):
        folder_data(root, **options).prepare()
    assert_nothing_written(root)
    data = folder_data(root, on_error="skip", resolution=12, **options)
    assert everything(data)["mask"][:, 0, :, 0].sum(axis=1).tolist() == [1, 2, 3, 5, 6, 7, 9, 10]
    assert len(data.split("train").store.meta["skipped"]) == 2


def test_a_mask_of_another_size_is_named(tmp_path: Path) -> None:
    root = with_masks(tmp_path / "data")
    write(root / "masks" / "4.dcm.png", np.zeros((10, 12), np.uint8))
    options: dict[str, Any] = {"images": "images", "mask_folders": {"cavity": "masks"}}
    with pytest.raises(
        UserError, match=r"mask .*4\.dcm\.png is of 12x10 pixels, its image .*4\.dcm\.jpg of 12x12; .*skip"
    ):
        folder_data(root, **options).prepare()
    assert_nothing_written(root)
    assert len(everything(folder_data(root, on_error="skip", **options))["mask"]) == 9


def test_dicom_without_pydicom_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    flat(tmp_path / "data")
    (tmp_path / "data" / "scan.dcm").write_bytes(b"x")
    monkeypatch.setattr(decode, "find_spec", lambda name: None)
    with pytest.raises(UserError, match=r"scan\.dcm .*need pydicom: pip install"):
        folder_data(tmp_path / "data", on_error="skip").prepare()


@pytest.mark.parametrize("option", [{"fit": "stretch"}, {"on_error": "stop"}, {"split_by": "x"}, {"channels": 2}])
def test_an_option_that_does_not_exist_names_those_that_do(tmp_path: Path, option: dict[str, Any]) -> None:
    with pytest.raises(UserError, match=f"data.{next(iter(option))}=.* must be one of"):
        folder_data(tmp_path, **option)


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
