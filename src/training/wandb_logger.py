"""W&B's record of a run: a copy of the numbers in the run folder, every row once and in the order of images shown.

The run folder is the truth. A visit begins with what W&B lacks of it – after a kill, or a server that was away – and
rows that it has already, of images that are shown again, are left out. What a server did not take until the end is
written to an offline session, which ``wandb sync`` sends.
"""

from __future__ import annotations

import csv
import json
import logging
import os
import secrets
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, Literal

os.environ.setdefault("WANDB_ERROR_REPORTING", "false")  # which would hold the process at its end, of a dead server too

from pytorch_lightning.loggers import WandbLogger

from src.core.atomic import write_atomically
from src.core.metrics_file import MetricsFile
from src.core.run_folder import CLOSED
from src.training.wandb_sessions import Marks, Session, kept_sessions, marks_of, take_back_early_marks, unwritten

log = logging.getLogger(__name__)

Mode = Literal["online", "offline"]
ANSWER = 5.0  # seconds that a server gets to answer at the start
INIT, FINISH, SYNC = 20.0, 10.0, 60.0  # seconds that W&B gets to begin a run, to end it, and to send what was offline
FLUSH = 1.0  # seconds between writes of an offline session: a kill takes no more
AGAIN = 600.0  # seconds until a server that did not answer is asked again, by another job of this process

_silent_since: dict[str, float] = {}  # by address of a server


