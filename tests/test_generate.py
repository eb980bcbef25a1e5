"""The exported data set: repeatable, labelled, readable, resumable; and what is wrong in one line."""

from __future__ import annotations

import csv
import json
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from src.data.folder import FolderData
from src.generate import main
from src.release import export
from src.release.export import Export
from src.release.formats.png import Png
from src.release.masks import MaskLimits
from src.release.request import Request
from src.release.resampling import shrink
from src.training.restore import load_generator
from tests.conftest import fill

LENIENT = ("masks.smallest=0", "masks.largest=1", "masks.speckle=1")
FACTS = {"Synthetic", "Software", "Generator", "Seed"}


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    return tmp_path_factory.mktemp("trained")


@pytest.fixture
def generate(trained, run_tiny, monkeypatch, capfd):
    """``src.generate`` on a tiny run with masks (``run=a``), trained once; returns (status, stdout, stderr)."""
    if not (trained / "a").exists():
        outcome = run_tiny("name=a", "images=128", "with_masks=true", f"paths.outputs={trained}")
        assert outcome.status == 0, outcome.err
    shutil.copytree(trained / "a", "a")

    def run(*arguments):
        status = main(["progress=false", "device=cpu", "copies.share=null", *arguments])
        out, err = capfd.readouterr()
        assert "Traceback" not in err
        return status, out, err

    return run


def files(folder: str | Path) -> dict[str, bytes]:
    root = Path(folder)
    return {p.relative_to(root).as_posix(): p.read_bytes() for p in sorted(root.rglob("*")) if p.is_file()}


def manifest(folder: str) -> list[dict[str, str]]:
    with open(Path(folder) / "manifest.csv", newline="") as file:
        return list(csv.DictReader(file))


def card(folder: str) -> dict:
    return json.loads((Path(folder) / "dataset.json").read_text())


def lung_shares(generate) -> dict[str, float]:
    """Share of the image that the lung's mask covers, by index, for the first 40 draws."""
    generate("run=a", "n=40", "out=all", "masks.reject=false")
    masks = {row["index"]: f"all/masks/lung/{Path(row['file']).name}" for row in manifest("all")}
    return {index: float(np.asarray(Image.open(path)).mean() / 255) for index, path in masks.items()}


def test_an_export_holds_n_images_with_masks_a_manifest_a_card_and_a_preview(generate):
    status, out, _ = generate("run=a", "n=20", *LENIENT)
    folder = "a/generated/n20_size16_seed0"
    assert status == 0 and f"done: {folder}" in out
    rows = manifest(folder)
    assert len(rows) == 20 and rows[0].keys() == {"file", "seed", "index", "class", "masks_ok", "sha256"}
    for kind in ("images", "masks/lung", "masks/lesion"):
        names = sorted(p.name for p in Path(folder, kind).iterdir())
        assert names == [Path(row["file"]).name for row in rows]
        with Image.open(Path(folder, kind, names[0])) as picture:
            assert picture.size == (16, 16) and picture.mode == "L"
            assert kind == "images" or set(np.unique(np.asarray(picture))) <= {0, 255}
    facts = card(folder)
    assert facts["complete"] and facts["n"] == 20 and facts["generator"]["images_shown"] == 128
    assert "synthetic" in facts["notice"] and str(Path.cwd()) not in json.dumps(facts)
    with Image.open(Path(folder, "preview.png")) as preview:
        assert preview.size == (8 * 18 + 2, 3 * 18 + 2)


def test_every_file_says_that_it_is_synthetic_and_where_it_is_from(generate):
    generate("run=a", "n=3", "seed=5", "out=out", *LENIENT)
    pictures = sorted(Path("out").rglob("*.png"))
    assert len(pictures) == 3 * 3 + 1
    for path in pictures:
        with Image.open(path) as picture:
            assert picture.info.keys() >= FACTS and picture.info["Synthetic"] == "true", path
            assert picture.info["Seed"] == "5" and "dcgan of run a, last.ckpt" in picture.info["Generator"]
            if path.name != "preview.png":
                assert picture.info["Index"] == str(int(path.stem))


def test_an_image_depends_on_its_seed_and_index_alone(generate):
    for n, seed in ((40, 0), (5, 0), (5, 1)):
        assert generate("run=a", f"n={n}", f"seed={seed}", f"out=n{n}s{seed}", "masks.reject=false")[0] == 0
    many, few, other = (files(name) for name in ("n40s0", "n5s0", "n5s1"))
    pictures = [name for name in few if "/" in name]
    assert len(pictures) == 15
    assert all(few[name] == many[name] for name in pictures)
    assert all(few[name] != other[name] for name in pictures if name.startswith("images"))


