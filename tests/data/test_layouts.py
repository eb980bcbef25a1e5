"""A folder that can be read in two ways stops with the override that settles it, and the override is right."""

import re
import shlex
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hydra.core.override_parser.overrides_parser import OverridesParser
from PIL import Image

from src.core.errors import UserError
from src.data.folder import FolderData
from tests.data.folders import SIDE, blob, everything, folder_data, picture, write


def read(root: Path, **options: Any) -> FolderData:
    data = folder_data(root, resolution=SIDE, **options)
    data.prepare()
    return data


def stops(root: Path, **options: Any) -> str:
    with pytest.raises(UserError) as error:
        read(root, **options)
    assert "\n" not in str(error.value)
    return str(error.value)


def said(line: str, root: Path) -> dict[str, Any]:
    """The overrides that an error names, as a shell and Hydra read them."""
    line = line.split(" or, ")[0].split("; data.mask_folders={}")[0]
    words = [
        word.rstrip(";:,") for word in shlex.split(line) if word.startswith("data.") and "=" in word and "…" not in word
    ]
    found = [OverridesParser.create().parse_override(word) for word in words]
    return {o.key_or_group.removeprefix("data."): _plain(o.value()) for o in found if o.key_or_group != "data.root"}


def _plain(value: Any) -> Any:
    return {key: str(item) for key, item in value.items()} if isinstance(value, dict) else str(value)


def rows(data: FolderData) -> dict[str, int]:
    return {file: row for row, file in enumerate(data.split("train").store.meta["files"])}


def assert_pairs(data: FolderData, seeds: dict[str, int], channel: int = 0) -> None:
    """Image and mask of each file, value by value."""
    found, stored = rows(data), everything(data)
    assert found.keys() == seeds.keys()
    for file, seed in seeds.items():
        np.testing.assert_array_equal(stored["image"][found[file], 0], picture(seed))
        np.testing.assert_array_equal(stored["mask"][found[file], channel], blob(seed) > 0)


def test_masks_beside_their_images_are_no_images(tmp_path: Path) -> None:
    """As BUSI has them, with a second lesion in a file of its own."""
    root = tmp_path / "data"
    seeds: dict[str, int] = {}
    for number, name in enumerate(["benign", "malignant"] * 6):
        file = f"{name}/{name} ({number}).png"
        write(root / file, picture(number))
        write(root / name / f"{name} ({number})_mask.png", blob(number))
        seeds[file] = number
    second = np.zeros((SIDE, SIDE), np.uint8)
    second[14:, 14:] = 255
    line = stops(root)
    assert "benign (0)_mask.png is named as the mask of benign/benign (0).png (12 such files)" in line
    write(root / "benign" / "benign (0)_mask_1.png", second)
    options = said(stops(root), root)
    assert options == {"mask_folders": {"mask": "*_mask**"}}
    data = read(root, **options)
    assert data.description.classes == ("benign", "malignant")
    joined = everything(data)["mask"][rows(data)["benign/benign (0).png"], 0]
    np.testing.assert_array_equal(joined, (blob(0) | second) > 0)
    (root / "benign" / "benign (0)_mask_1.png").unlink()
    assert_pairs(read(root, mask_folders={"mask": "*_mask"}), seeds)


def test_who_says_that_no_file_is_a_mask_gets_images(tmp_path: Path) -> None:
    for name in ("a", "a_mask", "b", "b_mask", "c", "d"):
        write(tmp_path / "data" / f"{name}.png", picture(len(name)))
    assert "a_mask.png is named as the mask of a.png" in stops(tmp_path / "data")
    assert len(everything(read(tmp_path / "data", mask_folders={}))["image"]) == 6


