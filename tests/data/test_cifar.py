from __future__ import annotations

import os
import pickle
import subprocess
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from src.core.errors import UserError
from src.data.cifar import CLASSES, CifarData


def write_cifar(root: Path, per_batch: int = 20, seed: int = 0) -> np.ndarray:
    """A small copy in the original layout; returns the labels of the training images."""
    folder = root / "cifar-10-batches-py"
    folder.mkdir(parents=True)
    rng = np.random.default_rng(seed)
    labels: list[int] = []
    for name in [*(f"data_batch_{i}" for i in range(1, 6)), "test_batch"]:
        batch = rng.integers(0, 10, per_batch).tolist()
        # Every pixel of an image is its label, so that images can be told from labels.
        data = np.repeat(np.array(batch, np.uint8)[:, None], 3072, axis=1)
        (folder / name).write_bytes(pickle.dumps({"data": data, "labels": batch}))
        labels += batch if name != "test_batch" else []
    (folder / "batches.meta").write_bytes(pickle.dumps({"label_names": list(CLASSES)}))
    return np.array(labels)


@pytest.fixture
def load(tmp_path: Path) -> Callable[..., CifarData]:
    def make(*classes: str, **options: object) -> CifarData:
        settings: dict = {"channels": 3, "resolution": 32, "verify": False, "cache": str(tmp_path / "cache"), **options}
        return CifarData(name="cifar10", root=str(tmp_path), classes=classes or CLASSES, **settings)

    return make


@pytest.fixture(autouse=True)
def accept_made_up_meta(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("torchvision.datasets.cifar.check_integrity", lambda path, md5=None: "meta" in str(path))


def test_a_class_is_all_its_images_and_no_other(tmp_path, load):
    labels = write_cifar(tmp_path)
    data = load("dog")
    data.prepare()
    train = data.split("train")
    batch = train.gather(np.arange(len(train)))
    assert len(train) == (labels == CLASSES.index("dog")).sum()
    assert (batch["image"] == CLASSES.index("dog")).all() and (batch["label"] == 0).all()


def test_labels_count_in_the_order_of_the_classes_asked_for(tmp_path, load):
    write_cifar(tmp_path)
    data = load("truck", "cat")
    data.prepare()
    train = data.split("train")
    batch = train.gather(np.arange(len(train)))
    pixels = batch["image"][:, 0, 0, 0]
    assert ((pixels == CLASSES.index("cat")) == (batch["label"] == 1)).all() and set(batch["label"].tolist()) == {0, 1}


def test_the_second_visit_reads_and_verifies_nothing(tmp_path, load, monkeypatch):
    write_cifar(tmp_path)
    load("dog").prepare()
    monkeypatch.setattr(CifarData, "_load", lambda *_: pytest.fail("read again"))
    load("dog").prepare()


def test_copies_alike_in_sizes_and_times_have_stores_of_their_own(tmp_path):
    for seed, name in enumerate(("old", "new")):
        labels = write_cifar(tmp_path / name, seed=seed)
        for path in (tmp_path / name).rglob("*_batch*"):
            os.utime(path, (1e9, 1e9))
        data = CifarData("cifar10", str(tmp_path / name), CLASSES, 3, 32, verify=False, cache=str(tmp_path / "cache"))
        data.prepare()
        assert data.split("train").store.labels[: len(labels)].tolist() == labels.tolist()


def test_processes_that_start_at_once_download_once(tmp_path, load, monkeypatch):
    downloads: list[str] = []

    def download(url: str, root: str, **_: object) -> None:
        downloads.append(url)
        time.sleep(0.2)
        write_cifar(Path(root))

    monkeypatch.setattr("torchvision.datasets.cifar.download_and_extract_archive", download)
    data = [load("dog"), load("dog")]
    with ThreadPoolExecutor() as pool:
        list(pool.map(CifarData.prepare, data))
    assert len(downloads) == 1 and len(data[0].split("train")) == len(data[1].split("train")) > 0


def test_a_cache_that_can_only_be_read_serves_what_it_holds(tmp_path, load, small_disk):
    write_cifar(tmp_path)
    wanted = load("dog", cache=str(small_disk))
    wanted.prepare()
    (small_disk / ".cifar-10.lock").unlink()
    subprocess.run(["mount", "-o", "remount,ro", str(small_disk)], check=True)
    again = load("dog", cache=str(small_disk))
    again.prepare()
    assert np.array_equal(again.split("train").store.images, wanted.split("train").store.images)
    with pytest.raises(UserError, match="can only be read"):
        load("cat", cache=str(small_disk)).prepare()


def test_a_copy_that_is_not_the_original_is_refused_unless_accepted(tmp_path, load):
    write_cifar(tmp_path)
    load("dog").prepare()
    with pytest.raises(UserError, match=r"is not the original .*data\.verify=false"):
        load("dog", verify=True).prepare()


def test_an_unknown_class_is_refused(load):
    with pytest.raises(UserError, match="CIFAR-10 has only airplane"):
        load("dogs")


def test_a_class_named_twice_is_refused(load):
    with pytest.raises(UserError, match="names one twice"):
        load("dog", "dog")


def test_a_missing_file_is_named_and_no_download_blamed(tmp_path, load):
    write_cifar(tmp_path)
    (tmp_path / "cifar-10-batches-py" / "data_batch_3").unlink()
    with pytest.raises(UserError, match=r"lacks a file .*data_batch_3'\): complete .* or delete it") as error:
        load("dog").prepare()
    assert "could not be downloaded" not in str(error.value)


def test_another_resolution_is_refused(load):
    with pytest.raises(UserError, match=r"data\.resolution=64"):
        load("dog", resolution=64)


def test_the_real_subset_is_read(datasets, tmp_path, monkeypatch):
    monkeypatch.undo()
    data = CifarData("cifar10", str(datasets), CLASSES, 3, 32, verify=False, cache=str(tmp_path))
    data.prepare()
    assert (len(data.split("train")), len(data.split("test"))) == (8380, 1017)
    image = data.split("train").gather(np.arange(1))["image"]
    assert image.shape == (1, 3, 32, 32) and image.float().std() > 10
