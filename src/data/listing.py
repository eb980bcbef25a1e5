"""Finds the images of a folder, their masks and their classes, without opening them."""

from __future__ import annotations

import logging
import os
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from src.core.errors import UserError
from src.data.class_names import match_classes
from src.data.decode import SUFFIXES
from src.data.grouping import natural_key

logger = logging.getLogger(__name__)


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
    class_patterns: Mapping[str, str] | None = None,
) -> list[Sample]:
    """All images of ``root`` in natural order of their paths; other files are counted in the log, hidden ones ignored.

    ``class_patterns``: by class, a regular expression of the names of its sub-folders; ``classes`` then choose nothing.

    ``images`` and ``mask_folders`` are sub-folders of the root, or of each of ``split_folders``. A mask has the path
    of its image within its folder, but for the last suffix. Raises UserError where a folder is missing or empty,
    holds images only in folders below it, or two files that differ in their suffix only.
    """
    if not root.is_dir():
        raise UserError(f"data.root: there is no folder {root}: check the path")
    samples: list[Sample] = []
    passed_over: list[Path] = []
    parts: list[tuple[str | None, str]] = [*split_folders.items()] if split_folders else [(None, ".")]
    for split, folder in parts:
        part = root / folder
        image_folder = _sub_folder(part, images or ".", "data.images" if images else f"data.split_folders.{split}")
        image_folder = _within_its_like(image_folder) if images else image_folder
        masks = {name: _sub_folder(part, sub, f"data.mask_folders.{name}") for name, sub in mask_folders.items()}
        by_class = _images_by_class(image_folder, set(masks.values()), None if class_patterns else classes)
        labels = _labels(by_class, class_patterns, image_folder)
        for sub_folder, paths in by_class.items():
            label = labels[sub_folder]
            found = [_by_stem(_image_files(mask / (sub_folder or "")), "masks") for mask in masks.values()]
            for stem, path in _by_stem(paths, "images").items():
                own = tuple(stems.get(stem) for stems in found)
                samples.append(Sample(path.relative_to(root).as_posix(), path, own, label, split))
        taken = {path for paths in by_class.values() for path in paths}
        unused = {image_folder / name for name in _folder_names(image_folder) if classes and name not in classes}
        passed_over += [path for path in _files_below(image_folder, unused.union(masks.values())) if path not in taken]
    _log_passed_over(root, passed_over)
    return sorted(samples, key=lambda sample: (natural_key(sample.file), sample.file))


def _images_by_class(folder: Path, masks: set[Path], classes: Sequence[str] | None) -> dict[str | None, list[Path]]:
    flat = _image_files(folder)
    subs = [folder / name for name in _folder_names(folder) if folder / name not in masks]
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
    for sub in subs:
        deep = [path for path in _files_below(sub, masks) if _is_image(path)] if sub.name not in by_class else []
        if deep and not classes:
            raise UserError(f"{sub} holds images only in folders below it, such as {deep[0]}: move them into {sub}")
    return {name: files for name, files in by_class.items() if classes is None or name in classes}


def _labels(
    names: Collection[str | None], patterns: Mapping[str, str] | None, folder: Path
) -> Mapping[str | None, str | None]:
    """The class of each sub-folder by its name, None for images that lie in none."""
    subs = [name for name in names if name is not None]
    if patterns and not subs:
        raise UserError(f"data.class_patterns is set, but {folder} has no sub-folders of images: set it to null")
    found = match_classes(subs, patterns, str(folder)) if patterns else {name: name for name in subs}
    return {name: name and found[name] for name in names}


def _log_passed_over(root: Path, files: Sequence[Path]) -> None:
    deep = [path for path in files if _is_image(path)]
    other = {path.suffix.lower() or "no suffix" for path in files if not _is_image(path)}
    texts = [f"{len(deep)} images in deeper folders, such as {deep[0].relative_to(root)}"] if deep else []
    if other:
        texts.append(f"{len(files) - len(deep)} files of other suffixes ({', '.join(sorted(other))})")
    if texts:
        logger.log(logging.WARNING if deep else logging.INFO, "%s: passed over %s", root, " and ".join(texts))


def _folder_names(folder: Path) -> list[str]:
    return [sub.name for sub in folder.iterdir() if sub.is_dir() and sub.name[0] != "."]


def _files_below(folder: Path, without: set[Path]) -> Iterator[Path]:
    """Files of ``folder`` and of all folders below it, but for the hidden and those of the folders ``without``."""
    for parent, subs, files in os.walk(folder):
        subs[:] = [sub for sub in subs if sub[0] != "." and Path(parent, sub) not in without]
        yield from (Path(parent, file) for file in files if file[0] != ".")


def _is_image(path: Path) -> bool:
    return path.suffix.lower() in SUFFIXES


def _image_files(folder: Path) -> list[Path]:
    files = folder.iterdir() if folder.is_dir() else ()
    return [path for path in files if _is_image(path) and path.name[0] != "." and path.is_file()]


def _by_stem(files: Sequence[Path], kind: str) -> dict[str, Path]:
    """The files of one folder by stem. Two of one stem are most likely one picture, saved twice."""
    stems: dict[str, Path] = {}
    for path in sorted(files):
        if path.stem in stems:
            raise UserError(f"two {kind} of one name, {stems[path.stem]} and {path.name}: remove or rename one")
        stems[path.stem] = path
    return stems


def _within_its_like(folder: Path) -> Path:
    """The folder of the same name that is all that a folder holds, as archives are unpacked into one more."""
    while [path.name for path in folder.iterdir() if path.name[0] != "."] == [folder.name]:
        folder = folder / folder.name
    return folder


def _sub_folder(parent: Path, name: str, option: str) -> Path:
    folder = parent / name
    if not folder.is_dir():
        raise UserError(f"{option}: there is no folder {folder}: check the name")
    return folder
