"""Exports a synthetic data set: any number of images, and masks where the generator makes them, in constant memory."""

from __future__ import annotations

import json
import logging
import os
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict
from functools import cached_property, partial
from pathlib import Path
from typing import Any

import numpy as np
import PIL
import torch
from torch import Tensor

from src.core.atomic import write_atomically
from src.core.clock import Stream, random_generator
from src.core.environment import git_state
from src.core.errors import UserError
from src.core.identity import digest
from src.data.description import image_size
from src.data.fingerprint import DataRecord
from src.data.provenance import TrainingRecord
from src.data.scale import Scale
from src.pictures.sample_grid import save_grid
from src.release import card, croissant, masks, watermark
from src.release.card import DataSet, Publication
from src.release.content_credentials import ContentCredentials
from src.release.copies import Originals
from src.release.evidence import Evidence
from src.release.export_folder import DataSetFolder
from src.release.formats.base import Format
from src.release.formats.png import Png, relabel
from src.release.image_files import ImageFiles
from src.release.journal import Journal
from src.release.label import SOFTWARE, Label
from src.release.real_data import mask_names
from src.release.request import Request, TooFewPass, class_of
from src.release.resampling import shrink, to_pixels
from src.training.restore import TrainedRun

log = logging.getLogger(__name__)

BATCH = 16  # images generated at once, always: a network rounds differently at another number, and bytes would change
MOST_DRAWS = 10  # per image wanted
COLUMNS = ("file", "seed", "index", "class", "masks_ok", "sha256")  # of manifest.csv
LOOKED_AT = 100  # images in which the watermark is looked for when all are written
PREVIEW = 32  # images in preview.png
NOTICE = (
    "All images and masks in this data set are synthetic: a neural network generated them, none shows a real patient. "
    "They are not for diagnosis."
)


