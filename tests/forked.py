"""``python -m src.<entry>`` in a process that is forked from one with all packages imported: 0.1 s in place of 5."""

from __future__ import annotations

import multiprocessing
import os
import runpy
import sys
from collections.abc import Sequence
from multiprocessing.reduction import DupFd
from typing import Any

from src.core.locks import INHERITED

FORK = multiprocessing.get_context("forkserver")
if sys.platform != "darwin":  # whose libraries may not be used after a fork: there each process imports its own
    FORK.set_forkserver_preload(["src.training.job", "src.downstream.pipeline", "src.scoring.evaluator"])


class _Descriptor:
    """Of an open file, which the other process gets its own of."""

    def __init__(self, number: int) -> None:
        self.number = number

    def __getstate__(self) -> object:
        return DupFd(self.number)

    def __setstate__(self, copy: Any) -> None:
        self.number = copy.detach()


class Command:
    """What the project uses of ``subprocess.Popen``."""

    def __init__(self, command: Sequence[str], env: dict[str, str] | None = None, pass_fds: Sequence[int] = ()) -> None:
        _, flag, module, *arguments = command
        assert flag == "-m"
        files = [_Descriptor(number) for number in (1, 2, *pass_fds)]
        job = (module, arguments, dict(os.environ if env is None else env), os.getcwd(), files)
        self._process = FORK.Process(target=_run, args=job)
        self._process.start()
        self.terminate, self.kill = self._process.terminate, self._process.kill
        self.pid = self._process.pid

    def send_signal(self, number: int) -> None:
        if self.poll() is None:
            os.kill(self._process.pid or 0, number)

    def poll(self) -> int | None:
        return self._process.exitcode

    def wait(self) -> int:
        self._process.join()
        assert self._process.exitcode is not None
        return self._process.exitcode


def _run(module: str, arguments: list[str], environment: dict[str, str], folder: str, files: list[_Descriptor]) -> None:
    for number, file in zip((1, 2), files, strict=False):
        os.dup2(file.number, number)
    os.environ.clear()
    os.environ.update(environment)
    if len(files) > 2:
        os.environ[INHERITED] = str(files[2].number)
    os.chdir(folder)
    sys.argv = [module, *arguments]
    sys.modules.pop(module, None)
    runpy.run_module(module, run_name="__main__", alter_sys=True)
