"""Exports a synthetic data set: any number of images, and masks where the generator makes them, in constant memory."""

from __future__ import annotations

import logging
import math
import os
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import PIL
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor

from src.core.clock import Stream, random_generator
from src.core.environment import git_state
from src.core.errors import UserError
from src.core.pixels import to_unit_range
from src.data.description import image_size
from src.data.fingerprint import DataRecord
from src.data.mask_reduction import reduce_masks
from src.data.provenance import TrainingRecord
from src.pictures.sample_grid import save_grid
from src.release import masks
from src.release.copies import Originals
from src.release.folder import DataSetFolder
from src.release.journal import Journal
from src.release.png import SOFTWARE, is_whole, label_synthetic, save_synthetic
from src.release.real_data import mask_names
from src.training.restore import TrainedRun

log = logging.getLogger(__name__)

BATCH = 16  # images generated at once, always: a network rounds differently at another number, and bytes would change
MOST_DRAWS = 10  # per image wanted
PREVIEW = 32  # images in preview.png
NOTICE = (
    "All images and masks in this data set are synthetic: a neural network generated them, none shows a real patient. "
    "They are not for diagnosis."
)


@dataclass(frozen=True)
class Request:
    """What is asked of an export; the same request goes on in the folder of an earlier one.

    Args:
        n: images, all with masks that pass the checks.
        size: pixels on the longer side, at most the generator's resolution.
        seed: of the latents; image i depends on seed and i alone.
        bits: per pixel, 8, or 16 for grey images.
        reject: leave out images whose masks do not pass ``limits``; false: keep them and say so in manifest.csv.
        min_distance: leave out images nearer than this to an original (``src.release.copies``); None: do not look.

    Raises:
        UserError: a value out of its range.
    """

    n: int
    size: int
    seed: int = 0
    bits: int = 8
    reject: bool = True
    limits: masks.MaskLimits = field(default_factory=masks.MaskLimits)
    min_distance: float | None = None

    def __post_init__(self) -> None:
        for name, least in (("n", 1), ("size", 1), ("seed", 0)):
            value = getattr(self, name)
            if not isinstance(value, int) or isinstance(value, bool) or value < least:
                raise UserError(f"{name}={value} must be an integer of at least {least}")
        if self.bits not in (8, 16):
            raise UserError(f"bits={self.bits} must be 8 or 16")
        distance = self.min_distance
        if distance is not None and not (_is_number(distance) and 0 < distance < math.inf):
            raise UserError(f"copies.min_distance={distance} must be a number above 0, or null not to look")


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


class TooFewPass(UserError):
    """Of the images that were made, too few pass the checks."""


