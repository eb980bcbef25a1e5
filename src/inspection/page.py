"""``inspect.html``: what was found, in one file that needs no other."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import torch
from matplotlib.figure import Figure

from src.core.atomic import write_atomically
from src.inspection.findings import findings
from src.inspection.look import Look
from src.inspection.reading import reading
from src.pictures.figures import COLOURS, DARK, LIGHT, Theme, figure_png, plain_frame
from src.pictures.page import data_url, render
from src.pictures.sample_grid import save_grid

SHOWN = 16  # images of a class
CLASSES = 12  # of which there is a grid
BINS = 64
LABEL = 22  # letters of a class beside the histogram, at most
THEMES = {"light": LIGHT, "dark": DARK}


def write_page(path: Path, found: Look, command: str) -> None:
    """The worst findings first; a grid of each class with masks drawn in, histogram, sizes, counts."""
    store = found.sample
    counts, sizes = [], []
    if found.whole is not None and found.splits:
        classes = found.whole.meta["classes"] or ("images",)
        for label, name in enumerate(classes):
            own = [int((found.whole.labels[split.rows] == label).sum()) for split in found.splits.values()]
            counts.append((name, own, sum(own)))
    if store is not None:
        sizes = store.meta["facts"]["sizes"]
    html = render(
        "inspection/inspect.html.jinja", root=str(found.data.root), findings=findings(found), reading=reading(found),
        command=command, question=found.question, splits=list(found.splits), counts=counts, sizes=sizes,
        grids=list(_grids(found)), masks=list(found.data.settings.mask_names),
        histogram=store and {name: data_url(_histogram(found, theme)) for name, theme in THEMES.items()},
    )  # fmt: skip
    write_atomically(path, html)


def _names(found: Look) -> Sequence[str]:
    assert found.sample is not None
    return found.sample.meta["classes"] or ("images",)


def _grids(found: Look) -> Iterator[tuple[str, str]]:
    """(class, picture) each."""
    if (store := found.sample) is None:
        return
    for label, name in enumerate(_names(found)[:CLASSES]):
        rows = np.flatnonzero(store.labels == label)
        if not len(rows):
            continue
        rows = rows[np.linspace(0, len(rows) - 1, min(SHOWN, len(rows))).astype(int)]
        images = torch.from_numpy(store.images[rows].astype(np.float32)) / np.iinfo(store.images.dtype).max * 2 - 1
        if store.masks is not None:
            images = torch.cat([images, torch.from_numpy(store.masks[rows].astype(np.float32)) * 2 - 1], 1)
        with tempfile.TemporaryDirectory() as folder:
            save_grid(images, Path(folder) / "grid.png", store.images.shape[1])
            yield name, data_url((Path(folder) / "grid.png").read_bytes())


def _histogram(found: Look, theme: Theme) -> bytes:
    """Share of the stored values, a line for each class, transparent."""
    store = found.sample
    assert store is not None
    top = np.iinfo(store.images.dtype).max
    figure = Figure(figsize=(7, 2.7))
    axes = figure.add_axes((0.08, 0.13, 0.66, 0.8))
    for label, name in enumerate(_names(found)[: len(COLOURS)]):
        if (own := store.images[store.labels == label]).size:
            counts, edges = np.histogram(own, BINS, (0, top + 1))
            axes.stairs(counts / counts.sum(), edges, color=COLOURS[label], linewidth=1.5, label=name[:LABEL])
    axes.set_yscale("log")
    axes.tick_params(colors=theme.text, labelsize=9, length=0, pad=5, which="both")
    plain_frame(axes, theme)
    axes.set_xlim(0, top + 1)
    axes.legend(frameon=False, labelcolor=theme.text, fontsize=9, loc="upper left", bbox_to_anchor=(1, 1))
    return figure_png(figure, transparent=True)
