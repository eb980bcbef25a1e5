"""Reads what the trainings of a study left behind, for its analysis and its page."""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import torch

from src.core.errors import UserError
from src.core.run_folder import RunFolder
from src.data.base import ImageData
from src.data.folder import FolderData
from src.data.store import CHUNK, Split
from src.downstream.analysis import Study
from src.downstream.exports import copies_note, nearest_pairs
from src.downstream.generator_scores import ScoredGenerator
from src.downstream.plan import UnetJob
from src.downstream.results import REAL, JobResult
from src.downstream.statistics import case_means
from src.downstream.study_page import Audited, Exported, Generator, Picture, SplitSize, StudyPage
from src.release.audit import Audit
from src.release.audit_report import rows, sentence
from src.release.comparison import Comparison
from src.release.left_out import LeftOut
from src.scoring.report import SUSPICIOUS, TITLES
from src.tasks.case_report import PICTURE, TABLE, read_case_table
from src.tasks.segmentation import image_dice
from src.training.restore import TrainedRun

T = TypeVar("T")


@dataclass(frozen=True)
class StudyRuns:
    """Where everything of a study is."""

    folder: Path
    data: ImageData
    generators: Mapping[tuple[str, float], TrainedRun]  # by name and share of the training cases
    synthetic: Mapping[tuple[str, float], Path]  # exported images, likewise
    jobs: Sequence[UnetJob]
    scored: Mapping[str, ScoredGenerator]  # the generators of the largest share, by name


def collect(jobs: Sequence[UnetJob], folder: Path) -> list[JobResult]:
    """The test results of all U-Nets whose job stands for one. Raises UserError where a table is missing."""
    results = []
    for unet in jobs:
        if not unet.fractions:  # pre-training only
            continue
        run = folder / unet.job.name
        table = run / TABLE.format("test")
        try:
            dice, cases = read_case_table(table)
        except OSError as problem:
            raise UserError(f"{table} is missing: delete {run} and repeat the command") from problem
        command = shlex.join(["python", "-m", "src.train", *unet.job.overrides])
        fit = _training_dice(run)
        for fraction in unet.fractions:
            kind = unet.regime, unet.generator, unet.ratio, fraction, unet.seed
            results.append(JobResult(*kind, dice, cases, str(run), command, fit))
    return results


def _training_dice(run: Path) -> float | None:
    """Mean over the cases of the real images that it learned from."""
    try:
        dice, cases = read_case_table(run / TABLE.format("train"))
    except FileNotFoundError:
        return None
    return float(case_means(np.array([list(dice.values())]), [cases[image] for image in dice]).mean())


def marked_everything(split: Split) -> dict[str, float]:
    """By file: the Dice coefficient of marking every pixel, mean over masks; a U-Net that learned nothing has it."""
    dice = []
    for start in range(0, len(split), CHUNK):
        mask = split.gather(np.arange(start, min(start + CHUNK, len(split))))["mask"]
        dice += image_dice(torch.ones_like(mask), mask).mean(1).tolist()
    return dict(zip(split.files(), dice, strict=True))


def of_largest_share(made: Mapping[tuple[str, float], T]) -> dict[str, T]:
    """By name of the generator: what was made on the largest share of the training cases."""
    return {name: made[name, share] for name, share in sorted(made)}


