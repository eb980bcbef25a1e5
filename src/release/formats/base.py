"""What a format of exported files has to say of itself; one that is added is a class of this kind."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import numpy as np

from src.core.atomic import write_atomically
from src.release.content_credentials import ContentCredentials
from src.release.label import Label


@dataclass(frozen=True)
class Loader:
    """Code that a reader of the dataset card copies: run in the data set's folder, it ends with ``images``.

    Args:
        title: what it is of.
        packages: to import for it.
        code: at most a few lines.
    """

    title: str
    packages: tuple[str, ...]
    code: str


class Format(ABC):
    """How one array of pixels becomes a file that says that it is synthetic, and comes back.

    Its name in records is that of the class, in small letters; ``__init__`` takes its settings (``conf/format``), which
    are attributes of the same names.
    """

    suffix: ClassVar[str]
    media_type: ClassVar[str]
    bits: ClassVar[tuple[int, ...]] = (8,)  # per grey pixel that it holds without loss, the least first
    folder_per_class: ClassVar[bool] = False
    signable: ClassVar[bool] = False  # whether a C2PA manifest can be embedded
    holds_units: ClassVar[bool] = False  # whether ``label.scale`` is followed
    in_croissant: ClassVar[bool] = False  # whether mlcroissant decodes it, and without changing values
    on_hubs: ClassVar[bool] = False  # whether the hubs' viewers do
    label: ClassVar[str]  # where the label is, in words
    loaders: ClassVar[tuple[Loader, ...]]

    @property
    def name(self) -> str:
        return type(self).__name__.lower()

    @property
    def for_masks(self) -> Format:
        """The format of the masks beside: itself, unless it is lossy."""
        return self

    @abstractmethod
    def encode(self, pixels: np.ndarray, label: Label) -> bytes:
        """(H, W) uint8 or uint16, or (H, W, 3) uint8 → the file, in the units of ``label.scale``."""

    @abstractmethod
    def decode(self, content: bytes) -> np.ndarray:
        """The reverse; or float32 in units, where no pixels are stored. Raises what it likes of a damaged file."""

    def sidecar(self, label: Label) -> str | None:
        """JSON that goes beside the file."""
        return None

    def files(self, path: Path) -> list[Path]:
        """All that is written for the file ``path``."""
        return [path]

    def save(self, pixels: np.ndarray, path: Path, label: Label, credentials: ContentCredentials | None = None) -> None:
        """Write a file, signed with ``credentials`` if any, and what goes beside it; ``path`` ends with the suffix."""
        content = self.encode(pixels, label)
        if credentials is not None:
            content = credentials.sign(content, self.media_type, label)
        sidecar = self.sidecar(label)
        for file in self.files(path)[1:]:
            write_atomically(file, sidecar or "", durable=False)
        write_atomically(path, content, durable=False)  # an export waits for the disk once, at its end
