"""What files say without their pixels being decoded: equal ones, and DICOM's modality and patient."""

from __future__ import annotations

import hashlib
import os
from collections import Counter
from collections.abc import Callable, Hashable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from src.core.errors import UserError
from src.data.formats import read_header, tells_case
from src.data.formats.base import Reading

END = 4096  # bytes at either end of a file that tell most files of one size apart
PATIENTS = 5000  # files whose header is read for the patient, at most


def equal_files(paths: Sequence[Path]) -> list[list[int]]:
    """The positions of files with the same bytes. Of most files only the size, or the two ends, are looked at."""
    groups = [list(range(len(paths)))]
    for key in (_size, _ends, _digest):
        groups = [same for group in groups for same in _alike(group, paths, key)]
    return groups


def _alike(group: list[int], paths: Sequence[Path], key: Callable[[Path], Hashable]) -> list[list[int]]:
    found: dict[Hashable, list[int]] = {}
    for position in group:
        found.setdefault(key(paths[position]), []).append(position)
    return [same for same in found.values() if len(same) > 1]


def _size(path: Path) -> int:
    return path.stat().st_size


def _ends(path: Path) -> bytes:
    with path.open("rb") as file:
        start = file.read(END)
        file.seek(max(0, os.fstat(file.fileno()).st_size - END))
        return start + file.read(END)


def _digest(path: Path) -> bytes:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").digest()


def patients(paths: Sequence[Path], how: Reading) -> list[str | None]:
    """Of each file, where all are of a format that names patients and there are not too many; else None for each."""
    if len(paths) > PATIENTS or not all(map(tells_case, paths)):
        return [None] * len(paths)

    def patient(path: Path) -> str | None:
        try:
            return read_header(path, how).case
        except UserError:  # said when it is decoded
            return None

    with ThreadPoolExecutor() as pool:
        return list(pool.map(patient, paths))


def modalities(paths: Sequence[Path]) -> dict[str, int]:
    """DICOM's Modality with the number of files that say so; {} where none does."""
    if not (named := [path for path in paths if tells_case(path)]):
        return {}
    import pydicom

    found: Counter[str] = Counter()
    for path in named:
        try:
            header = pydicom.dcmread(path, stop_before_pixels=True, specific_tags=["Modality"], force=True)
        except Exception:  # it is said when the file is decoded
            continue
        found[str(header.get("Modality") or "none")] += 1
    return dict(found.most_common())