class WandbRecord(WandbLogger):
    """A logger that brings W&B level with a run folder and keeps it so.

    Args:
        folder: of the run.
        options: of ``wandb.init``.
        mode: ``online`` falls back to ``offline``, with one warning, where the server does not answer or refuses.
        best: metrics by which end of them is better, ``min`` or ``max``: W&B's summary shows that.
        system: whether processor, memory and GPU use are logged too.
        artifacts: what W&B keeps of a run that is done: ``checkpoint``, ``data``, ``export``.
    """

    def __init__(
        self,
        folder: Path,
        options: Mapping[str, Any],
        mode: Mode,
        best: Mapping[str, Sequence[str]],
        system: bool,
        artifacts: Sequence[str],
    ) -> None:
        self.folder, self.options, self.best = folder, dict(options), best
        self.system, self.artifacts = system, artifacts
        take_back_early_marks(folder)
        self.mode: Mode = _usable(mode, folder)
        self.marks: Marks = {}
        self._unwritten, self._reached = 0, -1  # rows that W&B has and no session, and the images of its last one
        (folder / CLOSED).unlink(missing_ok=True)
        super().__init__(experiment=self._begin())

    def _begin(self) -> Any:
        import wandb

        if self.mode == "online":
            try:
                return self._start("online")
            except Exception as problem:
                log.warning(f"W&B cannot be reached ({first_line(problem)}): this run is logged offline")
                wandb.teardown()  # or the id would count as in use
                self.mode = "offline"
        return self._start("offline")

    def _start(self, mode: Mode) -> Any:
        import wandb

        settings = wandb.Settings(
            init_timeout=INIT,
            finish_timeout=FINISH,
            finish_timeout_raises=True,
            silent=True,
            disable_git=True,
            x_disable_stats=not self.system,
            x_transaction_log_flush_interval=FLUSH,
        )
        sessions = kept_sessions(self.folder)
        options = {**self.options, "id": run_id(self.folder), "dir": self.folder, "mode": mode}
        run = wandb.init(**options, resume="allow", settings=settings)  # offline too: sent behind what was sent
        self.marks = marks_of(sessions) if mode == "offline" else _marks_online(run, sessions)
        self._unwritten = 0 if mode == "offline" else unwritten(sessions, run.starting_step)
        self._reached = run.summary.get("images", -1) if self._unwritten else -1
        run.define_metric("images")
        run.define_metric("*", step_metric="images")
        for end, names in self.best.items():
            for name in names:
                run.define_metric(name, step_metric="images", summary=f"{end},last")
        return run

    def log_metrics(self, metrics: Mapping[str, Any], step: int | None = None) -> None:
        """Log what W&B lacks of a row; ``images`` is in it, or is ``step``."""
        images = int(metrics.get("images", step))
        new = {name: value for name, value in metrics.items() if images > self.marks.get(name, -1)}
        new.pop("images", None)
        if new and self._unwritten and images <= self._reached:
            self._unwritten -= 1
        elif new:
            self.experiment.log({"images": images, **new})
        self.marks |= dict.fromkeys(new, images)

    def catch_up(self, images: float) -> None:
        """Log the rows and grids of the run folder, up to ``images`` shown, that W&B lacks."""
        for shown, row in sorted(self._kept(), key=lambda entry: entry[0]):
            if shown <= images:
                if isinstance(row, Path):
                    self.log_image("samples", [str(row)], step=shown, caption=[f"{shown:,} images shown"])
                else:
                    self.log_metrics({"images": shown, **row})

    def _kept(self) -> Iterator[tuple[int, dict[str, float] | Path]]:
        for name in ("metrics.csv", "scores.csv"):
            file = MetricsFile(self.folder / name)
            if file.exists():
                columns = file.read()
                for number, shown in enumerate(columns["images"]):
                    yield int(shown), {key: float(v[number]) for key, v in columns.items() if key != "images"}
            if name == "metrics.csv":  # in the order in which they are drawn
                for grid in (self.folder / "samples").glob("[0-9]*.png"):
                    yield int(grid.stem), grid

    def end(self, summary: Mapping[str, Any], failed: bool) -> None:
        """Close the record: with what is in the run folder by now, in bounded time.

        Args:
            summary: numbers and texts that the record's summary shows.
            failed: whether W&B is to show the run as failed.
        """
        import wandb

        try:
            self._close(summary, failed)
        except Exception as problem:
            if self.mode == "offline":
                raise
            log.warning(
                f"W&B did not take everything ({first_line(problem)}): "
                f"`wandb sync {self.folder}/wandb/offline-run-*` sends the rest"
            )
            _silent_since[_address()] = time.monotonic()
            wandb.teardown()
            self.mode = "offline"
            self._experiment = self._start("offline")
            self.catch_up(float("inf"))
            self._close(summary, failed)

    def _close(self, summary: Mapping[str, Any], failed: bool) -> None:
        if pictures := pictures_in(self.folder):
            self.log_metrics(pictures, step=max(self.marks.values(), default=0))
        self.experiment.summary.update(dict(summary))
        if summary.get("state") == "requeued":
            self.experiment.mark_preempting()  # W&B then waits for the next visit
        for artifact in [] if failed else artifacts_of(self.folder, self.artifacts):
            self.experiment.log_artifact(artifact)
        session = Path(self.experiment.dir).parent.name
        self.experiment.finish(exit_code=int(failed))
        take_back_early_marks(self.folder, session)
        with suppress(OSError):  # a full disk: the next visit closes it again
            (self.folder / CLOSED).touch()


def _marks_online(run: Any, sessions: Sequence[Session]) -> Marks:
    """How far the server's copy goes, which it counts in rows."""
    rows = run.starting_step
    if not rows or (marks := marks_of(sessions, rows)):
        return marks if rows else {}
    return dict.fromkeys(run.summary.keys(), run.summary.get("images", -1))  # the sessions are gone


def pictures_in(folder: Path) -> dict[str, Any]:
    """What a run folder shows at the end: pictures, and a classifier's confusion matrix as a table."""
    import wandb

    pictures = [*sorted((folder / "samples").glob("[a-z]*.png")), *sorted(folder.glob("*.png"))]
    shown: dict[str, Any] = {path.stem: wandb.Image(str(path)) for path in pictures}
    for path in sorted(folder.glob("*_confusion.csv")):
        header, *rows = csv.reader(path.read_text().splitlines())
        shown[path.stem] = wandb.Table(list[str | int](header), [list(row) for row in rows])
    return shown