@pytest.mark.parametrize(
    ("image", "mask", "images", "masks"),
    [
        ("images/{}.jpg", "masks/{}.png", "images", "masks"),
        ("images/ISIC_{:07d}.png", "masks/ISIC_{:07d}_segmentation.png", "images", "masks/*_segmentation"),
        ("images/{}_training.tif", "1st_manual/{}_manual1.gif", "images/*_training", "1st_manual/*_manual1"),
        ("Images/img_{}.bmp", "Ground Truth/gt_{}.bmp", "Images/img_*", "Ground Truth/gt_*"),
        ("data/{}.png", "segmentations/{}-seg.png", "data", "segmentations/*-seg"),
    ],
)
def test_masks_in_a_folder_of_their_own_are_asked_for_with_the_pattern_that_pairs_them(
    tmp_path: Path, image: str, mask: str, images: str, masks: str
) -> None:
    root = tmp_path / "data"
    seeds: dict[str, int] = {}
    for number in range(8, 20):
        pixels = Image.fromarray(picture(number))
        file = root / image.format(number).replace(".jpg", ".png")
        file.parent.mkdir(parents=True, exist_ok=True)
        pixels.save(file)
        write(root / mask.format(number), blob(number))
        seeds[file.relative_to(root).as_posix()] = number
    options = said(stops(root), root)
    assert options["images"] == images and list(options["mask_folders"].values()) == [masks]
    assert_pairs(read(root, **options), seeds)
    folder = mask.split("/")[0]
    again = said(stops(root, images=images.split("/")[0], mask_folders={"x": folder}), root) if "*" in masks else {}
    assert again.get("mask_folders", {"x": masks}) == {"x": masks} and again.get("images", images) == images


def test_a_folder_for_each_image_is_a_case_each_and_its_mask_files_are_joined(tmp_path: Path) -> None:
    """As in the Data Science Bowl of 2018."""
    root = tmp_path / "data"
    for number in range(6):
        write(root / f"{number:04x}/images/{number:04x}.png", picture(number))
        for part in range(3):
            write(root / f"{number:04x}/masks/{part}.png", np.roll(blob(number), 5 * part, 0))
    options = said(stops(root), root)
    assert options == {"images": "*/images", "mask_folders": {"mask": "*/masks/**"}}
    data = read(root, **options)
    again = read(root, **options, classes=[])  # as a run's configuration has it, which is read for an export
    assert data.description.classes == again.description.classes == () and data.split("train").cases is not None
    assert {name: own.cases for name, own in again.splits.items()} == {n: own.cases for n, own in data.splits.items()}
    assert {case for split in data.splits.values() for case in split.cases or ()} == {f"{n:04x}" for n in range(6)}
    for file, row in rows(data).items():
        number = int(file.split("/")[0], 16)
        joined = np.maximum.reduce([np.roll(blob(number), 5 * part, 0) for part in range(3)]) > 0
        np.testing.assert_array_equal(everything(data)["mask"][row, 0], joined)
        np.testing.assert_array_equal(everything(data)["image"][row, 0], picture(number))


