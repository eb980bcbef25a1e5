"""Volumes become slices as radiologists see them, each volume a case, and what does not fit together stops."""

import gzip
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from src.core.errors import UserError
from src.data import formats
from src.data.folder import FolderData
from src.data.formats import Reading
from src.data.provenance import fingerprints
from tests.data.folders import everything, folder_data

nibabel = pytest.importorskip("nibabel")
SHAPE = (10, 12, 5)  # from left to right, back to front, feet to head


def body(seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 4000, SHAPE).astype(np.int16)


def organs(seed: int = 0) -> np.ndarray:
    """1 and 2 in some slices, nothing in the first."""
    labels = np.zeros(SHAPE, np.uint8)
    labels[2:5, 3:7, 1:4] = 1
    labels[6:8, 3 : 5 + seed % 3, 2:] = 2
    return labels


def save(path: Path, volume: np.ndarray, affine: np.ndarray | None = None) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    nibabel.save(nibabel.Nifti1Image(volume, np.diag([0.8, 0.8, 3, 1]) if affine is None else affine), path)
    return path


def read(path: Path, **how: Any) -> np.ndarray:
    return np.stack([*formats.read_slices(path, Reading(**how))])


def axial(volume: np.ndarray) -> np.ndarray:
    """(Z, Y, X): rows from front to back, columns from the patient's right to the left."""
    return volume[::-1, ::-1].transpose(2, 1, 0)


def decathlon(root: Path, count: int = 6) -> Path:
    for number in range(count):
        save(root / f"imagesTr/case_{number}.nii.gz", body(number))
        save(root / f"labelsTr/case_{number}.nii.gz", organs(number))
    return root


def folder(root: Path, **options: Any) -> FolderData:
    return folder_data(root, **{"resolution": 12, "aspect": (12, 10), "window": (0, 65535), **options})


@pytest.mark.parametrize("suffix", [".nii", ".nii.gz"])
def test_slices_are_seen_from_below_with_the_front_on_top(tmp_path: Path, suffix: str) -> None:
    path = save(tmp_path / f"x{suffix}", body())
    np.testing.assert_array_equal(read(path), axial(body()))
    np.testing.assert_array_equal(read(path, axis="coronal"), body()[::-1, :, ::-1].transpose(1, 2, 0))
    np.testing.assert_array_equal(read(path, axis="sagittal"), body()[:, ::-1, ::-1].transpose(0, 2, 1))
    header = formats.read_header(path, Reading(axis="coronal"))
    assert header.slices == 12 and header.spacing == pytest.approx((3, 0.8, 0.8)) and header.deep


def test_a_volume_stored_in_another_order_gives_the_same_slices(tmp_path: Path) -> None:
    expected = read(save(tmp_path / "ras.nii", body()))
    turned = body()[::-1, ::-1].transpose(2, 0, 1)  # from head … as scanners store it: z, then left, back
    affine = np.array([[0, -0.8, 0, 7.2], [0, 0, -0.8, 8.8], [3, 0, 0, 0], [0, 0, 0, 1.0]])
    np.testing.assert_array_equal(read(save(tmp_path / "other.nii", turned, affine)), expected)


def test_the_decathlons_volumes_are_cases_whose_slices_pair_with_their_labels(tmp_path: Path) -> None:
    root = decathlon(tmp_path / "data")
    with pytest.raises(UserError, match=r"labelsTr of .* looks like masks beside imagesTr: set data\.images=imagesTr"):
        folder(root).prepare()
    options: dict[str, Any] = {"images": "imagesTr", "mask_folders": {"labels": "labelsTr"}}
    with pytest.raises(UserError, match=r"label map with the values 0, 1, 2"):
        folder(root, **options).prepare()
    data = folder(root, **options, mask_labels={"organ": 1, "tumor": 2})
    stored = everything(data)
    assert stored["image"].shape == (30, 1, 12, 10) and data.description.masks == ("organ", "tumor")
    for number in range(6):
        rows = slice(5 * number, 5 * number + 5)
        np.testing.assert_array_equal(stored["image"][rows, 0], axial(body(number)))
        np.testing.assert_array_equal(stored["mask"][rows, 0], axial(organs(number) == 1))
        np.testing.assert_array_equal(stored["mask"][rows, 1], axial(organs(number) == 2))
    cases = [set(split.cases or ()) for split in data.splits.values()]
    assert sum(map(len, cases)) == 6 == len(set.union(*cases)) and all(
        len(split) % 5 == 0 for split in data.splits.values()
    )
    assert data.split("train").files()[0].endswith(".nii.gz#000")
    prints = [name for split in data.splits.values() for name in fingerprints(data, split)]
    assert len(set(prints)) == 30
    assert folder(root, **options, mask_labels={"a": "nonzero"}, group=r"case_(\d)").splits["test"].cases is not None


