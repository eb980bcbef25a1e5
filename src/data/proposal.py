"""How a folder may be meant: the overrides that would read it, for the question that stops a run."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import takewhile
from pathlib import Path

from src.data.pattern import split_path
from src.data.words import mask_end, means_masks, split_of, words

SIGNS = ("_", "-", ".", " ")  # that part what a name begins with from the rest
KINDS = 4  # of masks beside their images, at most: with more, the names mean something else
Folder = tuple[str, ...]  # the parts of its path


@dataclass
class Proposal:
    """What to say for a folder; None and {} where there is nothing to be said."""

    root: str | None = None  # sub-folder that is better given as data.root
    splits: dict[str, str] = field(default_factory=dict)  # split: sub-folder
    images: str | None = None
    masks: dict[str, str] = field(default_factory=dict)  # name: folder or pattern
    layout: str | None = None
    withheld: list[str] = field(default_factory=list)  # folders of masks that the split train has, and not all have

    def overrides(self, root: Path) -> list[str]:
        said = [f"data.root={_quoted(str(root / self.root))}"] if self.root else []
        said += [f"data.split_folders='{_braces(self.splits)}'"] if self.splits else []
        said += [f"data.images={_quoted(self.images)}"] if self.images else []
        said += [f"data.mask_folders='{_braces(self.masks)}'"] if self.masks else []
        return [*said, f"data.layout={self.layout}"] if self.layout else said

    def hint(self, root: Path) -> str:
        """What to say where the masks of a challenge's test images are withheld."""
        if not self.withheld:
            return ""
        part = self.splits["train"]
        alone = _quoted(str(root / (self.root or "") / part))
        return f"; {', '.join(self.withheld)} in {part} alone: data.root={alone} takes that"


def propose(files: Sequence[str]) -> Proposal:
    """``files``: the paths of all images and masks below a folder."""
    said = Proposal()
    folders = [tuple(split_path(file)[0].split("/")) if "/" in file else () for file in files]
    if not folders:
        return said
    shared = _shared(folders)
    if shared and not (means_masks(shared[-1]) and all(folder == shared for folder in folders)):
        said.root = "/".join(shared)
        files = [file[len(said.root) + 1 :] for file in files]
        folders = [folder[len(shared) :] for folder in folders]
    tops = {folder[0] if folder else "" for folder in folders}
    by_split = {split_of(top): top for top in sorted(tops)}
    if len(tops) > 1 and None not in by_split and len(by_split) == len(tops):
        said.splits = {str(split): by_split[split] for split in ("train", "val", "test") if split in by_split}
        parts = [folder[0] for folder in folders]
        files = [file.partition("/")[2] for file in files]
        folders = [folder[1:] for folder in folders]
        _propose_masks(said, files, folders, parts)
    else:
        _propose_masks(said, files, folders, [""] * len(files))
    return said


def propose_beside(masks: Sequence[str], images: Sequence[str], others: Sequence[str] = ()) -> Proposal:
    """For masks that only their pixels tell: in a folder of their own, or named as an image with more around.

    ``others``: files that were not looked at, among which a mask's image may be.
    """
    said = Proposal()
    here: dict[str, set[str]] = {}
    for folder, stem in map(split_path, images):
        here.setdefault(folder, set()).add(stem)
    homes = {split_path(mask)[0] for mask in masks}
    if len(homes) == len(here) == 1 and homes != here.keys():
        (home,), (own,) = homes, here
        how = pairing(sorted(here[own]), [split_path(mask)[1] for mask in masks])
        if how and home and own:
            said.images = own if how[0] == "*" else f"{own}/{how[0]}"
            said.masks = {mask_name(home, [home]): home if how[1] == "*" else f"{home}/{how[1]}"}
        return said
    for folder, stem in map(split_path, others):
        here.setdefault(folder, set()).add(stem)
    found: set[str] = set()
    for folder, stem in map(split_path, masks):
        known = frozenset(here.get(folder, ()))
        if end := _longest_end(stem, known):
            found.add(f"{stem[: -len(end)]}*")
        elif start := _longest_start(stem, known):
            found.add(f"*{stem[len(start) :]}")
        else:
            return said
    if len(found) <= KINDS and not any(how.strip("*").isdigit() for how in found):  # 1 and 10 are two images
        said.masks = {re.sub(r"\W+", "_", how.strip("*")).strip("_") or "mask": how for how in sorted(found)}
    return said


