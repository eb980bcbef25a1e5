"""The seven Cs of synthetic medical data (Zamzmi et al., Communications Engineering, 2025), from what is on record.

What nobody measured says so: a scorecard promises no more than was found.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from src.release.calibration import describe
from src.release.evidence import Evidence
from src.release.formats.base import Format
from src.scoring.titles import TITLES

NOT_MEASURED = "not measured"
VARIETY = ("recall", "coverage", "clipped_coverage", "rke", "ssim_diversity")  # all other scores tell of likeness too


class Line(NamedTuple):
    criterion: str
    question: str
    found: str


def scorecard(record: Mapping[str, Any], evidence: Evidence, file_format: Format, license: str | None) -> list[Line]:
    """``record`` is the content of ``dataset.json``, with ``rejected``."""
    return [
        Line("Congruence", "Are the images distributed as real ones?", _scores(evidence, of_variety=False)),
        Line("Coverage", "Do they vary as much as real ones?", _scores(evidence, of_variety=True)),
        Line("Constraint", "Do they keep to anatomy and physics?", _constraint(record)),
        Line("Completeness", "Is what a task needs there?", _completeness(record)),
        Line("Compliance", "Privacy, formats, rules?", _compliance(record, file_format, license)),
        Line("Comprehension", "Is it said how they were made, and what they cannot do?", _comprehension(record)),
        Line("Consistency", "Is quality the same across patients, subgroups and seeds?", _consistency(evidence)),
    ]


def copies_sentence(record: Mapping[str, Any]) -> str:
    """What the filter against copies did."""
    if (distance := record["min_distance"]) is None:
        return f"copies of training images: {NOT_MEASURED} (nobody looked for them)"
    left_out = record["rejected"].get("copy", 0)
    reference = describe(record["copies"]["held_out"]) if "held_out" in record.get("copies", {}) else ""
    return (
        f"{left_out:,} images nearer than {distance:g} to a training image were left out"
        + (f" ({reference})" if reference else "")
        + "; a filter of this kind does not find every copy"
    )


def _scores(evidence: Evidence, of_variety: bool) -> str:
    row, floor = evidence.generator, evidence.floor
    if row is None or not (there := [name for name in row.scores if (name in VARIETY) == of_variety]):
        return f"{NOT_MEASURED} (`python -m src.evaluate` does)"
    texts = []
    for name in there:
        text = f"{TITLES.get(name, name)} {row.scores[name]:.4g}"
        if name in row.intervals:
            text += " [{:.3g}, {:.3g}]".format(*row.intervals[name])
        if floor is not None and name in floor.scores:
            text += f" (unseen real images {floor.scores[name]:.4g})"
        texts.append(text)
    return ", ".join(texts)


def _constraint(record: Mapping[str, Any]) -> str:
    anatomy = "of the images themselves: not measured"
    if not record["masks"]:
        return anatomy
    faults = {reason: count for reason, count in record["rejected"].items() if reason != "copy"}
    if not record["reject"]:
        return f"masks that are empty, full or speckled were kept; `masks_ok` in manifest.csv tells; {anatomy}"
    found = ", ".join(f"{reason} {count:,}" for reason, count in faults.items()) or "none"
    return f"pairs left out because their masks were empty, full or speckled: {found}; {anatomy}"


def _completeness(record: Mapping[str, Any]) -> str:
    masks = f"masks of {', '.join(record['masks'])} for every image" if record["masks"] else "no masks"
    classes = f"class {record['classes'][0]}" if record["classes"] else "no classes"
    return f"{record['n']:,} images of equal size, {masks}, {classes}; no age, sex, site or scanner"


def _compliance(record: Mapping[str, Any], file_format: Format, license: str | None) -> str:
    return (
        f"{copies_sentence(record)}; membership inference: {NOT_MEASURED}; every file says that it is synthetic "
        f"({file_format.label}); no patient data are in the files; licence: {license or 'not stated'}"
    )


def _comprehension(record: Mapping[str, Any]) -> str:
    return "this card, dataset.json (generator, weights, data, checks, versions), manifest.csv (seed and index of each)"


def _consistency(evidence: Evidence) -> str:
    if (row := evidence.generator) is None or not row.intervals:
        return NOT_MEASURED
    return (
        f"the intervals above are over resampled images of {row.passport.cases:,} cases; across subgroups, sites and "
        f"training seeds: {NOT_MEASURED}"
    )