def test_slices_are_thinned_or_chosen_by_their_structures(tmp_path: Path) -> None:
    root = decathlon(tmp_path / "data")
    options: dict[str, Any] = {
        "images": "imagesTr",
        "mask_folders": {"x": "labelsTr"},
        "mask_labels": {"organ": 1, "t": 2},
    }
    thinned = folder(root, **options, slice_step=2)
    assert [file.rpartition("#")[2] for file in everything_files(thinned)[:3]] == ["000", "002", "004"]
    np.testing.assert_array_equal(everything(thinned)["image"][:3, 0], axial(body(0))[::2])
    chosen = folder(root, **options, slices="masked")
    assert [file.rpartition("#")[2] for file in everything_files(chosen)[:4]] == ["001", "002", "003", "004"]
    np.testing.assert_array_equal(everything(chosen)["image"][:4, 0], axial(body(0))[1:])
    with pytest.raises(UserError, match=r"data\.slices=masked takes the slices with a structure: name their masks"):
        folder(root, images="imagesTr", slices="masked")


def everything_files(data: FolderData) -> list[str]:
    return data.split("train").store.meta["files"]


def test_pixels_that_are_not_square_are_stretched(tmp_path: Path) -> None:
    root = tmp_path / "data"
    for number in range(3):
        save(root / f"{number}.nii", body(number), np.diag([1, 1, 2, 1]))
    data = folder_data(root, slice_axis="coronal", resolution=10, window=(0, 65535))
    assert everything(data)["image"].shape == (36, 1, 10, 10)  # 10 mm wide, 5 slices of 2 mm high
    assert (everything(data)["image"][:, 0, [0, -1]] > 0).mean() > 0.9  # nothing padded
    noted = " ".join(data.split("train").store.meta["notes"])
    assert "enlarged" not in noted


def test_values_of_ct_and_of_mri_are_a_question_and_its_answers_are_followed(tmp_path: Path) -> None:
    units = body() - 1500
    path = save(tmp_path / "ct.nii", units)
    with pytest.raises(
        UserError, match=r"ct\.nii has values from -\d+ to \d+, not whole numbers .*: data\.values=hounsf"
    ):
        read(path)
    np.testing.assert_array_equal(read(path, values="hounsfield"), np.maximum(axial(units) + 1024, 0))
    ends = np.array([-32768, -1025, -1024, -1023, 0, 32767], np.int16).reshape(1, 6, 1)
    at_ends = read(save(tmp_path / "ends.nii", ends), values="hounsfield")
    assert np.unique(at_ends).tolist() == [0, 1, 1024, 33791]
    rescaled = read(path, values="rescaled", range=(-1000.0, 1000.0))
    np.testing.assert_array_equal(rescaled, np.rint((axial(units).clip(-1000, 1000) + 1000) / 2000 * 65535))
    twice = [read(save(tmp_path / f"{f}.nii", (body() * f).astype(np.float32)), values="percentile") for f in (1, 3.7)]
    assert np.abs(twice[0].astype(int) - twice[1]).max() <= 1 and twice[0].min() == 0 and twice[0].max() == 65535
    scores = read(tmp_path / "1.nii", values="zscore") / 65535 * 8 - 4
    assert abs(scores.mean()) < 0.01 and abs(scores.std() - 1) < 0.01


