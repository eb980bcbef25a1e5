"""What the HTML pages share: they need no other file, and what runs say is escaped."""

from __future__ import annotations

import base64
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined

ENVIRONMENT = Environment(
    loader=FileSystemLoader(Path(__file__).parent),
    autoescape=True,
    undefined=StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
)


def render(template: str, **values: Any) -> str:
    """The page that a template of this folder makes of ``values``."""
    return ENVIRONMENT.get_template(template).render(values)


def data_url(png: bytes) -> str:
    """A picture as part of the page itself."""
    return f"data:image/png;base64,{base64.b64encode(png).decode()}"
