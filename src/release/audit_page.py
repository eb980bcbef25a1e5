"""The page of an audit: its sentence, what was measured, how the distances lie, and the nearest pairs."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from matplotlib.figure import Figure
from PIL import Image
from torch import Tensor

from src.core.atomic import write_atomically
from src.core.pixels import to_bytes
from src.pictures.figures import COLOURS, DARK, LIGHT, Theme, figure_png, plain_frame
from src.pictures.page import data_url, embedded, render
from src.release.audit import Audit, Pair
from src.release.audit_report import rows, sentence

SHOWN = 160  # pixels a side of a picture of a pair


def write_page(audit: Audit, title: str, path: Path) -> None:
    """It needs no other file, and shows real images."""
    html = render(
        "release/audit.html.jinja",
        title=title,
        sentence=sentence(audit),
        leaks=audit.nearest.leaks,
        cautions=audit.cautions,
        rows=list(rows(audit)),
        light=data_url(distances_png(audit, LIGHT)),
        dark=data_url(distances_png(audit, DARK)),
        pairs=[_pictures(pair) for pair in audit.pairs],
    )
    write_atomically(path, html)


def distances_png(audit: Audit, theme: Theme) -> bytes:
    """How near synthetic and held-out images come to those learned from: cumulative shares."""
    figure = Figure(figsize=(7.5, 3.2), layout="constrained")
    axes = figure.subplots()
    for values, name, colour in zip(audit.distances, ("synthetic", "held-out patients"), COLOURS[1::-1], strict=True):
        ordered = np.sort(values.numpy())
        axes.step(ordered, np.arange(1, len(ordered) + 1) / len(ordered), where="post", color=colour, label=name)
    axes.axvline(audit.threshold, color=theme.text, linewidth=0.8, linestyle=(0, (4, 3)))
    axes.set_xlim(left=0)
    axes.set_ylim(0, 1)
    axes.set_xlabel("distance to the nearest training image", color=theme.text)
    axes.set_ylabel("share of the images", color=theme.text)
    axes.tick_params(colors=theme.text)
    axes.legend(frameon=False, labelcolor=theme.text, loc="lower right")
    plain_frame(axes, theme)
    return figure_png(figure, transparent=True)


def _pictures(pair: Pair) -> tuple[str, str, str, str]:
    sources = []
    for image in (pair.synthetic, pair.aligned, pair.real):
        picture = embedded(_picture(image), SHOWN)
        assert picture is not None
        sources.append(picture.src)
    return sources[0], sources[1], sources[2], f"{pair.distance:.3f}"


def _picture(image: Tensor) -> Image.Image:
    pixels = to_bytes(image).permute(1, 2, 0).numpy()
    picture = Image.fromarray(pixels[..., 0] if pixels.shape[2] == 1 else pixels)
    factor = max(1, SHOWN // max(picture.size))
    return picture.resize((picture.width * factor, picture.height * factor), Image.Resampling.NEAREST)
