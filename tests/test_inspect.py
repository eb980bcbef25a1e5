"""Looking at a folder: what is said of it holds, and the command that is printed reads it as it was said."""

from __future__ import annotations

import re
import shlex
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hydra.core.global_hydra import GlobalHydra
from hydra.utils import instantiate

from src.command_line import overrides
from src.data.folder import FolderData
from src.inspect import main
from src.inspection import files
from src.inspection.alike import nearly_alike
from src.inspection.questions import only_answer
from tests.conftest import Outcome
from tests.data.folders import blob, everything, picture, snapshot, write


def segmentation(root: Path, count: int = 12) -> Path:
    for number in range(count):
        write(root / "images" / f"x{number}.png", picture(number))
        write(root / "masks" / f"x{number}_segmentation.png", blob(number))
    return root


@pytest.fixture
def look(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: Any) -> Callable[..., Outcome]:
    monkeypatch.chdir(tmp_path)

    def run(*arguments: str) -> Outcome:
        status = main(["resolution=16", "out=page", *arguments])
        GlobalHydra.instance().clear()
        return Outcome(status, *capfd.readouterr())

    return run


def trained_on(outcome: Outcome, *more: str) -> FolderData:
    """The data of the command that is printed."""
    line = next(line for line in outcome.out.splitlines() if line.startswith("train on it: "))
    entry, *asked = shlex.split(line.removeprefix("train on it: python -m src."))
    assert entry == "train"
    cfg = overrides.check(entry, [*asked, *more], multirun=False)
    GlobalHydra.instance().clear()
    data = instantiate(cfg.data)
    data.prepare()
    return data


def test_a_question_with_one_answer_is_shown_and_the_printed_command_reads_the_folder(look, tmp_path: Path) -> None:
    root = segmentation(tmp_path / "data")
    before = snapshot(root)
    outcome = look("data.root=data")
    assert outcome.status == 0, outcome.err
    assumed = "data.images=images data.mask_folders={mask: masks/*_segmentation}"
    assert f"! assumed {assumed}, since the sub-folder masks" in outcome.out
    assert "12 files of masks/*_segmentation for 12 of 12 images" in outcome.out
    data = trained_on(outcome, f"paths.cache={tmp_path}/cache")
    assert data.description.masks == ("mask",)
    stored = everything(data)
    for row, file in enumerate(data.split("train").store.meta["files"]):
        number = int(re.findall(r"\d+", file)[0])
        np.testing.assert_array_equal(stored["image"][row, 0], picture(number))
        np.testing.assert_array_equal(stored["mask"][row, 0], blob(number) > 0)
    assert snapshot(root) == before


def test_what_is_written_composes_reads_the_same_and_is_never_overwritten(look, conf: Path, tmp_path: Path) -> None:
    segmentation(tmp_path / "data")
    outcome = look("data.root=data", "write=mine", "data.group='x(..?)'", "data.splits={train: 0.5, test: 0.5}")
    assert outcome.status == 0, outcome.err
    assert "train on it: python -m src.train data=mine batch_size=4\n" in outcome.out
    data = trained_on(outcome, f"paths.cache={tmp_path}/cache", "resolution=16")
    asked = (data.name, data.images, data.mask_folders, data.division.group, data.division.fractions)
    assert asked == (
        "mine",
        "images",
        {"mask": "masks/*_segmentation"},
        "x(..?)",
        {"train": 0.5, "val": 0, "test": 0.5},
    )
    assert data.root == tmp_path / "data" and len(everything(data)["image"]) == 12
    text = (conf / "data" / "mine.yaml").read_text()
    again = look("data.root=data", "write=mine")
    assert again.status == 2 and "mine.yaml is there already" in again.err
    assert (conf / "data" / "mine.yaml").read_text() == text


