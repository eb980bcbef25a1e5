"""A decoding that is stopped goes on, in threads or processes, to the same bytes; what is wrong is one line."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from src.core import workers
from src.core.errors import UserError
from src.data import decoding, file_decoder, findings, formats
from src.data.folder import FolderData

FILES = 60


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Images of 16 bits with masks; one file is damaged, one mask is missing."""
    rng = np.random.default_rng(0)
    for kind in ("images", "masks"):
        (tmp_path / "data" / kind).mkdir(parents=True)
    for number in range(FILES):
        image = rng.integers(0, 4000 + 50 * number, (24, 20 + number % 3)).astype(np.uint16)
        Image.fromarray(image).save(tmp_path / f"data/images/{number:02d}.png")
        mask = np.zeros(image.shape, np.uint8)
        mask[4 : 8 + number % 5, 5:9] = 255
        Image.fromarray(mask).save(tmp_path / f"data/masks/{number:02d}.png")
    damaged = tmp_path / "data/images/07.png"
    damaged.write_bytes(damaged.read_bytes()[:200])
    (tmp_path / "data/masks/11.png").unlink()
    return tmp_path / "data"


def data(folder: Path, cache: Path) -> FolderData:
    return FolderData(
        str(folder), str(cache), 16, images="images", mask_folders={"lesion": "masks"}, on_error="skip", workers=2
    )


def contents(cache: Path) -> dict[str, bytes]:
    """Of the only store there, and of nothing else."""
    (store,) = cache.iterdir()
    return {path.name: path.read_bytes() for path in store.iterdir()}


@pytest.fixture
def undisturbed(folder: Path, tmp_path: Path) -> dict[str, bytes]:
    data(folder, tmp_path / "undisturbed").prepare()
    return contents(tmp_path / "undisturbed")


