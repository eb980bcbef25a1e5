"""Croissant metadata (MLCommons, 1.0, with its vocabulary for responsible AI): what loaders and searches read."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from src.release.card import DataSet
from src.release.formats.base import Format
from src.release.label import SOURCE_TYPE

FILE = "croissant.json"
TERMS = (
    "citeAs column equivalentProperty extract field fileProperty fileObject fileSet format includes isLiveDataset "
    "jsonPath key md5 parentField path recordSet references regex repeated replace samplingRate separator source "
    "subField transform"
)
# http://docs.mlcommons.org/croissant/docs/croissant-spec.html, appendix 1
CONTEXT = {
    "@language": "en",
    "@vocab": "https://schema.org/",
    "sc": "https://schema.org/",
    "cr": "http://mlcommons.org/croissant/",
    "rai": "http://mlcommons.org/croissant/RAI/",
    "dct": "http://purl.org/dc/terms/",
    "data": {"@id": "cr:data", "@type": "@json"},
    "dataType": {"@id": "cr:dataType", "@type": "@vocab"},
    "examples": {"@id": "cr:examples", "@type": "@json"},
    "conformsTo": "dct:conformsTo",
} | {name: f"cr:{name}" for name in TERMS.split()}
COLUMNS = {"seed": "Integer", "index": "Integer", "masks_ok": "Boolean"}  # of manifest.csv; the others are Text


def croissant(data: DataSet, folder: Path, columns: Sequence[str]) -> dict[str, Any]:
    """The content of ``croissant.json`` in the folder of an export; ``columns`` of manifest.csv."""
    said = data.publication
    metadata: dict[str, Any] = {
        "@context": CONTEXT,
        "@type": "sc:Dataset",
        "conformsTo": ["http://mlcommons.org/croissant/1.0", "http://mlcommons.org/croissant/RAI/1.0"],
        "name": data.title,
        "description": data.description,
        "citeAs": ". ".join(filter(None, (said.creator, data.title, said.date, said.url))),
        "version": "1.0.0",
        "isLiveDataset": False,
        "keywords": ["synthetic", "medical imaging", "generative adversarial network", SOURCE_TYPE],
        "license": said.license or "unknown",
        "creator": {"@type": "Organization", "name": said.creator} if said.creator else None,
        "url": said.url,
        "datePublished": said.date,
        "rai:dataCollection": f"Sampled from a {data.record['generator']['model']} with seed {data.record['seed']}.",
        "rai:dataCollectionType": ["Synthetic"],
        "rai:machineAnnotationTools": ["the same network made the masks"] if data.record["masks"] else None,
        "rai:dataLimitations": data.limits,
        "rai:dataUseCases": [data.intended_use],
        "rai:personalSensitiveInformation": ["none: no image shows a real patient"],
        "distribution": [_manifest(folder), *_file_sets(data)],
        "recordSet": [_manifest_records(columns), *_image_records(data)],
    }
    return {key: value for key, value in metadata.items() if value is not None}


def _manifest(folder: Path) -> dict[str, Any]:
    return {
        "@type": "cr:FileObject",
        "@id": "manifest.csv",
        "name": "manifest.csv",
        "description": "a row for each image",
        "contentUrl": "manifest.csv",
        "encodingFormat": "text/csv",
        "sha256": hashlib.sha256((folder / "manifest.csv").read_bytes()).hexdigest(),
    }


def _parts(data: DataSet) -> list[tuple[str, Format]]:
    """Folder and format of the images and of each mask."""
    return [("images", data.format), *((f"masks/{name}", data.format.for_masks) for name in data.record["masks"])]


def _file_sets(data: DataSet) -> list[dict[str, Any]]:
    depth = "*/" if data.format.folder_per_class else ""
    return [
        {
            "@type": "cr:FileSet",
            "@id": _files_id(part),
            "name": _files_id(part),
            "encodingFormat": form.media_type,
            "includes": f"{part}/{depth}*{form.suffix}",
        }
        for part, form in _parts(data)
    ]


def _manifest_records(columns: Sequence[str]) -> dict[str, Any]:
    fields = [
        _field(
            "manifest",
            column,
            f"sc:{COLUMNS.get(column, 'Text')}",
            {"fileObject": {"@id": "manifest.csv"}, "extract": {"column": column}},
        )
        for column in columns
    ]
    return {
        "@type": "cr:RecordSet",
        "@id": "manifest",
        "name": "manifest",
        "key": {"@id": "manifest/file"},
        "field": fields,
    }


def _image_records(data: DataSet) -> list[dict[str, Any]]:
    """Of what mlcroissant can read; of other formats manifest.csv has the paths."""
    sets = []
    for part, form in _parts(data):
        source, name = {"fileSet": {"@id": _files_id(part)}}, _identifier(part)
        fields = [
            _field(name, "file", "sc:Text", {**source, "extract": {"fileProperty": "fullpath"}}),
            _field(name, "pixels", "sc:ImageObject", {**source, "extract": {"fileProperty": "content"}}),
        ]
        if form.in_croissant:
            sets.append({"@type": "cr:RecordSet", "@id": name, "name": name, "field": fields})
    return sets


def _files_id(part: str) -> str:
    return f"{_identifier(part)}-files"


def _identifier(name: str) -> str:
    """mlcroissant takes no white space in one."""
    return "_".join(name.split())


def _field(record_set: str, name: str, kind: str, source: dict[str, Any]) -> dict[str, Any]:
    return {"@type": "cr:Field", "@id": f"{record_set}/{name}", "name": name, "dataType": kind, "source": source}
