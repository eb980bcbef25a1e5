"""DICOM values are kept or refused: never clipped, merged or turned about each image's own range."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from src.core.errors import UserError
from src.data.decode import BadFile, Header, read_header, read_image
from src.data.formats import Reading, is_readable, read_slices
from tests.data.folders import folder_data

pydicom = pytest.importorskip("pydicom")

GREY_8, GREY_16, COLOUR_8, COLOUR_16 = (
    Header(False, False),
    Header(True, False),
    Header(False, True),
    Header(True, True),
)
HOUNSFIELD = Header(True, False, hounsfield=True)


def save_dicom(path: Path, pixels: np.ndarray, **tags: object) -> Path:
    """An image of all its bits; ``tags`` replace what that says of it."""
    from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian

    data = pydicom.Dataset()
    data.file_meta = pydicom.dataset.FileMetaDataset()
    data.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    data.SOPClassUID, data.SOPInstanceUID = CTImageStorage, pydicom.uid.generate_uid()
    data.Rows, data.Columns, data.SamplesPerPixel = *pixels.shape, 1
    bits = pixels.dtype.itemsize * 8
    data.BitsAllocated, data.BitsStored, data.HighBit = bits, bits, bits - 1
    data.PixelRepresentation = int(pixels.dtype.kind == "i")
    data.PhotometricInterpretation, data.PixelData = "MONOCHROME2", pixels.tobytes() + b"\0" * (pixels.nbytes % 2)
    for tag, value in tags.items():
        setattr(data, tag, value)
    data.save_as(path, enforce_file_format=True)
    return path


def assert_reads(path: Path, expected: Any, header: Header) -> None:
    image = read_image(path)
    assert read_header(path) == header
    assert image.dtype == (np.uint16 if header.deep else np.uint8)
    np.testing.assert_array_equal(image, expected)


def test_ct_is_rescaled_to_hounsfield_units_above_air(tmp_path: Path) -> None:
    stored = np.array([[0, 1024, 2024]], np.int16)
    path = save_dicom(tmp_path / "ct.dcm", stored, Modality="CT", RescaleSlope=1, RescaleIntercept=-1024)
    assert_reads(path, stored, HOUNSFIELD)  # -1024, 0, 1000 HU
    padded = np.array([[-3000, -1024, 40]], np.int16)  # what scanners write outside of their circle is no tissue
    assert_reads(save_dicom(tmp_path / "padded.dcm", padded, Modality="CT"), [[0, 0, 1064]], HOUNSFIELD)
    assert_reads(save_dicom(tmp_path / "screen.dcm", np.array([[7, 9]], np.uint8), Modality="CT"), [[7, 9]], GREY_8)


def test_enhanced_ct_is_rescaled_as_its_frame_says(tmp_path: Path) -> None:
    units, frame = pydicom.Dataset(), pydicom.Dataset()
    units.RescaleSlope, units.RescaleIntercept = 1, -1024
    frame.PixelValueTransformationSequence = [units]
    for groups in ("SharedFunctionalGroupsSequence", "PerFrameFunctionalGroupsSequence"):
        path = save_dicom(
            tmp_path / f"{groups}.dcm",
            np.array([[1064]], np.uint16),
            Modality="CT",
            NumberOfFrames=1,
            **{groups: [frame]},
        )
        assert_reads(path, [[1064]], HOUNSFIELD)  # 40 HU


def test_ct_whose_values_whole_hounsfield_units_would_merge_is_bad(tmp_path: Path) -> None:
    stored = np.arange(8, dtype=np.uint16)[None]
    path = save_dicom(tmp_path / "x.dcm", stored, Modality="CT", RescaleSlope=0.1, RescaleIntercept=0)
    with pytest.raises(BadFile, match=r"slope of 0\.1 would merge values in whole Hounsfield units, save it as PNG"):
        read_image(path)


@pytest.mark.parametrize(("slope", "intercept"), [(5, 0), (1e-4, 0), (2, -4096), (None, None)])
def test_what_is_not_ct_keeps_its_stored_values(tmp_path: Path, slope: float | None, intercept: float | None) -> None:
    stored = np.array([[0, 1, 2, 2000, 60000]], np.uint16)
    path = save_dicom(tmp_path / "x.dcm", stored, Modality="MR", RescaleSlope=slope, RescaleIntercept=intercept)
    assert_reads(path, stored, GREY_16)
    shallow = save_dicom(tmp_path / "8.dcm", stored.astype(np.uint8), RescaleSlope=slope, RescaleIntercept=intercept)
    assert_reads(shallow, stored.astype(np.uint8), GREY_8)


def test_signed_and_unsigned_values_agree_where_none_is_negative(tmp_path: Path) -> None:
    for dtype, header in ((np.int8, GREY_8), (np.int16, GREY_16), (np.uint32, GREY_16)):
        stored = np.array([[0, 5, 100]], dtype)
        assert_reads(save_dicom(tmp_path / "x.dcm", stored, Modality="MR"), stored, header)


@pytest.mark.parametrize(
    "pixels", [np.array([[-500, 499]], np.int16), np.array([[-1, 5]], np.int8), np.array([[0, 65536]], np.uint32)]
)
def test_values_that_do_not_fit_are_bad(tmp_path: Path, pixels: np.ndarray) -> None:
    low, high = pixels.min(), pixels.max()
    with pytest.raises(BadFile, match=rf"its values from {low} to {high} do not fit into .* without sign, save it as"):
        read_image(save_dicom(tmp_path / "x.dcm", pixels, Modality="MR"))


def test_dark_on_bright_is_inverted_about_the_range_of_its_bits(tmp_path: Path) -> None:
    for name, pixels, bits, expected in (
        ("12 bits", np.array([[0, 300, 4000]], np.uint16), 12, [[4095, 3795, 95]]),
        ("another pixel is no matter", np.array([[0, 300, 4095]], np.uint16), 12, [[4095, 3795, 0]]),
        ("constant", np.array([[0, 0, 0]], np.uint8), 8, [[255, 255, 255]]),
        ("signed", np.array([[-2048, 0, 2047]], np.int16), 12, [[4095, 2047, 0]]),
    ):
        path = save_dicom(
            tmp_path / f"{name}.dcm", pixels, Modality="DX", PhotometricInterpretation="MONOCHROME1",
            BitsStored=bits, HighBit=bits - 1,
        )  # fmt: skip
        assert_reads(path, expected, GREY_8 if bits == 8 else GREY_16)


@pytest.mark.parametrize(("photometric", "first"), [("MONOCHROME2", 65535), ("MONOCHROME1", 0)])
def test_a_modality_lookup_table_is_applied(tmp_path: Path, photometric: str, first: int) -> None:
    table = pydicom.Dataset()
    table.add_new("LUTDescriptor", "US", [256, 0, 16])
    table.add_new("LUTData", "US", list(range(65535, 65535 - 256, -1)))
    table.ModalityLUTType = "US"
    path = save_dicom(
        tmp_path / "x.dcm", np.array([[0, 1, 255]], np.uint8), Modality="CR",
        PhotometricInterpretation=photometric, ModalityLUTSequence=[table],
    )  # fmt: skip
    assert_reads(path, np.abs(first - np.array([[0, 1, 255]])), GREY_16)


@pytest.mark.parametrize(("bits", "header"), [(8, COLOUR_8), (16, COLOUR_16)])
def test_a_palette_becomes_colour(tmp_path: Path, bits: int, header: Header) -> None:
    top, dtype = 2**bits - 1, f"<u{bits // 8}"
    red, green, blue = (np.array(values, dtype).tobytes() for values in ([0, top], [0, 7], [0, 0]))
    tags = {f"{name}PaletteColorLookupTableDescriptor": [2, 0, bits] for name in ("Red", "Green", "Blue")}
    path = save_dicom(
        tmp_path / "x.dcm", np.array([[0, 1]], np.uint8), Modality="US", PhotometricInterpretation="PALETTE COLOR",
        RedPaletteColorLookupTableData=red, GreenPaletteColorLookupTableData=green,
        BluePaletteColorLookupTableData=blue, **tags,
    )  # fmt: skip
    assert_reads(path, [[[0, 0, 0], [top, 7, 0]]], header)


def test_an_empty_number_of_frames_is_one_and_each_of_several_is_an_image(tmp_path: Path) -> None:
    stored = np.array([[1, 2]], np.uint16)
    assert_reads(save_dicom(tmp_path / "x.dcm", stored, NumberOfFrames=None), stored, GREY_16)
    path = save_dicom(tmp_path / "2.dcm", stored, NumberOfFrames=2, PixelData=np.stack([stored, stored + 5]).tobytes())
    assert read_header(path).slices == 2
    frames = list(read_slices(path, Reading()))
    assert [frame.tolist() for frame in frames] == [[[1, 2]], [[6, 7]]]
    with pytest.raises(BadFile, match=r"2\.dcm holds 2 images: give a file of one"):
        read_image(path)


def test_the_patient_is_the_case_or_else_the_study(tmp_path: Path) -> None:
    stored = np.array([[1, 2]], np.uint16)
    named = save_dicom(tmp_path / "a.dcm", stored, PatientID=" P7 ", StudyInstanceUID="1.2.3", PixelSpacing=[0.5, 0.25])
    assert read_header(named).case == "P7" and read_header(named).spacing == (0.5, 0.25)
    assert read_header(save_dicom(tmp_path / "b.dcm", stored, PatientID="", StudyInstanceUID="1.2.3")).case == "1.2.3"
    assert read_header(save_dicom(tmp_path / "c.dcm", stored)).case is None


def test_dicom_without_a_suffix_is_known_by_its_content(tmp_path: Path) -> None:
    for name in ("IM0001", "1.2.840.113", "scan.dcm"):
        path = save_dicom(tmp_path / name, np.array([[1, 2]], np.uint16))
        assert is_readable(path) and read_image(path).tolist() == [[1, 2]]
    (tmp_path / "LICENSE").write_text("text" * 100)
    save_dicom(tmp_path / "DICOMDIR", np.array([[1, 2]], np.uint16))
    assert not is_readable(tmp_path / "LICENSE") and not is_readable(tmp_path / "DICOMDIR")


def test_a_report_among_the_images_is_named_by_its_modality(tmp_path: Path) -> None:
    path = save_dicom(tmp_path / "sr.dcm", np.array([[1, 2]], np.uint16), Modality="SR")
    data = pydicom.dcmread(path)
    for tag in ("Rows", "Columns", "PixelData"):
        delattr(data, tag)
    data.save_as(path)
    with pytest.raises(BadFile, match=r"sr\.dcm holds no image \(it is of the modality SR\)"):
        read_header(path)


def test_a_broken_dicom_is_bad(tmp_path: Path) -> None:
    (tmp_path / "x.dcm").write_bytes(b"")
    with pytest.raises(BadFile, match=r"cannot read .*x\.dcm"):
        read_header(tmp_path / "x.dcm")


def test_values_of_each_file_are_on_one_scale_by_its_own_slope(tmp_path: Path) -> None:
    """As PET has them: another slope in every slice."""
    for name, slope in (("a", 2.5), ("b", 0.5)):
        path = save_dicom(
            tmp_path / f"{name}.dcm", np.array([[0, 100, 400]], np.uint16), Modality="PT", RescaleSlope=slope,
            RescaleIntercept=0,
        )  # fmt: skip
        rescaled = next(read_slices(path, Reading(values="rescaled", range=(0.0, 1000.0))))
        np.testing.assert_array_equal(rescaled, np.rint(np.array([[0, 100, 400]]) * slope / 1000 * 65535))
    with pytest.raises(UserError, match=r"data\.values=rescaled needs the values that become black and white"):
        next(read_slices(path, Reading(values="rescaled")))
    with pytest.raises(UserError, match=r"data\.values=hounsfield is for CT, and .*b\.dcm is of the modality PT"):
        next(read_slices(path, Reading(values="hounsfield")))


@pytest.mark.parametrize(
    ("photometric", "expected"), [("MONOCHROME2", [0, 32768, 65535]), ("MONOCHROME1", [65535, 32767, 0])]
)
def test_a_file_is_shown_by_its_own_window(tmp_path: Path, photometric: str, expected: list[int]) -> None:
    stored = np.array([[100, 1000, 3000]], np.uint16)
    path = save_dicom(
        tmp_path / "x.dcm", stored, Modality="MR", PhotometricInterpretation=photometric, WindowCenter=1000.5,
        WindowWidth=1001, BitsStored=12, HighBit=11,
    )  # fmt: skip
    shown = next(read_slices(path, Reading(values="displayed")))
    assert np.abs(shown[0].astype(int) - expected).max() <= 40  # the window's middle is half a value off
    assert read_header(path, Reading(values="displayed")).deep
    plain = save_dicom(tmp_path / "y.dcm", stored, Modality="MR")
    with pytest.raises(UserError, match="neither a window nor a lookup table"):
        next(read_slices(plain, Reading(values="displayed")))


@pytest.mark.parametrize(
    "syntax", ["JPEG2000Lossless", "RLELossless", "JPEGLSLossless", "JPEGLosslessSV1", "HTJ2KLossless"]
)
def test_compressed_pixels_are_read_as_they_were(tmp_path: Path, syntax: str) -> None:
    codecs = pytest.importorskip("imagecodecs")
    stored = np.random.default_rng(0).integers(0, 4096, (32, 24)).astype(np.uint16)
    path = save_dicom(tmp_path / "x.dcm", stored, Modality="MR", BitsStored=12, HighBit=11)
    data = pydicom.dcmread(path)
    if syntax == "RLELossless":
        data.compress(pydicom.uid.RLELossless)
    else:
        encode: dict[str, Callable[[], bytes]] = {
            "JPEG2000Lossless": lambda: codecs.jpeg2k_encode(
                stored, codecformat="j2k", reversible=True, bitspersample=12
            ),
            "JPEGLSLossless": lambda: codecs.jpegls_encode(stored),
            "JPEGLosslessSV1": lambda: codecs.ljpeg_encode(stored, bitspersample=12),
            "HTJ2KLossless": lambda: codecs.htj2k_encode(stored, reversible=True),
        }
        data.PixelData = pydicom.encaps.encapsulate([encode[syntax]()])
        data["PixelData"].VR = "OB"
        data.file_meta.TransferSyntaxUID = getattr(pydicom.uid, syntax)
    data.save_as(path)
    np.testing.assert_array_equal(read_image(path), stored)


def test_a_patient_in_two_splits_stops_with_what_takes_the_folders_as_they_are(tmp_path: Path) -> None:
    for split in ("train", "test"):
        (tmp_path / "data" / split).mkdir(parents=True)
        for number in range(3):
            pixels = np.random.default_rng(number).integers(0, 4000, (8, 8)).astype(np.uint16)
            save_dicom(
                tmp_path / "data" / split / f"{split}{number}.dcm", pixels, PatientID=f"P{number}", Modality="MR"
            )
    options: dict[str, Any] = {"split_folders": {"train": "train", "test": "test"}}
    with pytest.raises(
        UserError, match=r"the group 'P0' is in the splits test and train: set data\.group='\.\+' to take"
    ):
        folder_data(tmp_path / "data", **options).prepare()
    assert {n: len(s) for n, s in folder_data(tmp_path / "data", **options, group=".+").splits.items()} == {
        "train": 3,
        "test": 3,
    }


def test_series_below_studies_are_of_their_patients(tmp_path: Path) -> None:
    root = tmp_path / "data"
    expected = {}
    for number in range(12):
        pixels = np.random.default_rng(number).integers(0, 4000, (8, 8)).astype(np.uint16)
        file = f"study{number % 6}/series1/{number}.dcm"
        (root / file).parent.mkdir(parents=True, exist_ok=True)
        save_dicom(root / file, pixels, PatientID=f"P{number % 4}", Modality="MR")
        expected[file] = (pixels, f"P{number % 4}")
    data = folder_data(root, window=(0, 65535))
    found = {
        file: (split.store.images[row, 0], case)
        for split in data.splits.values()
        for file, row, case in zip(split.files(), split.rows, split.cases or (), strict=True)
    }
    assert found.keys() == expected.keys() and data.description.classes == ()
    for file, (pixels, case) in expected.items():
        np.testing.assert_array_equal(found[file][0], pixels)
        assert found[file][1] == case
