"""Which images and masks belong together: paths in which ``*`` stands for the same text on both sides."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from src.data.tree import stem_of

Key = tuple[str, ...]
STARS = re.compile(r"\*+")


def split_path(path: str) -> tuple[str, str]:
    """A file's folder and its stem."""
    folder, _, name = path.rpartition("/")
    return folder, stem_of(name)


@dataclass(frozen=True)
class Pattern:
    """A folder, ``*/images``, or files, ``masks/*_segmentation``, without suffix.

    ``*`` stands for any text without a slash, ``**`` for any text at all. The texts of the stars are what pairs:
    those of the folder's stars and those of the file's, each from the left.

    Args:
        folder: of the files.
        file: their stem; "*" where the pattern is a folder.
        beside: the pattern is a file's name alone, and stands for files in the folder of the image.
    """

    folder: str
    file: str
    beside: bool = False

    @classmethod
    def read(cls, text: str, paths: Sequence[str]) -> Pattern:
        """``text`` as it fits the files ``paths``: stars in its last part may be of folders or of files."""
        text = text.strip("/")
        if text.endswith("/**"):
            return cls(text[:-3], "**")
        head, _, last = text.rpartition("/")
        if "*" not in last:
            return cls("" if text == "." else text, "*")
        as_files, as_folder = cls(head, last, beside=not head), cls(text, "*")
        if any(map(as_files.matches, paths)):
            return as_files
        below = any(as_files.match(path, deep=True) for path in paths)
        return as_files if below and not any(map(as_folder.matches, paths)) else as_folder

    @property
    def stars(self) -> int:
        """How many of the folder's texts pair."""
        return 0 if self.beside else len(_stars(self.folder))

    def match(self, path: str, shortest: bool = True, deep: bool = False) -> tuple[Key, Key] | None:
        """The texts of the folder's and of the file's stars.

        For ``beside``, the folder is its only text; ``deep``: the file lies below the folder, and the folders between
        are its last text.
        """
        folder, stem = split_path(path)
        whole = self.folder + ("/***" if self.folder else "***") if deep else self.folder
        found = None if self.beside else _regex(whole, shortest).fullmatch(folder)
        named = _regex(self.file, shortest).fullmatch(stem)
        if named is None or not (self.beside or found):
            return None
        return (found.groups() if found else (folder,)), named.groups()

    def matches(self, path: str) -> bool:
        return self.match(path) is not None


def find_masks(
    pattern: Pattern, images: Mapping[str, tuple[Key, Key]], below: bool, paths: Sequence[str]
) -> dict[str, list[str]]:
    """The masks of each image that has any.

    Args:
        pattern: of the masks.
        images: by path, the texts of the stars in the images' pattern: of the folder's, of the file's.
        below: the last text of the folder is of sub-folders that no star stands for, such as classes. The masks lie in
            sub-folders of the same names, or in none.
        paths: of all files.
    """
    folder_stars, file_stars = pattern.stars, len(_stars(pattern.file))
    flat, deep = (_by_key(pattern, paths, deep) if not deep or below else {} for deep in (False, True))
    found: dict[str, list[str]] = {}
    for path, (folder, named) in images.items():
        own = (split_path(path)[0],) if pattern.beside else folder[:folder_stars]
        masks = deep.get(((*own, folder[-1]), named[:file_stars])) if below else None
        masks = flat.get((own, named[:file_stars]), []) if masks is None else masks
        if masks := [mask for mask in masks if mask != path]:
            found[path] = masks
    return found


def _by_key(pattern: Pattern, paths: Sequence[str], deep: bool) -> dict[tuple[Key, Key], list[str]]:
    found: dict[tuple[Key, Key], list[str]] = {}
    for path in paths:
        for key in {pattern.match(path, shortest, deep) for shortest in (True, False)}:
            if key is not None:
                found.setdefault(key, []).append(path)
    return found


def _stars(text: str) -> list[str]:
    return [star for star in STARS.findall(text) if star == "*"]


_COMPILED: dict[tuple[str, bool], re.Pattern[str]] = {}


def _regex(text: str, shortest: bool) -> re.Pattern[str]:
    """``*`` and, of folders between, ``***`` are groups; ``**`` is none."""
    if (text, shortest) not in _COMPILED:
        one, any_text = ("([^/]+?)", ".*") if shortest else ("([^/]+)", ".*?")
        meaning = {"*": one, "**": any_text, "***": "(.+)"}
        parts = re.split(r"(\*+)", text)
        _COMPILED[text, shortest] = re.compile("".join(meaning.get(part) or re.escape(part) for part in parts))
    return _COMPILED[text, shortest]