def test_the_latent_of_an_image_does_not_depend_on_the_batch(generate, monkeypatch):
    run = load_generator(Path("a"))
    request = Request(n=1, size=16, seed=3)
    whole = Export(run, request, Path("out")).generate(0)
    monkeypatch.setattr(export, "BATCH", 4)
    parts = torch.cat([Export(run, request, Path("out")).generate(start) for start in (0, 4, 8, 12)])
    assert torch.allclose(whole, parts, atol=1e-5) and not torch.allclose(whole[:1], whole[1:2], atol=1e-2)


def test_the_folder_is_read_as_a_data_set_with_the_masks_of_its_images(generate, cache):
    generate("run=a", "n=30", "out=out", *LENIENT)
    data = FolderData(
        root="out", cache=str(cache), resolution=16, images="images", mask_folders={"lung": "masks/lung"},
        splits={"train": 1.0}
    )  # fmt: skip
    split = data.split("train")
    assert len(split) == 30 and data.description.masks == ("lung",)
    batch = split.gather(np.arange(30))
    run = load_generator(Path("a"))
    made = Export(run, Request(n=1, size=16), Path("unused")).generate(0)[int(manifest("out")[0]["index"])]
    assert (batch["image"][0, 0].float() / 127.5 - 1 - made[0]).abs().max() < 1 / 127
    assert torch.equal(batch["mask"][0, 0] > 0, made[1] > 0)


def test_a_smaller_size_is_the_mean_of_the_pixels_and_a_larger_one_is_refused(generate):
    generate("run=a", "n=2", "out=whole", "masks.reject=false")
    generate("run=a", "n=2", "size=8", "out=half", "masks.reject=false")
    whole, half = (np.asarray(Image.open(f"{name}/images/000001.png")).astype(float) for name in ("whole", "half"))
    assert np.abs(whole.reshape(8, 2, 8, 2).mean((1, 3)) - half).max() <= 1
    status, _, err = generate("run=a", "n=2", "size=32")
    assert status == 2 and err == "error: size=32 is more than the generator's 16 pixels a side: lower it\n"


def test_a_smaller_size_keeps_the_thin_parts_of_masks():
    images = torch.full((1, 3, 64, 64), -1.0)
    images[0, 1, 10] = images[0, 2, 8:40, 8:40] = 0.5
    small = shrink(images, 1, (16, 16))
    expected = torch.full((2, 16, 16), -1.0)
    expected[0, 2] = expected[1, 2:10, 2:10] = 1
    assert torch.equal(small[0, 1:], expected) and (small[0, 0] == -1).all()
    assert shrink(images[:, :1], 1, (16, 16)).shape == (1, 1, 16, 16)


def test_sixteen_bits_hold_what_eight_round(generate):
    generate("run=a", "n=2", "out=eight", "masks.reject=false")
    generate("run=a", "n=2", "out=sixteen", "bits=16", "masks.reject=false")
    deep = np.asarray(Image.open("sixteen/images/000000.png"))
    assert deep.dtype == np.uint16 and len(np.unique(deep % 257)) > 10
    shallow = np.asarray(Image.open("eight/images/000000.png")).astype(float)
    assert np.abs(deep / 257 - shallow).max() <= 0.51


def test_bad_masks_are_left_out_and_counted_and_n_good_pairs_come_out(generate):
    lung = lung_shares(generate)
    limit = np.median(list(lung.values()))
    asked = ("masks.smallest=0", f"masks.largest={limit}", "masks.speckle=1", "masks.may_be_empty=[lung,lesion]")
    assert generate("run=a", "n=12", "out=good", *asked)[0] == 0
    rows = manifest("good")
    assert len(rows) == 12 and all(row["masks_ok"] == "true" for row in rows)
    assert all(lung.get(row["index"], 0) <= limit for row in rows)
    last = int(rows[-1]["index"])
    assert last > 11 and sum(card("good")["rejected"].values()) == last + 1 - 12
    assert card("good")["rejected"].keys() <= {"lung: full", "lesion: full"}


def test_masks_that_never_pass_are_given_up_in_one_line(generate):
    asked = ("run=a", "n=2", "masks.smallest=0.9999", "masks.largest=1", "out=out")
    status, _, err = generate(*asked)
    assert status == 2 and "only 0 of 20 images pass the checks, n=2 are wanted (" in err and err.count("\n") == 1
    assert "masks.reject=false" in err
    own = Path("out/notes.txt")
    own.touch()
    assert "out holds notes.txt, which no export wrote" in generate(*asked, "masks.reject=false")[2] and own.exists()
    own.unlink()
    assert generate(*asked, "masks.reject=false")[0] == 0  # in the same folder, which holds no image
    assert len(manifest("out")) == 2 and not card("out")["rejected"]