def _propose_masks(said: Proposal, files: Sequence[str], folders: Sequence[Folder], parts: Sequence[str]) -> None:
    """``parts``: by file, the folder of its split."""
    homes = _mask_homes(files, folders)
    images = [(file, folder) for file, folder, home in zip(files, folders, homes, strict=True) if home is None]
    if not images or len(images) == len(files):
        if ends := ends_beside(files):
            said.masks = {"mask": ends}
        return
    marked = [split_path(file)[1] for file, home in zip(files, homes, strict=True) if home is not None]
    images = _of_masks(images, marked)
    stems = [split_path(file)[1] for file, _ in images]
    said.images = _column(sorted({folder for _, folder in images}))
    own = {
        home: [(file, folder) for file, folder, other in zip(files, folders, homes, strict=True) if other == home]
        for home in dict.fromkeys(filter(None, homes))
    }
    parts_of = {home: {part for part, other in zip(parts, homes, strict=True) if other == home} for home in {*homes}}
    in_all = {home for home in own if parts_of[None] <= parts_of[home]}
    said.withheld = sorted(home for home in own if home not in in_all and said.splits.get("train") in parts_of[home])
    own = {home: masks for home, masks in own.items() if home in in_all or not in_all}
    named = {home: [split_path(file)[1] for file, _ in masks] for home, masks in own.items()}
    firsts = [how[0] for masks in named.values() if (how := pairing(stems, masks))]
    image = next((first for first in firsts if first != "*"), "*")  # all masks have to pair with it
    for home, masks in own.items():
        where, name = _column(sorted({folder for _, folder in masks})), mask_name(home, own, said.images or "")
        how = pairing(stems, named[home], image)
        if how is None or where is None:
            said.masks[name] = f"{where}/**" if where and "*" in where else where or home
        else:
            said.masks[name] = where if how[1] == "*" else f"{where}/{how[1]}"
    if image != "*" and said.images is not None:
        said.images = f"{said.images}/{image}".removeprefix("/")


def _of_masks(images: list[tuple[str, Folder]], marked: Sequence[str]) -> list[tuple[str, Folder]]:
    """Those of the folders with masks, where others have none, as a challenge's test images."""
    by_folder: dict[Folder, list[str]] = {}
    for file, folder in images:
        by_folder.setdefault(folder, []).append(split_path(file)[1])
    how = pairing([stem for stems in by_folder.values() for stem in stems], marked) if len(by_folder) <= KINDS else None
    if how is None:
        return images
    known = {_inside(stem, how[1]) for stem in marked}
    paired = {folder for folder, stems in by_folder.items() if known & {_inside(stem, how[0]) for stem in stems}}
    return [(file, folder) for file, folder in images if folder in paired]


def _mask_homes(files: Sequence[str], folders: Sequence[Folder]) -> list[str | None]:
    """By file: the folder, or the end of its name, that says that it is a mask; None for images."""
    known = {(folder[:1], split_path(file)[1]) for file, folder in zip(files, folders, strict=True)}
    homes: list[str | None] = []
    for file, folder in zip(files, folders, strict=True):
        end = mask_end(split_path(file)[1])
        elsewhere = end is not None and len(folder) > 1 and (folder[:1], end[0]) in known
        said = next(filter(means_masks, folder), None)
        if said and len(folder) > 1 and re.fullmatch(re.escape(folder[0]) + r"[\W_].*", said):
            said = f"*{said[len(folder[0]) :]}"  # a folder for each image: IMD002/IMD002_roi
        homes.append(said or (end[1].strip("_-. ") if end is not None and elsewhere else None))
    return homes


def ends_beside(files: Sequence[str]) -> str | None:
    """The pattern of masks that lie beside their images: "*_mask", or "*_mask**" where some have several."""
    here = set(map(split_path, files))
    found = Counter(end[1] for folder, stem in here if (end := mask_end(stem)) is not None and (folder, end[0]) in here)
    if not found:
        return None
    shared = _common_start(list(found))
    return f"*{shared}" if len(found) == 1 else f"*{shared}**"


