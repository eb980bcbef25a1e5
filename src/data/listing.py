"""Finds the images of a folder, their masks and their classes, without opening them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from src.data.decode import SUFFIXES
from src.data.grouping import natural_key
from src.errors import UserError


@dataclass(frozen=True)
class Sample:
    """One image of a data set and what belongs to it."""

    file: str  # path of the image below the root, with forward slashes
    image: Path
    masks: tuple[Path | None, ...]  # one per mask folder, None where it is missing
    label: str | None  # name of its class, None in a flat folder
    split: str | None  # where the data come split


def list_samples(
    root: Path,
    images: str | None,
    mask_folders: Mapping[str, str],
    classes: Sequence[str] | None,
    split_folders: Mapping[str, str] | None,
) -> list[Sample]:
    """All images below ``root`` in natural order of their paths; other and hidden files are ignored.

    ``images`` and ``mask_folders`` are sub-folders of the root, or of each of ``split_folders``. A mask has the path
    of its image within its folder, but for the last suffix. Raises UserError where a folder is missing or empty, and
    where two files of a folder differ in their suffix only.
    """
    if not root.is_dir():
        raise UserError(f"data.root: there is no folder {root}: check the path")
    samples: list[Sample] = []
    parts: list[tuple[str | None, str]] = [*split_folders.items()] if split_folders else [(None, ".")]
    for split, folder in parts:
        part = root / folder
        image_folder = _sub_folder(part, images or ".", "data.images" if images else f"data.split_folders.{split}")
        masks = {name: _sub_folder(part, sub, f"data.mask_folders.{name}") for name, sub in mask_folders.items()}
        by_class = _images_by_class(image_folder, set(masks.values()), classes)
        for label, paths in by_class.items():
            found = [_by_stem(_image_files(mask_folder / (label or "")), "masks") for mask_folder in masks.values()]
            for stem, path in _by_stem(paths, "images").items():
                own = tuple(stems.get(stem) for stems in found)
                samples.append(Sample(path.relative_to(root).as_posix(), path, own, label, split))
    return sorted(samples, key=lambda sample: natural_key(sample.file))


def _images_by_class(folder: Path, masks: set[Path], classes: Sequence[str] | None) -> dict[str | None, list[Path]]:
    flat = _image_files(folder)
    subs = [sub for sub in folder.iterdir() if sub.is_dir() and not sub.name.startswith(".") and sub not in masks]
    by_class: dict[str | None, list[Path]] = {sub.name: files for sub in subs if (files := _image_files(sub))}
    if flat and by_class:
        raise UserError(
            f"{folder} holds images and sub-folders of images ({', '.join(sorted(map(str, by_class)))}): "
            "name the folder of the images in data.images, or move the images into one sub-folder per class"
        )
    if not flat and not by_class:
        raise UserError(
            f"{folder} holds no images ({', '.join(sorted(SUFFIXES))}), nor do its sub-folders: check data.root, "
            "data.images and data.split_folders"
        )
    if flat:
        if classes:
            raise UserError(f"data.classes is set, but {folder} has no sub-folders of images: set it to null")
        return {None: flat}
    for name in classes or ():
        if name not in by_class:
            raise UserError(
                f"data.classes names {name!r}, but {folder} has only {', '.join(sorted(map(str, by_class)))}"
            )
    return {name: files for name, files in by_class.items() if classes is None or name in classes}


def _image_files(folder: Path) -> list[Path]:
    files = folder.iterdir() if folder.is_dir() else ()
    return [path for path in files if path.suffix.lower() in SUFFIXES and path.name[0] != "." and path.is_file()]


def _by_stem(files: Sequence[Path], kind: str) -> dict[str, Path]:
    """The files of one folder by stem. Two of one stem are most likely one picture, saved twice."""
    stems: dict[str, Path] = {}
    for path in sorted(files):
        if path.stem in stems:
            raise UserError(f"two {kind} of one name, {stems[path.stem]} and {path.name}: remove or rename one")
        stems[path.stem] = path
    return stems


def _sub_folder(parent: Path, name: str, option: str) -> Path:
    folder = parent / name
    if not folder.is_dir():
        raise UserError(f"{option}: there is no folder {folder}: check the name")
    return folder