def test_a_preset_is_a_window_of_hounsfield_units(tmp_path: Path) -> None:
    units = np.full((4, 4, 4), -160, np.int16)
    units[:, :, 1:] = np.array([40, 240, 900])
    for number in range(3):
        save(tmp_path / "data" / f"{number}.nii", units)
    data = folder_data(tmp_path / "data", window="soft")
    assert everything(data)["image"][:4, 0, 0, 0].tolist() == [0, 32768, 65535, 65535]


def test_a_volume_and_labels_that_do_not_fit_together_are_named(tmp_path: Path) -> None:
    options: dict[str, Any] = {"images": "imagesTr", "mask_folders": {"x": "labelsTr"}, "mask_labels": {"x": "nonzero"}}
    for name, labels, affine, line in (
        ("slices", organs()[:, :, :4], None, "imagesTr/case_2.nii.gz and its masks hold unlike numbers of slices"),
        ("size", organs()[:9], None, r"mask .*labelsTr/case_2\.nii\.gz is of 9x12 pixels, its image .* of 10x12"),
        (
            "place",
            organs(),
            np.diag([0.8, 0.8, 2.5, 1]),
            r"case_2\.nii\.gz do not lie in the same place \(their affines",
        ),
    ):
        root = decathlon(tmp_path / name / "data", 3)
        save(root / "labelsTr/case_2.nii.gz", labels, affine)
        with pytest.raises(UserError, match=line):
            folder(root, **options).prepare()


def test_several_volumes_in_a_file_are_a_question(tmp_path: Path) -> None:
    four = np.stack([body(n) for n in range(4)], -1)
    path = save(tmp_path / "x.nii.gz", four)
    with pytest.raises(UserError, match=r"x\.nii\.gz holds 4 volumes: data\.channel=0 takes the first"):
        read(path)
    np.testing.assert_array_equal(read(path, channel=2), axial(body(2)))


def test_a_truncated_gzip_is_one_line(tmp_path: Path) -> None:
    root = decathlon(tmp_path / "data", 3) / "imagesTr"
    whole = (root / "case_1.nii.gz").read_bytes()
    (root / "case_1.nii.gz").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(UserError, match=r"cannot read .*case_1\.nii\.gz: .*on_error=skip") as error:
        folder(root).prepare()
    assert "\n" not in str(error.value)
    assert len(everything(folder(root, on_error="skip", splits={"train": 1.0}))["image"]) == 10


