"""Work in threads and processes: in order, ended with whoever asked for it, and no process for nothing."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from src.core import workers
from src.core.workers import Died, Workers


def where(number: int) -> tuple[int, int]:
    return number, os.getpid()


def fail_at_seven(number: int) -> int:
    if number == 7:
        raise ValueError("seven")
    return number


def die_at_seven(number: int) -> int:
    if number == 7:
        os.kill(os.getpid(), signal.SIGKILL)
    return number


def much_after_the_first(number: int) -> bytes:
    return bytes(100_000_000 if number else 1)


def wait_and_say(folder: Path) -> None:
    (folder / str(os.getpid())).touch()
    time.sleep(60)


@pytest.fixture
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Processes are worth starting from the beginning."""
    monkeypatch.setattr(workers, "HEAD_START", 0.0)


@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_processes_give_their_results_in_order_and_serve_a_second_time(at_once: None, method: str) -> None:
    with Workers(2, method) as both:
        first, second = list(both.map(where, range(40))), list(both.map(where, range(40)))
    assert [number for number, _ in first] == [number for number, _ in second] == list(range(40))
    assert os.getpid() not in {process for _, process in first + second}
    assert len({process for _, process in first + second}) <= 2


def test_a_little_work_starts_no_process() -> None:
    with Workers(2) as both:
        assert {process for _, process in both.map(where, range(40))} == {os.getpid()}
        assert both.processes is None


def test_what_takes_long_goes_on_in_processes_without_losing_a_task(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(workers, "HEAD_START", 0.05)

    def tasks():
        for number in range(60):
            time.sleep(0.002)
            yield number

    with Workers(2) as both:
        results = list(both.map(where, tasks()))
    assert [number for number, _ in results] == list(range(60))
    assert os.getpid() in {process for _, process in results} and len({process for _, process in results}) > 1


def test_few_tasks_are_begun_before_their_results_are_asked_for(at_once: None) -> None:
    tasks = iter(range(1000))
    with Workers(2) as both:
        next(both.map(where, tasks))
    assert next(tasks) <= workers.QUEUED


def test_an_error_is_raised_in_its_place(at_once: None) -> None:
    seen = list[int]()
    with pytest.raises(ValueError, match="seven"), Workers(2) as both:
        seen.extend(both.map(fail_at_seven, range(20)))
    assert seen == list(range(7))


def test_a_process_that_is_killed_is_told_with_what_it_did(at_once: None) -> None:
    with pytest.raises(Died) as caught, Workers(1, "fork") as one:
        one.count = 2  # two tasks at once, of which one process has the first
        list(one.map(die_at_seven, range(20)))
    assert caught.value.args[0] <= 7


SCRIPT = """
import sys
from pathlib import Path
from src.core import workers
from tests.test_workers import wait_and_say
workers.HEAD_START = 0.0
if __name__ == "__main__":
    with workers.Workers(2, sys.argv[2]) as both:
        list(both.map(wait_and_say, [Path(sys.argv[1])] * 8))
"""


STOPPED_AMID_RESULTS = """
import time
from src.core import workers
from tests.test_workers import much_after_the_first
workers.HEAD_START = 0.0
for wait in range(16):
    try:
        with workers.Workers(2) as both:
            for _ in both.map(much_after_the_first, range(8)):
                time.sleep(wait / 50)
                raise ValueError
    except ValueError:
        pass
"""


def test_an_error_while_processes_hand_over_their_results_ends_them_all() -> None:
    command = [sys.executable, "-c", STOPPED_AMID_RESULTS]
    ended = subprocess.run(command, check=True, timeout=100, stderr=subprocess.PIPE, text=True)
    assert not ended.stderr


def is_running(process: int) -> bool:
    try:
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def until(true: Callable[[], bool], seconds: float) -> bool:
    end = time.monotonic() + seconds
    while not true() and time.monotonic() < end:
        time.sleep(0.02)
    return true()


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="needs /proc")
@pytest.mark.parametrize("method", ["fork", "spawn"])
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_all_processes_end_at_once_with_the_one_that_started_them(tmp_path: Path, method: str, number: int) -> None:
    script = tmp_path / "script.py"
    script.write_text(SCRIPT)
    (folder := tmp_path / "processes").mkdir()
    command = [sys.executable, str(script), str(folder), method]
    parent = subprocess.Popen(command, stderr=subprocess.PIPE, text=True, start_new_session=True)
    try:
        assert until(lambda: len(list(folder.iterdir())) == 2, 60)
        if number == signal.SIGINT:
            os.killpg(parent.pid, number)  # as a terminal does: to all of them
        else:
            parent.send_signal(number)
        _, said = parent.communicate(timeout=20)
        assert until(lambda: not any(is_running(int(path.name)) for path in folder.iterdir()), 5)
        assert "Traceback" not in said
    finally:
        parent.kill()
