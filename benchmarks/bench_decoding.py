"""Files decoded per second: MONAI's CacheDataset against the store's decoder, over the same PNG, DICOM and NIfTI files.

python -m benchmarks.bench_decoding [--kinds png dicom nifti] [--files N] [--side PIXELS] [--resolution PIXELS]

Needs MONAI, nibabel, pydicom and imagecodecs: pip install monai nibabel pydicom imagecodecs
"""

from __future__ import annotations

import argparse
import contextlib
import io
import logging
import os
import resource
import tempfile
import time
import warnings
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from importlib import import_module
from importlib.util import find_spec
from multiprocessing import get_all_start_methods, get_context, set_start_method
from pathlib import Path

import numpy as np
from PIL import Image

from benchmarks.timing import interleaved, machine, table
from src.core import workers
from src.data.folder import FolderData

NEEDED = ("monai", "nibabel", "pydicom", "imagecodecs")
SLICES = 24  # of a NIfTI volume
SOFT = (-160, 240)  # Hounsfield units that become black and white
Contender = Callable[[Path, int, int, str], None]  # files, pixels a side, workers, a folder for what is made


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kinds", nargs="+", choices=MAKERS, default=list(MAKERS))
    parser.add_argument("--files", type=int, default=800, help="PNG and DICOM files; of volumes, as many slices")
    parser.add_argument("--side", type=int, default=256, help="pixels a side of the files")
    parser.add_argument("--resolution", type=int, default=128, help="pixels a side of what is made of them")
    parser.add_argument("--workers", type=int, default=2, help="of each contender")
    parser.add_argument("--rounds", type=int, default=3)
    args = parser.parse_args()
    if missing := [name for name in NEEDED if find_spec(name) is None]:
        raise SystemExit(f"error: bench_decoding needs {', '.join(missing)}: pip install {' '.join(missing)}")
    print(f"{machine()}, {len(os.sched_getaffinity(0))} cores, {args.workers} workers, files of {args.side} px\n")
    with tempfile.TemporaryDirectory() as folder:
        for kind in args.kinds:
            root = Path(folder) / kind
            count = MAKERS[kind](root, args.files, args.side)
            for resolution in dict.fromkeys((args.side, args.resolution)):
                clocks: dict[str, list[float]] = {}
                contenders = {
                    name: partial(measured, run, root, resolution, args.workers, count, clocks.setdefault(name, []))
                    for name, run in (("MONAI", monai), ("project", project))
                }
                speeds = interleaved(contenders, args.rounds)
                made = "as they are" if resolution == args.side else f"made {resolution} px"
                print(table(f"{kind}, {made}", "files/s", speeds, "MONAI"))
                used = {name: 1e3 * min(seconds) / count for name, seconds in clocks.items()}
                print(", ".join(f"{name} {ms:.2f}" for name, ms in used.items()), "ms of processor time a file\n")


def measured(run: Contender, root: Path, resolution: int, threads: int, count: int, clocks: list[float]) -> float:
    """Files per second; the seconds of processor time, also of processes that have ended, are added to ``clocks``.

    In a process of its own, since what one contender leaves in memory would be forked by the other.
    """
    with ProcessPoolExecutor(1, get_context("spawn")) as alone:
        seconds, used = alone.submit(_timed, run, root, resolution, threads).result()
    clocks.append(used)
    return count / seconds


def _timed(run: Contender, root: Path, resolution: int, threads: int) -> tuple[float, float]:
    """Seconds, and seconds of processor time."""
    workers.HEAD_START = 0.0  # all in processes, as nearly all of a large folder is
    set_start_method(get_all_start_methods()[0], force=True)  # as in a command, not as this process was started
    for name in NEEDED[run is not monai :]:
        import_module(name)
    logging.disable(logging.WARNING)
    warnings.simplefilter("ignore")
    with contextlib.redirect_stderr(io.StringIO()), tempfile.TemporaryDirectory() as cache:
        start, used = time.perf_counter(), _processor_time()
        run(root, resolution, threads, cache)
        return time.perf_counter() - start, _processor_time() - used


