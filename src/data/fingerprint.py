"""What a run learned from, image by image: one that is repeated does not go on with other data without a word."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from src.core.atomic import write_atomically
from src.core.errors import UserError
from src.data.base import ImageData
from src.data.store import Split

FILE = "data.json"  # in a run folder and in that of a study
Facts = Sequence[str]  # of an image: its split, and digests of its pixels, of its masks, and of its class and case


@dataclass(frozen=True)
class DataRecord:
    """All images of a data set as they are decoded, so that new times or places of the same files change nothing.

    Args:
        images: by a digest of the name; no name is kept.
        training: digest of the images that are learned from where synthetic ones are among them, else empty.
    """

    images: Mapping[str, Facts]
    training: str = ""

    @classmethod
    def of(cls, data: ImageData, training: Split | None = None) -> DataRecord:
        images: dict[str, Facts] = {}
        for name, split in data.splits.items():
            cases = split.cases_or_files()
            for place, (file, row) in enumerate(zip(split.files(), split.rows, strict=True)):
                store = split.store
                masks = "" if store.masks is None else _digest(store.masks[row])
                label = _digest(f"{store.labels[row]}:{cases[place]}".encode())
                key = _digest(file.encode())
                key = key if key not in images else _digest(f"{name}:{file}".encode())  # of two stores
                images[key] = (name, _digest(store.images[row]), masks, label)
        return cls(images, "" if training is None else _digest_all(training))

    @property
    def fingerprint(self) -> str:
        """One digest of all of it."""
        facts = sorted((key, *facts) for key, facts in self.images.items())
        return _digest(json.dumps([facts, self.training]).encode())

    def difference(self, now: DataRecord) -> str:
        """What ``now`` has that is not here, and the reverse, as "2 images added"; empty where all is equal."""
        both = self.images.keys() & now.images.keys()
        pairs = [(self.images[key], now.images[key]) for key in both]
        counts = (
            ("image", "added", len(now.images.keys() - both)),
            ("image", "gone", len(self.images.keys() - both)),
            ("image", "changed", sum(a[1] != b[1] for a, b in pairs)),
            ("mask", "changed", sum(a[2] != b[2] for a, b in pairs)),
            ("image", "in another split", sum(a[0] != b[0] for a, b in pairs)),
            ("image", "of another class or case", sum(a[3] != b[3] for a, b in pairs)),
        )
        found = [f"{count:,} {what}{'s' * (count != 1)} {how}" for what, how, count in counts if count]
        if not found and self.training != now.training:
            found = ["the synthetic images differ"]
        return ", ".join(found)

    @classmethod
    def read(cls, folder: Path) -> DataRecord | None:
        """That of a run or study; None where it was made before they kept one."""
        path = folder / FILE
        if not path.exists():
            return None
        try:
            stored = json.loads(path.read_text())
            record = cls({key: tuple(facts) for key, facts in stored["images"].items()}, stored["training"])
            if not all(len(facts) == 4 for facts in record.images.values()):
                raise ValueError("facts are missing")
            return record
        except (ValueError, TypeError, KeyError, AttributeError) as problem:
            raise UserError(
                f"{path} is damaged: restore it, or delete it, after which nobody checks that the data are the same"
            ) from problem

    def write(self, folder: Path) -> None:
        write_atomically(folder / FILE, json.dumps({"images": self.images, "training": self.training}))


def check_same_images(run: Path, data: ImageData) -> None:
    """Raise UserError where ``data``, of which the settings of ``run`` tell, are not as they were in its training."""
    before = DataRecord.read(run)
    if before is not None and (what := DataRecord(before.images).difference(DataRecord.of(data))):
        raise UserError(
            f"{run} was made from other data than are there now ({what}): put them back, or name the data that it is "
            "to be scored against, e.g. data=folder data.root=<folder>"
        )


def _digest(content: np.ndarray | bytes) -> str:
    return hashlib.blake2b(content if isinstance(content, bytes) else content.tobytes(), digest_size=8).hexdigest()


def _digest_all(split: Split) -> str:
    """Of the images, masks and labels of ``split``, in order."""
    total, store = hashlib.blake2b(digest_size=8), split.store
    for row in split.rows:
        total.update(store.images[row].tobytes())
        total.update(b"" if store.masks is None else store.masks[row].tobytes())
    total.update(store.labels[split.rows].tobytes())
    return total.hexdigest()
