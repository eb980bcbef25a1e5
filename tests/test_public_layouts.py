"""Public data sets as they are unpacked: looked at, answered as the messages say, written down, and trained on."""

from __future__ import annotations

import shlex
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
from hydra.core.global_hydra import GlobalHydra
from hydra.utils import instantiate

from src.command_line import override_parsing, overrides
from src.inspect import main
from src.train import PATHS
from tests.conftest import SMALL
from tests.data.folders import SIDE, blob, picture, write

LUNGS = ("adenocarcinoma", "large.cell.carcinoma", "normal", "squamous.cell.carcinoma")
STAGES = ("_left.lower.lobe_T2_N0_M0_Ib", "_left.hilum_T2_N2_M0_IIIa", "", "_left.hilum_T1_N2_M0_IIIa")


def colour(seed: int) -> np.ndarray:
    return np.random.default_rng(seed).integers(20, 250, (SIDE, SIDE, 3), np.uint8)


def busi(root: Path) -> None:
    for number in range(30):
        name = ("benign", "malignant", "normal")[number % 3]
        write(root / name / f"{name} ({number}).png", picture(number))
        write(root / name / f"{name} ({number})_mask.png", blob(number) * (name != "normal"))
    write(root / "benign" / "benign (0)_mask_1.png", np.roll(blob(0), 8, 1))


def isic(root: Path) -> None:
    for number in range(12):
        write(root / "ISIC2018_Task1-2_Training_Input" / f"ISIC_{number:07d}.jpg", colour(number))
        write(root / "ISIC2018_Task1_Training_GroundTruth" / f"ISIC_{number:07d}_segmentation.png", blob(number))
    for folder in root.iterdir():
        (folder / "ATTRIBUTION.txt").write_text("ISIC")


def dsb(root: Path) -> None:
    for number in range(12):
        write(root / "stage1_train" / f"{number:08x}" / "images" / f"{number:08x}.png", colour(number))
        for part in range(3):
            mask, digest = np.roll(blob(number), 5 * part, 0), sha256(bytes([number, part])).hexdigest()
            write(root / "stage1_train" / f"{number:08x}" / "masks" / f"{digest}.png", mask)