class Export:
    """One data set in ``folder``.

    Args:
        originals: for ``min_distance``: the real images that the generator learned from.
        facts: of the real images, for who reads ``dataset.json``.
        format: of the files; None: PNG.
        publication: for the dataset card.
        credentials: to sign the files with.
    """

    def __init__(
        self,
        run: TrainedRun,
        request: Request,
        folder: Path,
        originals: Originals | None = None,
        facts: Mapping[str, Any] | None = None,
        format: Format | None = None,
        publication: Publication | None = None,
        credentials: ContentCredentials | None = None,
    ) -> None:
        data, resolution = run.settings["data"], run.module.schedule.resolution
        self.run, self.request, self.originals, self.facts = run, request, originals, facts or {}
        self.path, self.folder = folder, DataSetFolder(folder)
        self.format, self.publication = format or Png(), publication or Publication()
        self.credentials = credentials
        self.channels = data["channels"]
        self.masks = mask_names(run)
        self.class_name = class_of(data.get("classes") or [], request.class_name, self.format)
        self.scale = Scale.read(run.folder) if request.units == "original" else None
        if self.scale is not None and not self.format.holds_units:
            raise UserError(f"format={self.format.name} holds no units=original: take dicom, nifti, tiff or npz")
        self.files = ImageFiles(folder, self.format, self.masks, self.class_name, credentials, self.scale)
        if request.size > resolution:
            raise UserError(f"size={request.size} is more than the generator's {resolution} pixels a side: lower it")
        self.frame = image_size(request.size, data.get("aspect", (1, 1)))
        if request.bits == 16 and self.channels != 1:
            raise UserError("bits=16 is for grey images, and this generator makes colour: use bits=8")
        if request.bits not in self.format.bits:
            raise UserError(
                f"format={self.format.name} holds no images of bits={request.bits}: use bits=8, or format=png"
            )
        if credentials is not None and not self.format.signable:
            raise UserError(f"format={self.format.name} holds no C2PA manifest: take png, imagefolder, jpeg or tiff")
        if request.watermark and min(self.frame) < watermark.SMALLEST:
            raise UserError(
                f"watermark=true needs images of at least {watermark.SMALLEST} pixels a side, these have "
                f"{min(self.frame)}: smaller ones lose it too often (docs/export.md)"
            )
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
            if (record := self.folder.card()).get("complete"):
                self._write_cards(record)  # what is known and said of it may have changed
                return False
            self.folder.write_card(self._card())
            self.files.make_folders()
            rejected = self._write_images(progress)
            self._write_preview()
            record = {**self._card(), "complete": True, "rejected": rejected, **self._look_for_mark()}
            self._write_cards(record)
            os.sync()
            self.folder.write_card(record)
        return True

    def _look_for_mark(self) -> dict[str, Any]:
        """How many of the first images bear the mark as they were written."""
        if not self.request.watermark:
            return {}
        rows = Journal(self.path / "manifest.csv", COLUMNS).rows()[:LOOKED_AT]
        found = sum(watermark.look_for(self.files.pixels(int(row["index"]))).is_marked for row in rows)
        if found < len(rows):
            log.warning(f"the watermark is not found in {len(rows) - found} of the first {len(rows)} images")
        return {"watermark_found": {"images": len(rows), "found": found}}

    def _write_cards(self, record: Mapping[str, Any]) -> None:
        """The dataset card for people and that for machines, where they are not there already."""
        data = DataSet(record, self.frame, self.format, Evidence.of(self.run), self.publication)
        croissant_text = json.dumps(croissant.croissant(data, self.path, COLUMNS), indent=1, ensure_ascii=False)
        for name, text in ((card.FILE, card.dataset_card(data)), (croissant.FILE, croissant_text)):
            path = self.path / name
            if not path.exists() or path.read_text() != text:
                write_atomically(path, text)

    def _write_images(self, progress: Callable[[int], None]) -> dict[str, int]:
        """Write the images that are missing and return how many were rejected, by reason."""
        manifest = Journal(self.path / "manifest.csv", COLUMNS)
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
            self.files.save(index, image, mask, partial(self._label, index))
            masks_ok = "" if not self.masks else "false" if fault else "true"
            file = self.files.image(index).relative_to(self.path).as_posix()
            manifest.append([file, self.request.seed, index, self.class_name, masks_ok, self.files.sha256(index)])
            done += 1
            progress(done)
        return dict(Counter(row["reason"] for row in rejected.rows()).most_common())

    def _drop_damaged(self, manifest: Journal, rejected: Journal) -> None:
        """Forget the images from the first on that a power cut left damaged: they are made anew."""
        for row in manifest.rows():
            index = int(row["index"])
            if row["sha256"] != self.files.sha256(index):
                log.warning(f"{self.path / row['file']} is damaged or gone: made anew, and all that follow")
                manifest.drop_from(index)
                rejected.drop_from(index)
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
            if self.request.watermark:
                images = torch.from_numpy(watermark.mark(images.numpy() + 1, 2) - 1)
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

    def _label(self, index: int | None = None, kind: str = "image") -> Label:
        generator = f"{self.run.module.name} of run {self.run.folder.resolve().name}, {self.run.checkpoint.name}"
        shows = {"Class": self.class_name} if self.class_name else {}
        scale = self.scale if kind == "image" and index is not None else None
        return Label(generator, self.request.seed, index, kind, self._case, shows, scale)

    @cached_property
    def _case(self) -> str:
        return digest(
            {
                "weights": self.run.digest(),
                **{k: getattr(self.request, k) for k in ("seed", "size", "bits", "watermark")},
            }
        )

    def identity(self) -> dict[str, Any]:
        """What two visits to a folder must agree on, and what decides every byte of it."""
        run = self.run
        return {
            **asdict(self.request),
            "limits": {**asdict(self.request.limits), "may_be_empty": list(self.request.limits.may_be_empty)},
            "channels": self.channels,
            "masks": list(self.masks),
            "classes": [self.class_name] if self.class_name else [],
            "format": {"name": self.format.name, **vars(self.format)},
            "signed_by": self.credentials and self.credentials.fingerprint,  # sha256 of the certificates
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
        facts = {"notice": NOTICE, "complete": False, **self.identity(), "software": SOFTWARE, "versions": versions}
        facts |= self.facts
        if self.scale is not None:
            facts["scale"] = asdict(self.scale)
        if (data := DataRecord.read(self.run.folder)) is not None:
            facts["data_fingerprint"] = data.fingerprint
        if record := TrainingRecord.read(self.run.folder):
            facts["training_images"] = sorted(
                record.images
            )  # no cases: who guesses a patient's number could confirm it
        return facts

    def _write_preview(self) -> None:
        rows = Journal(self.path / "manifest.csv", ()).rows()[:PREVIEW]
        shown = torch.stack([self.files.read(int(row["index"])) for row in rows])
        save_grid(shown, self.path / "preview.png", self.channels)
        relabel(self.path / "preview.png", self._label(), self.credentials)
