"""Which split each image of a folder is in, by whole cases: as an option, a folder, a table or the files say."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from src.core.errors import UserError
from src.data.duplicates import drop_duplicates, refuse_duplicates
from src.data.grouping import match_groups, number_groups, split_rows
from src.data.listing import Sample
from src.data.store import Split, Store
from src.data.tables import Tables

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Division:
    """``conf/data/folder.yaml`` describes what it is made of."""

    name: str
    tables: Tables
    fractions: Mapping[str, float]
    split_by: str
    seed: int
    group: str | None
    group_csv: str | None
    group_column: str
    group_starts: Sequence[int] | None
    duplicates: str

    def of(
        self, store: Store, samples: Sequence[Sample], split_folders: Mapping[str, str] | None
    ) -> tuple[dict[str, Split], dict[str, str]]:
        """The splits of a store of ``samples``, and by file why it is in none.

        Of the store, only labels and meta data are looked at. ``split_folders``: where the data come split. Raises
        UserError where a group crosses splits, or one of these has no image.
        """
        cases = self._groups(store, samples)
        groups = cases or store.meta["files"]
        if split_folders is None:
            kept, left_out = self._without_duplicates(store, {"train": np.arange(len(groups))})
            rows = self._drawn(store, groups, kept["train"])
        else:
            rows, left_out = self._without_duplicates(store, self._as_they_come(store, samples, groups, split_folders))
        splits = {name: Split(store, own, cases and [cases[row] for row in own]) for name, own in rows.items()}
        return splits, left_out

    def _drawn(self, store: Store, groups: Sequence[str], kept: np.ndarray) -> dict[str, np.ndarray]:
        """The rows of each split, of those that are ``kept``."""
        of_kept, strata = [groups[row] for row in kept], store.labels[kept].tolist()
        rows = split_rows(of_kept, strata, self.fractions, self.split_by, self.seed)
        return {name: kept[own] for name, own in rows.items()}

    def _as_they_come(
        self, store: Store, samples: Sequence[Sample], groups: Sequence[str], split_folders: Mapping[str, str]
    ) -> dict[str, np.ndarray]:
        """The rows in each split's folder."""
        files = _sources(store)
        split_of = {sample.file: sample.split for sample in samples}
        asked = self.group or self.group_csv or self.group_starts
        as_it_is = f"set data.group={'null' if asked else chr(39) + '.+' + chr(39)} to take the folders as they are"
        home: dict[str, str | None] = {}
        for group, file in zip(groups, files, strict=True):
            if home.setdefault(group, split_of[file]) != split_of[file]:
                raise UserError(
                    f"the group {group!r} is in the splits {home[group]} and {split_of[file]}: {as_it_is}, or divide "
                    "one of them anew with data.root and data.splits"
                )
        owner = np.array([split_of[file] for file in files])
        rows = {name: np.flatnonzero(owner == name) for name in split_folders}
        for name, own in rows.items():
            if not len(own):
                raise UserError(f"no image of the split {name!r} can be used: drop it from data.split_folders")
        return rows

    def _groups(self, store: Store, samples: Sequence[Sample]) -> list[str] | None:
        """The case of each row: as an option, a folder or the files themselves say; None where nothing does."""
        files = _sources(store)
        if self.group_csv is not None:
            column = self.tables.columns.get("group", self.group_column)
            return self.tables.column(self.group_csv, column, files, "data.group_csv")
        if self.group_starts is not None:
            return number_groups(files, self.group_starts)
        if self.group is not None:
            return match_groups(files, self.group)
        of_folders = {sample.file: sample.case for sample in samples}
        if all(of_folders[file] for file in files):
            return [str(of_folders[file]) for file in files]
        return store.meta.get("cases")

    def _without_duplicates(
        self, store: Store, rows: dict[str, np.ndarray]
    ) -> tuple[dict[str, np.ndarray], dict[str, str]]:
        if self.duplicates == "refuse":
            refuse_duplicates(store, rows)
        if self.duplicates != "drop":
            return rows, {}
        kept, left_out = drop_duplicates(store, rows)
        for name, own in kept.items():
            if not len(own):
                raise UserError(
                    f"all images of the split {name!r} are duplicates: drop it from data.split_folders, or set "
                    "data.duplicates=keep"
                )
        if left_out:
            first = next(iter(left_out.items()))
            logger.warning(
                "%s: %d duplicates left out of %d images (left_out.csv of a run names them), the first: %s, %s",
                self.name, len(left_out), len(store.labels), *first,
            )  # fmt: skip
        return kept, left_out


def _sources(store: Store) -> list[str]:
    """By row: the file, which a volume's slices share."""
    return store.meta.get("sources") or store.meta["files"]
