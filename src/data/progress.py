"""How far the decoding of a folder is: a bar with the time left in a terminal, a line every half a minute elsewhere."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterable, Iterator
from datetime import timedelta
from typing import TypeVar

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

Item = TypeVar("Item")

log = logging.getLogger(__name__)
EVERY = 30.0  # seconds between two lines


def shown(items: Iterable[Item], title: str, before: int, total: int) -> Iterator[Item]:
    """``items`` as they come; ``before`` of ``total`` files count as done, not as speed."""
    console = Console(stderr=True)
    if not console.is_terminal:
        yield from _lines(items, title, before, total)
        return
    columns = (TextColumn(title), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, transient=True) as bar:
        task = bar.add_task("", total=total)
        bar.reset(task, completed=before)
        for item in items:
            yield item
            bar.advance(task)


def _lines(items: Iterable[Item], title: str, before: int, total: int) -> Iterator[Item]:
    start = last = time.monotonic()
    for count, item in enumerate(items, 1):
        yield item
        if (now := time.monotonic()) - last >= EVERY:
            last, done, speed = now, before + count, count / (now - start)
            left = timedelta(seconds=round((total - done) / speed))
            log.info(f"{title}: {done:,}/{total:,} files · {speed:,.0f} files/s · {left} left")