@pytest.mark.parametrize("at", [1, 2, 8, 18])
def test_a_killed_export_goes_on_to_the_same_bytes(generate, monkeypatch, at):
    limit = np.median(list(lung_shares(generate).values()))
    asked = ("run=a", "n=6", f"masks.largest={limit}", *LENIENT[::2])
    generate(*asked, "out=whole")
    assert card("whole")["rejected"]
    count, save = 0, Png.save

    def dies(self, *arguments):
        nonlocal count
        count += 1
        if count == at:
            raise KeyboardInterrupt
        save(self, *arguments)

    with monkeypatch.context() as patch:
        patch.setattr(Png, "save", dies)
        assert generate(*asked, "out=killed")[0] == 130
    assert not card("killed")["complete"]
    for row in manifest("killed"):
        assert all(Path("killed", kind, Path(row["file"]).name).exists() for kind in ("images", "masks/lung"))
    with open("killed/manifest.csv", "a") as file:
        file.write("images/0000")  # a line that a kill left half-written
    assert generate(*asked, "out=killed")[0] == 0
    assert files("killed") == files("whole")


def test_a_finished_export_is_not_touched_and_another_is_refused_unless_forced(generate):
    generate("run=a", "n=3", "out=out", *LENIENT)
    before = {p: p.stat().st_mtime_ns for p in Path("out").rglob("*") if p.is_file()}
    status, out, _ = generate("run=a", "n=3", "out=out", *LENIENT)
    assert status == 0 and "finished already: out" in out
    assert before == {p: p.stat().st_mtime_ns for p in Path("out").rglob("*") if p.is_file()}
    for other in ("n=4", "seed=1"):
        status, _, err = generate("run=a", "n=3", "out=out", *LENIENT, other)
        assert status == 2 and f"out holds another data set ({other[:-2]} was" in err and "force=true" in err
    assert generate("run=a", "n=2", "out=out", "force=true", *LENIENT)[0] == 0
    assert len(manifest("out")) == len(list(Path("out/images").iterdir())) == 2


def test_force_does_not_delete_what_no_export_wrote(generate):
    Path("mine").mkdir()
    Path("mine/thesis.txt").write_text("years")
    status, _, err = generate("run=a", "n=2", "out=mine", "force=true")
    assert status == 2 and "mine holds thesis.txt, which no export wrote" in err
    generate("run=a", "n=2", "out=out", *LENIENT)
    Path("out/notes.txt").touch()
    status, _, err = generate("run=a", "n=3", "out=out", "force=true", *LENIENT)
    assert status == 2 and "out holds notes.txt" in err and len(manifest("out")) == 2


def test_images_nearer_to_a_real_one_than_allowed_are_left_out(generate):
    asked = ("run=a", "n=4", *LENIENT)
    assert generate(*asked, "out=all", "copies.min_distance=1e-9")[0] == 0
    status, _, err = generate(*asked, "out=none", "copies.min_distance=2")
    assert status == 2 and "(copy 40)" in err
    assert card("all")["rejected"].keys() <= {"lung: empty", "lesion: empty"}


def test_an_export_carries_what_its_generator_learned_from_and_no_name_of_a_case(generate):
    record = json.loads(Path("a/training_images.json").read_text())
    generate("run=a", "n=2", "out=out", *LENIENT)
    assert card("out")["training_images"] == record["images"] and len(record["images"]) > 64
    assert "cases" not in card("out")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["n=2"], "run is missing"),
        (["run=a"], "n is missing"),
        (["run=nowhere", "n=2"], "nowhere is neither a run folder nor a checkpoint"),
        (["run=a", "n=0"], "n=0 must be a whole number of at least 1"),
        (["run=a", "n=many"], "n=many must be a whole number"),
        (["run=a", "n=2", "sized=8"], "sized is not a setting; did you mean size?"),
        (["run=a", "n=2", "bits=12"], "bits=12 must be auto, 8 or 16"),
        *(
            (["run=a", "n=2", f"copies.min_distance={d}"], "must be a number above 0")
            for d in ("nan", "-1", "true", "0")
        ),
        (["run=a", "n=2", "device=tpu"], "device=tpu must be auto, cpu or cuda"),
        (["run=a", "n=2", "masks.may_be_empty=[heart]"], "names 'heart', but this run makes the masks lung, lesion"),
        (["run=a", "n=2", "out=a/config.yaml"], "out=a/config.yaml must be a folder or null"),
        (["run=a", "n=1,2"], "names several values"),
    ],
)
def test_what_is_wrong_is_one_line(generate, arguments, said):
    status, _, err = generate(*arguments)
    assert status == 2 and err.startswith("error: ") and said in err and err.count("\n") == 1