def decathlon(root: Path) -> None:
    nibabel = pytest.importorskip("nibabel")
    for number in range(8):
        volume = np.stack([picture(4 * number + k) for k in range(4)], -1).astype(np.int16)
        organs = np.stack([blob(4 * number + k) // 255 for k in range(4)], -1)
        organs[4:] *= 2
        kinds: dict[str, Any] = {"imagesTr": volume, "labelsTr": organs} if number < 6 else {"imagesTs": volume}
        for kind, array in kinds.items():
            (root / kind).mkdir(parents=True, exist_ok=True)
            (root / kind / f"._la_{number:03d}.nii.gz").write_bytes(b"of macOS")
            image = nibabel.Nifti1Image(array, np.diag([1.25, 1.25, 1.37, 1]))
            nibabel.save(image, root / kind / f"la_{number:03d}.nii.gz")
    (root / "dataset.json").write_text('{"labels": {"0": "background", "1": "left atrium"}}')


def medmnist(root: Path) -> None:
    root.mkdir()
    arrays: dict[str, Any] = {}
    for part, count in (("train", 20), ("val", 6), ("test", 8)):
        arrays[f"{part}_images"] = np.stack([picture(number) for number in range(count)])
        arrays[f"{part}_labels"] = np.arange(count)[:, None] % 2
    np.savez(root / "pneumoniamnist.npz", **arrays)


def brain_tumours(root: Path) -> None:
    for part, count in (("Training", 8), ("Testing", 4)):
        for name in ("glioma", "meningioma", "notumor", "pituitary"):
            for number in range(count):
                write(root / part / name / f"{part[:2]}-{name[:2]}_{number:04d}.jpg", picture(number + ord(name[0])))


def chest_ct(root: Path) -> None:
    for part in ("train", "valid", "test"):
        for place, (name, stage) in enumerate(zip(LUNGS, STAGES, strict=True)):
            for number in range(4):
                folder = name if part == "test" else name + stage
                write(root / "Data" / part / folder / f"{number:06d} (2).png", picture(100 * place + number))


def covid_qu_ex(root: Path) -> None:
    top = root / "Infection Segmentation Data" / "Infection Segmentation Data"
    for part, count in (("Train", 6), ("Val", 2), ("Test", 3)):
        for place, name in enumerate(("COVID-19", "Non-COVID", "Normal")):
            for number in range(count):
                file, seed = f"{name.lower()}_{number}.png", 100 * place + number
                write(top / part / name / "images" / file, picture(seed))
                write(top / part / name / "lung masks" / file, blob(seed))
                write(top / part / name / "infection masks" / file, blob(seed + 1) * (name == "COVID-19"))


def luna(root: Path) -> None:
    for number in range(8):
        folder = root / f"subset{number % 4}"
        folder.mkdir(parents=True, exist_ok=True)
        stem = f"1.3.6.1.4.1.14519.5.2.1.6279.6001.{number:030d}"
        volume = np.stack([picture(3 * number + k) for k in range(3)]).astype("<i2") * 5 - 1000
        (folder / f"{stem}.raw").write_bytes(volume.tobytes())
        (folder / f"{stem}.mhd").write_text(
            "ObjectType = Image\nNDims = 3\nBinaryData = True\nBinaryDataByteOrderMSB = False\nCompressedData = False\n"
            f"TransformMatrix = 1 0 0 0 1 0 0 0 1\nOffset = 0 0 0\nElementSpacing = 0.7 0.7 2.5\n"
            f"DimSize = {SIDE} {SIDE} 3\nElementType = MET_SHORT\nElementDataFile = {stem}.raw\n"
        )
    (root / "annotations.csv").write_text("seriesuid,coordX,coordY,coordZ,diameter_mm\n")


def drive(root: Path) -> None:
    drive_training(root / "training")
    drive_training(root / "test", "test", 1)
    for number in range(1, 13):
        write(root / "test" / "2nd_manual" / f"{number:02d}_manual2.gif", blob(number + 1))


def drive_training(root: Path, part: str = "training", first: int = 21) -> None:
    field = np.zeros((SIDE, SIDE), np.uint8)
    field[1:15, 1:15] = 255
    for number in range(first, first + 12):
        write(root / "images" / f"{number:02d}_{part}.tif", colour(number))
        write(root / "1st_manual" / f"{number:02d}_manual1.gif", blob(number))
        write(root / "mask" / f"{number:02d}_{part}_mask.gif", field)


def ph2(root: Path) -> None:
    for number in range(12):
        name = f"IMD{3 * number + 2:03d}"
        at = root / "PH2 Dataset images" / name
        write(at / f"{name}_Dermoscopic_Image" / f"{name}.bmp", colour(number))
        write(at / f"{name}_lesion" / f"{name}_lesion.bmp", blob(number))
        for part in range(number % 3):
            write(at / f"{name}_roi" / f"{name}_R{part + 1}_Label{part + 4}.bmp", blob(number + part))
    (root / "PH2_dataset.txt").write_text("|| Name || Clinical Diagnosis ||")


def colon_db(root: Path) -> None:
    for number in range(1, 13):
        write(root / f"{number}.bmp", colour(number))
        write(root / f"p{number}.bmp", blob(number))
        write(root / f"c{number}.bmp", blob(number) & 255 - np.roll(blob(number), 1, 0))


class Layout(NamedTuple):
    make: Callable[[Path], None]
    typed: tuple[str, ...]  # beside data.root: the answers to questions that have more than one
    images: dict[str, int]  # of each split, slices counted
    classes: tuple[str, ...] = ()
    masks: tuple[str, ...] = ()


LAYOUTS = {
    "busi": Layout(busi, (), {"train": 21, "val": 3, "test": 6}, ("benign", "malignant", "normal"), ("mask",)),
    "isic_2018": Layout(isic, (), {"train": 8, "val": 2, "test": 2}, (), ("mask",)),
    "dsb_2018": Layout(dsb, (), {"train": 8, "val": 2, "test": 2}, (), ("mask",)),
    "decathlon": Layout(
        decathlon, ("data.mask_labels={left: 1, right: 2}",), {"train": 16, "val": 4, "test": 4}, (), ("left", "right")
    ),
    "medmnist": Layout(medmnist, (), {"train": 20, "val": 6, "test": 8}, ("0", "1")),
    "brain_tumours": Layout(
        brain_tumours, (), {"train": 32, "test": 16}, ("glioma", "meningioma", "notumor", "pituitary")
    ),
    "chest_ct": Layout(
        chest_ct,
        ("data.class_patterns={adenocarcinoma: adenocarcinoma, large.cell.carcinoma: large\\.cell\\.carcinoma, "
         "normal: normal, squamous.cell.carcinoma: squamous\\.cell\\.carcinoma}",),
        {"train": 16, "val": 16, "test": 16}, LUNGS,
    ),
    "covid_qu_ex": Layout(
        covid_qu_ex, (), {"train": 18, "val": 6, "test": 9}, ("COVID-19", "Non-COVID", "Normal"), ("infection", "lung")
    ),
    "luna16": Layout(luna, ("data.layout=flat", "data.window=lung"), {"train": 18, "val": 3, "test": 3}),
    "drive": Layout(
        drive, ("data.mask_folders={vessel: 1st_manual/*_manual1}",), {"train": 12, "test": 12}, (), ("vessel",)
    ),
    "drive_training": Layout(
        drive_training,
        ("data.mask_folders={vessel: 1st_manual/*_manual1}",), {"train": 8, "val": 2, "test": 2}, (), ("vessel",),
    ),
    "ph2": Layout(ph2, (), {"train": 8, "val": 2, "test": 2}, (), ("lesion",)),
    "colon_db": Layout(colon_db, (), {"train": 8, "val": 2, "test": 2}, (), ("c", "p")),
}  # fmt: skip


@pytest.mark.parametrize("name", LAYOUTS)
def test_a_public_layout_is_looked_at_written_down_and_trained_on(
    name: str, run_train: Any, conf: Path, tmp_path: Path, capfd: Any
) -> None:
    layout = LAYOUTS[name]
    layout.make(tmp_path / name)
    asked = [f"data.root={tmp_path / name}", f"resolution={SIDE}", "out=page"]
    status = main([*asked, f"write=my_{name}"])
    GlobalHydra.instance().clear()
    said = capfd.readouterr()
    assert (status == 2) == bool(layout.typed), said.err
    assert len(layout.typed) <= 3
    for answer in layout.typed:
        key = answer.partition("=")[0]
        assert key in said.err, said.err  # the message names what is typed
        before = next(line for line in said.out.splitlines() if line.startswith("answer it beside: "))
        given = [word for word in shlex.split(before)[6:] if not word.startswith(f"{key}=")]
        status = main([*given, answer, "out=page", f"write=my_{name}"])
        GlobalHydra.instance().clear()
        said = capfd.readouterr()
    assert status == 0, said.err
    line = next(line for line in said.out.splitlines() if line.startswith("train on it: python -m src.train "))
    small = ("model.generator.width=0.125", "model.discriminator.width=0.125", f"resolution={SIDE}", "samples=8")
    outcome = run_train(*shlex.split(line)[6:], *SMALL, *small, "batch_size=8", "images=8", "name=run")
    assert outcome.status == 0, outcome.err
    cfg = overrides.check("train", [f"data=my_{name}", f"resolution={SIDE}"], multirun=False)
    GlobalHydra.instance().clear()
    data = instantiate(cfg.data)
    assert {split: len(own) for split, own in data.splits.items()} == layout.images
    assert (data.description.classes, data.description.masks) == (layout.classes, layout.masks)
    assert not list((tmp_path / name).rglob("*.yaml"))


@pytest.mark.parametrize("at", ["", "unpacked/"])
def test_the_folds_of_pannuke_are_sent_to_their_reader(at: str, tmp_path: Path, run_train: Any, capfd: Any) -> None:
    root = tmp_path / "nuclei" / at
    for fold in (1, 2, 3):
        for kind, channels in (("images", 3), ("masks", 6)):
            folder = root / f"Fold {fold}" / kind / f"fold{fold}"
            folder.mkdir(parents=True)
            np.save(
                folder / f"{kind}.npy", np.random.default_rng(fold).integers(0, 2, (12, SIDE, SIDE, channels)) * 1.0
            )
        np.save(root / f"Fold {fold}" / "images" / f"fold{fold}" / "types.npy", np.array(["Breast"] * 12))
    assert main([f"data.root={tmp_path / 'nuclei'}", "out=page"]) == 2
    GlobalHydra.instance().clear()
    error = capfd.readouterr().err
    assert "holds PanNuke's folds" in error
    words = shlex.split(error.rpartition(": ")[2])
    assert words[0] == "data=pannuke"
    small = ("model.generator.width=0.125", "model.discriminator.width=0.125", f"resolution={SIDE}", "samples=8")
    assert run_train(*words, *SMALL, *small, "batch_size=8", "images=8", "name=run").status == 0


@pytest.mark.parametrize(
    ("name", "below", "typed"),
    [
        ("busi", "", "data.mask_folders='{lesion: *_mask**}'"),
        ("dsb_2018", "stage1_train", "'data.images=*/images' data.mask_folders='{nucleus: */masks/**}'"),
        (
            "decathlon", "",
            "data.images=imagesTr data.mask_folders='{x: labelsTr}' data.mask_labels='{edema: 2, tumor: [1, 3]}'",
        ),
        ("medmnist", "", ""),
        ("brain_tumours", "", "data.layout=split"),
        ("brain_tumours", "", "data.split_folders='{train: Training, test: Testing}'"),
        (
            "covid_qu_ex", "Infection Segmentation Data/Infection Segmentation Data",
            "data.layout=split 'data.images=*/images' data.mask_folders='{lung: */lung masks}'",
        ),
        ("luna16", "", "data.layout=flat data.window=lung"),
        ("drive", "", "data.layout=split 'data.images=images/*_**' data.mask_folders='{vessel: 1st_manual/*_manual1}'"),
        ("drive_training", "", "'data.images=images/*_training' data.mask_folders='{vessel: 1st_manual/*_manual1}'"),
        (
            "ph2", "PH2 Dataset images",
            "'data.images=*/*_Dermoscopic_Image' data.mask_folders='{lesion: */*_lesion/*_lesion}'",
        ),
        ("colon_db", "", "data.mask_folders='{polyp: p*, contour: c*}'"),
    ],
)  # fmt: skip
def test_what_the_table_of_the_documentation_says_to_type_reads_the_layout(
    name: str, below: str, typed: str, tmp_path: Path
) -> None:
    assert f"`{typed}`" in (overrides.CONF.parent / "docs" / "data.md").read_text() or not typed
    layout = LAYOUTS[name]
    layout.make(tmp_path / name)
    words = [f"data.root={tmp_path / name / below}", *shlex.split(typed), f"resolution={SIDE}"]
    cfg = overrides.check("train", ["data=folder", *override_parsing.quote_paths(words, PATHS)], multirun=False)
    GlobalHydra.instance().clear()
    data = instantiate(cfg.data)
    assert {split: len(own) for split, own in data.splits.items()} == layout.images
    assert data.description.classes == layout.classes
    assert bool(data.description.masks) == bool(layout.masks)
