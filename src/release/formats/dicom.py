"""DICOM: Secondary Capture images that say Synthetic Data = YES, with new identifiers and of no patient."""

from __future__ import annotations

import io
from typing import Any

import numpy as np

from src.core.errors import UserError
from src.release.formats.base import Format, Loader
from src.release.label import SOFTWARE, Label

# What PS3.3 A.8.1 asks to be there, and may be empty where it is unknown (type 2).
EMPTY = (
    "PatientName", "PatientID", "PatientBirthDate", "PatientSex", "StudyDate", "StudyTime", "ReferringPhysicianName",
    "StudyID", "AccessionNumber", "PatientOrientation", "Manufacturer",
)  # fmt: skip


class Dicom(Format):
    suffix = ".dcm"
    media_type = "application/dicom"
    bits = (8, 16)
    holds_units = True
    label = "Synthetic Data (0008,001C) = YES, `ImageType` DERIVED\\SECONDARY, `ImageComments`"
    loaders = (
        Loader(
            "pydicom",
            ("pydicom",),
            "from pathlib import Path\n"
            "from pydicom import dcmread\n\n"
            'images = [dcmread(path).pixel_array for path in sorted(Path("images").glob("*.dcm"))]',
        ),
    )

    def __init__(self) -> None:
        try:
            import pydicom  # noqa: F401
        except ImportError:
            raise UserError("format=dicom needs pydicom: pip install pydicom") from None

    def encode(self, pixels: np.ndarray, label: Label) -> bytes:
        content = io.BytesIO()
        _dataset(pixels, label).save_as(content, enforce_file_format=True)
        return content.getvalue()

    def decode(self, content: bytes) -> np.ndarray:
        import pydicom

        return np.asarray(pydicom.dcmread(io.BytesIO(content)).pixel_array)


def _dataset(pixels: np.ndarray, label: Label) -> Any:
    from pydicom.dataset import Dataset, FileMetaDataset
    from pydicom.uid import ExplicitVRLittleEndian, SecondaryCaptureImageStorage
    from pydicom.valuerep import DSfloat

    data = Dataset()
    for name in EMPTY:
        setattr(data, name, None)
    data.SpecificCharacterSet = "ISO_IR 192"
    data.SOPClassUID = SecondaryCaptureImageStorage
    data.SOPInstanceUID = label.uid("instance", label.kind, label.index)
    data.StudyInstanceUID = label.uid("study")
    data.SeriesInstanceUID = label.uid("series", label.kind)
    data.Modality = "OT"
    data.ConversionType = "WSD"
    data.SecondaryCaptureDeviceManufacturerModelName = SOFTWARE
    data.ImageType = ["DERIVED", "SECONDARY"]
    data.SyntheticData = "YES"
    data.BurnedInAnnotation = "NO"
    data.DerivationDescription = label.sentence
    data.SeriesDescription = f"Synthetic: {label.kind}"[:64]
    data.SeriesNumber = 1 if label.kind == "image" else 2
    data.InstanceNumber = (label.index or 0) + 1
    data.ImageComments = label.as_json()
    deep, colour = pixels.dtype == np.uint16, pixels.ndim == 3
    data.Rows, data.Columns = pixels.shape[:2]
    data.SamplesPerPixel = 3 if colour else 1
    data.PhotometricInterpretation = "RGB" if colour else "MONOCHROME2"
    if colour:
        data.PlanarConfiguration = 0
    data.BitsAllocated = data.BitsStored = 16 if deep else 8
    data.HighBit = data.BitsStored - 1
    data.PixelRepresentation = 0
    if label.scale is not None:
        low, high, unit = label.scale.low, label.scale.high, label.scale.unit
        data.RescaleIntercept = DSfloat(low, auto_format=True)
        data.RescaleSlope = DSfloat(label.scale.slope(2**data.BitsStored - 1), auto_format=True)
        data.RescaleType = unit or "US"  # unspecified
        data.WindowCenter = DSfloat((low + high) / 2, auto_format=True)
        data.WindowWidth = DSfloat(high - low, auto_format=True)
    values = pixels.astype("<u2" if deep else np.uint8).tobytes()
    data.PixelData = values + b"\0" * (len(values) % 2)
    data["PixelData"].VR = "OW" if deep else "OB"
    data.file_meta = FileMetaDataset()
    data.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    return data
