"""What has to be known beside a score: numbers that differ in it are not comparable."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from typing import Any

from src.core.errors import UserError

INFORMATION = (
    "images_shown",
    "version",
    "cases",
)  # may differ: what is compared, and how; cases bear on intervals alone
MEASURED = ("accuracy", "balanced_accuracy")  # known when the real images have been looked at


@dataclass(frozen=True)
class Passport:
    """Goes wherever a score goes."""

    n_real: int  # images
    n_fake: int  # images
    data: str  # name of the data set
    fingerprint: str  # sha256 of the real images' pixels and labels
    split: str  # which of the data's splits the real images are
    features: str  # space of FID, KID, precision, recall, density and coverage
    network: str  # sha256 of the weights that give features and class probabilities
    cases: int  # patients among the real images; as many as images where none are known
    accuracy: float | None  # of the classifier on the data's test images, else val; None without a classifier
    balanced_accuracy: float | None  # likewise: the mean over the classes, which are seldom equally frequent
    resolution: int  # pixels a side
    seed: int  # of latents and subsets
    kid_subset: int  # images
    ssim_window: int  # pixels a side; windows lie within the image
    ema: bool | None  # whether the generator's average made the images; None: no generator did
    images_shown: int | None  # to the discriminator when the generator was saved; None: no generator, or unknown
    version: str  # of torch and of the way scores are computed

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)

    @property
    def accuracies(self) -> str:
        """In words, empty without a classifier."""
        if self.accuracy is None or self.balanced_accuracy is None:
            return ""
        return f"test accuracy {self.accuracy:.1%} (balanced {self.balanced_accuracy:.1%})"

    @classmethod
    def from_dict(cls, values: Mapping[str, Any], source: str) -> Passport:
        """Raises UserError, naming ``source``, where these are not the fields of a passport."""
        names = {field.name for field in fields(cls)}
        if not isinstance(values, Mapping) or names != set(values):
            raise UserError(f"{source} has a passport of another version: score it again")
        return cls(**values)


def check_same_passports(passports: Sequence[tuple[str, Passport]], unknown: Collection[str] = ()) -> None:
    """Refuse to compare scores with unlike passports; ``passports`` with the names of what was scored.

    ``ema`` is compared between generators only: real images and noise have none. The fields ``unknown`` are left out.

    Raises:
        UserError: the first field that differs, and whose it is.
    """
    compared = [field.name for field in fields(Passport) if field.name not in (*INFORMATION, *unknown)]
    for name in compared:
        first: tuple[str, Any] | None = None
        for owner, passport in passports:
            value = getattr(passport, name)
            if name == "ema" and value is None:
                continue
            first = first or (owner, value)
            if value != first[1]:
                raise UserError(
                    f"the scores of {first[0]} and of {owner} cannot be compared: {name} is {_short(first[1])} for the "
                    f"first and {_short(value)} for the second: score both alike"
                )


def _short(value: Any) -> str:
    """A hash by its first digits."""
    return f"{value[:12]}…" if isinstance(value, str) and len(value) == 64 else str(value)