def test_images_masks_and_instances_are_no_classes(tmp_path: Path) -> None:
    root = tmp_path / "data"
    for number in range(8):
        for folder, array in (("images", picture(number)), ("masks", blob(number)), ("instances", blob(number) // 2)):
            write(root / folder / f"{number}.png", array)
    line = stops(root)
    assert "sub-folders instances, masks of" in line and "data.layout=class" in line
    options = said(line, root)
    assert options == {"images": "images", "mask_folders": {"instances": "instances", "masks": "masks"}}
    assert_pairs(read(root, **options), {f"images/{n}.png": n for n in range(8)}, 1)
    assert len(everything(read(root, layout="class", mask_folders={}))["image"]) == 24


def test_structures_of_classes_lie_in_folders_beside_their_images(tmp_path: Path) -> None:
    """As COVID-QU-Ex has them: split, class, then images and masks of two kinds."""
    root = tmp_path / "data"
    seeds: dict[str, int] = {}
    for split in ("Train", "Val", "Test"):
        for label in ("COVID-19", "Normal"):
            for number in range(3):
                file = f"{split}/{label}/images/{label}_{number}.png"
                seeds[file] = len(seeds)
                write(root / file, picture(seeds[file]))
                write(root / f"{split}/{label}/lung masks/{label}_{number}.png", blob(seeds[file]))
                write(root / f"{split}/{label}/infection masks/{label}_{number}.png", blob(seeds[file] + 1))
    options = said(stops(root), root)
    assert options == {
        "split_folders": {"train": "Train", "val": "Val", "test": "Test"},
        "images": "*/images",
        "mask_folders": {"infection": "*/infection masks", "lung": "*/lung masks"},
    }
    data = read(root, **options)
    assert data.description.classes == ("COVID-19", "Normal") and data.description.masks == ("infection", "lung")
    assert {name: len(split) for name, split in data.splits.items()} == {"train": 6, "val": 6, "test": 6}
    assert_pairs(data, seeds, 1)


def test_masks_of_classes_lie_in_folders_of_the_same_names_or_flat(tmp_path: Path) -> None:
    for place in ("masks/{}", "masks"):
        root = tmp_path / place.replace("/{}", "-deep")
        seeds: dict[str, int] = {}
        for number in range(10):
            label = "ab"[number % 2]
            write(root / f"images/{label}/{number}.png", picture(number))
            write(root / place.format(label) / f"{number}_m.png", blob(number))
            seeds[f"images/{label}/{number}.png"] = number
        data = read(root, images="images", mask_folders={"x": "masks/*_m"})
        assert data.description.classes == ("a", "b")
        assert_pairs(data, seeds)


def test_a_lesion_in_a_folder_named_after_each_image_is_found(tmp_path: Path) -> None:
    """As PH2 has them."""
    root = tmp_path / "data"
    seeds: dict[str, int] = {}
    for number in range(10, 20):
        case = f"IMD{number:03d}"
        seeds[f"{case}/{case}_Dermoscopic_Image/{case}.bmp"] = number
        write(root / f"{case}/{case}_Dermoscopic_Image/{case}.bmp", picture(number))
        write(root / f"{case}/{case}_lesion/{case}_lesion.bmp", blob(number))
        for part in range(number % 3):  # of some, the parts that are of one colour
            write(root / f"{case}/{case}_roi/{case}_R{part}_Label{part + 4}.bmp", blob(number + part))
    options = {"images": "*/*_Dermoscopic_Image", "mask_folders": {"lesion": "*/*_lesion/*_lesion"}}
    data = read(root, **options)
    assert data.description.classes == () and set(data.split("test").cases or ()) < {
        f"IMD{n:03d}" for n in seeds.values()
    }
    assert_pairs(data, seeds)
    masks = {"lesion": "*/*_lesion/*_lesion", "roi": "*/*_roi/**"}
    assert said(stops(root), root) == {**options, "mask_folders": masks}


def test_a_folder_for_each_patient_is_asked_for(tmp_path: Path) -> None:
    root = tmp_path / "data"
    for number in range(18):
        write(root / f"P{number % 6:03d}" / f"slice_{number // 6}.png", picture(number))
    line = stops(root)
    assert "6 sub-folders of" in line and "data.layout=case (a patient each), data.layout=class (a class each)" in line
    data = read(root, layout="case")
    assert data.description.classes == () and set(data.split("test").cases or ()).isdisjoint(
        data.split("train").cases or ()
    )
    assert {case for split in data.splits.values() for case in split.cases or ()} == {f"P{n:03d}" for n in range(6)}
    assert read(root, layout="class").description.classes == tuple(f"P{n:03d}" for n in range(6))


def test_folders_named_as_patients_are_cases_and_numbered_grades_are_classes(tmp_path: Path) -> None:
    for number in range(12):
        write(tmp_path / "a" / f"patient_{number % 4}" / f"{number}.png", picture(number))
        write(tmp_path / "b" / f"Grade {number % 4}" / f"{number}.png", picture(number))
    assert len({case for split in read(tmp_path / "a").splits.values() for case in split.cases or ()}) == 4
    assert read(tmp_path / "b").description.classes == tuple(f"Grade {n}" for n in range(4))


def test_classes_of_patients_are_both_when_the_layout_says_so(tmp_path: Path) -> None:
    root = tmp_path / "data"
    for number in range(16):
        write(root / "ab"[number % 2] / f"p{number % 8}" / f"{number}.png", picture(number))
    assert "data.layout=" in stops(root)
    data = read(root, layout="class/case")
    assert data.description.classes == ("a", "b")
    assert len({case for split in data.splits.values() for case in split.cases or ()}) == 8


def test_folders_named_as_splits_are_no_classes(tmp_path: Path) -> None:
    root = tmp_path / "data"
    for number in range(9):
        write(root / ("train", "valid", "test")[number % 3] / f"{number}.png", picture(number))
    line = stops(root)
    assert "data.split_folders='{train: train, val: valid, test: test}'" in line
    for options in (said(line, root), {"layout": "split"}):
        assert {name: len(split) for name, split in read(root, **options).splits.items()} == dict.fromkeys(
            ("train", "val", "test"), 3
        )
    assert read(root, layout="class").description.classes == ("test", "train", "valid")


def test_images_two_levels_down_are_named_with_what_reads_them(tmp_path: Path) -> None:
    """As Kaggle's brain tumours come, one folder too high."""
    root = tmp_path / "data"
    for part in ("Training", "Testing"):
        for number in range(6):
            write(root / "archive" / part / ["no", "glioma"][number % 2] / f"{part}{number}.png", picture(number))
    line = stops(root)
    assert "it holds images in archive/Testing/glioma (3), " in line
    assert f"set data.root={root}/archive data.split_folders='{{train: Training, test: Testing}}'" in line
    data = read(root / "archive", **said(line, root))
    assert data.description.classes == ("glioma", "no") and len(data.split("test")) == 6


@pytest.mark.parametrize("content", ["nothing", "unread", "links"])
def test_a_class_that_would_vanish_stops(tmp_path: Path, content: str) -> None:
    root = tmp_path / "data"
    for number in range(8):
        write(root / "ab"[number % 2] / f"{number}.png", picture(number))
    (root / "malignant").mkdir()
    for number in range(3):
        if content == "unread":
            (root / "malignant" / f"{number}.svs").write_bytes(b"x")
        if content == "links":
            (root / "malignant" / f"{number}.png").symlink_to("../.git/annex/x.png")
    held = {"nothing": "no file", "unread": "nothing that can be read, but 3 .svs", "links": "3 broken links"}[content]
    assert f"malignant holds {held}" in (line := stops(root)) and "data.classes=[a, b] leaves it out" in line
    assert read(root, classes=["a", "b"]).description.classes == ("a", "b")


def test_broken_links_and_other_suffixes_are_named(tmp_path: Path) -> None:
    root = tmp_path / "data"
    root.mkdir()
    for number in range(3):
        (root / f"{number}.png").symlink_to("../nowhere.png")
        (root / f"{number}.xyz").touch()
    assert "it holds 3 .xyz; 3 broken links, such as 0.png (fetch what they lead to)" in stops(root)


def test_classes_that_differ_in_case_or_spaces_are_a_question(tmp_path: Path) -> None:
    root = tmp_path / "data"
    names = ["benign", "benign ", "Benign", "malignant", "benign", "malignant"]
    for number, _ in enumerate(names):
        write(root / f"{number}.png", picture(number))
    (root / "labels.csv").write_text("\n".join(["file,class", *(f"{n}.png,{name}" for n, name in enumerate(names))]))
    assert "classes 'Benign', 'benign', 'benign ' differ in case or spaces only" in stops(root, labels_csv="labels.csv")
    joined = read(root, labels_csv="labels.csv", similar_classes="join")
    assert joined.description.classes == ("benign", "malignant")
    assert everything(joined)["label"].tolist() == [0, 0, 0, 1, 0, 1]
    kept = read(root, labels_csv="labels.csv", similar_classes="keep", splits={"train": 1.0})
    assert kept.description.classes == ("Benign", "benign", "benign ", "malignant")


def test_a_folder_of_masks_is_no_folder_of_images(tmp_path: Path) -> None:
    root = tmp_path / "data"
    for number in range(8):
        write(root / "masks" / f"{number}.png", blob(number))
        write(root / "other" / f"{number}.png", blob(number) // 2 + blob(number + 1) // 5)
        write(root / "images" / f"{number}.png", picture(number))
    assert "data.images=masks is named as masks: give the folder of the images" in stops(root, images="masks")
    assert "8 of 8 images are of two to four values only, as masks are, such as other/0.png" in stops(
        root, images="other"
    )
    for folder in ("masks", "other"):
        assert len(everything(read(root, images=folder, mask_folders={}))["image"]) == 8


def test_masks_that_cover_most_or_nothing_are_a_question(tmp_path: Path) -> None:
    root = tmp_path / "data"
    for number in range(6):
        write(root / "images" / f"{number}.png", picture(number))
        write(root / "dark" / f"{number}.png", 255 - blob(number))
        write(root / "none" / f"{number}.png", 0 * blob(number))
    options: dict[str, Any] = {"images": "images", "mask_folders": {"x": "dark"}}
    line = stops(root, **options)
    assert "data.inverted_masks=[x] if they are dark on white, data.inverted_masks=[] if that is right" in line
    seeds = {f"images/{n}.png": n for n in range(6)}
    assert_pairs(read(root, **options, inverted_masks=["x"]), seeds)
    kept = everything(read(root, **options, inverted_masks=[]))["mask"]
    np.testing.assert_array_equal(kept[0, 0], blob(0) == 0)
    assert "all 6 masks of x are empty" in stops(root, images="images", mask_folders={"x": "none"})


def test_one_of_several_masks_that_covers_most_is_left_out_as_the_question_says(tmp_path: Path) -> None:
    """As the field of view beside DRIVE's vessels."""
    root = tmp_path / "data"
    for number in range(6):
        write(root / "images" / f"{number}.png", picture(number))
        write(root / "dark" / f"{number}.png", 255 - blob(number))
        write(root / "vessels" / f"{number}_v.png", blob(number))
    line = stops(root, images="images", mask_folders={"field": "dark", "vessel": "vessels/*_v"})
    assert line.endswith(", or data.mask_folders='{vessel: vessels/*_v}' leaves them out")


def test_label_maps_become_named_structures(tmp_path: Path) -> None:
    root = tmp_path / "data"
    for number in range(6):
        write(root / "images" / f"{number}.png", picture(number))
        labels = np.where(blob(number) > 0, 1, 0).astype(np.uint8)
        labels[0, :3] = (2, 3, 3)
        write(root / "labels" / f"{number}.png", labels)
    options: dict[str, Any] = {"images": "images", "mask_folders": {"x": "labels"}}
    assert "label map with the values 0, 1, 2, 3: data.mask_labels=" in stops(root, **options)
    data = read(root, **options, mask_labels={"tumor": 1, "rest": [2, 3]})
    assert data.description.masks == ("tumor", "rest")
    marked = everything(data)["mask"]
    assert (marked[:, 1].sum((1, 2)) == 3).all() and (marked[4, 0] == (blob(4) > 0)).all()


def test_a_mask_of_no_image_is_counted(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")
    root = tmp_path / "data"
    for number in range(6):
        write(root / "images" / f"{number}.png", picture(number))
        write(root / "masks" / f"{number}.png", blob(number))
    write(root / "masks" / "380.png", blob(1))
    read(root, images="images", mask_folders={"x": "masks"})
    assert "1 mask of x is of no image, such as masks/380.png" in caplog.text
    (root / "masks" / "5.png").unlink()
    line = stops(root, images="images", mask_folders={"x": "masks"})
    assert "images/5.png has no mask in the folder 'masks' (1 of 6 images are without" in line
    assert line.endswith(
        "; of no image is masks/380.png): add a file of the same stem, or data.on_error=skip leaves them out"
    )


def test_masks_that_some_images_lack_are_left_out_as_the_error_says(tmp_path: Path) -> None:
    """As PH2's regions of interest."""
    root = tmp_path / "data"
    for number in range(6):
        write(root / "images" / f"{number}.png", picture(number))
        write(root / "lesion" / f"{number}_lesion.png", blob(number))
        if number < 3:
            write(root / "roi" / f"{number}_roi.png", blob(number))
    line = stops(root, images="images", mask_folders={"lesion": "lesion/*_lesion", "roi": "roi/*_roi"})
    assert line.endswith(
        "(3 of 6 images are without): data.mask_folders='{lesion: lesion/*_lesion}' goes without roi, or "
        "data.on_error=skip leaves them out"
    )


def test_images_that_are_named_as_masks_of_others_are_told_from_those_that_lack_one(tmp_path: Path) -> None:
    """As CVC-ColonDB's contours, where only its polyps are named."""
    root = tmp_path / "data"
    for number in range(1, 13):
        write(root / f"{number}.png", picture(number))
        write(root / f"p{number}.png", blob(number))
        write(root / f"c{number}.png", blob(number))
    line = stops(root, mask_folders={"polyp": "p*"})
    assert "c1.png has no mask in the folder 'p*' (12 of 24 images are without): data.mask_folders=" in line
    assert "data.mask_folders='{polyp: p*, c: c*}' if they are masks too, or data.on_error=skip" in line
    read(root, mask_folders={"polyp": "p*", "c": "c*"})
    for number in range(1, 13):
        (root / f"c{number}.png").unlink()
    for number in (10, 11, 12):  # whose names begin as that of 1.png does
        (root / f"p{number}.png").unlink()
    assert "(3 of 12 images are without): add a file of the same stem" in stops(root, mask_folders={"polyp": "p*"})


def test_thin_masks_that_fill_a_small_image_are_warned_of(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    root = tmp_path / "data"
    lines = np.zeros((SIDE, SIDE), np.uint8)
    lines[::4] = 255
    for number in range(6):
        write(root / "images" / f"{number}.png", picture(number))
        write(root / "masks" / f"{number}.png", lines)
    options: dict[str, Any] = {"images": "images", "mask_folders": {"vessel": "masks"}}
    read(root, **options)
    assert "a larger resolution" not in caplog.text
    folder_data(root, **options, resolution=4).prepare()
    assert "masks of vessel cover 25% of the images and 100% at 4 pixels" in caplog.text


def test_where_masks_of_the_test_images_are_withheld_the_question_names_the_split_that_has_them(tmp_path: Path) -> None:
    """As in DRIVE of today, where only the field of view is given of both splits."""
    root = tmp_path / "data"
    for part in ("training", "test"):
        for number in range(6):
            write(root / part / "images" / f"{number}.png", picture(number))
            write(root / part / "mask" / f"{number}.png", blob(number))
            if part == "training":
                write(root / part / "1st_manual" / f"{number}.png", blob(number))
            else:
                write(root / part / "2nd_manual" / f"{number}.png", blob(number))
    line = stops(root)
    assert f"; 1st_manual in training alone: data.root={root}/training takes that: set data.split_folders=" in line
    assert "2nd_manual in" not in line
    for number in range(6):
        write(root / "test" / "1st_manual" / f"{number}.png", blob(number))
    assert " alone: " not in stops(root)


def test_one_line_says_what_was_read(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")
    root = tmp_path / "data"
    for number in range(10):
        write(root / "images" / "ab"[number % 2] / f"{number}.png", picture(number))
        write(root / "masks" / f"{number}.png", blob(number) if number else 0 * blob(0))
    read(root, images="images", mask_folders={"x": "masks"})
    text = " ".join(caplog.messages)
    assert "10 images grey, 8 bits (10 of 16x16): train 6 images, val 2 images, test 2 images" in text
    assert "classes (train + val + test): a 3 + 1 + 1, b 3 + 1 + 1" in text
    assert re.search(
        r"masks of x cover 1\d\.\d% in 1\.0 parts on average, 1\d\.\d% in 1\.0 parts as stored; 1 are empty", text
    )


def test_images_enlarged_from_almost_nothing_are_warned_of(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    for number in range(6):
        write(
            tmp_path / "data" / f"{number}.png",
            picture(number)[: 1 if number == 0 else SIDE, : 1 if number == 0 else SIDE],
        )
    read(tmp_path / "data")
    assert "1 images are enlarged to 16 pixels, the smallest 0.png of 1x1" in caplog.text


def test_classes_of_longer_names_in_another_split_are_asked_for_with_the_patterns_that_join_them(
    tmp_path: Path,
) -> None:
    """As in Kaggle's chest CT."""
    root = tmp_path / "data"
    long = "adenocarcinoma_left.lower.lobe_T2_N0_M0_Ib"
    for part, name in (("train", long), ("valid", long), ("test", "adenocarcinoma")):
        for number in range(3):
            write(root / part / name / f"{number}.png", picture(number))
            write(root / part / "normal" / f"{number}.png", picture(10 + number))
    line = stops(root, layout="split")
    assert f"the class {long} of the split train may be adenocarcinoma of test: data.class_patterns=" in line
    data = read(root, layout="split", class_patterns=said(line, root)["class_patterns"])
    assert data.description.classes == ("adenocarcinoma", "normal")
    counts = [np.bincount(split.store.labels[split.rows]).tolist() for split in data.splits.values()]
    assert counts == [[3, 3]] * 3


def test_a_class_that_a_split_has_not_is_a_question(tmp_path: Path) -> None:
    root = tmp_path / "data"
    for part, names in (("train", "abc"), ("test", "ab")):
        for name in names:
            write(root / part / name / "0.png", picture(ord(name)))
    options: dict[str, Any] = {"split_folders": {"train": "train", "test": "test"}}
    assert "the split test has no class c, which train has: add images, or data.classes=[a, b, c] says" in stops(
        root, **options
    )


def test_folders_of_operating_systems_are_no_classes(tmp_path: Path) -> None:
    root = tmp_path / "data"
    for number in range(10):
        write(root / "ab"[number % 2] / f"{number}.png", picture(number))
    (root / "__MACOSX" / "a").mkdir(parents=True)
    (root / "__MACOSX" / "a" / "._0.png").write_bytes(b"x")
    assert read(root).description.classes == ("a", "b")


def test_images_of_a_suffix_that_is_not_read_are_warned_of(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    root = tmp_path / "data"
    for number in range(10):
        write(root / "ab"[number % 2] / f"{number}.png", picture(number))
    for number in range(3):
        (root / "a" / f"{number}.svs").write_bytes(b"x")
    read(root)
    assert "passed over 3 .svs (such as a/0.svs)" in [
        r.message.removeprefix("folder: ") for r in caplog.records if r.levelname == "WARNING"
    ]


def test_rows_of_a_table_without_an_image_are_counted(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    root = tmp_path / "data"
    for number in range(8):
        write(root / f"{number}.png", picture(number))
    (root / "labels.csv").write_text("file,class\n" + "".join(f"{number}.png,{number % 2}\n" for number in range(12)))
    read(root, labels_csv="labels.csv")
    assert "4 rows of" in caplog.text and "are of no image, such as 8.png" in caplog.text


def test_a_file_of_several_images_among_files_of_one_stays_together(tmp_path: Path) -> None:
    root = tmp_path / "data"
    for number in range(8):
        write(root / f"{number}.png", picture(number))
    frames = [Image.fromarray(picture(20 + number)) for number in range(5)]
    frames[0].save(root / "cine.tif", save_all=True, append_images=frames[1:])
    data = read(root)
    where = [name for name, split in data.splits.items() for case in split.cases or () if case == "cine.tif"]
    assert len(where) == 5 and len(set(where)) == 1
    assert {case for split in data.splits.values() for case in split.cases or ()} == {
        "cine.tif",
        *(f"{n}.png" for n in range(8)),
    }


def test_a_palette_of_labels_is_named_by_its_numbers_or_its_colours(tmp_path: Path) -> None:
    root = tmp_path / "data"
    for number in range(6):
        write(root / "images" / f"{number}.png", picture(number))
        labels = Image.fromarray(np.where(blob(number) > 0, 1, 0).astype(np.uint8), "P")
        labels.putpalette([0, 0, 0, 200, 30, 40])
        (root / "labels").mkdir(exist_ok=True)
        labels.save(root / "labels" / f"{number}.png")
    for value in (1, "#c81e28"):
        options: dict[str, Any] = {"images": "images", "mask_folders": {"x": "labels"}, "mask_labels": {"x": value}}
        assert_pairs(read(root, **options), {f"images/{number}.png": number for number in range(6)})


def test_vessels_are_read_as_drive_has_them(tmp_path: Path) -> None:
    """Names end otherwise in each split and in each folder, and a second folder holds the field of view."""
    root, seeds = tmp_path / "data", {}
    for part, numbers in (("training", range(21, 29)), ("test", range(1, 5))):
        for number in numbers:
            file = f"{part}/images/{number:02d}_{part}.tif"
            seeds[file] = number
            write(root / file, picture(number))
            write(root / part / "1st_manual" / f"{number:02d}_manual1.gif", blob(number))
            write(root / part / "mask" / f"{number:02d}_{part}_mask.gif", 255 - blob(0))
            if part == "test":  # whose second reading the training images lack
                write(root / part / "2nd_manual" / f"{number:02d}_manual2.gif", blob(number + 1))
    options = said(stops(root), root)
    assert options["split_folders"] == {"train": "training", "test": "test"} and options["images"] == "images/*_**"
    assert options["mask_folders"] == {"1st_manual": "1st_manual/*_manual1", "mask": "mask/*_**"}
    vessels: dict[str, Any] = {"images": options["images"], "mask_folders": {"vessel": "1st_manual/*_manual1"}}
    data = read(root, layout="split", **vessels)
    assert {name: len(split) for name, split in data.splits.items()} == {"train": 8, "test": 4}
    assert_pairs(data, seeds)
    both = {"images": options["images"], "mask_folders": options["mask_folders"], "layout": "split"}
    assert "cover 92% of the images on average" in (line := stops(root, **both))
    assert line.endswith(", or data.mask_folders='{1st_manual: 1st_manual/*_manual1}' leaves them out")
    line = stops(root, layout="split", images="images/*_**", mask_folders={"x": "2nd_manual/*_manual2"})
    assert f"; test has some: data.root={root}/test data.layout=auto takes it alone" in line


def test_masks_that_only_their_pixels_tell_are_named_as_they_lie(tmp_path: Path) -> None:
    """As CVC-ColonDB comes: 1.bmp, its polyp p1.bmp, its contour c1.bmp; and in a folder that no word gives away."""
    for number in range(1, 13):
        write(tmp_path / "colon" / f"{number}.bmp", picture(number))
        write(tmp_path / "colon" / f"p{number}.bmp", blob(number))
        write(tmp_path / "colon" / f"c{number}.bmp", blob(number) & 255 - np.roll(blob(number), 1, 0))
        write(tmp_path / "apart" / "a" / f"x_{number}.png", picture(number))
        write(tmp_path / "apart" / "b" / f"y_{number}.png", blob(number))
        write(tmp_path / "other" / f"{number}.png", picture(number))
        write(tmp_path / "other" / f"no{number * 100}.png", blob(number))
    options = said(stops(tmp_path / "colon"), tmp_path)
    assert options == {"mask_folders": {"c": "c*", "p": "p*"}}
    assert_pairs(read(tmp_path / "colon", **options), {f"{n}.bmp": n for n in range(1, 13)}, 1)
    options = said(stops(tmp_path / "apart"), tmp_path)
    assert options == {"images": "a/x_*", "mask_folders": {"mask": "b/y_*"}}
    assert_pairs(read(tmp_path / "apart", **options), {f"a/x_{n}.png": n for n in range(1, 13)})
    assert "name the folders of the images and of the masks" in stops(tmp_path / "other")


def test_files_passed_over_that_are_named_as_masks_are_no_images_of_a_deeper_folder(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    for number in range(8):
        write(tmp_path / "data" / f"{number}" / "scan" / f"{number}.png", picture(number))
        write(tmp_path / "data" / f"{number}" / f"{number}_roi" / "1.png", blob(number))
    read(tmp_path / "data", images="*/scan")
    assert "passed over 8 files that are named as masks, such as 0/0_roi/1.png: data.mask_folders takes" in caplog.text
    assert "deeper folders" not in caplog.text


def test_images_in_other_folders_than_the_named_one_are_counted(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    for number in range(8):
        write(tmp_path / "data" / "images" / f"{number}.png", picture(number))
        write(tmp_path / "data" / "images_before" / f"{number}.png", picture(number))
        write(tmp_path / "data" / "masks" / f"{number}.png", blob(number))
    caplog.set_level("INFO")
    read(tmp_path / "data", images="images", mask_folders={"lesion": "masks"})
    assert "neither data.images nor data.mask_folders speaks of them: images_before (8)\n" in caplog.text


def test_sub_folders_that_mean_nothing_are_read_as_one(tmp_path: Path) -> None:
    """As LUNA16 has them."""
    root = tmp_path / "data"
    for number in range(12):
        write(root / f"subset{number % 4}" / f"{number}.png", picture(number))
    assert "data.layout=flat (neither)" in stops(root)
    data = read(root, layout="flat")
    assert data.description.classes == () and len(everything(data)["image"]) == 12 and data.split("train").cases is None


def test_a_run_of_before_reads_its_folder_as_then(tmp_path: Path) -> None:
    root = tmp_path / "data"
    for number in range(10):
        write(root / str(number % 2) / f"{number}.png", picture(number))
        write(root / str(number % 2) / f"{number}_mask.png", picture(50 + number))
    settings = {"root": str(root), "cache": str(tmp_path / "cache"), "resolution": SIDE}
    data = FolderData(**FolderData.as_before(settings))
    assert data.description.classes == ("0", "1") and len(everything(data)["image"]) == 20
    with pytest.raises(UserError, match="named as the mask of"):
        FolderData(**FolderData.as_before({**settings, "layout": "auto"})).prepare()
