"""Is synthetic data worth it to a U-Net? ``python -m src.study data=sunnybrook resolution=64``."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from src.command_line import override_parsing, overrides
from src.command_line.launch import run_command
from src.downstream.asked import CONFIG, divide, settings_of
from src.train import PATHS


def main(arguments: Sequence[str] | None = None) -> int:
    def task(arguments: list[str]) -> None:
        asked = divide(override_parsing.quote_paths(arguments, (*PATHS, "outputs"), sweeps=True))
        cfg = overrides.check(CONFIG, asked.study, multirun=False, can_sweep=False)
        overrides.check("train", [f"hydra/launcher={cfg.launcher}", *asked.launcher], multirun=False, can_sweep=False)
        settings = settings_of(cfg, asked)
        # Imported now: --help and a typo need none of it.
        from src.downstream.jobs import Launcher
        from src.downstream.pipeline import run_study

        run_study(cfg, settings, Launcher(cfg.launcher, asked.launcher))

    return run_command(CONFIG, task, arguments)


if __name__ == "__main__":
    sys.exit(main())
