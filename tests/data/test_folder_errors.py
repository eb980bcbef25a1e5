"""What cannot be used of a user's own images is one clear line."""

import struct
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from src.core.errors import UserError
from src.data import formats
from src.data.folder import FolderData
from src.data.listing import list_samples
from tests.data.folders import assert_nothing_written, everything, flat, folder_data, with_masks, write


def test_a_missing_or_empty_folder_is_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"data\.root is missing: give the folder"):
        FolderData(None, str(tmp_path), 8)
    with pytest.raises(UserError, match=r"data\.root: there is no folder .*data: check the path"):
        folder_data(tmp_path / "data").prepare()
    (tmp_path / "data").mkdir()
    with pytest.raises(UserError, match=r"data holds no images \(\.bmp, .*; it holds nothing: check data\.root"):
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
    assert len(list_samples(root, "classes", {}, None, None).samples) == 2


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


def test_images_that_are_all_the_same_are_warned_of(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    for number in range(6):
        write(tmp_path / "data" / f"{number}.png", np.full((16, 16), 255, np.uint8))
    folder_data(tmp_path / "data").prepare()
    assert "all 6 images have the same pixels, such as 0.png: nothing can be learned" in caplog.text


def test_dicom_without_pydicom_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    flat(tmp_path / "data")
    (tmp_path / "data" / "scan.dcm").write_bytes(b"x")
    monkeypatch.setattr(formats, "find_spec", lambda name: None)
    with pytest.raises(UserError, match=r"scan\.dcm .*need pydicom: pip install"):
        folder_data(tmp_path / "data", on_error="skip").prepare()


@pytest.mark.parametrize("option", [{"fit": "stretch"}, {"on_error": "stop"}, {"split_by": "x"}, {"channels": 2}])
def test_an_option_that_does_not_exist_names_those_that_do(tmp_path: Path, option: dict[str, Any]) -> None:
    with pytest.raises(UserError, match=f"data.{next(iter(option))}=.* must be one of"):
        folder_data(tmp_path, **option)


def test_an_image_too_large_to_be_one_is_bad_before_it_fills_the_memory(tmp_path: Path) -> None:
    root = flat(tmp_path / "data")
    row = b"\0" + bytes(2**14 // 8)
    header = struct.pack(">IIBBBBB", 2**14, 2**15, 1, 0, 0, 0, 0)  # half a billion pixels in a few kilobytes
    chunks = [(b"IHDR", header), (b"IDAT", zlib.compress(row * 100)), (b"IEND", b"")]
    blocks = [struct.pack(">I", len(d)) + t + d + struct.pack(">I", zlib.crc32(t + d)) for t, d in chunks]
    (root / "bomb.png").write_bytes(b"\x89PNG\r\n\x1a\n" + b"".join(blocks))
    with pytest.raises(UserError, match=r"cannot read .*bomb\.png: .*exceeds limit.*on_error=skip"):
        folder_data(root).prepare()
    assert len(everything(folder_data(root, on_error="skip"))["image"]) == 10
