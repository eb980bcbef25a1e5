"""Masks in a JSON of COCO's form: polygons and run lengths, of images named in the file (Lin et al., 2014)."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from src.core.errors import UserError


class Annotated(NamedTuple):
    """The annotations of one image in a file."""

    file: Path
    image: int | str  # its id there


@dataclass(frozen=True)
class Annotations:
    """A file, read."""

    path: Path
    images: dict[int | str, dict[str, Any]]  # by id: file_name, height, width
    shapes: dict[int | str, list[dict[str, Any]]]  # by the image's id
    categories: dict[int, str]  # names by id

    @classmethod
    def read(cls, path: Path) -> Annotations:
        """Raises UserError where the file is not of that form, or pycocotools is not installed."""
        if find_spec("pycocotools") is None:
            raise UserError(
                f"{path} needs pycocotools: pip install pycocotools, or all formats: "
                "pip install -c constraints.txt -e '.[medical]'"
            )
        stat = path.stat()
        return _read(path, stat.st_size, stat.st_mtime_ns)

    def images_of(self, files: Sequence[str]) -> dict[str, Annotated]:
        """By file, the annotations of the image of its path, or else of its name.

        Raises UserError for images of one name.
        """
        named: dict[str, int | str] = {}
        for key, image in self.images.items():
            name = str(image["file_name"]).replace("\\", "/")
            if named.setdefault(name, key) != key:
                raise UserError(f"{self.path} names {name} twice: remove one of its images")
        found = {}
        for file in files:
            places = [place for place in range(len(file)) if place == 0 or file[place - 1] == "/"]
            own = [named[file[place:]] for place in places if file[place:] in named]
            if own:
                found[file] = Annotated(self.path, own[0])
        return found

    def missing(self, files: Sequence[str]) -> list[str]:
        """Images that the JSON names and ``files`` are not."""
        ends = {name.rsplit("/", 1)[-1] for name in files}
        names = (str(image["file_name"]).replace("\\", "/") for image in self.images.values())
        return [name for name in names if name.rsplit("/", 1)[-1] not in ends]

    def draw(self, image: int | str, categories: Sequence[int | str] | None, instances: bool = False) -> np.ndarray:
        """(H, W), 1 or, with ``instances``, a number each, inside of the shapes of ``categories``, ids or names.

        None: of all. Where shapes overlap the first has the pixel.

        Raises UserError for a category that there is not.
        """
        size = int(self.images[image]["height"]), int(self.images[image]["width"])
        wanted = None if categories is None else {self._category(category) for category in categories}
        mask = np.zeros(size, np.int64 if instances else np.uint8)
        for number, shape in enumerate(self.shapes.get(image, ()), 1):
            if (wanted is None or shape["category_id"] in wanted) and shape.get("segmentation"):
                mask[(_decode(shape["segmentation"], size) > 0) & (mask == 0)] = number if instances else 1
        return mask

    def _category(self, category: int | str) -> int:
        known = [key for key, name in self.categories.items() if category in (key, name)]
        if not known:
            names = ", ".join(f"{name} ({key})" for key, name in self.categories.items())
            raise UserError(f"data.mask_labels: {self.path} has no category {category}: it has {names}")
        return known[0]


@lru_cache(maxsize=8)
def _read(path: Path, size: int, time: int) -> Annotations:
    try:
        content = json.loads(path.read_text(encoding="utf-8-sig"))
        images = {image["id"]: image for image in content["images"] if image["file_name"]}
        shapes: dict[int | str, list[dict[str, Any]]] = {}
        for shape in content["annotations"]:
            if shape["image_id"] not in images:
                raise UserError(f"{path}: an annotation is of the image {shape['image_id']}, which is not in the file")
            shapes.setdefault(shape["image_id"], []).append(shape)
        categories = {int(category["id"]): str(category["name"]) for category in content["categories"]}
    except (ValueError, TypeError, KeyError) as problem:
        raise UserError(
            f"{path} is no JSON of COCO's form, with images, annotations and categories: {problem!r}"
        ) from problem
    return Annotations(path, images, shapes, categories)


def _decode(segmentation: Any, size: tuple[int, int]) -> np.ndarray:
    """Polygons [[x, y, x, y, …], …], or run lengths, as a list or compressed."""
    from pycocotools import mask

    runs = mask.frPyObjects(segmentation, *size) if isinstance(segmentation, list) or isinstance(
        segmentation["counts"], list
    ) else segmentation  # fmt: skip
    return mask.decode(mask.merge(runs) if isinstance(runs, list) else runs)