def test_a_path_like_those_of_run_folders_needs_no_quotes_of_its_own(generate):
    Path("a").rename("data=phantom,n=1")
    assert generate("run=data=phantom,n=1", "n=1", "out=out", *LENIENT)[0] == 0
    assert card("out")["generator"]["run"] == "data=phantom,n=1"


def test_two_processes_do_not_write_the_same_folder(generate):
    generate("run=a", "n=2", "out=out", *LENIENT)
    made = Export(load_generator(Path("a")), Request(n=2, size=16, limits=MaskLimits()), Path("out"))
    with made.folder.locked():
        status, _, err = generate("run=a", "n=2", "out=out", *LENIENT)
    assert status == 2 and "out is in use by another process" in err


def test_colour_without_masks_has_one_known_class_and_no_masks(run_tiny, capfd):
    assert run_tiny("name=rgb", "images=64", "data.channels=3", "data.classes=[nodule]").status == 0
    assert main(["run=outputs/rgb", "n=2", "out=out", "progress=false", "device=cpu"]) == 0
    with Image.open("out/images/000000.png") as picture:
        assert picture.mode == "RGB" and not list(Path("out/masks").iterdir() if Path("out/masks").exists() else ())
    assert [(row["class"], row["masks_ok"]) for row in manifest("out")] == [("nodule", "")] * 2
    assert main(["run=outputs/rgb", "n=2", "out=deep", "bits=16", "progress=false"]) == 2
    assert "bits=16 is for grey images" in capfd.readouterr().err


def test_a_full_disk_is_one_line_and_the_export_goes_on_when_there_is_room(generate, small_disk):
    generate("run=a", "n=20", "out=whole", *LENIENT)
    filler = fill(small_disk)
    with open(filler, "r+b") as file:
        file.truncate(filler.stat().st_size - 20 * 4096)  # for some of the files
    status, _, err = generate("run=a", "n=20", f"out={small_disk}/out", *LENIENT)
    assert status == 2 and err.startswith("error: ") and "the disk is full: make room" in err and err.count("\n") == 1
    filler.unlink()
    assert generate("run=a", "n=20", f"out={small_disk}/out", *LENIENT)[0] == 0
    assert files(small_disk / "out") == files("whole")
    subprocess.run(["mount", "-o", "remount,ro", str(small_disk)], check=True)
    assert "finished already" in generate("run=a", "n=20", f"out={small_disk}/out", *LENIENT)[1]
    status, _, err = generate("run=a", "n=21", f"out={small_disk}/new", *LENIENT)
    assert status == 2 and "choose another out=<folder>" in err


@pytest.mark.parametrize("damaged", ["images/000003.png", "masks/lung/000003.png", "manifest.csv"])
def test_an_export_makes_anew_what_a_power_cut_left_damaged(generate, damaged):
    generate("run=a", "n=8", "out=out", "masks.reject=false")
    whole = files("out")
    Path("out", damaged).write_bytes(b"")
    Path("out/dataset.json").write_text(json.dumps({**card("out"), "complete": False}))
    assert generate("run=a", "n=8", "out=out", "masks.reject=false")[0] == 0
    assert files("out") == whole


def test_a_damaged_card_is_named_with_the_ways_out(generate):
    generate("run=a", "n=2", "out=out", "masks.reject=false")
    Path("out/dataset.json").write_text("")
    status, _, err = generate("run=a", "n=2", "out=out", "masks.reject=false")
    assert status == 2 and "out/dataset.json is damaged: restore it, delete out" in err


def test_an_export_is_replaced_when_the_next_has_begun(generate):
    generate("run=a", "n=2", "out=out", "masks.reject=false")
    before = files("out")
    status, _, err = generate("run=a", "n=4", "out=out", "force=true", "masks.smallest=0.94")
    assert status == 2 and "pass the checks" in err
    assert files("out") == before
    assert generate("run=a", "n=3", "out=out", "force=true", "masks.reject=false")[0] == 0
    assert len(manifest("out")) == 3 and not list(Path("out").glob(".*"))
