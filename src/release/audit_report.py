"""An audit in words and numbers: the sentence at its top promises no more than was measured."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from rich.table import Table

from src.metrics.membership import Attack
from src.release.audit import SHARE, Audit

SURE = 0.9  # an AUC from which members are told apart nearly always


def sentence(audit: Audit) -> str:
    """The answer, in one sentence."""
    found = audit.nearest
    learned, held_out = audit.members[1], audit.others[1]
    scope = f"{audit.images:,} synthetic images, {learned:,} patients learned from and {held_out:,} held out"
    if found.leaks:
        how = "nearly always" if found.auc >= SURE else "more often than chance"
        return (
            f"These images give away whose images the generator learned from: an attacker who has a real image tells "
            f"{how} whether it was among them (AUC {found.auc:.2f}, of the split alone {found.control:.2f}; {scope})."
        )
    if found.interval[1] <= found.margin:
        most = "no more than the split alone gives away"
    else:
        most = f"at most {found.interval[1]:+.2f} of AUC beside what the split alone gives away, with 95% confidence"
    return (
        f"The attack of this audit did not find out whose images the generator learned from ({most}; {scope}): other "
        "attacks were not tried, and this is no proof of privacy."
    )


def rows(audit: Audit) -> Iterator[tuple[str, str, str]]:
    """What was measured, its value, and what it means."""
    yield (
        "left out by the filter against copies",
        f"{audit.rejected:,} of {audit.images:,} ({audit.rejected / audit.images:.1%})",
        f"nearer than {audit.threshold:g} to a training image, as at most {SHARE:.0%} of other patients' images are",
    )
    nearness = audit.nearness
    yield (
        "nearer to a training image than a held-out image is",
        f"{nearness.share:.3f} {_range(nearness.interval)}, p {_p(nearness.p)}",
        "0.5: as near as other patients' images; above: nearer",
    )
    yield from _attack("attack by the nearest synthetic image", audit.nearest)
    if audit.discriminator is not None:
        yield from _attack("attack by the discriminator's score", audit.discriminator)


def _attack(name: str, attack: Attack) -> Iterator[tuple[str, str, str]]:
    yield (
        f"{name}: AUC less its control",
        f"{attack.auc:.3f} − {attack.control:.3f} = {attack.difference:+.3f} {_range(attack.interval, '+')}",
        f"a leak where the interval lies above {attack.margin:.3f}; control: real images of other training patients in "
        "the place of the synthetic ones",
    )
    yield (
        f"{name}: found at 1% false positives",
        f"{attack.true_positives:.1%} (control {attack.control_true_positives:.1%})",
        "share of the training images that the attack is nearly sure of",
    )


def _range(interval: tuple[float, float], sign: str = "") -> str:
    low, high = interval
    return f"[{low:{sign}.3f}, {high:{sign}.3f}]"


def _p(value: float) -> str:
    return "< 0.001" if value < 0.001 else f"{value:.3f}"


def as_table(audit: Audit) -> Table:
    table = Table("measured", "value", "meaning", show_lines=True)
    for row in rows(audit):
        table.add_row(*row)
    return table


def as_json(audit: Audit) -> dict[str, Any]:
    return {
        "sentence": sentence(audit),
        "leaks": audit.nearest.leaks,
        "cautions": list(audit.cautions),
        "synthetic_images": audit.images,
        "learned_from": dict(zip(("images", "patients"), audit.members, strict=True)),
        "held_out": dict(zip(("images", "patients"), audit.others, strict=True)),
        "copies": {"threshold": audit.threshold, "left_out": audit.rejected},
        "nearness": audit.nearness._asdict(),
        "nearest_image_attack": _attack_json(audit.nearest),
        "discriminator_attack": None if audit.discriminator is None else _attack_json(audit.discriminator),
        "nearest_pairs": [round(pair.distance, 4) for pair in audit.pairs],
    }


def _attack_json(attack: Attack) -> dict[str, Any]:
    return {**attack._asdict(), "margin": attack.margin, "leaks": attack.leaks}
