"""What was read of a folder, in a few lines: the user sees at once whether it is what was meant."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from src.data.formats import is_readable
from src.data.listing import Listing
from src.data.store import Split, Store, count_splits
from src.data.tree import stem_of, suffix_of
from src.data.words import mask_end, means_masks

IMAGES = frozenset(  # suffixes of images and of what holds some, that are not read
    {".svs", ".ndpi", ".czi", ".lif", ".vsi", ".mrxs", ".heic", ".heif", ".avif", ".nrrd", ".nhdr", ".mgz", ".img",
     ".hdr", ".mat",
     ".h5", ".hdf5", ".avi", ".mp4", ".mov", ".wmv", ".zip", ".tar", ".tar.gz", ".rar", ".7z", ".psd", ".pdf"}
)  # fmt: skip
SHOWN = 12  # classes named with their counts


def summarise(store: Store, splits: Mapping[str, Split]) -> list[str]:
    """Lines for the log: images, classes, masks, then what was changed."""
    return [_images(store, splits), *_classes(store, splits), *_masks(store), *store.meta["notes"]]


def _images(store: Store, splits: Mapping[str, Split]) -> str:
    facts, channels = store.meta["facts"], store.images.shape[1]
    sizes = ", ".join(f"{count} of {wide}x{high}" for wide, high, count in facts["sizes"])
    more = f" and {facts['other_sizes']} more sizes" if facts["other_sizes"] else ""
    bits = " and ".join(map(str, facts["bits"]))
    volumes = len(set(store.meta["sources"])) if "sources" in store.meta else 0
    slices = f" in {volumes} files," if volumes else ""
    colour = {1: "grey", 3: "colour"}.get(channels, f"{channels} channels")
    return f"{len(store.labels)} images{slices} {colour}, {bits} bits ({sizes}{more}): {count_splits(splits)}"


def _classes(store: Store, splits: Mapping[str, Split]) -> list[str]:
    classes: Sequence[str] = store.meta["classes"]
    if not classes:
        return []
    counts = {name: np.bincount(store.labels[split.rows], minlength=len(classes)) for name, split in splits.items()}
    texts = [
        f"{name} {' + '.join(str(own[label]) for own in counts.values())}" for label, name in enumerate(classes[:SHOWN])
    ]
    more = f" and {len(classes) - SHOWN} more" if len(classes) > SHOWN else ""
    return [f"classes ({' + '.join(counts)}): {', '.join(texts)}{more}"]


def _masks(store: Store) -> list[str]:
    return [
        f"masks of {name} cover {of['covered']:.1%} in {of['parts']:.1f} parts on average, {of['kept']:.1%} in "
        f"{of['parts_kept']:.1f} parts as stored; {of['empty']} are empty"
        for name, of in store.meta["facts"]["masks"].items()
    ]


def passed_over(listing: Listing, root: Path, tables: Sequence[str | None] = ()) -> tuple[list[str], list[str]]:
    """Lines for the log, and warnings, of files that are no images and of images that lie too deep."""
    readable = [file for file in listing.passed_over if is_readable(root / file)]
    masks = [file for file in readable if _named_as_mask(file)]
    deep = [file for file in readable if file not in masks]
    warnings = []
    if masks:
        warnings.append(
            f"passed over {len(masks)} files that are named as masks, such as {masks[0]}: data.mask_folders takes them"
        )
    if deep:
        warnings.append(
            f"passed over {len(deep)} images in deeper folders, such as {deep[0]}: data.layout=class or "
            "data.layout=case takes them too, as of the class or the patient that the first folder is named after"
        )
    by_suffix: dict[str, list[str]] = {}
    for file in listing.passed_over:
        if file not in readable and file not in tables:
            by_suffix.setdefault(suffix_of(file) or "without suffix", []).append(file)
    lines: list[str] = []
    for kinds, where in ((by_suffix.keys() - IMAGES, lines), (by_suffix.keys() & IMAGES, warnings)):
        texts = [f"{len(by_suffix[kind])} {kind} (such as {by_suffix[kind][0]})" for kind in sorted(kinds)]
        where += [f"passed over {', '.join(texts)}"] if texts else []
    if listing.elsewhere:
        folders = ", ".join(f"{folder} ({count})" for folder, count in listing.elsewhere.most_common(4))
        more = f" and {len(listing.elsewhere) - 4} more folders" if len(listing.elsewhere) > 4 else ""
        lines.append(f"not read, since neither data.images nor data.mask_folders speaks of them: {folders}{more}")
    for name, spare in listing.unpaired.items():
        if spare:
            are = "mask of {} is" if len(spare) == 1 else "masks of {} are"
            lines.append(f"{len(spare)} {are.format(name)} of no image, such as {spare[0]}")
    for name, missing in listing.missing.items():
        if missing:
            warnings.append(f"the JSON of {name} names {len(missing)} images that are not there, such as {missing[0]}")
    return lines, warnings


def _named_as_mask(file: str) -> bool:
    *folders, name = file.split("/")
    return any(map(means_masks, folders)) or mask_end(stem_of(name)) is not None
