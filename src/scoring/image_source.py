"""What is evaluated: a trained GAN or a folder of images."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor

from src.command_line.override_parsing import key_of
from src.command_line.resolvers import run_name
from src.core.errors import UserError
from src.data.description import Description
from src.data.folder import FolderData
from src.data.formats import is_readable, readable_suffixes
from src.data.training_images import refuse_other_units
from src.scoring.evaluator import Evaluator
from src.scoring.image_features import shuffled, split_batches
from src.training.restore import TrainedRun, load_generator

NO_MATTER = ("out", "against", "batch_size", "device", "threads", "logger")  # settings that change no score


@dataclass(frozen=True)
class ImageSource:
    """``run`` is None for a folder of images."""

    path: Path
    run: TrainedRun | None

    @property
    def name(self) -> str:
        path = (self.run.folder if self.run else self.path).absolute()
        return f"{path.parent.name}/{path.name}" if path.name == "images" else path.name  # every export has images/

    @property
    def module(self) -> Any:
        return self.run.module if self.run else None

    def out(self, outputs: Path, asked: Sequence[str]) -> Path:
        """Where its scores go unless the user says otherwise: a folder for everything that decides them.

        Args:
            outputs: folder of all runs.
            asked: the overrides ``key=value`` on the command line.
        """
        deciding = [
            override.replace("'", "") for override in asked if key_of(override).partition(".")[0] not in NO_MATTER
        ]
        if self.run is None:
            return outputs / "evaluate" / _folder_name(deciding)
        others = [override for override in deciding if key_of(override) != "run"]
        return self.run.folder / "evaluation" / self.run.checkpoint.stem / _folder_name(others)

    def batches(self, evaluator: Evaluator, count: int) -> Iterator[Tensor]:
        """``count`` images of it, by the evaluator's seed.

        Raises:
            UserError: there are fewer, or they do not fit.
        """
        description = evaluator.data.description
        if self.run is not None:
            self._check_fit(description)
            return evaluator.generated(self.module, count)
        refuse_other_units(self.path)
        within = self.path / "images" if (self.path / "images").is_dir() else self.path  # what src.generate writes
        split = FolderData(
            root=str(within),
            mask_folders={},  # all are images
            layout="flat" if any(map(_is_image, within.iterdir())) else "class",
            cache=str(evaluator.cache),
            name="scored",
            resolution=description.resolution,
            channels=description.channels,
            aspect=description.aspect,
            splits={"train": 1.0},
            questions=False,
        ).split("train")
        if len(split) < count:
            raise UserError(f"run={self.path} has {len(split)} images, fewer than n={count}: set n={len(split)}")
        return split_batches(shuffled(split, evaluator.seed, count), evaluator.batch_size)

    def _check_fit(self, description: Description) -> None:
        assert self.run is not None
        own = self.run.settings["data"]
        for key in ("channels", "resolution"):
            if own.get(key) != getattr(description, key):
                raise UserError(
                    f"run={self.path} makes images of {key} {own.get(key)}, the data have {getattr(description, key)}: "
                    "leave data= out to score it against its own"
                )


def _folder_name(asked: Sequence[str]) -> str:
    """As of a run, but one that ``against=[…]`` takes without quotes."""
    return run_name(None, asked).replace("=", "-").replace(",", "_")


def open_source(path: Path) -> ImageSource:
    """Raises UserError where there is neither a run of a GAN with a checkpoint nor a folder of images."""
    if not path.exists():
        raise UserError(f"run={path} does not exist: give a run folder, a checkpoint or a folder of images")
    if path.is_dir() and not (path / "config.yaml").exists():
        if any(path.glob("*/config.yaml")):
            raise UserError(f"run={path} holds several runs: name one of them")
        if _has_images(path):
            return ImageSource(path, None)
        raise UserError(
            f"run={path} is neither a run (no config.yaml) nor a folder of images ({', '.join(readable_suffixes())})"
        )
    return ImageSource(path, load_generator(path))


def _has_images(folder: Path) -> bool:
    return any(_is_image(file) for pattern in ("*", "*/*") for file in folder.glob(pattern))


def _is_image(file: Path) -> bool:
    return file.is_file() and is_readable(file)
