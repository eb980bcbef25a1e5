"""How a folder is read, in lines: layout, files, sizes, classes, masks, cases, splits."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np

from src.data.store import count_splits
from src.data.tree import count_suffixes
from src.inspection.look import Look

LAYOUTS = {
    "flat": "flat: no sub-folder means anything",
    "class": "a sub-folder for each class",
    "case": "a sub-folder for each case",
}


def reading(found: Look) -> list[tuple[str, str]]:
    """(title, text) each."""
    return list(_lines(found))


def _lines(found: Look) -> Iterator[tuple[str, str]]:
    yield "files", f"{len(found.files):,} ({count_suffixes(found.files)})" if found.files else found.data.root.name
    if found.listed is not None:
        layout = found.listed.listing.layout
        said = LAYOUTS.get(layout, layout)
        folders = found.listed.listing.split_folders
        yield "layout", f"{', '.join(dict.fromkeys(folders.values()))}; in each, {said}" if folders else said
        yield from _masks(found)
    if found.whole is not None:
        yield ("volumes" if found.volumes else "images"), f"{len(found.whole.labels):,}"
        if classes := found.whole.meta["classes"]:
            counts = np.bincount(found.whole.labels, minlength=len(classes))
            yield "classes", ", ".join(f"{name} {count:,}" for name, count in zip(classes, counts, strict=True))
    if found.splits:
        cases = {case for split in found.splits.values() for case in split.cases or ()}
        each = f"each {'volume' if found.volumes else 'image'} is one of its own"
        yield "cases", f"{len(cases):,}" if cases else each
        yield "splits", count_splits(found.splits)
    if found.modalities:
        yield "modality", ", ".join(f"{name} ({count} files)" for name, count in found.modalities.items())
    if found.sample is not None:
        facts, channels = found.sample.meta["facts"], found.sample.images.shape[1]
        listed = found.listed.samples if found.listed else ()
        yield "channels", {1: "1 (grey)", 3: "3 (colour)"}[channels]
        yield "bits", " and ".join(map(str, facts["bits"]))
        sizes = ", ".join(f"{wide}×{high} ({count})" for wide, high, count in facts["sizes"])
        yield "sizes", sizes + (f" and {facts['other_sizes']} more" if facts["other_sizes"] else "")
        yield from ((f"masks of {name}", _coverage(of)) for name, of in facts["masks"].items())
        if found.left_out:
            yield "left out", f"{len(found.left_out):,} of {len(listed):,} images; the first: {found.left_out[0]}"
        yield "looked at", f"{len(found.decoded):,} of {len(listed):,} files"


def _masks(found: Look) -> Iterator[tuple[str, str]]:
    assert found.listed is not None
    samples, spare = found.listed.samples, found.listed.listing.unpaired
    for place, (name, pattern) in enumerate((found.data.mask_folders or {}).items()):
        own = [sample.masks[place] for sample in samples if place < len(sample.masks)]
        example = next(((s.file, s.masks[place][0]) for s in samples if s.masks and s.masks[place]), None)
        text = f"{sum(map(len, own)):,} files of {pattern} for {sum(map(bool, own)):,} of {len(samples):,} images"
        if example and isinstance(example[1], Path):
            text += f", such as {example[1].name} for {example[0]}"
        lone = len(spare.get(name, ()))
        yield f"{name} in files", text + (f"; {lone} are of no image" if lone else "")


def _coverage(of: Mapping[str, float]) -> str:
    return f"cover {of['covered']:.1%} of the image in {of['parts']:.1f} parts on average"
