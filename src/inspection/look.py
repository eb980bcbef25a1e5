"""Looks at a folder: lists all files, decodes some, and goes on past questions that have one answer."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from src.command_line.override_parsing import key_of
from src.core.errors import UserError
from src.data.build import Builder
from src.data.file_decoder import DecodeSettings
from src.data.folder import FolderData, Listed
from src.data.formats import BadFile, read_header
from src.data.formats.base import Reading
from src.data.labelling import Labels
from src.data.listing import Sample
from src.data.store import Split, Store
from src.data.tree import Tree
from src.inspection.files import equal_files, modalities, patients
from src.inspection.questions import only_answer

ASSUMED = 5  # questions that are answered before it gives up
LEAST = 8  # files of each class and split that are looked at
VOLUMES = 12  # files of several images that are decoded, at most


@dataclass
class Look:
    """What was found; what a question that has no single answer hides is None."""

    data: FolderData
    files: Sequence[str] = ()  # all below the root
    answered: list[tuple[str, list[str]]] = field(default_factory=list)  # questions, and the overrides assumed
    question: str | None = None  # that stopped it
    listed: Listed | None = None
    left_out: Sequence[str] = ()  # why images that are listed will not be read
    whole: Store | None = None  # a row for each image that will be read (of a volume: for the file), without pixels
    splits: Mapping[str, Split] = field(default_factory=dict)  # of ``whole``
    sample: Store | None = None  # of the files that were decoded
    decoded: Sequence[int] = ()  # of ``listed.samples``: those of ``sample``
    modalities: Mapping[str, int] = field(default_factory=dict)

    @property
    def volumes(self) -> bool:
        """Whether files hold several images of one case."""
        return self.sample is not None and "sources" in self.sample.meta and "cases" in self.sample.meta

    @property
    def learned(self) -> int:
        """The images of the split train; of a volume its share of the slices that were looked at."""
        if self.sample is None:
            return 0
        files = len(set(self.sample.meta.get("sources", self.sample.meta["files"])))
        slices = len(self.sample.labels) / files if self.volumes else 1
        return int(slices * len(self.splits["train"].rows)) if "train" in self.splits else 0

    @property
    def assumed(self) -> list[str]:
        return _last(self.answered)


def look(open_data: Callable[[Sequence[str]], FolderData], given: Sequence[str], count: int) -> Look:
    """``open_data`` makes the data set under more overrides; about ``count`` files are decoded.

    Raises UserError where there is no such folder, or nothing in it.
    """
    answered: list[tuple[str, list[str]]] = []
    while True:
        found = Look(open_data(_last(answered)), answered=answered)
        root = found.data.root
        if root.is_dir():
            found.files = Tree.walk(root).files
        try:
            _read(found, count)
        except UserError as problem:
            if not root.exists() or not (found.files or root.is_file()):
                raise
            question = str(problem)
            answer = only_answer(question, [*given, *found.assumed]) or _masks_of_all(found)
            if answer and len(answered) < ASSUMED:
                answered.append((question, answer))
                continue
            found.question = question
        return found


def _last(answered: Sequence[tuple[str, list[str]]]) -> list[str]:
    """Of several answers for one setting the last."""
    return [*{key_of(override): override for _, overrides in answered for override in overrides}.values()]


def _masks_of_all(found: Look) -> list[str]:
    """Of several kinds of masks that were assumed, those that every image has, where others have not."""
    if found.listed is None or not any(key_of(override) == "data.mask_folders" for override in found.assumed):
        return []
    masks = list((found.data.mask_folders or {}).items())
    every = [all(sample.masks[place] for sample in found.listed.samples) for place in range(len(masks))]
    kept = ", ".join(f"{name}: {text}" for (name, text), has in zip(masks, every, strict=True) if has)
    return [f"data.mask_folders={{{kept}}}"] if kept and not all(every) else []


def _read(found: Look, count: int) -> None:
    data = found.data
    found.listed = listed = data.listed()
    settings = data.settings
    builder = Builder(
        listed.samples, listed.labels, listed.classes, settings, data.workers, listed.listing.unpaired,
        listed.listing.missing,
    )  # fmt: skip
    builder.check_masks()
    found.left_out = list(builder.skipped.values())
    usable = [index for index in range(len(listed.samples)) if index not in builder.skipped]
    samples, labels = [listed.samples[index] for index in usable], [listed.labels[index] for index in usable]
    found.whole = _without_pixels(samples, labels, listed.classes, settings.reading)
    found.splits = data.divided(found.whole, samples)
    chosen = _spread(_strata(listed, found.splits, usable), count)
    chosen, settings = _thin([listed.samples[index] for index in chosen], chosen, settings, count)
    found.modalities = modalities([listed.samples[index].image for index in chosen])
    with tempfile.TemporaryDirectory() as folder:
        part = Builder(
            [listed.samples[index] for index in chosen], [_some(listed.labels[index], count) for index in chosen],
            listed.classes, settings, data.workers, others=[sample.file for sample in listed.samples],
        )  # fmt: skip
        store = Store.open_or_build(Path(folder) / "sample", part.build)
        masks = None if store.masks is None else np.array(store.masks)
        found.sample = Store(np.array(store.images), store.labels, masks, store.meta)
    found.decoded = chosen


def _without_pixels(samples: Sequence[Sample], of: Labels, classes: Sequence[str], how: Reading) -> Store:
    """What ``FolderData.divided`` needs of a store, of all files; ``of``: the label of each, or of what is in it."""
    named = patients([sample.image for sample in samples], how)
    files: list[str] = []
    sources: list[str] = []
    labels: list[int] = []
    cases: list[str] = []
    first: dict[int, int] = {}
    for index, (sample, label) in enumerate(zip(samples, of, strict=True)):
        each = [(sample.file, label)] if isinstance(label, int) else [
            (f"{sample.file}#{number:03d}", own) for number, own in enumerate(label) if own is not None
        ]  # fmt: skip
        first[index] = len(files)
        files += [file for file, _ in each]
        labels += [own for _, own in each]
        sources += [sample.file] * len(each)
        cases += [named[index] or file for file, _ in each]
    alone = [index for index, sample in enumerate(samples) if sample.array is None]
    copies = [
        [first[alone[place]] for place in same] for same in equal_files([samples[index].image for index in alone])
    ]
    meta = {"files": files, "sources": sources, "classes": classes, "copies": copies}
    meta |= {"cases": cases} if any(named) else {}
    return Store(np.zeros((len(files), 1, 1, 1), np.uint8), np.array(labels, np.int64), None, meta)


def _strata(listed: Listed, splits: Mapping[str, Split], usable: Sequence[int]) -> list[list[int]]:
    """The files of each split and class, in order."""
    sources = next(iter(splits.values())).store.meta["sources"]
    split_of = {sources[row]: name for name, split in splits.items() for row in split.rows}
    strata: dict[tuple[object, object], list[int]] = {}
    for index in usable:
        label = listed.labels[index]
        kind = split_of.get(listed.samples[index].file), label if isinstance(label, int) else None
        strata.setdefault(kind, []).append(index)
    return list(strata.values())


def _spread(strata: Sequence[Sequence[int]], count: int) -> list[int]:
    """About ``count`` of all, evenly over each stratum, two neighbours at a time, since frames of a case follow."""
    total = sum(map(len, strata))
    chosen: set[int] = set()
    for own in strata:
        wanted = max(min(LEAST, count), round(count * len(own) / total))
        if wanted >= len(own):
            chosen |= {*own}
            continue
        starts = np.linspace(0, max(0, len(own) - 2), max(1, wanted // 2)).astype(int)
        chosen |= {own[place] for start in starts for place in (start, start + 1) if place < len(own)}
    return sorted(chosen)


def _thin(
    samples: Sequence[Sample], chosen: list[int], settings: DecodeSettings, count: int
) -> tuple[list[int], DecodeSettings]:
    """Fewer files, and fewer slices of each, where files hold many."""
    slices = []
    for sample in samples:
        how = replace(settings.reading, array=sample.array) if sample.array else settings.reading
        slices.append(1)
        with suppress(BadFile):  # said when it is decoded
            slices[-1] = read_header(sample.image, how).slices
    volumes = [index for index, own in zip(chosen, slices, strict=True) if own > 1]
    kept = {volumes[int(place)] for place in np.linspace(0, len(volumes) - 1, VOLUMES)} if volumes else set()
    step = max(settings.slice_step, sum(slices) * len(kept) // max(1, len(volumes)) // count)
    return [index for index in chosen if index not in volumes or index in kept], replace(settings, slice_step=step)


def _some(labels: int | Sequence[int | None], count: int) -> int | Sequence[int | None]:
    if isinstance(labels, int):
        return labels
    step = max(1, len(labels) // count)
    return [label if number % step == 0 else None for number, label in enumerate(labels)]