def test_a_question_that_is_open_stops_with_its_overrides_after_what_is_known(look, conf: Path, tmp_path: Path) -> None:
    for patient in range(4):
        for number in range(5):
            write(tmp_path / "data" / f"P{patient:03}" / f"{number}.png", picture(10 * patient + number))
    outcome = look("data.root=data", "write=patients")
    assert outcome.status == 2 and "files:" in outcome.out and "20 .png" in outcome.out
    assert outcome.err.startswith("error: ") and len(outcome.err.splitlines()) == 1
    assert "data.layout=case" in outcome.err and "train on it" not in outcome.out
    assert not (conf / "data" / "patients.yaml").exists()
    page = Path("page/inspect.html").read_text()
    assert "may be patients or classes" in page and "data.layout=case" in page
    answered = look("data.root=data", "data.layout=case")
    assert answered.status == 0 and re.search(r"^cases: +4$", answered.out, re.M)


def test_the_answer_to_an_open_question_stands_beside_what_was_assumed(look, tmp_path: Path) -> None:
    for number in range(12):
        write(tmp_path / "data" / "images" / f"{number}.png", picture(number))
        rim, core = blob(number) > 0, np.roll(blob(number), 6, 1) > 0
        write(tmp_path / "data" / "labels" / f"{number}.png", np.where(core, 2, rim).astype(np.uint8))
    outcome = look("data.root=data")
    assert outcome.status == 2 and "is a label map with the values 0, 1, 2" in outcome.err
    line = next(line for line in outcome.out.splitlines() if line.startswith("answer it beside: "))
    again = look(*shlex.split(line)[6:], "data.mask_labels={rim: 1, core: 2}")
    assert again.status == 0, again.err
    assert trained_on(again, f"paths.cache={tmp_path}/cache").description.masks == ("rim", "core")


def test_a_part_of_what_was_proposed_is_read_with_the_rest(look, tmp_path: Path) -> None:
    """The answer to a question about masks alone, which stood beside assumptions about all else."""
    for part in ("training", "test"):
        for number in range(6):
            write(tmp_path / "data" / part / "images" / f"{number}_{part}.png", picture(number))
            write(tmp_path / "data" / part / "1st_manual" / f"{number}_manual1.png", blob(number))
            view = np.where(np.hypot(*np.indices((16, 16)) - 7.5) < 8, 255, 0).astype(np.uint8)
            write(tmp_path / "data" / part / "mask" / f"{number}_{part}_mask.png", view)
    open_question = look("data.root=data", "write=drive")
    assert open_question.status == 2 and "error: beside the command above, the masks of mask cover" in open_question.err
    assert " write=drive " in open_question.out
    answered = look("data.root=data", "data.mask_folders={vessels: 1st_manual/*_manual1}")
    assert answered.status == 0, answered.err
    assert trained_on(answered, f"paths.cache={tmp_path}/cache").description.masks == ("vessels",)


def test_images_that_are_left_out_are_counted_and_not_learned_from(look, tmp_path: Path) -> None:
    root = segmentation(tmp_path / "data", 24)
    for number in range(14):
        (root / "masks" / f"x{number}_segmentation.png").unlink()
    outcome = look("data.root=data", "data.on_error=skip")
    assert outcome.status == 0, outcome.err
    assert re.search(r"^images: +10$", outcome.out, re.M)
    assert re.search(r"^left out: +14 of 24 images; the first: images/x0.png has no mask", outcome.out, re.M)
    assert " batch_size=4\n" in outcome.out


