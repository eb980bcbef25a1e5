"""What the HTML pages share: they need no other file, and what runs say is escaped."""

from __future__ import annotations

import base64
import io
from pathlib import Path
from typing import Any, NamedTuple

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from PIL import Image

from src.pictures.figures import Style

COMPRESSION = 3  # of zlib: 9 makes files a few per cent smaller, and takes up to forty times as long
LINE = 2  # CSS pixels that a line of a legend is wide

ENVIRONMENT = Environment(
    loader=FileSystemLoader(Path(__file__).parents[1]),
    autoescape=True,
    undefined=StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
)


def render(template: str, **values: Any) -> str:
    """The page that a template, named from ``src/`` on, makes of ``values``."""
    return ENVIRONMENT.get_template(template).render(values)


def data_url(png: bytes) -> str:
    """A picture as part of the page itself."""
    return f"data:image/png;base64,{base64.b64encode(png).decode()}"


class Embedded(NamedTuple):
    """A picture inside the page."""

    src: str
    size: int  # its longer side, in pixels


def embedded(picture: Image.Image | None, largest: int) -> Embedded | None:
    """A picture as part of the page, shrunk to ``largest`` pixels a side; None where there is none."""
    if picture is None:
        return None
    if max(picture.size) > largest:
        picture.thumbnail((largest, largest), Image.Resampling.LANCZOS)
    buffer = io.BytesIO()
    picture.save(buffer, format="png", compress_level=COMPRESSION)
    return Embedded(data_url(buffer.getvalue()), max(picture.size))


def legend_entry(label: str, style: Style) -> dict[str, str]:
    """A line of a legend, for the templates."""
    dashes = " ".join(f"{LINE * length:g}" for length in style.dashes)
    return {"label": label, "colour": style.colour, "dashes": dashes or "none"}