def study_page(
    study: Study,
    runs: StudyRuns,
    left_out: Mapping[str, LeftOut],
    compared: Mapping[str, Comparison],
    audits: Mapping[str, Audit],
    same_cases: bool,
    cache: str,
    command: str,
) -> StudyPage:
    """The page of a finished study; writes the pictures of the copy search into its folder.

    Args:
        left_out: of the exports (``exports.left_out_of``).
        compared: the generators with the real images (``exports.compare_with_real``).
        audits: of their exports (``exports.audits_of``).
        cache: folder of decoded data.
        command: that repeats the study.
    """
    settings = _settings(runs)
    largest, exports = of_largest_share(runs.generators), of_largest_share(runs.synthetic)
    return StudyPage(
        study=study,
        data=f"{settings['data']['name']}, {settings['data']['resolution']} px",
        splits=[
            SplitSize(name, len(split), len(set(split.cases_or_files()))) for name, split in runs.data.splits.items()
        ],
        steps=-(-settings["images"] // settings["batch_size"]),
        generators=[
            Generator(name, runs.scored[name].scores if name in runs.scored else {}, _basis(runs.scored.get(name)),
                      overlay=exports[name] / "preview.png")
            for name in largest
        ],
        floors=list(_floors(runs.scored)),
        passports={name: _passport(run, runs.scored.get(name)) for name, run in largest.items()},
        real_overlay=next(iter(runs.generators.values())).folder / "samples" / "real.png",
        exports=[Exported(name, one.kept, one.text()) for name, one in left_out.items()],
        copies=list(nearest_pairs(compared, exports, runs.data, runs.folder / "copies", cache)),
        copies_note=copies_note(compared),
        audits=[
            Audited(name, sentence(one), one.nearest.leaks, one.cautions, list(rows(one)))
            for name, one in audits.items()
        ],
        predictions=list(_predictions(runs)),
        commands=[command],
        warnings=list(warnings_of(same_cases, runs.scored)),
    )  # fmt: skip


def cautions_of(data: ImageData) -> Iterator[str]:
    """What in the data touches the verdict."""
    if isinstance(data, FolderData) and all(split.cases is None for split in data.splits.values()):
        yield (
            "No cases are named, so each image counts as one. Where several images show one patient, patients are on "
            "both sides of the split, and Dice and intervals are too good: set data.group."
        )
    if isinstance(data, FolderData) and data.crossing_copies:
        yield f"Dice and intervals are too good: {data.crossing_copies}. Remove all but one of each."


def warnings_of(same_cases: bool, scored: Mapping[str, ScoredGenerator]) -> Iterator[str]:
    """What else a reader of the page has to know: whose images the generators saw, and which scores tell nothing.

    ``same_cases``: see ``StudySettings``.
    """
    if not same_cases:
        yield (
            "The generators learned from all training cases, also where a U-Net gets a share of them: there the "
            "synthetic images stand for those of someone with more data. generator_per_fraction=true trains one for "
            "every share."
        )
    for name, one in scored.items():
        if one.better_than_real:
            titles = ", ".join(TITLES[key] for key in one.better_than_real)
            yield f"{titles} of {name}: {SUSPICIOUS}."


def _floors(scored: Mapping[str, ScoredGenerator]) -> Iterator[Generator]:
    """Real images in the place of a generator: the same for all that one evaluator scored."""
    for one in list(scored.values())[:1]:
        for title, scores in one.floors.items():
            yield Generator(title, scores, _basis(one))


def _settings(runs: StudyRuns) -> Mapping[str, Any]:
    """Those of a U-Net that trains in one go."""
    whole = next(unet for unet in runs.jobs if unet.regime == REAL)
    return RunFolder(runs.folder / whole.job.name).settings()


def _basis(scored: ScoredGenerator | None) -> str:
    """What scores that may stand in one table have in common."""
    if scored is None:
        return ""
    passport = scored.passport
    accuracy = f", {passport.accuracies}" if passport.accuracies else ""
    sizes = f"{passport.n_fake:,} generated against {passport.n_real:,} real images"
    return f"{sizes}; {passport.features}{accuracy}; seed {passport.seed}"


def _passport(run: TrainedRun, scored: ScoredGenerator | None) -> str:
    shown = f"{run.module.clock.images:,} real images shown"
    average = "averaged weights" if run.module.ema is not None else "last weights"
    network = f"; scored by the network {scored.passport.network[:12]}" if scored else ""
    return f"{run.module.name}, {shown}, {average}, seed {run.settings['seed']}{network}"


def _predictions(runs: StudyRuns) -> Iterator[Picture]:
    """The test images of the first seed's U-Nets at the largest fraction, one of each kind."""
    largest = max(fraction for unet in runs.jobs for fraction in unet.fractions)
    for unet in runs.jobs:
        if unet.seed == 0 and largest in unet.fractions:
            kind = " · ".join([unet.regime.replace("_", " "), *([unet.generator] if unet.generator else [])])
            yield Picture(kind, runs.folder / unet.job.name / PICTURE.format("test"))
