"""The page of the downstream study: one HTML file that answers whether synthetic images are worth it to a U-Net."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import groupby
from pathlib import Path
from typing import Any, NamedTuple

from PIL import Image

from src.comparison.runs import MISSING
from src.comparison.tables import count, significant
from src.core.atomic import write_atomically
from src.downstream.analysis import ArmSummary, Study
from src.downstream.claims import CONTRADICTED, SUPPORTED, Claim
from src.downstream.comparisons import Comparison
from src.downstream.dice_figure import dice_png, way_styles
from src.downstream.results import fraction_text, signed
from src.downstream.statistics import WHOLE, Interval
from src.pictures import figures
from src.pictures.page import data_url, embedded, legend_entry, render

LARGEST = 1100  # pixels a side that a picture is embedded with, at most: twice its width on a wide screen
SCORE_NAMES = {
    "am_score": "AM Score (lower is better)",
    "mode_score": "Mode Score (higher is better)",
    "fid": "FID (lower is better)",
    "kid": "KID (lower is better)",
}
STATE_CLASSES = {SUPPORTED: "good", CONTRADICTED: "alert"}


class SplitSize(NamedTuple):
    """How much of the data one split holds."""

    name: str
    images: int
    cases: int


class Picture(NamedTuple):
    caption: str
    path: Path


class Exported(NamedTuple):
    """The synthetic images of a generator."""

    generator: str
    kept: int
    left_out: str  # how many of those that were made, and why


class Audited(NamedTuple):
    """What the images of a generator give away of its training images."""

    generator: str
    sentence: str
    leaks: bool
    cautions: Sequence[str]
    rows: Sequence[tuple[str, str, str]]  # what was measured, its value, and what it means


class Copy(NamedTuple):
    """A synthetic image and the real one nearest to it."""

    synthetic: Path
    real: Path
    distance: float


@dataclass(frozen=True)
class Generator:
    """A generator's scores, or those of real images, and its images beside real ones."""

    name: str
    scores: Mapping[str, tuple[float, ...]] = field(default_factory=dict)  # value, and low and high (95%) if known
    passport: str = ""  # what the scores were computed with; unlike ones get tables of their own
    overlay: Path | None = None  # grid of images with their masks drawn in


@dataclass(frozen=True)
class StudyPage:
    """Everything the page shows. A part that is absent, or a picture that cannot be read, leaves no gap."""

    study: Study
    data: str  # name of the data set
    splits: Sequence[SplitSize]
    steps: int  # optimisation steps of every U-Net
    generators: Sequence[Generator] = ()
    floors: Sequence[Generator] = ()  # real images by the scores of the generators
    real_overlay: Path | None = None
    exports: Sequence[Exported] = ()
    copies: Sequence[Copy] = ()
    copies_note: str = ""  # what the distance is and how many images were searched
    audits: Sequence[Audited] = ()
    predictions: Sequence[Picture] = ()  # of U-Nets: best, median, worst
    passports: Mapping[str, str] = field(default_factory=dict)  # name → text
    commands: Sequence[str] = ()  # that repeat everything, in order
    warnings: Sequence[str] = ()  # what else to know of the data and the generators


def write_study(study_page: StudyPage, folder: Path) -> Path:
    """Write ``study.html`` into ``folder`` (made if absent); returns its path. It needs no other file."""
    folder.mkdir(parents=True, exist_ok=True)
    study = study_page.study
    html = render(
        "downstream/study.html.jinja",
        page=study_page,
        study=study,
        protocol=_protocol(study_page),
        figure=_figure(study.arms),
        legend=[legend_entry(way.label, style) for way, style in way_styles(study.arms).items()],
        arms=_arm_table(study.arms),
        fitted=any(arm.training_dice is not None for arm in study.arms),
        primary=[_comparison_row(one) for one in study.comparisons if one.corrected],
        largest=next((fraction_text(one.fraction) for one in study.comparisons if one.corrected), ""),
        descriptive=_descriptive_tables(study.comparisons),
        claims=[_claim_row(claim) for claim in study.claims],
        scores=_score_tables([*study_page.generators, *study_page.floors]),
        samples=_samples(study_page),
        copies=[shown for copy in study_page.copies if (shown := _copy(copy))],
        predictions=[(p.caption, source) for p in study_page.predictions if (source := _embedded(p.path))],
        warnings=study_page.warnings,
        missing=MISSING,
        count=count,
    )
    path = folder / "study.html"
    write_atomically(path, html.encode())
    return path


def _embedded(path: Path | None) -> str | None:
    """A picture file as a data URL; None where there is none that can be read."""
    try:
        if path is None:
            return None
        with Image.open(path) as file:
            picture = embedded(file.convert("RGB"), LARGEST)
    except OSError:
        return None
    return picture and picture.src