def pairing(images: Sequence[str], masks: Sequence[str], image: str | None = None) -> tuple[str, str] | None:
    """Patterns of the stems of images and masks under which most images have a mask; None where none fits.

    ``image``: the only pattern of images that will do.
    """
    own, others = sorted(set(images)), sorted(set(masks))
    if image in (None, "*") and _pairs(own, others, "*", "*"):
        return "*", "*"
    known = frozenset(own)
    ends = Counter(other[len(stem) :] for other in others if (stem := _longest_start(other, known)))
    starts = Counter(other[: -len(stem)] for other in others if (stem := _longest_end(other, known)))
    tried = [("*", f"*{end}") for end, _ in ends.most_common(1)]
    tried += [("*", f"{start}*") for start, _ in starts.most_common(1)]
    tried += [("*", f"*{_common_start(list(ends))}**")] if ends else []
    image_end, mask_end_ = _common_end(own), _common_end(others)
    image_start, mask_start = (re.sub(r"\d+$", "", _common_start(list(names))) for names in (own, others))
    tried += [(f"{image_start}*", f"{mask_start}*"), (f"*{image_end}", f"*{mask_end_}")]
    tried += [(f"{image_start}*{image_end}", f"{mask_start}*{mask_end_}")]
    tried += [(f"*{sign}**", mask) for sign in SIGNS for mask in (f"*{mask_end_}", f"*{sign}**") if mask != "*"]
    fits = (how for how in tried if image in (None, how[0]) and _pairs(own, others, *how))
    return next(fits, None)


def mask_name(folder: str, among: Collection[str], images: str = "") -> str:
    """A name for the structure in a folder: "lung masks" → lung, "masks" → mask; not by words of the ``images``'."""
    common = {*words(images), "ground", "truth", "png"}
    own = [word for word in words(folder) if len(word) > 2 and not means_masks(word) and word not in common]
    return "_".join(own) or ("mask" if len(among) == 1 else re.sub(r"\W+", "_", folder).lower().strip("_"))


def _pairs(images: Sequence[str], masks: Sequence[str], image: str, mask: str) -> bool:
    cut = [_inside(name, image) for name in images]
    known = {_inside(name, mask) for name in masks}
    hits = sum(name is not None and name in known for name in cut)
    return bool(images) and hits >= 0.8 * min(len(images), max(1, len(masks)))


def _inside(name: str, pattern: str) -> str | None:
    start, _, end = pattern.partition("*")
    if end.endswith("**"):
        place = name.find(end[:-2], len(start) + 1)
        return name[len(start) : place] if place > 0 and name.startswith(start) else None
    fits = len(name) > len(start) + len(end) and name.startswith(start) and name.endswith(end)
    return name[len(start) : len(name) - len(end)] if fits else None


def _longest_start(name: str, stems: frozenset[str]) -> str:
    return next((name[:length] for length in range(len(name) - 1, 0, -1) if name[:length] in stems), "")


def _longest_end(name: str, stems: frozenset[str]) -> str:
    return next((name[-length:] for length in range(len(name) - 1, 0, -1) if name[-length:] in stems), "")


def _common_start(names: Sequence[str]) -> str:
    letters = takewhile(lambda letters: len(set(letters)) == 1, zip(*names, strict=False))
    return "".join(letter[0] for letter in letters)


def _common_end(names: Sequence[str]) -> str:
    """The end that all share, from behind the last digit that differs: "1_manual1", "2_manual1" → _manual1."""
    end = _common_start([name[::-1] for name in names])[::-1]
    return re.sub(r"^\d+", "", end)


def _shared(folders: Sequence[Folder]) -> Folder:
    shared = zip(*folders, strict=False)
    return tuple(parts[0] for parts in takewhile(lambda parts: len(set(parts)) == 1, shared))


def _column(folders: Sequence[Folder]) -> str | None:
    """One pattern for folders of equal depth: what differs becomes a star. None where their depths differ."""
    if not folders or len(set(map(len, folders))) > 1:
        return None
    return "/".join(_star(parts) for parts in zip(*folders, strict=True))


def _star(parts: Sequence[str]) -> str:
    if len(set(parts)) == 1:
        return parts[0]
    end = _common_end(parts)
    return f"*{end}" if len(end) > 3 and not end.isalnum() else "*"


def _quoted(text: str) -> str:
    return f"'{text}'" if re.search(r"[^\w./-]", text) else text


def _braces(items: Mapping[str, str]) -> str:
    safe = {key: value if re.fullmatch(r"[\w ./*+-]+", value) else f'"{value}"' for key, value in items.items()}
    return "{" + ", ".join(f"{key}: {value}" for key, value in safe.items()) + "}"
