"""Files that are whole or absent: a kill, a power cut or a full disk leaves what stood there before."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO

PARTIAL = ".partial"  # ends the name of a file that is being written


@contextmanager
def atomic_write(path: Path, durable: bool = True) -> Iterator[IO[bytes]]:
    """A binary file that takes the place of ``path`` when the block ends without an error.

    ``durable``: wait for the disk, so that the file also survives a power cut.
    """
    # Of this process alone: another one may be writing the same file.
    partial = path.with_name(f".{path.name}.{os.getpid()}{PARTIAL}")
    try:
        with open(partial, "wb") as file:
            yield file
            if durable:
                file.flush()
                os.fsync(file.fileno())
        os.replace(partial, path)
        if durable:
            sync_folder(path.parent)
    except BaseException:
        with suppress(OSError):
            partial.unlink()
        raise


def write_atomically(path: Path, content: str | bytes, durable: bool = True) -> None:
    with atomic_write(path, durable) as file:
        file.write(content.encode() if isinstance(content, str) else content)


def make_writable(folder: Path) -> None:
    """Make a folder before the work whose result goes there. Raises OSError where nothing can be written to it."""
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryFile(dir=folder):
        pass


def sync_folder(folder: Path) -> None:
    """Wait until the disk has the names of the files in ``folder``."""
    with suppress(OSError):  # some file systems have no such thing
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def remove_partials(folder: Path) -> None:
    """Delete what killed processes were writing in ``folder``; only for who knows that nobody is writing there now."""
    for path in folder.rglob(f".*{PARTIAL}"):
        if path.is_file():
            path.unlink(missing_ok=True)
