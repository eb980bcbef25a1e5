"""Folders that can be read in two ways: each stops with the override that settles it."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from shlex import quote

from src.core.errors import UserError
from src.data.pattern import split_path
from src.data.proposal import ends_beside, propose
from src.data.tree import Tree, count_suffixes
from src.data.words import SPLITS, mask_end, means_masks, split_of

PANNUKE = re.compile(r"(?:(?P<above>.+?)/)??(?:fold|part)[ _]?\d/(?:.+/)?masks\.npy", re.I)
NO_MASKS = "data.mask_folders={} says that they are no masks"


def split_folders(names: Sequence[str], root: Path) -> dict[str, str]:
    """The folder of each split by its name. Raises UserError where that is not clear."""
    found: dict[str, str] = {}
    for name in names:
        split = split_of(name)
        if split is not None and found.setdefault(split, name) != name:
            raise UserError(f"data.layout=split: {root} has {found[split]} and {name}: name one in data.split_folders")
    if not found:
        raise UserError(
            f"data.layout=split: no folder of {root} is named after a split, there are {', '.join(names) or 'none'}: "
            "name them, data.split_folders='{train: <folder>, test: <folder>}'"
        )
    return {split: found[split] for split in ("train", "val", "test") if split in found}


def refuse_pannuke(files: Sequence[str], root: Path) -> None:
    """Arrays of patches in folds have a reader of their own."""
    for file in files:
        if found := PANNUKE.fullmatch(file):
            at = root / found["above"] if found["above"] else root
            raise UserError(f"{root} holds PanNuke's folds, such as {file}: data=pannuke data.root={quote(str(at))}")


def refuse_splits(names: Sequence[str], root: Path) -> None:
    """Sub-folders train and test are no classes."""
    if len(names) > 1 and None not in (splits := [split_of(name) for name in names]):
        named = sorted(zip(splits, names, strict=True), key=lambda pair: [*SPLITS].index(str(pair[0])))
        said = ", ".join(f"{split}: {name}" for split, name in named)
        if len(set(splits)) < len(names):
            said = "train: <folder>, test: <folder>"
        raise UserError(
            f"the sub-folders {', '.join(names)} of {root} are named as splits: set data.split_folders='{{{said}}}' "
            "or, if they are classes, data.layout=class"
        )


def refuse_mask_folders(names: Sequence[str], root: Path, files: Sequence[str]) -> None:
    """Sub-folders images and masks are no classes."""
    masks = [name for name in names if means_masks(name)]
    if masks and len(masks) == len(names):
        raise UserError(
            f"all sub-folders of {root} are named as masks ({', '.join(names)}): give the folder of the images, or "
            "data.layout=class if they are classes of images"
        )
    if masks:
        others = ", ".join(name for name in names if name not in masks)
        looks = f"s {', '.join(masks)} of {root} look" if len(masks) > 1 else f" {masks[0]} of {root} looks"
        raise UserError(
            f"the sub-folder{looks} like masks beside {others}: set {' '.join(propose(files).overrides(root))} "
            "(whichever of the masks you want) or, if all are classes of images, data.layout=class"
        )


def refuse_mask_folder(images: str) -> None:
    """A folder named as masks is none of images."""
    if any(map(means_masks, images.split("/"))):
        raise UserError(
            f"data.images={images} is named as masks: give the folder of the images, and that of the masks as "
            f"data.mask_folders='{{name: {images}}}', or data.mask_folders={{}} says that they are images"
        )


def refuse_masks_beside(images: Sequence[str], mask_folders: Mapping[str, str] | None) -> None:
    """Files named as the mask of another are no images, unless ``mask_folders`` is {}."""
    if mask_folders is not None and not mask_folders:
        return
    here = dict(zip(map(split_path, images), images, strict=True))
    masks = {file: own for (folder, stem), file in here.items() if (own := _image_of(folder, stem, here))}
    if masks:
        mask, image = next(iter(masks.items()))
        raise UserError(
            f"{mask} is named as the mask of {image} ({len(masks)} such files): set "
            f"data.mask_folders='{{mask: {ends_beside(images)}}}'; {NO_MASKS}"
        )


def _image_of(folder: str, stem: str, here: Mapping[tuple[str, str], str]) -> str | None:
    end = mask_end(stem)
    return None if end is None else here.get((folder, end[0]))


def refuse_class_or_case(names: Sequence[str], root: Path) -> None:
    """Sub-folders that may be patients as well as classes."""
    shown = ", ".join(names[:3])
    raise UserError(
        f"the {len(names)} sub-folders of {root} ({shown}{', …' * (len(names) > 3)}) may be patients or classes: set "
        "data.layout=case (a patient each), data.layout=class (a class each) or data.layout=flat (neither)"
    )


def refuse_unread_classes(tree: Tree, classes: Sequence[str], masks: set[str]) -> None:
    """Sub-folders beside the ``classes`` without an image that can be read."""
    for name in tree.names():
        if name in classes or name in masks:
            continue
        below = tree.below(name)
        others = f"data.classes=[{', '.join(classes)}] leaves it out"
        if not below.files:
            links = f"{len(below.broken)} broken links" if below.broken else "no file"
            raise UserError(f"the class folder {tree.root / name} holds {links}: remove it, or {others}")
        what = below.says(lambda file: any(file.lower().endswith(end) for end in (".png", ".jpg", ".jpeg", ".tif")))
        deep = [file for file in below.files if "/" in file]
        if len(deep) == len(below.files):
            raise UserError(
                f"{tree.root / name} holds images only in folders below it, such as {name}/{deep[0]}: "
                f"data.layout=class takes them for the class {name}, {others}"
            )
        raise UserError(
            f"the class folder {tree.root / name} holds nothing that can be read, but "
            f"{what or count_suffixes(below.files)}: convert them, or {others}"
        )


def join_alike(names: Sequence[str], similar: str | None) -> list[str]:
    """The class of each image, where classes differ in case or spaces only: joined under the most frequent spelling.

    ``similar``: join or keep. Raises UserError for None where there are such.
    """
    spellings: dict[str, Counter[str]] = {}
    for name in names:
        spellings.setdefault(_plain(name), Counter())[name] += 1
    alike = next((sorted(found) for found in spellings.values() if len(found) > 1), None)
    if alike is None or similar == "keep":
        return list(names)
    if similar is None:
        raise UserError(
            f"the classes {', '.join(map(repr, alike))} differ in case or spaces only: data.similar_classes=join makes "
            "them one, data.similar_classes=keep keeps them apart"
        )
    return [spellings[_plain(name)].most_common(1)[0][0].strip() for name in names]


def refuse_unlike_splits(classes: Sequence[str], splits: Sequence[str | None]) -> None:
    """A class that one split has and another has not, by the class and the split of each image."""
    own: dict[str | None, set[str]] = {}
    for name, split in zip(classes, splits, strict=True):
        own.setdefault(split, set()).add(name)
    pairs = [(split, other) for split in own for other in own if own[split] - own[other]]
    for split, other in pairs:
        names, others = sorted(own[split] - own[other]), sorted(own[other])
        alike = [(name, short) for name in names for short in others if name.startswith(short)]
        if alike:
            (name, short), said = alike[0], ", ".join(f"{short}: {short}" for short in others)
            raise UserError(
                f"the class {name} of the split {split} may be {short} of {other}: data.class_patterns='{{{said}}}' "
                "takes what begins alike as one, data.classes=[…] keeps them apart"
            )
    for split, other in pairs:
        absent = ", ".join(sorted(own[split] - own[other]))
        raise UserError(
            f"the split {other} has no class {absent}, which {split} has: add images, or "
            f"data.classes=[{', '.join(sorted(own[split] | own[other]))}] says that it is right"
        )


def _plain(name: str) -> str:
    return "".join(name.lower().split())


def refuse_twins(files: Sequence[str], kind: str) -> None:
    """Two files of one stem are most likely one picture, saved twice."""
    stems: dict[tuple[str, str], str] = {}
    for file in files:
        key = split_path(file)
        if key in stems:
            other = file.rsplit("/", 1)[-1]
            raise UserError(f"two {kind} of one name, {stems[key]} and {other}: remove or rename one")
        stems[key] = file
