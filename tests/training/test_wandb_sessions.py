"""Which rows W&B has, told from what its sessions left on the disk."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import wandb

from src.training.wandb_sessions import Session, marks_of, sessions_of, unwritten

STARTED = {"level": "INFO", "msg": "stream: started"}
ASKED = {"level": "INFO", "msg": "filestream: sending request", "history_lines": 2}
TAKEN = {"level": "INFO", "msg": "filestream: request sent", "status": "200 OK"}
REFUSED = {**TAKEN, "status": "500 Internal Server Error"}


@pytest.fixture(scope="module")
def online(tmp_path_factory: pytest.TempPathFactory) -> Session:
    """As of a server that was there: three rows, at 10, 20 and 30 images."""
    folder = tmp_path_factory.mktemp("run")
    (folder / "wandb").mkdir()
    run = wandb.init(dir=folder, mode="offline", id="a", settings=wandb.Settings(silent=True))
    for images in (10, 20, 30):
        run.log({"images": images, "loss": 0.5})
    run.finish()
    wandb.teardown()  # its process, which may write to the folder until then
    (session,) = sessions_of(folder)
    return Session(session.folder.rename(session.folder.with_name(session.folder.name.removeprefix("offline-"))))


@pytest.mark.parametrize(
    ("log", "images"),
    [([STARTED, ASKED, TAKEN], 20), ([STARTED, ASKED, REFUSED], None), ([STARTED], None), (None, 30)],
)
def test_rows_of_an_online_session_count_as_sent_where_its_log_says_so_or_there_is_none(
    online: Session, log: list[dict[str, object]] | None, images: int | None
):
    written = Path(online.folder, "logs", "debug-internal.log")
    written.parent.mkdir(exist_ok=True)
    written.unlink(missing_ok=True)
    if log is not None:
        written.write_text("".join(json.dumps(line) + "\n" for line in log))
    assert marks_of([online]).get("loss") == images


def test_rows_that_a_kill_kept_from_the_disk_are_counted_from_the_steps_of_the_last_online_session(online: Session):
    assert [unwritten([online], there) for there in (2, 3, 5)] == [0, 0, 2]
    offline = Session(online.folder.with_name("offline-" + online.folder.name))
    offline.folder.symlink_to(online.folder)
    assert unwritten([online, offline], 9) == 0 == unwritten([], 9)
