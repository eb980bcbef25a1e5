"""Every format of an export: programs that are not ours read its pixels, and that it is synthetic."""

from __future__ import annotations

import io
import json
import logging
import shlex
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pydicom
import pytest
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from src.data.description import Description
from src.data.training_images import read_synthetic
from src.generate import main
from src.release.formats.dicom import Dicom
from src.release.formats.imagefolder import ImageFolder
from src.release.formats.jpeg import Jpeg
from src.release.formats.nifti import Nifti
from src.release.formats.npz import Npz
from src.release.formats.png import Png
from src.release.formats.tiff import Tiff
from src.release.label import SOURCE_TYPE, Label
from tests.conftest import ROOT, read_json

FORMATS = {each().name: each() for each in (Png, Jpeg, Tiff, Dicom, Nifti, Npz, ImageFolder)}
LABEL = Label('dcgan of run "a" & <b>, last.ckpt', 3, 7, "image", "abc", {"Class": "größer"})
LENIENT = (
    "masks.smallest=0",
    "masks.largest=1",
    "masks.speckle=1",
    "masks.parts=9",
    "masks.may_be_empty=[lung,lesion]",
)
RAMP = np.arange(13 * 17, dtype=np.uint8).reshape(13, 17)  # of odd size, and of another height than width
PIXELS = {
    "grey": RAMP,
    "deep": RAMP.astype(np.uint16) * 257 + 3,
    "colour": np.stack([RAMP, RAMP[::-1], RAMP[:, ::-1]], axis=2),
}


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    return tmp_path_factory.mktemp("trained")


@pytest.fixture
def generate(trained, run_tiny, capfd):
    """``src.generate`` on a tiny run with masks (``run=a``), trained once."""
    if not (trained / "a").exists():
        handlers = logging.root.handlers[:]
        outcome = run_tiny("name=a", "images=128", "with_masks=true", f"paths.outputs={trained}")
        assert outcome.status == 0, outcome.err
        logging.root.handlers[:] = handlers  # those of a training write to a stream that is closed by now
    shutil.copytree(trained / "a", "a")

    def run(*arguments):
        status = main(["run=a", "progress=false", "device=cpu", "copies.share=null", *LENIENT, *arguments])
        out, err = capfd.readouterr()
        assert "Traceback" not in err
        return status, out, err

    return run


def exiftool(path: Path) -> dict:
    if shutil.which("exiftool") is None:
        pytest.skip("exiftool is not installed")
    # exiftool reads archives by a module that some systems lack
    if path.suffix == ".npz" and subprocess.run(["perl", "-MArchive::Zip", "-e", "1"], capture_output=True).returncode:
        pytest.skip("exiftool reads the comment of an archive with Perl's Archive::Zip, which is not installed")
    done = subprocess.run(["exiftool", "-json", str(path)], capture_output=True, text=True, check=True)
    return json.loads(done.stdout)[0]


@pytest.mark.parametrize("kind", PIXELS)
@pytest.mark.parametrize("name", FORMATS)
def test_pixels_come_back_as_they_were(name, kind, tmp_path):
    form, pixels = FORMATS[name], PIXELS[kind]
    if kind == "deep" and 16 not in form.bits:
        return
    content = form.encode(pixels, LABEL)
    back = form.decode(content)
    assert back.shape == pixels.shape and back.dtype == pixels.dtype
    assert np.abs(back.astype(int) - pixels.astype(int)).max() <= (12 if name == "jpeg" else 0)
    assert content == form.encode(pixels, LABEL)  # no date, nothing random


@pytest.mark.parametrize("kind", PIXELS)
def test_other_programs_read_the_pixels(kind, tmp_path):
    import nibabel
    import tifffile

    pixels = PIXELS[kind]
    for name, form in FORMATS.items():
        if name != "jpeg":
            form.save(pixels, tmp_path / f"{name}{form.suffix}", LABEL)
    with Image.open(tmp_path / "png.png") as picture:
        assert np.array_equal(np.asarray(picture), pixels)
    assert np.array_equal(tifffile.imread(tmp_path / "tiff.tif"), pixels)
    assert np.array_equal(pydicom.dcmread(tmp_path / "dicom.dcm").pixel_array, pixels)
    with np.load(tmp_path / "npz.npz") as archive:
        assert np.array_equal(archive["pixels"], pixels) and json.loads(archive["metadata"].item())["Index"] == "7"
    volume = nibabel.load(tmp_path / "nifti.nii.gz")
    values = np.asarray(volume.dataobj)
    assert values.shape == (17, 13, 1) and nibabel.aff2axcodes(volume.affine) == ("L", "P", "S")
    first = values["R"] if kind == "colour" else values
    assert np.array_equal(first[..., 0].T, pixels[..., 0] if kind == "colour" else pixels)