@pytest.mark.parametrize("suffix", [".nii", ".nii.gz"])
def test_a_header_that_asks_for_more_than_its_file_can_hold_is_bad_before_it_fills_the_memory(
    tmp_path: Path, suffix: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    header = nibabel.Nifti1Header()
    header.set_data_dtype(np.int16)
    header.set_data_shape((30_000, 30_000, 3_000))
    header["vox_offset"] = 352
    content = header.binaryblock + bytes(1004)
    (tmp_path / f"x{suffix}").write_bytes(gzip.compress(content) if suffix == ".nii.gz" else content)
    monkeypatch.setattr(np, "asanyarray", lambda *_: pytest.fail("it is read"))
    with pytest.raises(UserError, match=r"its header speaks of 5,400,000,000,000 bytes, which a file of [\d,]+ cannot"):
        read(tmp_path / f"x{suffix}")


def test_a_gzip_of_several_parts_is_read_whole(tmp_path: Path) -> None:
    path = decathlon(tmp_path / "data", 1) / "imagesTr/case_0.nii.gz"
    whole = gzip.decompress(path.read_bytes())
    expected = read(path)
    for size in (100, len(whole) // 2, len(whole) - 1):  # the first part is the shorter, as long, or the longer one
        path.write_bytes(gzip.compress(whole[:size]) + gzip.compress(whole[size:]))
        assert np.array_equal(read(path), expected)


@pytest.mark.parametrize("kind", ["raw", "local", "compressed", "big"])
def test_metaimage_is_read_as_its_header_says(tmp_path: Path, kind: str) -> None:
    """As LUNA16 has it: Hounsfield units, axes to the left, the back and the head."""
    stored = body().transpose(2, 1, 0).astype(">i2" if kind == "big" else "<i2")  # x runs fastest
    content = zlib.compress(stored.tobytes()) if kind == "compressed" else stored.tobytes()
    path = tmp_path / ("x.mha" if kind == "local" else "x.mhd")
    lines = [
        "ObjectType = Image", "NDims = 3", "BinaryData = True", f"BinaryDataByteOrderMSB = {kind == 'big'}",
        f"CompressedData = {kind == 'compressed'}", "TransformMatrix = 1 0 0 0 1 0 0 0 1", "Offset = -1 -2 -3",
        "ElementSpacing = 0.7 0.7 2.5", "DimSize = 10 12 5", "ElementType = MET_SHORT",
        f"ElementDataFile = {'LOCAL' if kind == 'local' else 'x.raw'}",
    ]  # fmt: skip
    text = ("\n".join(lines) + "\n").encode()
    path.write_bytes(text + (content if kind == "local" else b""))
    (tmp_path / "x.raw").write_bytes(content)
    assert formats.is_readable(path) and not formats.is_readable(tmp_path / "x.raw")
    np.testing.assert_array_equal(read(path), body().transpose(2, 1, 0))  # as stored: from right, front and below
    assert formats.read_header(path, Reading()).spacing == pytest.approx((0.7, 0.7, 2.5))
    (tmp_path / "x.raw").write_bytes(content[:100])
    if kind in ("raw", "big"):
        with pytest.raises(UserError, match="it has 100 bytes of values, and its header says 1200"):
            read(path)


def test_medmnist_keeps_its_splits_and_labels(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    parts = {"train": 20, "val": 6, "test": 8}
    arrays: dict[str, Any] = {f"{p}_images": rng.integers(0, 255, (n, 28, 28), np.uint8) for p, n in parts.items()}
    arrays |= {f"{p}_labels": np.arange(n)[:, None] % 3 for p, n in parts.items()}
    root = tmp_path / "data"
    root.mkdir()
    np.savez(root / "pneumoniamnist.npz", **arrays)
    for place in (root, root / "pneumoniamnist.npz"):
        data = FolderData(str(place), str(tmp_path / "cache"), 28)
        assert {name: len(split) for name, split in data.splits.items()} == parts
        assert data.description.classes == ("0", "1", "2")
        for name, split in data.splits.items():
            batch = split.gather(np.arange(len(split)))
            np.testing.assert_array_equal(batch["image"][:, 0], arrays[f"{name}_images"])
            assert batch["label"].tolist() == [n % 3 for n in range(len(split))]
    prints = [name for split in data.splits.values() for name in fingerprints(data, split)]
    assert len(set(prints)) == 34
    some = FolderData(str(root), str(tmp_path / "cache"), 28, classes=["2", "0"])
    batch = some.split("val").gather(np.arange(4))
    assert batch["label"].tolist() == [1, 0, 1, 0]
    np.testing.assert_array_equal(batch["image"][:, 0], arrays["val_images"][[0, 2, 3, 5]])
    np.savez(root / "other.npz", **arrays)
    with pytest.raises(UserError, match=r"holds several data sets, other\.npz, pneumoniamnist\.npz: data\.root="):
        FolderData(str(root), str(tmp_path / "cache"), 28).prepare()


def test_an_array_of_several_images_is_a_question(tmp_path: Path) -> None:
    root = tmp_path / "data"
    root.mkdir()
    stack = np.random.default_rng(0).integers(0, 255, (9, 12, 12), np.uint8)
    for number in range(3):
        np.save(root / f"{number}.npy", stack + number)
    with pytest.raises(UserError, match=r"0\.npy holds 9 images: data\.volumes=true if they are slices of one patient"):
        folder_data(root).prepare()
    assert {len(split) for split in folder_data(root, volumes=True).splits.values()} == {9}
    own = folder_data(root, volumes=False, resolution=12)
    assert own.split("train").cases is None and len(own.split("train")) == 19
    np.testing.assert_array_equal(everything(own)["image"][9:18, 0], stack + 1)
    np.savez(tmp_path / "x.npz", a=stack[0], b=stack[1])
    with pytest.raises(UserError, match=r"x\.npz holds the arrays a, b: data\.array=<name>"):
        read(tmp_path / "x.npz")
    np.testing.assert_array_equal(read(tmp_path / "x.npz", array="b")[0], stack[1])