def test_processes_write_the_bytes_that_threads_do(
    folder: Path, tmp_path: Path, undisturbed: dict[str, bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(workers, "HEAD_START", 0.0)
    data(folder, tmp_path / "cache").prepare()
    assert contents(tmp_path / "cache") == undisturbed


@pytest.mark.parametrize("torn", [False, True])
def test_a_stopped_decoding_goes_on_to_the_same_bytes(
    folder: Path, tmp_path: Path, undisturbed: dict[str, bytes], monkeypatch: pytest.MonkeyPatch, torn: bool
) -> None:
    monkeypatch.setattr(decoding, "EVERY", 0.0)
    cache, decoded = tmp_path / "cache", list[str]()
    read = formats.read_slices

    def stop_at_forty(path: Path, how: formats.Reading) -> Iterator[np.ndarray]:
        if path.stem == "40" and not decoded:
            raise KeyboardInterrupt
        yield from read(path, how)

    with monkeypatch.context() as patched:
        patched.setattr(formats, "read_slices", stop_at_forty)
        with pytest.raises(KeyboardInterrupt):
            data(folder, cache).prepare()
    (partial,) = cache.iterdir()
    assert partial.name.endswith(".partial")
    notes = partial / decoding.NOTES
    if torn:
        notes.write_bytes(notes.read_bytes()[:-20])

    def count(path: Path, how: formats.Reading) -> Iterator[np.ndarray]:
        decoded.append(path.stem)
        yield from read(path, how)

    monkeypatch.setattr(formats, "read_slices", count)
    data(folder, cache).prepare()
    assert contents(cache) == undisturbed
    assert 0 < len(decoded) <= FILES - 30


def decoded_and_stopped(folder: Path, cache: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """What a build has left that was stopped when all files were decoded."""
    monkeypatch.setattr(decoding, "EVERY", 0.0)
    monkeypatch.setattr(np, "save", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt()))
    with pytest.raises(KeyboardInterrupt):
        data(folder, cache).prepare()
    (partial,) = cache.iterdir()
    return partial


def test_what_an_earlier_version_had_begun_is_begun_anew(
    folder: Path, tmp_path: Path, undisturbed: dict[str, bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its rows are not what is written now: 16-bit values were windowed later."""
    with monkeypatch.context() as patched:
        patched.setattr(decoding, "ROWS", 1)
        partial = decoded_and_stopped(folder, tmp_path / "cache", patched)
    rows = np.load(partial / "decoded.npy", mmap_mode="r+")
    rows[:] = 9
    data(folder, tmp_path / "cache").prepare()
    assert contents(tmp_path / "cache") == undisturbed


def test_an_image_that_has_changed_since_is_decoded_anew(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(decoding, "EVERY", 0.0)
    with monkeypatch.context() as patched:
        patched.setattr(findings, "has_few_values", lambda image: image.shape == (24, 22) and (_ for _ in ()).throw(
            KeyboardInterrupt()))  # fmt: skip
        with pytest.raises(KeyboardInterrupt):
            data(folder, tmp_path / "cache").prepare()
    Image.fromarray(np.full((24, 20), 9, np.uint8)).save(folder / "images/00.png")
    data(folder, tmp_path / "cache").prepare()
    data(folder, tmp_path / "anew").prepare()
    assert contents(tmp_path / "cache") == contents(tmp_path / "anew")


def test_arrays_that_do_not_fit_to_the_notes_are_made_anew(
    folder: Path, tmp_path: Path, undisturbed: dict[str, bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patched:
        partial = decoded_and_stopped(folder, tmp_path / "cache", patched)
    (partial / "decoded.npy").write_bytes(b"")
    data(folder, tmp_path / "cache").prepare()
    assert contents(tmp_path / "cache") == undisturbed


def test_an_error_leaves_nothing_and_names_the_first_file_in_order(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(workers, "HEAD_START", 0.0)
    (folder / "masks/11.png").write_bytes((folder / "masks/10.png").read_bytes())
    strict = FolderData(
        str(folder), str(tmp_path / "cache"), 16, images="images", mask_folders={"lesion": "masks"}, workers=2
    )
    with pytest.raises(UserError, match=r"07\.png.*repair or remove it"):
        strict.prepare()
    assert not list((tmp_path / "cache").iterdir())


def test_a_decoder_that_crashes_is_one_line_with_the_file(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(workers, "HEAD_START", 0.0)
    read = formats.read_slices

    def crash(path: Path, how: formats.Reading) -> Iterator[np.ndarray]:
        if path.stem == "30":
            os.kill(os.getpid(), signal.SIGKILL)
        yield from read(path, how)

    monkeypatch.setattr(file_decoder.formats, "read_slices", crash)
    with pytest.raises(UserError, match=r"images/\d\d\.png, or one of .* files after it, was ended"):
        data(folder, tmp_path / "cache").prepare()
    assert not list((tmp_path / "cache").iterdir())


def test_a_training_that_is_stopped_while_it_decodes_says_so_and_goes_on_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "data").mkdir()
    for place in range(400):
        noise = np.random.default_rng(place).integers(0, 255, (96, 96)).astype(np.uint8)
        Image.fromarray(noise).save(tmp_path / f"data/{place:03d}.png")
    start = (
        "from src.core import workers; from src.data import decoding; workers.HEAD_START = decoding.EVERY = 0.0;"
        "from src.train import launch, train, PATHS; launch(train, 'train', paths=PATHS)"
    )
    asked = ["data=folder", f"data.root={tmp_path}/data", f"paths.cache={tmp_path}/cache", "data.workers=2"]
    asked += [f"paths.outputs={tmp_path}/outputs", "budget=smoke", "logger=csv", "resolution=32"]
    process = subprocess.Popen(
        [sys.executable, "-c", start, *asked],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )
    end = time.monotonic() + 120
    while time.monotonic() < end and not noted(tmp_path / "cache"):
        time.sleep(0.002)
    os.killpg(process.pid, signal.SIGINT)  # as a terminal does
    said, _ = process.communicate(timeout=60)
    before = noted(tmp_path / "cache")
    assert 0 < before < 400 and process.returncode == 130 and "Traceback" not in said
    assert "the same command goes on there" in said

    read, decoded = formats.read_slices, list[Path]()

    def count(path: Path, how: formats.Reading) -> Iterator[np.ndarray]:
        decoded.append(path)
        yield from read(path, how)

    with monkeypatch.context() as patched:
        patched.setattr(formats, "read_slices", count)
        FolderData(str(tmp_path / "data"), str(tmp_path / "cache"), 32).prepare()
    assert len(decoded) == 400 - before
    FolderData(str(tmp_path / "data"), str(tmp_path / "undisturbed"), 32).prepare()
    assert contents(tmp_path / "cache") == contents(tmp_path / "undisturbed")


def noted(cache: Path) -> int:
    """Files that the notes say are decoded."""
    lines = [line for notes in cache.glob(f".*/{decoding.NOTES}") for line in notes.read_text().splitlines(True)]
    return sum(len(json.loads(line).get("rows", ())) for line in lines if line.endswith("\n"))