@pytest.mark.parametrize("kind", PIXELS)
@pytest.mark.parametrize("name", [name for name in FORMATS if name != "imagefolder"])
def test_exiftool_says_that_every_format_is_synthetic(name, kind, tmp_path):
    form = FORMATS[name]
    if kind == "deep" and 16 not in form.bits:
        return
    path = tmp_path / f"0{form.suffix}"
    form.save(PIXELS[kind], path, LABEL)
    found = exiftool(path)
    if form.signable:  # a picture, which holds XMP
        assert found["DigitalSourceType"] == SOURCE_TYPE and found["AISystemUsed"] == LABEL.generator
        assert found["Description"] == LABEL.sentence
    elif name == "dicom":
        assert found["ImageType"] == "DERIVED\\SECONDARY" and "synthetic" in json.dumps(found).lower()
    else:
        assert found["Comment"] == LABEL.sentence
    for sidecar in form.files(path)[1:]:
        assert exiftool(sidecar)["DigitalSourceType"] == SOURCE_TYPE


@pytest.mark.parametrize("name", ["png", "jpeg", "tiff", "imagefolder"])
def test_pillow_reads_the_packet(name, tmp_path):
    form = FORMATS[name]
    form.save(RAMP, tmp_path / "a", LABEL)
    with Image.open(tmp_path / "a") as picture:
        described = picture.getxmp()["xmpmeta"]["RDF"]["Description"]
    assert described["DigitalSourceType"] == SOURCE_TYPE and described["AISystemUsed"] == LABEL.generator


def test_pydicom_validates_every_value(monkeypatch):
    monkeypatch.setattr(pydicom.config.settings, "reading_validation_mode", pydicom.config.RAISE)
    data = pydicom.dcmread(io.BytesIO(Dicom().encode(RAMP, LABEL)))
    assert len([element.value for element in data.iterall()]) > 30  # what is asked for is validated


def test_a_dicom_file_is_a_secondary_capture_of_nobody_that_says_synthetic():
    import io

    made = [
        pydicom.dcmread(io.BytesIO(Dicom().encode(RAMP, label))) for label in (LABEL, Label("x", 3, 8, "image", "abc"))
    ]
    data, other = made
    assert data.SyntheticData == "YES" and data[0x0008, 0x001C].value == "YES"
    assert (
        list(data.ImageType) == ["DERIVED", "SECONDARY"] and data.SOPClassUID.name == "Secondary Capture Image Storage"
    )
    assert not any(
        data.get(name) for name in ("PatientName", "PatientID", "PatientBirthDate", "PatientSex", "StudyDate")
    )
    assert data.SOPInstanceUID.is_valid and data.SOPInstanceUID != other.SOPInstanceUID
    assert data.StudyInstanceUID == other.StudyInstanceUID and data.SeriesInstanceUID == other.SeriesInstanceUID
    assert data.file_meta.MediaStorageSOPInstanceUID == data.SOPInstanceUID


def test_a_nifti_file_says_it_in_its_header_in_itself_and_beside(tmp_path):
    import nibabel

    Nifti().save(RAMP, tmp_path / "a.nii.gz", LABEL)
    header = nibabel.load(tmp_path / "a.nii.gz").header
    assert header["descrip"].item().startswith(b"Synthetic: trainedAlgorithmicMedia")
    inside = json.loads(bytes(header.extensions[0].get_content()).rstrip(b"\0"))
    assert inside == read_json(tmp_path / "a.json") and inside["DigitalSourceType"] == SOURCE_TYPE


def test_a_label_survives_a_copy_and_where_pillow_keeps_it_a_new_save(tmp_path):
    """What docs/export.md says of each format."""
    kept = {}
    for name in ("png", "jpeg", "tiff"):
        form = FORMATS[name]
        path, copy, saved = (tmp_path / f"{n}{form.suffix}" for n in (name, f"{name}-copy", f"{name}-saved"))
        form.save(RAMP, path, LABEL)
        shutil.copyfile(path, copy)
        assert exiftool(copy)["DigitalSourceType"] == SOURCE_TYPE
        with Image.open(path) as picture:
            picture.save(saved)
        kept[name] = "trainedAlgorithmicMedia" in saved.read_bytes().decode("latin1")
        with Image.open(path) as picture:
            xmp = picture.info["xmp"]
            if name == "png":
                info = PngInfo()
                info.add_itxt("XML:com.adobe.xmp", xmp.decode())
                picture.save(saved, pnginfo=info)
            elif name == "jpeg":
                picture.save(saved, xmp=xmp)
            else:
                picture.save(saved, tiffinfo={700: xmp})
        assert exiftool(saved)["DigitalSourceType"] == SOURCE_TYPE
    assert kept == {"png": False, "jpeg": True, "tiff": True}