def _processor_time() -> float:
    both = (resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return sum(use.ru_utime + use.ru_stime for use in both)


def project(root: Path, resolution: int, count: int, cache: str) -> None:
    """From the files to a store on the disk, all that is looked for on the way included."""
    window = None if root.name == "png" else "soft"
    whole = {"train": 1.0}
    FolderData(str(root), cache, resolution, window=window, workers=count, questions=False, splits=whole).prepare()


def monai(root: Path, resolution: int, count: int, _: str) -> None:
    """From the files to arrays in memory, by the transforms that MONAI's own examples begin with."""
    CacheDataset = import_module("monai.data").CacheDataset
    transforms = import_module("monai.transforms")
    low, high = (0, 255) if root.name == "png" else SOFT
    volumes = root.name == "nifti"
    steps = [
        transforms.LoadImaged("image", ensure_channel_first=True),
        *([transforms.Orientationd("image", "RAS")] if volumes else []),
        transforms.ScaleIntensityRanged("image", low, high, 0, 1, clip=True),
    ]
    frame = (resolution, resolution, SLICES) if volumes else (resolution, resolution)
    dataset = [{"image": str(path)} for path in sorted(root.iterdir())]
    if _side_of(dataset[0]["image"]) != resolution:
        steps.append(transforms.Resized("image", frame, mode="area"))  # the cheapest that does not alias
    CacheDataset(dataset, transforms.Compose(steps), num_workers=count, progress=False)


def _side_of(path: str) -> int:
    from src.data.formats import read_slices
    from src.data.formats.base import Reading

    return next(iter(read_slices(Path(path), Reading(values="hounsfield" if "nifti" in path else None)))).shape[0]


def _noisy(rng: np.random.Generator, side: int, middle: float, spread: float) -> np.ndarray:
    """Smooth, with a little noise, so that it compresses as scans do."""
    coarse = Image.fromarray(rng.normal(size=(16, 16)).astype(np.float32))
    smooth = np.asarray(coarse.resize((side, side), Image.Resampling.BICUBIC))
    return middle + spread * smooth + rng.normal(0, spread / 20, (side, side))


def make_png(root: Path, count: int, side: int) -> int:
    root.mkdir()
    rng = np.random.default_rng(0)
    for number in range(count):
        Image.fromarray(_noisy(rng, side, 128, 40).clip(0, 255).astype(np.uint8)).save(root / f"{number:05d}.png")
    return count


def make_dicom(root: Path, count: int, side: int) -> int:
    from pydicom.dataset import Dataset, FileMetaDataset
    from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian, generate_uid

    root.mkdir()
    rng = np.random.default_rng(0)
    for number in range(count):
        data = Dataset()
        data.file_meta = FileMetaDataset()
        data.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
        data.SOPClassUID, data.SOPInstanceUID = CTImageStorage, generate_uid()
        data.StudyInstanceUID, data.SeriesInstanceUID = generate_uid(), generate_uid()
        data.Modality, data.PatientID = "CT", f"{number:05d}"
        data.Rows = data.Columns = side
        data.SamplesPerPixel, data.PhotometricInterpretation, data.PixelRepresentation = 1, "MONOCHROME2", 1
        data.BitsAllocated, data.BitsStored, data.HighBit = 16, 16, 15
        data.RescaleSlope, data.RescaleIntercept, data.PixelSpacing = 1, -1024, [0.7, 0.7]
        data.ImagePositionPatient, data.ImageOrientationPatient = [0, 0, number], [1, 0, 0, 0, 1, 0]
        data.PixelData = _noisy(rng, side, 1000, 300).clip(0, 4095).astype(np.int16).tobytes()
        data.save_as(root / f"{number:05d}.dcm", enforce_file_format=True)
    return count


def make_nifti(root: Path, count: int, side: int) -> int:
    import nibabel

    root.mkdir()
    rng = np.random.default_rng(0)
    files = max(1, count // SLICES)
    for number in range(files):
        volume = np.stack([_noisy(rng, side, 0, 300) for _ in range(SLICES)], -1).astype(np.int16)
        nibabel.save(nibabel.Nifti1Image(volume, np.diag([-1.0, -1, 3, 1])), root / f"{number:04d}.nii.gz")
    return files


MAKERS = {"png": make_png, "dicom": make_dicom, "nifti": make_nifti}

if __name__ == "__main__":
    main()
