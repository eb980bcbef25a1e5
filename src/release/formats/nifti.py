"""NIfTI-1: an image is a volume of one slice; the label is its description, an extension, and a JSON file beside it."""

from __future__ import annotations

import struct
import zlib
from pathlib import Path
from typing import Any

import numpy as np

from src.core.errors import UserError
from src.release.formats.base import Format, Loader
from src.release.label import Label

DESCRIPTION = b"Synthetic: trainedAlgorithmicMedia, made by a neural network, no patient"  # at most 79 bytes
COMMENT = 6  # code of an extension that is plain text
ALIGNED = 2  # code of a frame that is no scanner's
# Columns run to the patient's left and rows to the back, as DICOM has them: upright where slices are shown as
# radiologists see them. The size of a voxel is unknown, and 1 without a unit stands in its place.
AFFINE = np.diag([-1.0, -1.0, 1.0, 1.0])
RGB = np.dtype([("R", np.uint8), ("G", np.uint8), ("B", np.uint8)])


class Nifti(Format):
    suffix = ".nii.gz"
    media_type = "application/gzip"
    bits = (8, 16)
    holds_units = True
    label = "`descrip`, a comment extension, the comment of the gzip, a JSON file beside each"
    loaders = (
        Loader(
            "nibabel",
            ("nibabel",),
            "from pathlib import Path\n"
            "import nibabel\n\n"
            'images = [nibabel.load(path) for path in sorted(Path("images").glob("*.nii.gz"))]  # of (W, H, 1)',
        ),
        Loader(
            "MONAI",
            ("monai", "nibabel"),
            "from pathlib import Path\n"
            "from monai.data import Dataset\n"
            "from monai.transforms import LoadImage\n\n"
            'images = Dataset(sorted(Path("images").glob("*.nii.gz")), LoadImage(ensure_channel_first=True))',
        ),
    )

    def __init__(self) -> None:
        try:
            import nibabel  # noqa: F401
        except ImportError:
            raise UserError("format=nifti needs nibabel: pip install nibabel") from None

    def files(self, path: Path) -> list[Path]:
        return [path, path.with_name(path.name.removesuffix(self.suffix) + ".json")]

    def sidecar(self, label: Label) -> str:
        return label.as_json()

    def encode(self, pixels: np.ndarray, label: Label) -> bytes:
        import nibabel

        values = np.ascontiguousarray(pixels).view(RGB)[..., 0] if pixels.ndim == 3 else pixels
        image = nibabel.Nifti1Image(values.T[..., None], AFFINE)
        if label.scale is not None:
            image.header.set_slope_inter(label.scale.slope(np.iinfo(pixels.dtype).max), label.scale.low)
        image.header.set_qform(AFFINE, code=ALIGNED)
        image.header.set_sform(AFFINE, code=ALIGNED)
        image.header["descrip"] = DESCRIPTION
        image.header.extensions.append(nibabel.nifti1.Nifti1Extension(COMMENT, label.as_json().encode()))
        return _gzip(image.to_bytes(), label.sentence)

    def decode(self, content: bytes) -> np.ndarray:
        import nibabel

        array: Any = nibabel.Nifti1Image.from_bytes(zlib.decompress(content, wbits=31)).dataobj
        values = np.asarray(array.get_unscaled())[..., 0].T
        return np.ascontiguousarray(values) if values.dtype != RGB else np.stack([values[c] for c in "RGB"], axis=2)


def _gzip(content: bytes, comment: str) -> bytes:
    """RFC 1952 with a comment, which Python's ``gzip`` does not write, and without a date or a name."""
    packer = zlib.compressobj(6, zlib.DEFLATED, -zlib.MAX_WBITS)
    header = struct.pack("<4BI2B", 0x1F, 0x8B, zlib.DEFLATED, 0x10, 0, 0, 255) + comment.encode("ascii") + b"\0"
    return header + packer.compress(content) + packer.flush() + struct.pack("<2I", zlib.crc32(content), len(content))
