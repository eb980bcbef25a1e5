"""Finds the masks of a folder's images: by patterns of their names, or in COCO's JSON."""

from __future__ import annotations

import shlex
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from src.core.errors import UserError
from src.data import doubts
from src.data.coco import Annotated, Annotations
from src.data.pattern import Key, Pattern, find_masks, split_path
from src.data.proposal import pairing, propose
from src.data.tree import Tree

MaskFile = Path | Annotated


def is_json(text: str) -> bool:
    """Whether one of mask_folders is a file of annotations."""
    return text.lower().endswith(".json")


def holds(mask: Pattern, file: str) -> bool:
    return mask.matches(file) or (not mask.beside and mask.match(file, deep=True) is not None)


@dataclass
class MaskPairs:
    """Of the root, or of the folder of a split; ``unpaired`` and ``missing`` are filled, by mask folder."""

    tree: Tree
    whole: Tree  # of all splits
    folder: str  # of the split
    readable: Sequence[str]
    images: str | None  # as the user names them
    layout: str
    split_folders: Mapping[str, str]
    unpaired: dict[str, list[str]]  # masks of no image
    missing: dict[str, list[str]]  # images that only a JSON has

    def pattern(self, name: str, text: str) -> Pattern:
        pattern = Pattern.read(text, self.readable)
        if not pattern.beside and "*" not in pattern.folder and not (self.tree.root / pattern.folder).is_dir():
            raise UserError(
                f"data.mask_folders.{name}: there is no folder {self.tree.root / pattern.folder}: there are "
                f"{', '.join(self.tree.names()) or 'no folders'}{self._elsewhere(text)}"
            )
        if not any(holds(pattern, file) for file in self.readable):
            raise UserError(
                f"data.mask_folders.{name}={text} fits no file below {self.tree.root}; there are, for example, "
                f"{', '.join(self.readable[:3]) or 'none that can be read'}{self._elsewhere(text)}"
            )
        return pattern

    def paired(
        self, name: str, mask: Pattern, keys: Mapping[str, tuple[Key, Key]], below: bool
    ) -> Mapping[str, Sequence[MaskFile]]:
        candidates = [file for file in self.readable if file not in keys and holds(mask, file)]
        below = below and any(folder for folder, _ in keys.values())
        as_texts = {file: (("/".join(folder),) if below else folder, stem) for file, (folder, stem) in keys.items()}
        found = find_masks(mask, as_texts, below, candidates)
        if not found:
            raise UserError(self._no_pairs(name, mask, [*keys], candidates))
        if "**" not in mask.file and "**" not in mask.folder:
            for files in found.values():
                doubts.refuse_twins(files, "masks")
        used = Counter(file for files in found.values() for file in files)
        if (shared := next((file for file, count in used.items() if count > 1), None)) is not None:
            owners = [image for image, files in found.items() if shared in files]
            raise UserError(
                f"data.mask_folders.{name}: the mask {shared} would be that of {owners[0]} and {owners[1]}: "
                "give each image a mask of its own"
            )
        own = self.unpaired.setdefault(name, [])
        own += [(Path(self.folder) / file).as_posix() for file in candidates if file not in used]
        return {image: [self.tree.root / file for file in files] for image, files in found.items()}

    def annotated(self, name: str, text: str, images: Sequence[str]) -> Mapping[str, Sequence[MaskFile]]:
        places = [self.tree.root / text, self.whole.root / text]  # of a split, or of all
        path = next((place for place in places if place.is_file()), None)
        if path is None:
            jsons = [file for file in self.whole.files if is_json(file)]
            raise UserError(
                f"data.mask_folders.{name}: there is no file {places[0]}: there are "
                f"{', '.join(jsons[:5]) or 'no .json'}"
            )
        annotations = Annotations.read(path)
        found = annotations.images_of(images)
        if not found:
            first = next(iter(annotations.images.values()), {"file_name": "none"})["file_name"]
            raise UserError(
                f"data.mask_folders.{name}: {path} names none of the images ({first}, not {images[0]}): check "
                "data.images"
            )
        self.missing.setdefault(name, annotations.missing(self.whole.files))
        return {image: [annotated] for image, annotated in found.items()}

    def _elsewhere(self, text: str) -> str:
        """What to say where another split has such masks, as where those of a challenge's test images are withheld, or
        where they are those of a proposal of which the rest is not said."""
        whole = "data.layout=auto" if self.layout == "split" else "data.split_folders=null"
        for folder in (self.split_folders).values():
            other = self.whole.below(folder)
            if any(holds(Pattern.read(text, other.files), file) for file in other.files):
                return f"; {folder} has some: data.root={shlex.quote(str(other.root))} {whole} takes it alone"
        meant = propose(self.readable)
        if self.images is None and text in meant.masks.values():
            rest = replace(meant, masks={}).overrides(self.tree.root)
            return f": set {' '.join(rest)}" if rest else ""
        return ""

    def _no_pairs(self, name: str, mask: Pattern, images: Sequence[str], masks: Sequence[str]) -> str:
        wrong = f"data.mask_folders.{name}: no image has a mask: {images[0]} and {masks[0]} do not have equal stems"
        how = pairing([split_path(file)[1] for file in images], [split_path(file)[1] for file in masks])
        if how is None or how == ("*", "*"):
            return (
                f"{wrong}; a pattern pairs them, such as '{{{name}: {mask.folder or 'masks'}/*_mask}}' (docs/data.md)"
            )
        home = f"{mask.folder}/" if mask.folder else ""
        said = [] if how[0] == "*" else [f"data.images='{self.images or '.'}/{how[0]}'"]
        said.append(f"data.mask_folders='{{{name}: {home}{how[1]}}}'")
        return f"{wrong}; set {' '.join(said)}"
