"""Exports in the units of the real files: Hounsfield units come back, and what has no single scale is refused."""

from __future__ import annotations

import io
import json
from pathlib import Path

import numpy as np
import pydicom
import pytest
from PIL import Image

from src.core.errors import UserError
from src.data.scale import FILE, Scale
from src.data.training_images import read_synthetic
from src.generate import main
from src.release.formats.dicom import Dicom
from src.release.formats.nifti import Nifti
from src.release.formats.npz import Npz
from src.release.formats.tiff import Tiff
from src.release.label import Label
from tests.conftest import read_json
from tests.data.folders import folder_data, write
from tests.data.test_dicom import save_dicom

HU = Scale(-160.0, 240.0, "HU")
DEEP = (np.arange(13 * 17, dtype=np.uint16).reshape(13, 17) * 296 + 3).astype(np.uint16)
SOFT = "data.window=soft"


def read_values(name: str, content: bytes) -> np.ndarray:
    """As programs that are not ours read them."""
    import nibabel
    import tifffile
    from pydicom.pixels import apply_modality_lut

    if name == "dicom":
        data = pydicom.dcmread(io.BytesIO(content))
        assert data.RescaleType == "HU" and (data.WindowCenter, data.WindowWidth) == (40, 400)
        return apply_modality_lut(data.pixel_array, data)
    if name == "nifti":
        import gzip

        return nibabel.Nifti1Image.from_bytes(gzip.decompress(content)).get_fdata()[..., 0].T
    if name == "tiff":
        return tifffile.imread(io.BytesIO(content))
    return np.load(io.BytesIO(content))["pixels"]


@pytest.mark.parametrize("form", [Dicom(), Nifti(), Tiff(), Npz()], ids=lambda form: form.name)
def test_other_programs_read_hounsfield_units_and_the_pixels_come_back(form):
    content = form.encode(DEEP, Label("dcgan", 0, 1, scale=HU))
    values = read_values(form.name, content)
    assert np.allclose(values, -160 + DEEP / 65535 * 400, atol=1e-3)
    back = form.decode(content)
    assert np.array_equal(HU.pixels(back) if back.dtype.kind == "f" else back, DEEP)


def ct(root: Path, count: int = 40) -> Path:
    """Slices with air around soft tissue of -100 to 140 HU, as a scanner stores them."""
    root.mkdir(parents=True)
    for number in range(count):
        units = np.full((32, 32), -1000.0)
        units[6:26, 6:26] = -100 + 6 * number + np.random.default_rng(number).normal(0, 5, (20, 20))
        tags = {"Modality": "CT", "RescaleSlope": 1, "RescaleIntercept": -1024, "PatientID": f"p{number}"}
        save_dicom(root / f"{number:02d}.dcm", np.rint(units + 1024).astype(np.int16), **tags)
    return root


def test_stored_pixels_are_on_the_scale_of_the_files(tmp_path):
    data = folder_data(ct(tmp_path / "ct"), window="soft", resolution=32)
    assert data.scale == HU
    store = data.split("train").store
    row = store.meta["files"].index("20.dcm")
    pixels = pydicom.dcmread(tmp_path / "ct/20.dcm").pixel_array.astype(float) - 1024
    assert np.allclose(data.scale.values(store.images[row, 0]), pixels.clip(-160, 240), atol=0.01)


@pytest.mark.parametrize(
    ("options", "scale"),
    [
        ({"values": "rescaled", "window": [-500, 500]}, (-500, 500, "")),
        ({"values": "percentile"}, "a scale of its own"),
        ({"values": "zscore"}, "a scale of its own"),
    ],
)
def test_values_of_each_file_by_itself_have_no_scale(tmp_path, options, scale):
    found = folder_data(ct(tmp_path / "ct", 10), **options).scale
    if isinstance(scale, tuple):
        assert (found.low, found.high, found.unit, found.unknown) == (*scale, "")
        return
    found.write(tmp_path)
    with pytest.raises(UserError, match=f"units=original: .*{scale}.*: export with units=pixels"):
        Scale.read(tmp_path)


def test_files_on_several_scales_and_colours_have_none(tmp_path):
    rng = np.random.default_rng(0)
    for number in range(6):
        write(tmp_path / f"colour/{number}.png", rng.integers(0, 255, (12, 12, 3)).astype(np.uint8))
        bits = np.uint16 if number % 2 else np.uint8
        write_image = Image.fromarray(rng.integers(0, 255, (12, 12)).astype(bits))
        (tmp_path / "mixed").mkdir(exist_ok=True)
        write_image.save(tmp_path / f"mixed/{number}.png")
    assert "colours" in folder_data(tmp_path / "colour").scale.unknown
    assert "several scales" in folder_data(tmp_path / "mixed").scale.unknown


def test_an_export_of_a_run_on_ct_is_in_hounsfield_units_and_agrees_with_its_pixels(run_tiny, tmp_path, capfd):
    import nibabel

    ct(tmp_path / "ct")
    outcome = run_tiny("name=a", "images=64", "data=folder", f"data.root={tmp_path}/ct", SOFT, "batch_size=8")
    assert outcome.status == 0, outcome.err
    assert read_json(Path("outputs/a") / FILE) == {"low": -160.0, "high": 240.0, "unit": "HU", "unknown": ""}
    common = ["run=outputs/a", "n=4", "progress=false", "device=cpu", "copies.share=null"]
    for units in ("original", "pixels"):
        assert main([*common, f"units={units}", "format=nifti", f"out={units}"]) == 0
    for number in range(4):
        file = f"images/{number:06d}.nii.gz"
        units, pixels = (nibabel.load(Path(where) / file).get_fdata() for where in ("original", "pixels"))
        assert np.allclose(units, -160 + pixels / 65535 * 400, atol=1e-2)
        assert -160 <= units.min() < units.max() <= 240
    card = read_json(Path("original/dataset.json"))
    assert card["scale"]["unit"] == "HU" and "values from -160 to 240 HU" in Path("original/README.md").read_text()
    assert json.loads((Path("original") / "images/000000.json").read_text())["Unit"] == "HU"
    capfd.readouterr()
    assert main([*common, "units=original", "format=nifti", "out=pixels"]) == 2  # holds another data set
    assert "units was pixels" in capfd.readouterr().err
    assert main([*common, "units=original"]) == 2
    assert "format=png holds no units=original: take dicom, nifti, tiff or npz" in capfd.readouterr().err
    with pytest.raises(UserError, match="is in the units of the real files: export it again with units=pixels"):
        read_synthetic("original", None, str(tmp_path / "cache"))
    (Path("outputs/a") / FILE).unlink()
    assert main([*common, "units=original", "format=dicom"]) == 2
    assert "does not say what its pixels stand for" in capfd.readouterr().err
