"""Shared fixtures: the command line in this process, in a folder of its own, with the real configuration."""

from __future__ import annotations

import contextlib
import copy
import json
import logging
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import hydra
import pytest

if "OMP_NUM_THREADS" not in os.environ:
    os.environ["OMP_NUM_THREADS"] = "1"  # read when torch is imported: under pytest -n each core has a process

import torch
from hydra._internal.core_plugins.file_config_source import FileConfigSource
from hydra.core.global_hydra import GlobalHydra
from hydra.plugins.config_source import ConfigResult
from omegaconf import DictConfig

if not torch.cuda.is_available():
    os.environ["TRITON_INTERPRET"] = "1"  # its kernels run in Python then; read when it is imported

from src.command_line import launch as cli
from src.command_line import override_parsing, overrides, schema
from src.command_line.schema import CONF
from src.inspection import command
from src.train import PATHS, compare_sweep
from src.training.job import train

ROOT = Path(__file__).resolve().parents[1]
os.environ["PYTHONPATH"] = str(ROOT)  # of the commands that are started in other folders
# Curves and grids are drawn at the beginning and the end alone: a picture takes as long as twenty steps.
SMALL = ("budget=smoke", "logger=csv", "trainer.threads=1", "every.sample=1_024")
TRAIN = [sys.executable, "-m", "src.train"]
TINY = (*SMALL, "model.generator.width=0.25", "model.discriminator.width=0.25")  # for the DCGANs


def read_json(path: Path) -> dict:
    return json.loads(path.read_text())


@pytest.fixture(scope="session")
def datasets() -> Path:
    """The folder of real data sets; the test is skipped where it is absent."""
    folder = Path(os.environ.get("DATA_DIR", ROOT.parent / "shared" / "datasets"))
    if not folder.is_dir():
        pytest.skip(f"no real data sets in {folder}: set DATA_DIR")
    return folder


@pytest.fixture(autouse=True, scope="session")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Decoded data of the tests stays out of the user's cache."""
    folder = tmp_path_factory.mktemp("cache")
    before = os.environ.get("XDG_CACHE_HOME")
    os.environ["XDG_CACHE_HOME"] = str(folder)
    yield folder
    if before is None:
        del os.environ["XDG_CACHE_HOME"]
    else:
        os.environ["XDG_CACHE_HOME"] = before


@pytest.fixture(autouse=True, scope="session")
def settings_are_read_once() -> Iterator[None]:
    """Every command composes its settings three times, most of whose time goes into parsing the files of conf/."""
    read, kept = FileConfigSource.load_config, {}

    def load_config(source: FileConfigSource, name: str) -> ConfigResult:
        if source.path != str(CONF):
            return read(source, name)
        if name not in kept:
            kept[name] = read(source, name)
        return copy.deepcopy(kept[name])

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(FileConfigSource, "load_config", load_config)
        yield


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of one megabyte; the test is skipped where none can be mounted."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(folder)]
    if shutil.which("mount") is None or subprocess.run(mount, capture_output=True).returncode:
        pytest.skip("a small disk can be mounted by root on Linux alone")
    yield folder
    subprocess.run(["umount", "-l", str(folder)], check=True)


def fill(disk: Path) -> Path:
    """Leave no room on a disk; returns the file that takes it."""
    file = disk / "filler"
    with open(file, "wb", buffering=0) as stream, contextlib.suppress(OSError):
        while True:
            stream.write(bytes(4096))
    return file


@pytest.fixture
def compose() -> Iterator[Callable[..., DictConfig]]:
    """Composes the real training configuration with overrides."""
    with hydra.initialize_config_dir(str(CONF), version_base="1.3"):
        yield lambda *overrides: hydra.compose("train", list(overrides))


@dataclass(frozen=True)
class Outcome:
    status: int
    out: str
    err: str

    @property
    def error(self) -> str:
        """The one line on stderr that begins with ``error:``."""
        lines = [line for line in self.err.splitlines() if line.startswith("error:")]
        assert len(lines) == 1, self.err
        return lines[0]


@pytest.fixture
def run_train(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> Callable[..., Outcome]:
    """``python -m src.train`` with these arguments in an empty folder, in this process."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("DATA_DIR", raising=False)
    handlers = logging.root.handlers[:]

    def run(*arguments: str) -> Outcome:
        monkeypatch.setattr(sys, "argv", ["train", *arguments])
        status = 0
        try:
            cli.launch(train, "train", after_sweep=compare_sweep, paths=PATHS)
        except SystemExit as stop:
            status = int(stop.code or 0)
        finally:
            GlobalHydra.instance().clear()
            logging.root.handlers[:] = handlers  # those of the run write to the stderr of then
            logging.getLogger("optuna").handlers.clear()
        out, err = capfd.readouterr()
        return Outcome(status, out, err)

    return run


@pytest.fixture
def run_tiny(run_train: Callable[..., Outcome]) -> Callable[..., Outcome]:
    """``run_train`` with networks and budget small enough for seconds."""
    return lambda *arguments: run_train(*TINY, *arguments)


@pytest.fixture
def conf(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of conf/ that may be written to."""
    own = tmp_path / "conf"
    shutil.copytree(CONF, own)
    for module in (schema, overrides, override_parsing, command):
        monkeypatch.setattr(module, "CONF", own)
    return own