class Export:
    """One data set in ``folder``.

    Args:
        originals: for ``min_distance``: the real images that the generator learned from.
        facts: of the real images, for who reads ``dataset.json``.
    """

    def __init__(
        self,
        run: TrainedRun,
        request: Request,
        folder: Path,
        originals: Originals | None = None,
        facts: Mapping[str, Any] | None = None,
    ) -> None:
        data, resolution = run.settings["data"], run.module.schedule.resolution
        self.run, self.request, self.originals, self.facts = run, request, originals, facts or {}
        self.path, self.folder = folder, DataSetFolder(folder)
        self.channels = data["channels"]
        self.masks = mask_names(run)
        classes = data.get("classes") or []
        self.classes = classes if len(classes) == 1 else []  # one of several is not known of an image
        if request.size > resolution:
            raise UserError(f"size={request.size} is more than the generator's {resolution} pixels a side: lower it")
        self.frame = image_size(request.size, data.get("aspect", (1, 1)))
        if request.bits == 16 and self.channels != 1:
            raise UserError("bits=16 is for grey images, and this generator makes colour: use bits=8")
        if request.min_distance is not None and originals is None:
            raise ValueError("min_distance needs the originals")
        if unknown := [name for name in request.limits.may_be_empty if name not in self.masks]:
            raise UserError(
                f"masks.may_be_empty names {unknown[0]!r}, but this run makes "
                f"{'the masks ' + ', '.join(self.masks) if self.masks else 'no masks'}"
            )
        for name in self.masks:
            if name in (".", "..") or Path(name).name != name:
                raise UserError(f"the mask name {name!r} cannot be the name of a folder: rename it in the data")

    def write(self, force: bool = False, progress: Callable[[int], None] = lambda done: None) -> bool:
        """Write what is missing and return whether anything was; ``progress`` gets the number of images written.

        Raises:
            UserError: the folder holds something else (``force`` replaces another export) or is in use; too few
                images pass the checks; the generator's values are not finite.
        """
        with self.folder.locked():
            self.folder.claim(self.identity(), force)
            if self.folder.card().get("complete"):
                return False
            self.folder.write_card(self._card())
            for part in ("images", *(f"masks/{name}" for name in self.masks)):
                (self.path / part).mkdir(parents=True, exist_ok=True)
            rejected = self._write_images(progress)
            self._write_preview()
            os.sync()
            self.folder.write_card({**self._card(), "complete": True, "rejected": rejected})
        return True

    def _write_images(self, progress: Callable[[int], None]) -> dict[str, int]:
        """Write the images that are missing and return how many were rejected, by reason."""
        columns = ("file", "seed", "index", "class", "masks_ok")
        manifest = Journal(self.path / "manifest.csv", columns)
        rejected = Journal(self.path / "rejected.csv", ("index", "reason"))
        self._drop_damaged(manifest, rejected)
        done = len(manifest.indices())
        first = max([*manifest.indices(), *rejected.indices()], default=-1) + 1
        progress(done)
        for index, image, mask, fault, near in self._candidates(first):
            if done == self.request.n:
                break
            if index >= MOST_DRAWS * self.request.n:
                reasons = Counter(row["reason"] for row in rejected.rows()).most_common()
                raise TooFewPass(
                    f"only {done} of {index} images pass the checks, n={self.request.n} are wanted "
                    f"({', '.join(f'{reason} {count}' for reason, count in reasons)}): train longer, loosen "
                    "masks.… or copies.… (conf/generate.yaml), or keep bad masks with masks.reject=false"
                )
            if near or (fault and self.request.reject):
                rejected.append([index, "copy" if near else fault])
                continue
            name = f"{index:06d}.png"
            facts = self._stamp(index)
            for kind, pixels in zip(self.masks, mask, strict=True):
                save_synthetic(pixels.astype(np.uint8) * 255, self.path / "masks" / kind / name, facts)
            save_synthetic(image, self.path / "images" / name, facts)
            masks_ok = ("" if not self.masks else "false" if fault else "true",)
            manifest.append([f"images/{name}", self.request.seed, index, *(self.classes or [""]), *masks_ok])
            done += 1
            progress(done)
        return dict(Counter(row["reason"] for row in rejected.rows()).most_common())

    def _drop_damaged(self, manifest: Journal, rejected: Journal) -> None:
        """Forget the images from the first on that a power cut left damaged: they are made anew."""
        for row in manifest.rows():
            name = Path(row["file"]).name
            if not all(is_whole(path) for path in self._files(name)):
                log.warning(f"{self.path / row['file']} is damaged or gone: made anew, and all that follow")
                manifest.drop_from(int(row["index"]))
                rejected.drop_from(int(row["index"]))
                return

    def _candidates(self, first: int) -> Iterator[tuple[int, np.ndarray, np.ndarray, str | None, bool]]:
        """From index ``first`` on: index, pixels, masks (K, H, W), their fault, and whether it is a copy."""
        start = first - first % BATCH
        while True:
            images = self.generate(start)
            made = masks.binary(images[:, self.channels :])
            faults = masks.find_faults(made, self.masks, self.request.limits)
            images = images[:, : self.channels]
            near = [False] * BATCH
            if self.request.min_distance is not None and self.originals is not None:
                _, distance = self.originals.nearest(images)
                near = (distance < self.request.min_distance).tolist()
            pixels = to_pixels(images, self.request.bits)
            for i in range(first - start, BATCH):
                yield start + i, pixels[i], made[i], faults[i], near[i]
            start = first = start + BATCH

    def generate(self, start: int) -> Tensor:
        """Images start … start + BATCH − 1 with their masks, (BATCH, C + K, size, size) in [-1, 1], on the CPU."""
        latent = self.run.module.latent
        latents = [
            latent.sample(1, random_generator(self.request.seed, Stream.GENERATION, index))
            for index in range(start, start + BATCH)
        ]
        return shrink(self.run.module.sample(torch.cat(latents)).float().cpu(), self.channels, self.frame)

    def _stamp(self, index: int | None = None) -> dict[str, str]:
        generator = f"{self.run.module.name} of run {self.run.folder.resolve().name}, {self.run.checkpoint.name}"
        facts = {"Generator": generator, "Seed": str(self.request.seed)}
        return facts if index is None else {**facts, "Index": str(index)}

    def identity(self) -> dict[str, Any]:
        """What two visits to a folder must agree on, and what decides every byte of it."""
        run = self.run
        return {
            **asdict(self.request),
            "limits": {**asdict(self.request.limits), "may_be_empty": list(self.request.limits.may_be_empty)},
            "channels": self.channels,
            "masks": list(self.masks),
            "classes": list(self.classes),
            "generator": {
                "run": run.folder.resolve().name,
                "model": run.module.name,
                "data": run.settings["data"].get("name"),
                "checkpoint": run.checkpoint.name,
                "images_shown": run.module.clock.images,
                "weights": run.digest(),
                "ema": run.module.ema is not None,
            },
        }

    def _card(self) -> dict[str, Any]:
        versions = {"torch": torch.__version__, "pillow": PIL.__version__, "git": git_state()}
        card = {"notice": NOTICE, "complete": False, **self.identity(), "software": SOFTWARE, "versions": versions}
        card |= self.facts
        if (data := DataRecord.read(self.run.folder)) is not None:
            card["data_fingerprint"] = data.fingerprint
        if record := TrainingRecord.read(self.run.folder):
            card["training_images"] = sorted(record.images)  # no cases: who guesses a patient's number could confirm it
        return card

    def _write_preview(self) -> None:
        rows = Journal(self.path / "manifest.csv", ()).rows()[:PREVIEW]
        shown = torch.stack([self._read(Path(row["file"]).name) for row in rows])
        save_grid(shown, self.path / "preview.png", self.channels)
        label_synthetic(self.path / "preview.png", self._stamp())

    def _files(self, name: str) -> list[Path]:
        """The files of an image: itself and its masks."""
        return [self.path / "images" / name, *(self.path / "masks" / kind / name for kind in self.masks)]

    def _read(self, name: str) -> Tensor:
        """An image written earlier and its masks, (C + K, size, size) in [-1, 1]."""
        pixels = [np.atleast_3d(np.array(Image.open(file))) for file in self._files(name)]
        planes = [to_unit_range(torch.from_numpy(plane)[None]) for plane in pixels]
        return torch.cat([plane[0].permute(2, 0, 1) for plane in planes])


def shrink(images: Tensor, channels: int, frame: tuple[int, int]) -> Tensor:
    """(N, C + K, H, W) in [-1, 1] at ``frame`` (height, width): images averaged, the masks behind them as real ones."""
    if images.shape[2:] == frame:
        return images
    small = torch.from_numpy(reduce_masks(masks.binary(images[:, channels:]), frame))
    return torch.cat([F.interpolate(images[:, :channels], size=frame, mode="area"), small * 2.0 - 1], 1)


def to_pixels(images: Tensor, bits: int) -> np.ndarray:
    """(N, C, H, W) in [-1, 1] → (N, H, W), or (N, H, W, 3) in colour, uint8 or uint16, rounded."""
    top = 2**bits - 1
    pixels = images.clamp(-1, 1).double().add(1).mul(top / 2).round().numpy()
    pixels = pixels.astype(np.uint8 if bits == 8 else np.uint16).transpose(0, 2, 3, 1)
    return np.ascontiguousarray(pixels[..., 0] if images.shape[1] == 1 else pixels)
