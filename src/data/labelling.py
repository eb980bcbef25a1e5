"""The class of each image: by its sub-folder, a table, or the file that it is in."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from src.core.errors import UserError
from src.data.class_names import match_classes
from src.data.doubts import join_alike, refuse_unlike_splits
from src.data.listing import Sample

Labels = Sequence[int | Sequence[int | None]]  # of each file, or of each image in it: None leaves one out


@dataclass(frozen=True)
class Labelling:
    """What the user says of classes. See ``conf/data/folder.yaml``."""

    root: Path
    classes: Sequence[str] | None
    patterns: Mapping[str, str] | None
    similar: str | None
    table: str | None
    questions: bool = True  # False: splits may have unlike classes

    def label(
        self, samples: Sequence[Sample], column: Callable[[Sequence[str]], list[str]]
    ) -> tuple[list[Sample], tuple[str, ...], Labels]:
        """The samples of the classes that are wanted, the names of the classes, and the label of each sample.

        ``column`` gives the values of the table for files. Raises UserError where a name is of no class.
        """
        if any(sample.labels for sample in samples):
            classes, index = self._chosen({name for sample in samples for name in sample.labels or ()})
            return list(samples), classes, [[index.get(name) for name in sample.labels or ()] for sample in samples]
        names = self._in_table(samples, column) if self.table else self._of_folders(samples)
        classes, index = self._chosen({name for name in names if name is not None})
        kept = [(sample, index[name]) for sample, name in zip(samples, names, strict=True) if name in index]
        return [sample for sample, _ in kept], classes, [label for _, label in kept]

    def _of_folders(self, samples: Sequence[Sample]) -> Sequence[str | None]:
        names = [sample.label for sample in samples]
        named = [name for name in names if name is not None]
        if self.patterns and len(named) < len(names):
            raise UserError(
                f"data.class_patterns is set, but {samples[names.index(None)].image.parent} has no sub-folders of "
                "images: set it to null"
            )
        if not named:
            return names
        if self.patterns:
            meant = match_classes(dict.fromkeys(named), self.patterns, str(self.root))
            return [meant[name] for name in named]
        named = join_alike(named, self.similar)
        if self.classes is None and self.questions:
            refuse_unlike_splits(named, [sample.split for sample in samples])
        return named

    def _in_table(self, samples: Sequence[Sample], column: Callable[[Sequence[str]], list[str]]) -> list[str]:
        """By the table; a sub-folder that is named as a class must agree."""
        names = column([sample.file for sample in samples])
        if self.patterns:
            meant = match_classes(dict.fromkeys(names), self.patterns, str(self.root / str(self.table)))
            names = [meant[name] for name in names]
        names = join_alike(names, self.similar)
        known = set(names)
        for sample, name in zip(samples, names, strict=True):
            if sample.label in known and sample.label != name:
                raise UserError(
                    f"{sample.file} lies in the folder {sample.label} and is {name} in data.labels_csv={self.table}: "
                    "correct one of them"
                )
        return names

    def _chosen(self, names: set[str]) -> tuple[tuple[str, ...], dict[Any, int]]:
        """The classes that are wanted, and their labels. Raises UserError where there is no such class."""
        found = sorted(names)
        classes = tuple(found) if self.classes is None else tuple(self.classes)
        for name in classes:
            if name not in found:
                where = "data.labels_csv has" if self.table else "the images are of"
                where = "data.class_patterns find" if self.patterns and not self.table else where
                raise UserError(f"data.classes names {name!r}, but {where} only {', '.join(found)}")
        return classes, {name: label for label, name in enumerate(classes)} or {None: 0}
