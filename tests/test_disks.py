"""Full disks, and disks that can only be read: one line, nothing left half-written, and the way back."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest

from src.core.errors import UserError
from src.core.metrics_file import MetricsFile
from src.data.phantom import PhantomData
from src.data.store import Store, create_array
from tests.conftest import fill, read_json


def phantoms(cache: Path, count: int) -> PhantomData:
    return PhantomData(16, 1, ["normal"], ["lung"], {"train": count}, 0, cache)


def test_a_cache_without_room_is_one_line_and_keeps_no_image(small_disk):
    with pytest.raises(UserError, match=r"the disk is full: make room.*paths.cache=<folder>"):
        phantoms(small_disk, 4_000).prepare()
    assert not list(small_disk.iterdir())
    phantoms(small_disk, 40).prepare()


def test_what_a_killed_process_was_decoding_is_deleted_by_the_next(tmp_path):
    phantoms(tmp_path, 8).prepare()
    (store,) = tmp_path.iterdir()
    shutil.rmtree(store)
    for name in (store.name, "phantom-0123"):
        left = tmp_path / f".{name}.partial"
        left.mkdir()
        (left / "images.npy").write_bytes(b"pixels of a patient")
    phantoms(tmp_path, 8).prepare()
    assert [path.name.partition("-")[0] for path in tmp_path.iterdir()] == ["phantom"]


@pytest.mark.parametrize("name", ["images.npy", "labels.npy", "masks.npy", "meta.json"])
@pytest.mark.parametrize("size", [0, 100])
def test_a_damaged_cache_is_made_anew(tmp_path, caplog, name, size):
    first = phantoms(tmp_path, 8)
    first.prepare()
    wanted = np.array(first.split("train").store.images)
    (file,) = tmp_path.glob(f"*/{name}")
    file.write_bytes(file.read_bytes()[:size] if name != "meta.json" else b"{"[:size])
    again = phantoms(tmp_path, 8)
    again.prepare()
    assert "damaged" in caplog.text
    assert np.array_equal(again.split("train").store.images, wanted) and len(list(tmp_path.iterdir())) == 1


def test_of_processes_that_want_one_store_the_others_wait_for_it(tmp_path):
    from concurrent.futures import ThreadPoolExecutor

    built = []

    def build(folder: Path) -> dict[str, int]:
        built.append(folder)
        create_array(folder / "images.npy", np.uint8, (2, 1, 4, 4))[:] = 7
        np.save(folder / "labels.npy", np.zeros(2, np.int64))
        return {}

    with ThreadPoolExecutor(4) as pool:
        stores = list(pool.map(lambda _: Store.open_or_build(tmp_path / "data-1", build), range(4)))
    assert len(built) == 1 and all((store.images == 7).all() for store in stores)


def test_a_row_for_which_there_is_no_room_leaves_the_rows_before(small_disk):
    file = MetricsFile(small_disk / "metrics.csv")
    file.path.touch()
    filler = fill(small_disk)
    with pytest.raises(OSError, match="No space"):
        file.append(32, {"loss": 1.0})
    assert file.path.read_bytes() == b""
    file.drop_after(0)
    filler.unlink()
    for images in (32, 64):
        file.append(images, {"loss": 0.5})
    assert file.read()["images"].tolist() == [32, 64]


@pytest.mark.parametrize(
    ("content", "kept"),
    [
        (b"", []),
        (b"images,loss\n", []),
        (b"images,loss\n32,1.0\n64,1.", [32]),
        (b"images,loss\n32,1.0\n\0\0\0\n64,2.0\n", [32, 64]),
        (b"im\xffges,loss\n32,1.0\n", []),
        (b"images,loss\n32,1.0\n64\n96,nan\n128,1.0\n", [32, 96]),
    ],
)
def test_a_run_goes_on_without_the_rows_that_cannot_be_read(tmp_path, content, kept):
    file = MetricsFile(tmp_path / "metrics.csv")
    file.path.write_bytes(content)
    file.drop_after(100)
    assert (file.read()["images"].tolist() if file.exists() else []) == kept


def test_a_disk_that_fills_up_in_training_is_one_line_and_the_run_goes_on_when_there_is_room(
    run_tiny, small_disk, monkeypatch
):
    asked = (f"paths.outputs={small_disk}", "name=a", "images=128", "every.log=32", "every.sample=128", "samples=4")
    asked += ("every.checkpoint=1000", "every.keep=null", "model.generator.width=0.125")
    append = MetricsFile.append

    def append_on_a_full_disk(self, images, row, **options):
        if images == 64:
            fill(small_disk)
        append(self, images, row, **options)

    with monkeypatch.context() as patched:
        patched.setattr(MetricsFile, "append", append_on_a_full_disk)
        outcome = run_tiny(*asked)
    assert outcome.status == 2 and "Traceback" not in outcome.err, outcome.err
    assert "full" in outcome.error or "could not be written" in outcome.error
    assert read_json(small_disk / "a/status.json")["state"] == "failed"
    (small_disk / "filler").unlink()
    subprocess.run(["mount", "-o", "remount,size=20m", str(small_disk)], check=True)
    assert run_tiny(*asked).status == 0

    # The finished run is shown also where nothing can be written, and what is not finished says so.
    (small_disk / "a/wandb").mkdir()  # as of one that was killed while it told W&B of its end
    subprocess.run(["mount", "-o", "remount,ro", str(small_disk)], check=True)
    outcome = run_tiny(*asked, "logger=wandb")
    assert outcome.status == 0 and "finished already" in outcome.err and "W&B" not in outcome.err
    for other in (("force=true",), ("name=b", "-m")):
        outcome = run_tiny(*asked, *other)
        assert outcome.status == 2 and "can only be read" in outcome.err and "Traceback" not in outcome.err
    assert read_json(small_disk / "a/status.json")["state"] == "done"


def test_a_status_is_written_also_where_there_is_no_room_for_a_file(small_disk):
    from src.core.run_folder import RunFolder

    folder = RunFolder(small_disk)
    folder.write_status("running", images=32)
    fill(small_disk)
    folder.write_status("failed", "the disk is full")
    status = json.loads((small_disk / "status.json").read_text())
    assert status["state"] == "failed" and status["images"] == 32