def test_classes_of_unlike_brightness_are_said(look, tmp_path: Path) -> None:
    for number in range(10):
        write(tmp_path / "data" / "dark" / f"{number}.png", picture(number) // 2)
        write(tmp_path / "data" / "bright" / f"{number}.png", picture(50 + number))
    assert "- bright is brighter than dark (mean values 13" in look("data.root=data").out


def test_the_worst_is_said_first_of_copies_unbalanced_classes_empty_masks_and_ranges(look, tmp_path: Path) -> None:
    root = tmp_path / "data"
    for number in range(16):
        name = "sick" if number < 4 else "well"
        pixels = picture(number) // 25 if number == 9 else picture(number)
        write(root / "train" / name / f"{number}.png", pixels)
        write(root / "masks" / "train" / name / f"{number}.png", blob(number) * (number != 7))
    for number, name in ((20, "sick"), (21, "well")):
        write(root / "test" / name / f"{number}.png", picture(number))
    write(root / "test" / "well" / "again.png", picture(10))
    write(root / "train" / "sick" / "twice.png", picture(12))
    shutil.rmtree(root / "masks")
    outcome = look("data.root=data", "data.layout=split", "data.balance=true")
    assert outcome.status == 0, outcome.err
    said = [line for line in outcome.out.splitlines() if line.startswith(("! ", "- "))]
    assert "2 images lie in two splits with the same pixels" in said[0] and said[0].startswith("! ")
    assert "1 images are in two classes" in said[1] and "train/sick/twice.png (sick)" in said[1]
    text = "\n".join(said)
    assert "2 files are copies of others" in text
    assert "the brightest value of train/well/9.png is 9" in text
    assert "data.duplicates=drop" in text
    assert trained_on(outcome, f"paths.cache={tmp_path}/cache").balance


def test_empty_masks_and_unequal_classes_are_counted(look, tmp_path: Path) -> None:
    for number in range(20):
        name = "rare" if number < 4 else "usual"
        write(tmp_path / "data" / name / f"{number}.png", picture(number))
        write(tmp_path / "data" / name / f"{number}_mask.png", blob(number) * (number % 5 > 0))
    outcome = look("data.root=data")
    assert outcome.status == 0, outcome.err
    assert "- 4 of 20 masks of mask looked at are empty" in outcome.out
    assert "classes are unbalanced, 16 of usual and 4 of rare: data.balance=true" in outcome.out
    page = Path("page/inspect.html").read_text()
    assert "<h3>rare</h3>" in page and "<h3>usual</h3>" in page and page.count("data:image/png;base64,") == 4
    assert not re.search(r'(?:src|href)="(?!data:)', page)  # it needs no other file


def test_of_a_large_folder_all_files_are_counted_and_few_are_decoded(look, tmp_path: Path, monkeypatch) -> None:
    one = write(tmp_path / "one.png", picture(0)).read_bytes()
    for name, count in (("a", 900), ("b", 100)):
        (tmp_path / "data" / name).mkdir(parents=True)
        for number in range(count):
            (tmp_path / "data" / name / f"{number}.png").write_bytes(
                one + bytes([number % 256, number // 256, ord(name)])
            )
    from src.data import formats

    opened: list[Path] = []
    reader = formats.read_slices

    def read(path: Path, how: Any) -> Any:
        opened.append(path)
        return reader(path, how)

    monkeypatch.setattr(formats, "read_slices", read)
    outcome = look("data.root=data", "look=40", "data.group='.+'", "data.similar_classes=keep")
    assert outcome.status == 0, outcome.err
    assert "images:            1,000" in outcome.out and "classes:           a 900, b 100" in outcome.out
    shown = re.search(r"looked at: +(\d+) of 1,000 files", outcome.out)
    assert shown and int(shown[1]) == len(opened) <= 100
    assert {path.parent.name for path in opened} == {"a", "b"}


@pytest.mark.parametrize("delimiter", [",", ";"])
def test_a_table_that_names_the_images_is_shown_with_what_takes_classes_from_it(
    look, tmp_path: Path, delimiter
) -> None:
    for number in range(12):
        write(tmp_path / "data" / f"{number}.png", picture(number))
    rows = [("image_id", "dx", "note"), *((f"{n}", "ab"[n % 2], f"seen {n}") for n in range(12))]
    (tmp_path / "data" / "labels.csv").write_text("\n".join(map(delimiter.join, rows)))
    (tmp_path / "data" / "other.csv").write_text("name,value\nx,1\n")
    outcome = look("data.root=data")
    said = "data.labels_csv=labels.csv data.csv_columns='{file: image_id, class: dx}' takes their classes from it"
    assert f"- labels.csv names the images in its column image_id: {said}" in outcome.out
    assert "other.csv names" not in outcome.out
    again = look("data.root=data", *shlex.split(said)[:2])
    assert "names the images" not in again.out and "classes:           a 6, b 6" in again.out


def test_the_command_of_a_small_folder_has_a_batch_that_fits(look, tmp_path: Path) -> None:
    for number in range(12):
        write(tmp_path / "data" / f"{number}.png", picture(number))
    assert "data.root=data batch_size=8\n" in look("data.root=data").out
    for number in range(12, 60):
        write(tmp_path / "data" / f"{number}.png", picture(number))
    assert "batch_size" not in look("data.root=data").out


def test_masks_beside_images_are_proposed_though_a_masks_image_is_not_looked_at(look, tmp_path: Path) -> None:
    """As in CVC-ColonDB, of which some of 1.tiff, p1.tiff … are decoded."""
    for number in range(40):
        write(tmp_path / "data" / f"{number}.png", picture(number))
        write(tmp_path / "data" / f"p{number}.png", blob(number))
    outcome = look("data.root=data", "look=20")
    assert outcome.status == 0, outcome.err
    assert "p in files:        40 files of p* for 40 of 40 images, such as p0.png for 0.png" in outcome.out


def test_of_several_masks_those_that_every_image_has_are_assumed(look, tmp_path: Path) -> None:
    """As Sunnybrook's outer contours, of which half of the slices have none."""
    for number in range(12):
        write(tmp_path / "data" / "images" / f"{number}.png", picture(number))
        for name in ("i_labels", *(["o_labels"] if number < 5 else [])):
            write(tmp_path / "data" / name / f"{number}.png", blob(number))
    outcome = look("data.root=data")
    assert outcome.status == 0, outcome.err
    assert "has no mask in the folder 'o_labels' (7 of 12 images are without" in outcome.out
    assert trained_on(outcome, f"paths.cache={tmp_path}/cache").mask_folders == {"i_labels": "i_labels"}


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["data.root=missing"], "there is no folder missing"),
        (["data.root=."], "holds no images"),
        ([], "data.root is missing"),
        (["data=cifar10"], "looks at folders of images"),
        (["data.root=.", "write=../x"], "a name of letters"),
        (["data.root=.", "loook=3"], "loook is not a setting"),
    ],
)
def test_what_cannot_be_looked_at_is_one_line(look, arguments: list[str], said: str) -> None:
    outcome = look(*arguments)
    assert outcome.status == 2 and said in outcome.err and len(outcome.err.splitlines()) == 1
    assert not Path("page/inspect.html").exists()


