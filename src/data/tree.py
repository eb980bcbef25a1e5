"""What lies below a folder, walked once: files, their suffixes, links to nowhere; and the same in words, for errors."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

OF_SYSTEMS = frozenset({"__MACOSX", "@eaDir", "$RECYCLE.BIN", "#recycle", "System Volume Information", "lost+found"})
LOOSE = (".gz", ".bz2")  # suffixes that say nothing alone: "scan.nii.gz"


def stem_of(name: str) -> str:
    """A file's name without its suffix, which may be double: "case_0.nii.gz" → case_0, "1.dcm.png" → 1.dcm."""
    suffix = suffix_of(name)
    return name[: -len(suffix)] if suffix else name


def suffix_of(name: str) -> str:
    """In lower case, with its point; "" where there is none, as in "IM0001" and "1.2.840.10008"."""
    stem, suffix = os.path.splitext(name.rsplit("/", 1)[-1])
    if suffix.lower() in LOOSE:
        suffix = os.path.splitext(stem)[1] + suffix
    return "" if suffix[1:].isdigit() or len(suffix) > 9 else suffix.lower()


@dataclass(frozen=True)
class Tree:
    """The files below ``root`` by path, with forward slashes, without hidden ones and those of operating systems;
    links are followed."""

    root: Path
    files: Sequence[str]
    folders: Sequence[str]  # also the empty ones, without the root
    broken: Sequence[str]  # links to nothing

    @classmethod
    def walk(cls, root: Path) -> Tree:
        files: list[str] = []
        folders: list[str] = []
        broken: list[str] = []
        for parent, subs, names in os.walk(root, followlinks=True):
            subs[:] = sorted(
                sub for sub in subs if sub[0] != "." and sub not in OF_SYSTEMS and not _leads_up(Path(parent, sub))
            )
            below = Path(parent).relative_to(root).as_posix()
            prefix = "" if below == "." else f"{below}/"
            folders += [prefix + sub for sub in subs]
            for name in names:
                if name[0] != ".":
                    path = os.path.join(parent, name)
                    (files if not os.path.islink(path) or os.path.exists(path) else broken).append(prefix + name)
        return cls(root, sorted(files), sorted(folders), sorted(broken))

    def below(self, folder: str) -> Tree:
        """That part of it; ``folder`` "" or "." is all."""
        if folder in ("", "."):
            return self
        prefix = folder.rstrip("/") + "/"
        part = [[path[len(prefix) :] for path in paths if path.startswith(prefix)] for paths in self._lists()]
        return Tree(self.root / folder, *part)

    def names(self) -> list[str]:
        """Of the folders directly below."""
        return [folder for folder in self.folders if "/" not in folder]

    def _lists(self) -> tuple[Sequence[str], ...]:
        return self.files, self.folders, self.broken

    def says(self, readable: Callable[[str], bool]) -> str:
        """What is there, for who looked for images: "12 .bmp, 3 broken links; images in Training/glioma"."""
        here = [file for file in self.files if "/" not in file]
        parts = [count_suffixes(here)] if here else []
        if self.broken:
            parts.append(f"{len(self.broken)} broken links, such as {self.broken[0]} (fetch what they lead to)")
        deep = [file for file in self.files if "/" in file and readable(file)]
        if deep:
            homes = Counter(file.rsplit("/", 1)[0] for file in deep)
            shown = ", ".join(f"{home} ({count})" for home, count in sorted(homes.items())[:3])
            more = f" and {len(homes) - 3} more folders" if len(homes) > 3 else ""
            parts.append(f"images in {shown}{more}")
        elif not here and self.files:
            parts.append(f"{count_suffixes(self.files)} below it")
        return "; ".join(parts) or "nothing"


def count_suffixes(files: Iterable[str]) -> str:
    """ "12 .bmp, 1 .csv", the most frequent first."""
    counts = Counter(suffix_of(file) or "without suffix" for file in files)
    return ", ".join(f"{count} {suffix}" for suffix, count in counts.most_common(5))


def _leads_up(folder: Path) -> bool:
    """Whether a link leads to a folder that it lies in: walking on would never end."""
    return folder.is_symlink() and folder.resolve() in [parent.resolve() for parent in (folder, *folder.parents)][1:]
