"""Builds a workspace and a report in W&B: ``python -m src.dashboard [mode=online entity=<team>]``."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

from omegaconf import DictConfig

from src.command_line.launch import run_configured
from src.core.atomic import make_writable, write_atomically
from src.core.errors import UserError

CONFIG = "dashboard"
PATHS = ("out",)  # settings whose values are paths


def build(cfg: DictConfig) -> None:
    """Write what ``cfg`` (conf/dashboard.yaml) asks for, or save it in W&B."""
    try:
        from src.comparison import dashboard
    except ModuleNotFoundError as problem:
        raise UserError(
            f"the dashboard needs {problem.name}: pip install -c constraints.txt -e '.[dashboard]'"
        ) from problem
    if cfg.mode == "online" and not cfg.entity:
        raise UserError("mode=online saves the dashboard for a user or team: say entity=<name>")
    workspace = dashboard.workspace(cfg.name, cfg.project, cfg.entity or "")
    report = dashboard.report(cfg.name, cfg.project, cfg.entity if cfg.mode == "online" else None, cfg.group)
    if cfg.mode == "online":
        try:
            print(f"workspace: {workspace.save().url}\nreport: {report.save().url}")
        except Exception as problem:
            raise UserError(f"W&B did not take the dashboard ({problem}): wandb login, or mode=offline") from problem
        return
    out = Path(cfg.out)
    make_writable(out)
    write_atomically(out / "workspace.json", dashboard.specification(workspace))
    write_atomically(out / "report.json", dashboard.specification(report))
    print(f"done: {out}: workspace.json and report.json; mode=online entity=<team> saves them in W&B")


def main(arguments: Sequence[str] | None = None) -> int:
    return run_configured(CONFIG, build, PATHS, arguments, goes_on=False)


if __name__ == "__main__":
    sys.exit(main())