def artifacts_of(folder: Path, kinds: Sequence[str]) -> Iterator[Any]:
    """Those of ``kinds`` that the run folder has, named by the run's id: names of folders may be too long."""
    import wandb

    checkpoints = [folder / "checkpoints" / name for name in ("best.ckpt", "last.ckpt")]
    found = {
        "checkpoint": [path for path in checkpoints if path.exists()][:1],
        "data": [path for path in [folder / "data.json"] if path.exists()],
        "export": sorted((folder / "synthetic").glob("*/")),
    }
    for kind in kinds:
        for path in found[kind]:
            artifact = wandb.Artifact(f"{kind}-{run_id(folder)}", type=kind, metadata={"folder": str(folder)})
            artifact.add_dir(str(path), name=path.name) if path.is_dir() else artifact.add_file(str(path))
            yield artifact


def run_id(folder: Path) -> str:
    """Of the run in W&B, kept in its folder: that of ``wandb agent``, which waits for its own, or a new one."""
    file = folder / "wandb" / "id.json"
    file.parent.mkdir(exist_ok=True)
    given = os.environ.get("WANDB_RUN_ID") if "WANDB_SWEEP_ID" in os.environ else None
    if given or not file.exists():
        write_atomically(file, json.dumps(given or secrets.token_hex(4)))
    return json.loads(file.read_text())


def _usable(mode: Mode, folder: Path) -> Mode:
    """``offline``, with a warning, where ``online`` cannot be: then it costs no more than a few seconds."""
    import wandb

    if mode == "offline":
        return mode
    if wandb.run is None and not wandb.login(prompt=False, verify=False):
        log.warning("W&B has no key: this run is logged offline (`wandb login`, then `wandb sync` sends it)")
        return "offline"
    if (problem := _problem_of_server()) or (problem := _send_offline(folder)):
        log.warning(f"W&B cannot be reached ({problem}): this run is logged offline")
        return "offline"
    return mode


def _address() -> str:
    import wandb

    return str(wandb.setup().settings.base_url)


def _problem_of_server() -> str | None:
    """Why the server cannot be used, asked in a moment; None where it answers, or where only W&B itself can tell."""
    import requests
    import wandb

    address = _address()
    if time.monotonic() - _silent_since.get(address, -AGAIN) < AGAIN:
        return "it did not answer a moment ago"
    query = {"query": "query Viewer { viewer { id } }", "operationName": "Viewer"}
    try:
        key = wandb.setup().settings.api_key
        answer = requests.post(f"{address}/graphql", json=query, auth=("api", key) if key else None, timeout=ANSWER)
        problem = f"{answer.status_code} {answer.reason}" if answer.status_code >= 400 else None
    except requests.exceptions.SSLError:  # of certificates W&B's own program knows others
        return None
    except requests.exceptions.Timeout:
        problem = f"no answer in {ANSWER:g} seconds"
    except requests.exceptions.RequestException as refused:
        problem = first_line(refused)
    if problem:
        _silent_since[address] = time.monotonic()
    return problem


def _send_offline(folder: Path) -> str | None:
    """Send the sessions that were offline, since W&B takes rows in order alone; why that failed, or None."""
    waiting = [str(session.folder) for session in kept_sessions(folder) if not (session.online or session.is_sent)]
    if not waiting:
        return None
    command = [sys.executable, "-m", "wandb", "sync", *waiting]
    try:
        sent = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=SYNC)
    except subprocess.TimeoutExpired:
        return "it does not take what was logged offline before"
    return None if sent.returncode == 0 else (sent.stderr.strip().splitlines() or ["wandb sync failed"])[-1]


def first_line(problem: BaseException) -> str:
    return (str(problem).strip().splitlines() or [type(problem).__name__])[0]
