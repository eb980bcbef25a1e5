"""Finds the images of a folder, their masks, classes and cases, without opening them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from src.core.errors import UserError
from src.data import doubts
from src.data.formats import is_readable, readable_suffixes, tells_case
from src.data.formats.arrays import parts_of
from src.data.grouping import natural_key
from src.data.mask_pairs import MaskFile, MaskPairs, holds, is_json
from src.data.pattern import Key, Pattern, split_path
from src.data.proposal import Proposal, propose
from src.data.tree import Tree
from src.data.words import may_be_cases, means_case, means_images

LAYOUTS = ("auto", "flat", "class", "case", "class/case", "case/class", "split")


@dataclass(frozen=True)
class Sample:
    """One file of images and what belongs to it."""

    file: str  # path of the image below the root, with forward slashes
    image: Path
    masks: tuple[tuple[MaskFile, ...], ...]  # the files of each of mask_folders, none where they are missing
    label: str | None  # name of its class, None in a flat folder
    split: str | None  # where the data come split
    case: str | None = None  # where a folder says
    array: str | None = None  # of an .npz, the one with the images
    labels: tuple[str, ...] | None = None  # of each image in the file, where it says


@dataclass
class Listing:
    """All images of a folder in natural order of their paths, and what was found beside them."""

    samples: list[Sample]
    unpaired: dict[str, list[str]] = field(default_factory=dict)  # by mask folder: masks of no image
    missing: dict[str, list[str]] = field(default_factory=dict)  # by mask folder: images that only its JSON has
    passed_over: list[str] = field(default_factory=list)  # files that are no images, or deeper than the classes
    elsewhere: Counter[str] = field(default_factory=Counter)  # images in other folders than data.images says, by folder
    layout: str = "flat"
    split_folders: Mapping[str, str] | None = None  # as given, or found by their names


def list_samples(
    root: Path,
    images: str | None,
    mask_folders: Mapping[str, str] | None,
    classes: Sequence[str] | None,
    split_folders: Mapping[str, str] | None,
    layout: str = "auto",
    labelled: str = "folders",
    questions: bool = True,
) -> Listing:
    """All images of ``root``; hidden files are ignored.

    ``images`` and ``mask_folders`` are sub-folders or patterns (``pattern.Pattern``) below the root, or below each of
    ``split_folders``. ``mask_folders`` {}: the user says that no file is a mask. ``labelled``: what
    names the classes, folders, patterns of their names, or a table; the last two leave ``classes`` for later.
    ``questions`` False: sub-folders are classes, and all files in them images, whatever their names say. Raises
    UserError where a folder is
    missing or empty, or can be read in two ways.
    """
    if root.is_file() and is_readable(root):
        tree = Tree(root.parent, [root.name], [], [])
    elif root.is_dir():
        tree = Tree.walk(root)
    else:
        kind = "of no format that is read is" if root.exists() else "there is no folder"
        raise UserError(f"data.root: {kind} {root}: check the path")
    root = tree.root
    if questions and images is None:
        doubts.refuse_pannuke(tree.files, root)
    if layout == "split" and split_folders is None:
        split_folders = doubts.split_folders(tree.names(), root)
    if split_folders is None and (listing := _split_arrays(tree)):
        return listing
    listing = Listing([], split_folders=split_folders)
    parts = [*split_folders.items()] if split_folders else [(None, ".")]
    for split, folder in parts:
        if not (root / folder).is_dir():
            raise UserError(f"data.split_folders.{split}: there is no folder {root / folder}: check the name")
        _Part(
            tree.below(folder), tree, split, folder, images, mask_folders, classes, layout, labelled, questions, listing
        ).read()
    listing.samples.sort(key=lambda sample: (natural_key(sample.file), sample.file))
    return listing


def _split_arrays(tree: Tree) -> Listing | None:
    """The splits of the only .npz that has some; None where there is none."""
    found = {file: parts for file in tree.files if file.endswith(".npz") and (parts := parts_of(tree.root / file))}
    if not found:
        return None
    if len(found) > 1:
        raise UserError(f"{tree.root} holds several data sets, {', '.join(found)}: data.root={tree.root}/<one of them>")
    (file, parts), *_ = found.items()
    samples = [
        Sample(f"{file}:{part.split}", tree.root / file, (), None, part.split, None, part.array, part.labels)
        for part in parts
    ]
    others = [other for other in tree.files if other != file]
    return Listing(samples, passed_over=others, split_folders={part.split: file for part in parts})


@dataclass
class _Part:
    """The root, or the folder of a split."""

    tree: Tree
    whole: Tree  # of all splits
    split: str | None
    folder: str
    images: str | None
    mask_folders: Mapping[str, str] | None
    classes: Sequence[str] | None
    layout: str
    labelled: str
    questions: bool
    listing: Listing

    def read(self) -> None:
        self.readable = [file for file in self.tree.files if is_readable(self.tree.root / file)]
        if self.questions and self.images and self.mask_folders is None:
            doubts.refuse_mask_folder(self.images)
        given = self.mask_folders or {}
        pairs = self._pairs()
        masks = {name: pairs.pattern(name, text) for name, text in given.items() if not is_json(text)}
        pattern, below = self._image_pattern()
        of_masks = {file for mask in masks.values() for file in self.readable if holds(mask, file)}
        images = (file for file in self.readable if file not in of_masks)
        keys = {
            file: key for file in images if (key := pattern.match(file) or (below and pattern.match(file, deep=True)))
        }
        if below:
            keys = self._levels(keys, pattern)
        if not keys:
            raise UserError(self._nothing(pattern))
        if self.questions:
            doubts.refuse_masks_beside([*keys], self.mask_folders)
        doubts.refuse_twins([*keys], "images")
        levels = self._meaning(keys, below)
        labels = {file: _level("class", levels, key[0]) for file, key in keys.items()}
        cases = {file: _level("case", levels, key[0]) for file, key in keys.items()}
        if "class" in levels:
            labels, keys = self._of_classes(labels, keys, pattern, below)
        found = {
            name: pairs.paired(name, masks[name], keys, below)
            if name in masks
            else pairs.annotated(name, text, [*keys])
            for name, text in given.items()
        }
        for file in keys:
            path = self.tree.root / file
            own = tuple(tuple(found[name].get(file, ())) for name in given)
            name = (Path(self.folder) / file).as_posix()
            self.listing.samples.append(Sample(name, path, own, labels[file], self.split, cases[file]))
        used = {*keys, *of_masks}
        left_out = [f"{pattern.folder}/{name}/".lstrip("/") for name in self._left_out(pattern)]
        self.listing.passed_over += [
            (Path(self.folder) / file).as_posix()
            for file in self.tree.files
            if file not in used
            and file not in given.values()
            and _within(file, pattern.folder)
            and not file.startswith(tuple(left_out))
        ]
        self.listing.elsewhere += Counter(
            (Path(self.folder) / split_path(file)[0]).as_posix()
            for file in self.readable
            if file not in used and not _within(file, pattern.folder)
        )
        self.listing.layout = "/".join(levels) or "flat"

    def _pairs(self) -> MaskPairs:
        found = self.listing
        return MaskPairs(
            self.tree, self.whole, self.folder, self.readable, self.images, self.layout, found.split_folders or {},
            found.unpaired, found.missing,
        )  # fmt: skip

    def _image_pattern(self) -> tuple[Pattern, bool]:
        """The images' pattern, and whether they may lie in sub-folders that it does not speak of."""
        if self.images is None:
            return Pattern("", "*"), True
        pattern = Pattern.read(self.images, self.readable)
        if pattern.beside:
            pattern = Pattern("", pattern.file)
        if "*" not in pattern.folder and not (self.tree.root / pattern.folder).is_dir():
            raise UserError(
                f"data.images: there is no folder {self.tree.root / pattern.folder}: there are "
                f"{', '.join(self.tree.names()) or 'no folders'}"
            )
        if "*" not in pattern.folder:
            pattern = replace(pattern, folder=_within_its_like(self.tree, pattern.folder))
        return pattern, "*" not in pattern.folder

    def _levels(self, keys: Mapping[str, tuple[Key, Key]], pattern: Pattern) -> dict[str, tuple[Key, Key]]:
        """What lies as deep as the layout says: right in the folder, or in its sub-folders and, if said, below."""
        depths = {file: len(_between(file, pattern)) for file in keys}
        flat = [file for file, depth in depths.items() if depth == 0]
        one = [file for file, depth in depths.items() if depth == 1]
        folder = self.tree.root / pattern.folder
        if self.layout in ("auto", "split"):
            if not flat and not one and all(map(tells_case, (self.tree.root / file for file in depths))):
                return {file: ((), key[1]) for file, key in keys.items()}  # whose case is in the file, not in folders
            if flat and one:
                subs = sorted({_between(file, pattern)[0] for file in one})
                raise UserError(
                    f"{folder} holds images and sub-folders of images ({', '.join(subs)}): "
                    "name the folder of the images in data.images, or move the images into one sub-folder per class"
                    + _said(propose(self.readable).overrides(self.tree.root))
                )
            kept = flat or one
        elif self.layout == "flat":
            kept = [*depths]
        else:
            wanted = self.layout.count("/") + 1
            kept = [file for file, depth in depths.items() if depth >= wanted]
        return {file: ((*_between(file, pattern),) if kept is not flat else (), keys[file][1]) for file in kept}

    def _meaning(self, keys: Mapping[str, tuple[Key, Key]], below: bool) -> tuple[str, ...]:
        """What each of the folder's texts stands for."""
        first = next(iter(keys.values()))[0]
        if not first:
            return ()
        if self.layout not in ("auto", "split"):
            return () if self.layout == "flat" else tuple(self.layout.split("/"))
        names = sorted({key[0][0] for key in keys.values()})
        if self.classes is not None or self.labelled == "patterns" or not self.questions:
            return ("class",)
        if self.split is None:
            doubts.refuse_splits(names, self.tree.root)
        if self.mask_folders != {}:
            doubts.refuse_mask_folders(names, self.tree.root, self.readable)
        if len(names) == 1 and means_images(names[0]):
            return ()
        if all(map(means_case, names)) or (not below and _each_its_own(keys)):
            return ("case",)
        if may_be_cases(names) and self.labelled != "table":
            doubts.refuse_class_or_case(names, self.tree.root)
        return ("class",)

    def _of_classes(
        self, labels: Mapping[str, str | None], keys: dict[str, tuple[Key, Key]], pattern: Pattern, below: bool
    ) -> tuple[dict[str, str | None], dict[str, tuple[Key, Key]]]:
        """The images of the classes that are wanted. Raises UserError where a class has none."""
        found = sorted({str(label) for label in labels.values()})
        for name in self.classes or ():
            if name not in found:
                folder = self.tree.root / pattern.folder
                raise UserError(f"data.classes names {name!r}, but {folder} has only {', '.join(found)}")
        if self.questions and below and self.classes is None and self.labelled != "table":
            doubts.refuse_unread_classes(self.tree.below(pattern.folder), found, self._mask_homes(pattern))
        kept = {file: key for file, key in keys.items() if self.classes is None or labels[file] in self.classes}
        return {file: labels[file] for file in kept}, kept

    def _mask_homes(self, pattern: Pattern) -> set[str]:
        """The sub-folders of the images' folder that are named as mask folders."""
        named = [text.strip("/") for text in (self.mask_folders or {}).values()]
        prefix = f"{pattern.folder}/" if pattern.folder else ""
        return {text[len(prefix) :].split("/")[0] for text in named if text.startswith(prefix)}

    def _left_out(self, pattern: Pattern) -> list[str]:
        """Sub-folders that the user did not choose as classes."""
        below = self.tree.below(pattern.folder).names() if "*" not in pattern.folder else []
        masks = self._mask_homes(pattern)
        return [name for name in below if name in masks or (self.classes is not None and name not in self.classes)]

    def _nothing(self, pattern: Pattern) -> str:
        where = self.tree.below(pattern.folder) if "*" not in pattern.folder else self.tree
        says = where.says(lambda file: is_readable(where.root / file))
        if self.images and "*" in self.images:
            return f"data.images={self.images} fits no image below {self.tree.root}; it holds {says}"
        meant = propose(self.readable) if self.images is None else Proposal()
        overrides = meant.overrides(self.tree.root)
        if self.layout not in ("auto", "split"):
            return f"{where.root} holds no images as data.layout={self.layout} says; it holds {says}"
        if overrides and self.split is None:
            says += meant.hint(self.tree.root)
            return f"{where.root} holds no images, nor do its sub-folders; it holds {says}: set {' '.join(overrides)}"
        if any(_between(file, pattern) for file in self.readable) and self.split is None:
            return (
                f"{where.root} holds no images, nor do its sub-folders; it holds {says}: set data.layout=case if a "
                "folder of it is a patient, data.layout=class if it is a class, or data.images='*/<folder>'"
            )
        return (
            f"{where.root} holds no images ({', '.join(readable_suffixes())}), nor do its sub-folders; it holds {says}"
            ": check data.root, data.images and data.split_folders"
        )