def _protocol(page: StudyPage) -> list[str]:
    splits = ", ".join(
        f"{count(split.images)} {split.name} images ({count(split.cases)} cases)" for split in page.splits
    )
    tests = {(arm.images, arm.cases) for arm in page.study.arms}
    tested = " or ".join(f"{count(images)} images of {count(cases)} cases" for images, cases in sorted(tests))
    seeds = max((arm.seeds for arm in page.study.arms), default=0)
    return [
        f"{page.data}: {splits}.",
        f"Every U-Net trains for {count(page.steps)} optimisation steps, with {seeds} seed{'s' * (seeds != 1)} an arm, "
        f"and is tested on the same {tested}.",
        "Each generator was trained once: how far another training of it would lead is in none of the intervals.",
    ]


def _figure(arms: Sequence[ArmSummary]) -> dict[str, str]:
    """The figure for wide and narrow screens, each in light and dark."""
    return {
        f"{size}_{name}": data_url(dice_png(arms, theme, narrow=size == "narrow"))
        for size in ("wide", "narrow")
        for name, theme in (("light", figures.LIGHT), ("dark", figures.DARK))
    }


def _arm_table(arms: Sequence[ArmSummary]) -> dict[str, Any]:
    """Arms down, real fractions across."""
    fractions = sorted({arm.fraction for arm in arms})
    found = {(arm.arm.label, arm.fraction): arm for arm in arms}
    rows = [
        (label, [found.get((label, fraction)) for fraction in fractions])
        for label in dict.fromkeys(arm.arm.label for arm in arms)
    ]
    return {
        "fractions": [fraction_text(fraction) for fraction in fractions],
        "rows": [
            (label, [(f"{arm.mean:.3f}", _range(arm.interval), _fit(arm)) if arm else None for arm in cells])
            for label, cells in rows
        ],
    }


def _range(interval: Interval) -> str:
    """Nothing where Dice did not vary, so that its interval is all that Dice can be."""
    return MISSING if interval == (0, 1) else f"{interval[0]:.3f} to {interval[1]:.3f}"


def _fit(arm: ArmSummary) -> str:
    return "" if arm.training_dice is None else f"training {arm.training_dice:.3f}"


def _signed_range(interval: Interval | None) -> str:
    return MISSING if interval in (None, WHOLE) else f"{signed(interval[0])} to {signed(interval[1])}"


def _p_text(p: float) -> str:
    return "< 0.001" if p < 0.001 else f"{p:.3f}"


def _descriptive_tables(comparisons: Sequence[Comparison]) -> list[tuple[str, list[dict[str, Any]]]]:
    """One table for each share of the real images, the largest first."""
    rest = [comparison for comparison in comparisons if not comparison.corrected]
    fractions = sorted({comparison.fraction for comparison in rest}, reverse=True)
    return [
        (fraction_text(fraction), [_comparison_row(one) for one in rest if one.fraction == fraction])
        for fraction in fractions
    ]


def _comparison_row(comparison: Comparison) -> dict[str, Any]:
    corrected = comparison.corrected
    numbers = [signed(comparison.difference), _signed_range(comparison.interval)]
    if corrected:
        numbers += [_signed_range(corrected.interval), _p_text(corrected.p)]
    return {
        "arm": comparison.arm.label,
        "baseline": comparison.baseline.label,
        "numbers": [*numbers, f"{comparison.seeds}"],
        "differs": corrected is not None and corrected.p < 0.05,
    }


def _claim_row(claim: Claim) -> dict[str, Any]:
    return {
        "source": claim.source,
        "claimed": claim.claimed,
        "found": claim.found,
        "difference": MISSING if claim.difference is None else signed(claim.difference),
        "interval": _signed_range(claim.interval),
        "state": claim.state,
        "kind": STATE_CLASSES.get(claim.state, "soft"),
    }


def _score_tables(generators: Sequence[Generator]) -> list[dict[str, Any]]:
    """One table for each passport: numbers computed differently are not put side by side."""
    scored = sorted((generator for generator in generators if generator.scores), key=lambda one: one.passport)
    tables = []
    for passport, members in groupby(scored, key=lambda one: one.passport):
        rows = list(members)
        keys = list(dict.fromkeys(key for generator in rows for key in generator.scores))
        tables.append(
            {
                "passport": passport,
                "names": [SCORE_NAMES.get(key, key.replace("_", " ")) for key in keys],
                "rows": [(generator.name, [_score(generator.scores.get(key)) for key in keys]) for generator in rows],
            }
        )
    return tables


def _score(score: tuple[float, ...] | None) -> tuple[str, str]:
    if score is None:
        return MISSING, ""
    value, *ends = score
    return significant(value), " to ".join(map(significant, ends))


def _samples(page: StudyPage) -> list[tuple[str, str]]:
    """Captions and pictures: real images first, then each generator's."""
    overlays = [("real", page.real_overlay), *((generator.name, generator.overlay) for generator in page.generators)]
    return [(f"{name} images with their masks", picture) for name, path in overlays if (picture := _embedded(path))]


def _copy(copy: Copy) -> tuple[str, str, str] | None:
    synthetic, real = _embedded(copy.synthetic), _embedded(copy.real)
    return (synthetic, real, significant(copy.distance)) if synthetic and real else None
