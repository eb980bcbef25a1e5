"""DICOM values are kept or refused: never clipped, merged or turned about each image's own range."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from src.data.decode import BadFile, Header, read_header, read_image

pydicom = pytest.importorskip("pydicom")

GREY_8, GREY_16, COLOUR_8, COLOUR_16 = (
    Header(False, False),
    Header(True, False),
    Header(False, True),
    Header(True, True),
)


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
    assert_reads(path, stored, GREY_16)  # -1024, 0, 1000 HU
    padded = np.array([[-3000, -1024, 40]], np.int16)  # what scanners write outside of their circle is no tissue
    assert_reads(save_dicom(tmp_path / "padded.dcm", padded, Modality="CT"), [[0, 0, 1064]], GREY_16)
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
        assert_reads(path, [[1064]], GREY_16)  # 40 HU


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


def test_an_empty_number_of_frames_is_one_and_several_are_bad(tmp_path: Path) -> None:
    stored = np.array([[1, 2]], np.uint16)
    assert_reads(save_dicom(tmp_path / "x.dcm", stored, NumberOfFrames=None), stored, GREY_16)
    with pytest.raises(BadFile, match="2 frames, save each frame as a file of its own"):
        read_image(save_dicom(tmp_path / "2.dcm", stored, NumberOfFrames=2, PixelData=stored.tobytes() * 2))


def test_a_broken_dicom_is_bad(tmp_path: Path) -> None:
    (tmp_path / "x.dcm").write_bytes(b"")
    with pytest.raises(BadFile, match=r"cannot read .*x\.dcm"):
        read_header(tmp_path / "x.dcm")
