"""What is wrong with a folder, or may be, the worst first, each with what to do about it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np

from src.data.duplicates import crossing_copies
from src.data.folder import lacking_classes
from src.data.store import Store
from src.data.summary import passed_over
from src.data.tables import columns_of
from src.data.tree import suffix_of
from src.inspection.alike import nearly_alike
from src.inspection.look import Look

UNBALANCED = 3  # the largest class has so many times the images of the smallest
UNLIKE = 4  # the brightest image has so many times the maximum of the darkest
BRIGHTER = 1.5  # standard deviations of the images of a class, by which the means of two classes differ
TABLES = (".csv", ".tsv")
LOOKED_INTO, LARGEST = 5, 50_000_000  # tables, and bytes of one, at most
FEW = 100  # images, with which a GAN learns little


class Finding(NamedTuple):
    """``worst`` 0: a question; 1: results would be wrong; 2: worth a look; 3: good to know."""

    worst: int
    text: str


def findings(found: Look) -> list[Finding]:
    """The worst first."""
    every = [Finding(0, f"unanswered: {found.question}")] if found.question else []
    every += [
        Finding(0, f"assumed {' '.join(word for word in answer if word in found.assumed)}, since {question}")
        for question, answer in found.answered
    ]
    if found.listed is not None:
        tables = (found.data.labels_csv, found.data.division.group_csv)
        root = found.data.root if found.data.root.is_dir() else found.data.root.parent
        lines, warnings = passed_over(found.listed.listing, root, tables)
        every += [Finding(2, line) for line in warnings] + [Finding(3, line) for line in lines]
        every += [Finding(2, line) for line in _tables(found, root)]
    every += _of_all(found) if found.splits else []
    every += _of_sample(found) if found.sample is not None else []
    return sorted(every, key=lambda one: one.worst)


def _tables(found: Look, root: Path) -> Iterator[str]:
    """Of tables beside the images that nobody has named, and that say a class or a case of each."""
    assert found.listed is not None
    if found.data.labels_csv or found.data.division.group_csv:
        return
    names = [sample.file for sample in found.listed.samples]
    for table in [file for file in found.files if suffix_of(file) in TABLES][:LOOKED_INTO]:
        if (root / table).stat().st_size > LARGEST or not (columns := columns_of(root / table, names)):
            continue
        file, classes = columns
        usual = file == "file" and classes == ["class"]
        named = classes[0] if len(classes) == 1 else "<column>"
        said = f"data.labels_csv={table}" + ("" if usual else f" data.csv_columns='{{file: {file}, class: {named}}}'")
        which = f", one of {', '.join(classes)}" if len(classes) > 1 else ""
        if classes:
            yield f"{table} names the images in its column {file}: {said} takes their classes from it{which}"


def _of_all(found: Look) -> Iterator[Finding]:
    assert found.whole is not None
    store, rows = found.whole, {name: split.rows for name, split in found.splits.items()}
    files, classes = store.meta["files"], store.meta["classes"]
    if crossing := crossing_copies(store, rows):
        yield Finding(1, f"{crossing}: data.duplicates=drop leaves them out")
    copies = store.meta["copies"]
    if unlike := [same for same in copies if len(set(store.labels[same].tolist())) > 1]:
        pair = " and ".join(f"{files[row]} ({classes[store.labels[row]]})" for row in unlike[0][:2])
        yield Finding(
            1, f"{len(unlike)} images are in two classes, such as {pair}: data.duplicates=drop leaves them out"
        )
    if copies:
        more, (first, second, *_) = sum(map(len, copies)) - len(copies), copies[0]
        yield Finding(
            2, f"{more} files are copies of others, such as {files[second]} of {files[first]}: data.duplicates=drop "
            "leaves them out"
        )  # fmt: skip
    if lacking := lacking_classes(store, rows):
        yield Finding(1, f"{lacking}: add images, or try another data.seed or data.splits")
    counts = Counter(store.labels.tolist())
    if len(counts) > 1 and max(counts.values()) >= UNBALANCED * min(counts.values()):
        (most, many), (least, few) = counts.most_common()[0], counts.most_common()[-1]
        text = f"classes are unbalanced, {many:,} of {classes[most]} and {few:,} of {classes[least]}"
        yield Finding(2, f"{text}: data.balance=true shows all equally often")
    kinds = [{suffix_of(files[row]) for row in np.flatnonzero(store.labels == label)} for label in counts]
    if len(kinds) > 1 and not set.intersection(*kinds) and "sources" in store.meta:
        said = ", ".join(
            f"{classes[label]} {'/'.join(sorted(kind))}" for label, kind in zip(counts, kinds, strict=True)
        )
        yield Finding(2, f"classes differ in their files' formats ({said}): a classifier may learn traces of them")
    if not found.volumes and len(found.splits) > 1 and any(split.cases is None for split in found.splits.values()):
        yield Finding(2, "each image counts as a case of its own: set data.group if several show one patient")
    if len(files) < FEW:
        yield Finding(2, f"{len(files)} files are few: a GAN needs hundreds of images at least")


def _of_sample(found: Look) -> Iterator[Finding]:
    store = found.sample
    assert store is not None
    meta, files = store.meta, store.meta["files"]
    yield from (Finding(2, f"of those looked at, {line}") for line in meta["warnings"])
    yield from (Finding(3, f"of those looked at, {line}") for line in meta["notes"])
    if meta["skipped"]:
        yield Finding(
            2, f"{len(meta['skipped'])} files are left out, the first: {next(iter(meta['skipped'].values()))}"
        )
    for name, of in meta["facts"]["masks"].items():
        if of["empty"]:
            yield Finding(2, f"{of['empty']} of {len(files)} masks of {name} looked at are empty")
    tops = store.images.reshape(len(files), -1).max(1).astype(int)
    blank = store.images.reshape(len(files), -1).min(1) == tops
    if blank.any():
        yield Finding(2, f"{blank.sum()} images are of one value only, such as {files[int(blank.argmax())]}")
    low, high = int(np.where(blank, tops.max(), tops).argmin()), int(tops.argmax())
    if not blank.all() and tops[high] >= UNLIKE * tops[low]:
        yield Finding(
            2, f"ranges are unequal: the brightest value of {files[low]} is {tops[low]}, of {files[high]} {tops[high]}"
        )
    yield from _brightness(store)
    own, split_of = cases_of(found)
    pairs = nearly_alike(store.images, store.labels, own)
    if pairs := [pair for pair in pairs if split_of[pair[0]] and split_of[pair[1]]]:  # not of what is left out
        crossing = [pair for pair in pairs if split_of[pair[0]] != split_of[pair[1]]]
        first, second = (crossing or pairs)[0]
        count = "1 pair of images looked at is" if len(pairs) == 1 else f"{len(pairs)} pairs of images looked at are"
        text = f"{count} nearly alike though of different cases"
        text += f", {len(crossing)} of them in two splits" if crossing else ""
        way_out = "data.group='<regular expression>' keeps frames or slices of one patient together"
        yield Finding(1 if crossing else 2, f"{text}, such as {files[first]} and {files[second]}: {way_out}")


def _brightness(store: Store) -> Iterator[Finding]:
    """Classes that a classifier could tell by their window or exposure alone."""
    classes, means = store.meta["classes"], store.images.mean((1, 2, 3))
    own = [means[store.labels == label] for label in range(len(classes))]
    if len(own) < 2 or min(map(len, own)) < 2:
        return
    middle, spread = [one.mean() for one in own], np.sqrt(np.mean([one.var() for one in own]))
    low, high = int(np.argmin(middle)), int(np.argmax(middle))
    if middle[high] - middle[low] > BRIGHTER * spread:
        text = f"{classes[high]} is brighter than {classes[low]} (mean values {middle[high]:.0f} and {middle[low]:.0f})"
        yield Finding(2, f"{text}: a classifier may tell them by that alone")


def cases_of(found: Look) -> tuple[list[str], list[str | None]]:
    """The case and the split of each row of the sample, as all files are divided."""
    assert found.sample is not None and found.whole is not None
    meta, whole = found.sample.meta, found.whole.meta["sources"]
    case, split_of = {}, {}
    for name, split in found.splits.items():
        for row, own in zip(split.rows, split.cases_or_files(), strict=True):
            case[whole[row]], split_of[whole[row]] = own, name
    sources = meta.get("sources", meta["files"])
    apart = {sample.file for sample in found.listed.samples if sample.array} if found.listed else set()
    cases = [
        file if source in apart else case.get(source, source)
        for file, source in zip(meta["files"], sources, strict=True)
    ]
    return cases, [split_of.get(source) for source in sources]


def name_of(root: Path) -> str:
    """A folder's name as part of a path."""
    return "".join(letter if letter.isalnum() or letter in "-_" else "_" for letter in root.resolve().name) or "root"