def test_equal_files_are_found_where_only_their_middle_differs(tmp_path: Path) -> None:
    middle = bytearray(3 * files.END)
    paths = [tmp_path / str(number) for number in range(4)]
    for path in paths:
        path.write_bytes(middle)
    middle[len(middle) // 2] = 1
    paths[2].write_bytes(middle)
    assert files.equal_files(paths) == [[0, 1, 3]]


def test_alike_are_an_image_and_its_copy_saved_anew_but_not_those_of_one_case() -> None:
    rng = np.random.default_rng(0)
    images = rng.integers(0, 200, (12, 1, 64, 64)).astype(np.uint8)
    images[5] = np.clip(images[2] + rng.integers(0, 9, (1, 64, 64)), 0, 255)
    images[7] = images[1]
    cases = [str(number) for number in range(12)]
    assert set(nearly_alike(images, np.zeros(12, int), cases)) == {(1, 7), (2, 5)}
    cases[7] = cases[1]
    assert nearly_alike(images, np.zeros(12, int), cases) == [(2, 5)]


@pytest.mark.parametrize(
    ("question", "given", "answer"),
    [
        ("a: set data.mask_folders='{mask: *_mask}'; data.mask_folders={} says that they are no masks", [],
         ["data.mask_folders={mask: *_mask}"]),
        ("a: set data.split_folders='{train: a b}' or, if they are classes, data.layout=class", [],
         ["data.split_folders={train: a b}"]),
        ("a: set data.split_folders='{train: a}' or, if they are classes, data.layout=class",
         ["data.split_folders={train: b}"], []),
        ("a: set data.layout=case (a patient each), data.layout=class (a class each) or data.layout=flat", [], []),
        ("a: set data.split_folders='{train: <folder>, test: <folder>}' or, if they are classes, x", [], []),
        ("a: data.similar_classes=join makes them one, data.similar_classes=keep keeps them apart", [], []),
    ],
)  # fmt: skip
def test_only_a_single_proposal_is_assumed(question: str, given: list[str], answer: list[str]) -> None:
    assert only_answer(question, given) == answer
