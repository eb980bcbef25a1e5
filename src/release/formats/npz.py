"""NumPy's .npz: the arrays ``pixels`` and ``metadata``, the label as JSON; the archive's comment says it too."""

from __future__ import annotations

import io
import json
import zipfile

import numpy as np

from src.release.formats.base import Format, Loader
from src.release.label import Label


class Npz(Format):
    suffix = ".npz"
    media_type = "application/zip"
    bits = (8, 16)
    holds_units = True
    label = "the array `metadata` (JSON), the comment of the archive"
    loaders = (
        Loader(
            "NumPy",
            ("numpy",),
            "from pathlib import Path\n"
            "import numpy as np\n\n"
            'images = [np.load(path)["pixels"] for path in sorted(Path("images").glob("*.npz"))]',
        ),
    )

    def encode(self, pixels: np.ndarray, label: Label) -> bytes:
        content = io.BytesIO()
        if label.scale is not None:
            pixels = label.scale.values(pixels)
        metadata = np.array(json.dumps(json.loads(label.as_json())))
        with zipfile.ZipFile(content, "w", zipfile.ZIP_DEFLATED) as archive:  # np.savez_compressed sets no comment
            archive.comment = label.sentence.encode()
            for name, array in {"pixels": pixels, "metadata": metadata}.items():
                with archive.open(f"{name}.npy", "w") as file:
                    np.lib.format.write_array(file, np.asanyarray(array), allow_pickle=False)
        return content.getvalue()

    def decode(self, content: bytes) -> np.ndarray:
        with np.load(io.BytesIO(content), allow_pickle=False) as archive:
            return np.asarray(archive["pixels"])
