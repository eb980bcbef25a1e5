"""What every data set here offers: a description that models are configured from, and its splits."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import asdict, dataclass
from typing import Any

from src.data.store import Split
from src.errors import UserError


@dataclass(frozen=True)
class Description:
    """What a model has to know of a data set; the training configuration refers to it as ``${data.channels}`` etc."""

    channels: int
    resolution: int  # pixels a side; images are square
    classes: tuple[str, ...]  # a label is an index into them; () where the data has no classes
    masks: tuple[str, ...]  # a mask channel each; () where the data has no masks

    def as_config(self) -> dict[str, Any]:
        return {key: list(value) if isinstance(value, tuple) else value for key, value in asdict(self).items()}


class ImageData(ABC):
    """A data set. ``prepare`` downloads, decodes or draws it once; the rest is cheap after that."""

    @abstractmethod
    def prepare(self) -> None:
        """Make the data ready to use. Does nothing where it is ready already."""

    @property
    @abstractmethod
    def description(self) -> Description: ...

    @property
    @abstractmethod
    def splits(self) -> dict[str, Split]:
        """Splits by name: train, val, test; one may be absent, none is empty."""

    def split(self, name: str) -> Split:
        if name not in self.splits:
            raise UserError(f"the data has no split {name!r}: it has {', '.join(self.splits)}")
        return self.splits[name]
