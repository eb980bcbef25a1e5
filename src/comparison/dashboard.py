"""What a W&B workspace and report show: a section for each question, on the axis of images shown."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

os.environ.setdefault("WANDB_ERROR_REPORTING", "false")  # before W&B is imported

import wandb_workspaces.reports.v2 as reports
import wandb_workspaces.workspaces as workspaces


@dataclass(frozen=True)
class Question:
    """A section: curves by title, numbers that runs end with, tables and pictures."""

    title: str
    curves: Sequence[tuple[str, Sequence[str]]] = ()
    ends: Sequence[tuple[str, str]] = ()
    tables: Sequence[str] = ()
    pictures: Sequence[str] = ()

    def panels(self) -> list[Any]:
        return [
            *(reports.LinePlot(title=title, x="images", y=list(names)) for title, names in self.curves),
            *(reports.BarPlot(title=title, metrics=[name]) for title, name in self.ends),
            *(reports.WeavePanelSummaryTable(table_name=name) for name in self.tables),
            *(reports.MediaBrowser(title=name, media_keys=[name]) for name in self.pictures),
        ]


QUESTIONS = (
    Question(
        "Does it learn?",
        curves=(
            ("losses", ("loss_d", "loss_g", "loss")),
            ("what the discriminator thinks", ("d_real", "d_fake")),
            ("penalty", ("penalty",)),
            ("images per second", ("images_per_s",)),
            ("on images held out", ("val_dice", "val_accuracy", "val_auc")),
        ),
        pictures=("samples", "strip", "real"),
    ),
    Question(
        "How good are the images?",
        curves=(
            ("AM Score (less is better)", ("am_score",)),
            ("Mode Score (more is better)", ("mode_score",)),
            ("FID (less is better)", ("fid",)),
            ("KID (less is better)", ("kid",)),
            ("precision and recall", ("precision", "recall")),
        ),
        ends=tuple(
            (f"{title} at the end", f"final/{name}")
            for title, name in (("AM Score", "am_score"), ("Mode Score", "mode_score"), ("FID", "fid"), ("KID", "kid"))
        ),
    ),
    Question(
        "Do they help a U-Net?",
        ends=(("Dice on test images", "final/test_dice"),),
        tables=("arms",),  # of a study
        pictures=("study", "test_cases"),
    ),
    Question(
        "Are they copies?",
        ends=(("SSIM diversity at the end", "final/ssim_diversity"),),
        tables=("exports",),
    ),
)


def workspace(name: str, project: str, entity: str) -> Any:
    """A workspace with a section for each question; an ``entity`` is needed to save it."""
    sections = [workspaces.Section(name=q.title, panels=q.panels(), is_open=True) for q in QUESTIONS]
    settings = workspaces.WorkspaceSettings(x_axis="images")
    return workspaces.Workspace(entity=entity, project=project, name=name, sections=sections, settings=settings)


def report(name: str, project: str, entity: str | None, group: str | None) -> Any:
    """A report over all runs, or those of a ``group``; with an ``entity`` W&B is asked for the project."""
    filters = "" if group is None else f"Metric('group') = '{group}'"
    blocks: list[Any] = [reports.TableOfContents()]
    for question in QUESTIONS:
        runs = reports.Runset(entity=entity or "", project=project, name=group or "all runs", filters=filters)
        blocks += [reports.H1(question.title), reports.PanelGrid(runsets=[runs], panels=question.panels())]
    return reports.Report(entity=entity or "", project=project, title=name, blocks=blocks)


def specification(page: Any) -> str:
    """As W&B's server gets it, in JSON."""
    return page._to_model().model_dump_json(by_alias=True, exclude_none=True, indent=1)