def _within_its_like(tree: Tree, folder: str) -> str:
    """The folder of the same name that is all that a folder holds, as archives are unpacked into one more."""
    below, name = tree.below(folder), folder.rsplit("/", 1)[-1]
    while name and below.names() == [name] and all("/" in file for file in below.files):
        folder, below = f"{folder}/{name}", below.below(name)
    return folder


def _between(file: str, pattern: Pattern) -> list[str]:
    """The folders between that of the pattern and the file."""
    folder = split_path(file)[0]
    rest = folder[len(pattern.folder) :].strip("/") if pattern.folder else folder
    return rest.split("/") if rest else []


def _within(file: str, folder: str) -> bool:
    fixed = folder.partition("*")[0].rpartition("/")[0] if "*" in folder else folder
    return not fixed or file.startswith(f"{fixed}/")


def _level(name: str, levels: Sequence[str], folder: Sequence[str]) -> str | None:
    return folder[levels.index(name)] if name in levels else None


def _each_its_own(keys: Mapping[str, tuple[Key, Key]]) -> bool:
    """A folder per image, named as it is."""
    return all(folder[0] == "".join(stem) for folder, stem in keys.values()) and len(keys) > 1


def _said(overrides: Sequence[str]) -> str:
    return f"; such as {' '.join(overrides)}" if overrides else ""