@pytest.mark.parametrize("name", FORMATS)
def test_every_file_of_an_export_says_that_it_is_synthetic_and_damage_is_mended(generate, name):
    asked = (f"format={name}", "n=4", "out=out", *(("class_name=made",) if name == "imagefolder" else ()))
    assert generate(*asked)[0] == 0
    files = [p for p in sorted(Path("out").rglob("*")) if p.is_file() and p.parent != Path("out")]
    form = FORMATS[name]
    assert len(files) == 4 * 3 * len(form.files(Path("a")))
    for path in files:
        found = json.dumps(exiftool(path)) if path.suffix != ".dcm" else pydicom.dcmread(path).SyntheticData
        assert found == "YES" or "trainedAlgorithmicMedia" in found, path
    assert exiftool(Path("out/preview.png"))["DigitalSourceType"] == SOURCE_TYPE
    before = {path: path.read_bytes() for path in files}
    for path in files[::5]:
        path.write_bytes(path.read_bytes()[:-9])
    Path("out/dataset.json").write_text(json.dumps({**read_json(Path("out/dataset.json")), "complete": False}))
    assert generate(*asked)[0] == 0
    assert before == {path: path.read_bytes() for path in files}


@pytest.mark.parametrize("name", FORMATS)
def test_a_training_reads_an_export_with_its_masks(generate, name, cache):
    extra = ("class_name=made",) if name == "imagefolder" else ()
    bits = () if name == "jpeg" else ("bits=16",)
    assert generate("n=6", f"format={name}", "out=out", *bits, *extra)[0] == 0
    assert generate("n=6", "out=plain", *bits)[0] == 0
    split, plain = (
        read_synthetic(folder, Description(1, 16, ("made", "other"), ("lung", "lesion")), str(cache))
        for folder in ("out", "plain")
    )
    batch, expected = split.gather(np.arange(6)), plain.gather(np.arange(6))
    assert len(split) == 6 and (batch["mask"] == expected["mask"]).all()
    assert (batch["image"].float() - expected["image"].float()).abs().max() <= (12 if name == "jpeg" else 0)
    assert batch["label"].tolist() == ([0] * 6 if name == "imagefolder" else [-1] * 6)


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        (["format=imagefolder"], "has a folder per class, and the run learned from"),
        (["format=imagefolder", "class_name=a/b"], "class_name=a/b cannot be the name of a folder"),
        (["format=jpeg", "bits=16"], "format=jpeg holds no images of bits=16: use bits=8, or format=png"),
        (["format=webp"], "format=webp: there is no such format; choose one of dicom, imagefolder"),
        (
            ["format=jpeg", "format.quality=200"],
            "format.quality=200 must be a whole number of at least 1 and at most 100",
        ),
    ],
)
def test_what_a_format_cannot_hold_is_one_line(generate, asked, said):
    status, _, err = generate("n=2", *asked)
    assert status == 2 and err.startswith("error: ") and said in err and err.count("\n") == 1


def test_files_that_a_training_does_not_read_are_named(generate, cache):
    assert generate("n=2", "out=out")[0] == 0
    for file in Path("out/images").iterdir():
        file.rename(file.with_suffix(".webp2"))  # as a format of one's own may have
    with pytest.raises(Exception, match=r"training.synthetic=out has no images that a training reads .*format=png"):
        read_synthetic("out", Description(1, 16, (), ()), str(cache))


def test_a_format_of_ones_own_is_the_one_class_of_the_recipe(generate, monkeypatch):
    recipe = (ROOT / "docs" / "extending.md").read_text().partition("## A format of exported files")[2]
    Path("mine").mkdir()
    Path("mine/bmp.py").write_text(recipe.partition("```python\n")[2].partition("```")[0])
    asked = shlex.split(recipe.partition("python -m src.generate ")[2].partition("\n")[0])
    monkeypatch.syspath_prepend(str(Path.cwd()))
    status, _, err = generate(*asked, "run=a", "n=2", "out=out")
    assert status == 0, err
    assert len(list(Path("out/images").glob("*.bmp"))) == len(list(Path("out/masks/lung").glob("*.bmp"))) == 2
