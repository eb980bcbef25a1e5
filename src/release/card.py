"""The dataset card: README.md with the header that hubs read, from the record of an export and of its run."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from jinja2 import Environment, FileSystemLoader, StrictUndefined

from src.release.evidence import Evidence
from src.release.formats.base import Format
from src.release.label import SOURCE_TYPE
from src.release.scorecard import scorecard

FILE = "README.md"
SIZES = ((1_000, "n<1K"), (10_000, "1K<n<10K"), (100_000, "10K<n<100K"), (1_000_000, "100K<n<1M"))
INTENDED_USE = (
    "Augmenting the training data of models that are then tested on real images, teaching, and testing software. Not "
    "for diagnosis, and not in the place of a test set of real patients."
)
# As in HTML pages, but Markdown: nothing is escaped.
ENVIRONMENT = Environment(
    loader=FileSystemLoader(Path(__file__).parent), undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
)


@dataclass(frozen=True)
class Publication:
    """What who publishes a data set says of it; None: nothing is said.

    Args:
        title: its name.
        license: SPDX identifier, as CC-BY-4.0, or the address of a text.
        creator: person or institution.
        url: where it is published.
        intended_use: a sentence or two.
        date: of publication, YYYY-MM-DD.
    """

    title: str | None = None
    license: str | None = None
    creator: str | None = None
    url: str | None = None
    intended_use: str | None = None
    date: str | None = None


@dataclass(frozen=True)
class DataSet:
    """A finished export, as its card describes it.

    Args:
        record: the content of ``dataset.json``, with ``rejected``.
        frame: height and width of the images in pixels.
    """

    record: Mapping[str, Any]
    frame: tuple[int, int]
    format: Format
    evidence: Evidence
    publication: Publication

    @property
    def title(self) -> str:
        generator = self.record["generator"]
        return self.publication.title or f"Synthetic {generator['data'] or 'images'} by {generator['model']}"

    @property
    def intended_use(self) -> str:
        return self.publication.intended_use or INTENDED_USE

    @property
    def description(self) -> str:
        """One line."""
        record, (height, width) = self.record, self.frame
        masks = f" with masks ({', '.join(record['masks'])})" if record["masks"] else ""
        return (
            f"{record['n']:,} synthetic {'grey' if record['channels'] == 1 else 'colour'} images of {width}×{height} "
            f"pixels{masks}, made by a generative adversarial network ({record['generator']['model']}). "
            "None shows a real patient."
        )

    @property
    def limits(self) -> list[str]:
        record = self.record
        learned = len(record.get("training_images", ()))
        of = record["generator"]["data"] or "one data set"
        lines = [
            f"The generator learned from {f'{learned:,} real images' if learned else 'real images'} of {of}: what is "
            "rare, missing or biased in them is so here too, or more.",
            "Whether a model gains by them depends on the model and on the share of real images: test it on real ones.",
            "No image belongs to a patient, and none to another image: there are no cases, and no clinical data.",
            "Copies of training images may be among them, and nothing here is a guarantee of privacy.",
        ]
        if record["masks"]:
            lines.append("The masks were made by the network together with the images; no expert drew or checked them.")
        return lines


def dataset_card(data: DataSet) -> str:
    """The Markdown text."""
    record, row = data.record, data.evidence.generator
    return ENVIRONMENT.get_template("card.md.jinja").render(
        header=yaml.safe_dump(_header(data), sort_keys=False, allow_unicode=True).strip(),
        title=data.title,
        masks=record["masks"],
        facts=_facts(data),
        loaders=data.format.loaders,
        mask_suffix=data.format.for_masks.suffix,
        scorecard=scorecard(record, data.evidence, data.format, data.publication.license),
        passport=None if row is None else [(name, value) for name, value in row.passport.as_dict().items()],
        source=data.evidence.source,
        scored_at=None if row is None else row.passport.images_shown,
        images_shown=record["generator"]["images_shown"],
        intended_use=data.intended_use,
        limits=data.limits,
        label=data.format.label,
        source_type=SOURCE_TYPE,
        watermark=record.get("watermark_found"),
        signed=record["signed_by"],
        license=data.publication.license,
    )


def _header(data: DataSet) -> dict[str, Any]:
    """The metadata that hubs of data sets read (huggingface.co/docs/hub/datasets-cards)."""
    record = data.record
    tasks = ["image-segmentation"] if record["masks"] else ["unconditional-image-generation"]
    header: dict[str, Any] = {
        "pretty_name": data.title,
        "license": (data.publication.license or "unknown").lower(),
        "task_categories": tasks,
        "tags": ["synthetic", "medical", "gan", "trainedAlgorithmicMedia", record["generator"]["model"]],
        "size_categories": [next((name for limit, name in SIZES if record["n"] < limit), "n>1M")],
        "annotations_creators": ["machine-generated"],
        "source_datasets": ["original"],
    }
    if data.format.on_hubs:
        header["configs"] = [{"config_name": "default", "data_files": [{"split": "train", "path": "images/**"}]}]
    return header


def _facts(data: DataSet) -> list[tuple[str, str]]:
    record, (height, width) = data.record, data.frame
    generator, left_out = record["generator"], sum(record["rejected"].values())
    colour = "grey" if record["channels"] == 1 else "colour"
    scale = record.get("scale")
    units = f", values from {scale['low']:g} to {scale['high']:g} {scale['unit']}".rstrip() if scale else ""
    stored = f"{record['bits']} bits, {data.format.name}{units}"
    facts = [
        ("Images", f"{record['n']:,}, {width}×{height} pixels, {colour}, {stored}"),
        ("Masks", ", ".join(record["masks"]) or "none"),
        ("Class", ", ".join(record["classes"]) or "not known of an image"),
        ("Generator", f"{generator['model']}, trained for {generator['images_shown']:,} real images shown"),
        ("Run", f"{generator['run']}, {generator['checkpoint']}, weights sha256 {generator['weights'][:16]}…"),
        ("Learned from", f"{generator['data']}, fingerprint {record.get('data_fingerprint', 'not recorded')}"),
        ("Seed", f"{record['seed']}; image i depends on the seed and on i alone"),
        ("Left out", f"{left_out:,} of {record['n'] + left_out:,} images made"),
        ("Made with", f"{record['software']}, torch {record['versions']['torch']}"),
    ]
    said = {"Creator": data.publication.creator, "Published": data.publication.date, "Address": data.publication.url}
    return [*facts, *((name, value) for name, value in said.items() if value)]
