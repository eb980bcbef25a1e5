"""Locks that the system lets go of when their process ends, however it ends."""

from __future__ import annotations

import fcntl
import os
import platform
import time
from contextlib import suppress
from pathlib import Path

INHERITED = "RUN_LOCK"  # in the environment of the processes of a job: the descriptor under which they share its lock

HOST = platform.node().encode()  # in every lock file: whose process it is cannot be told from another machine


class Lock:
    """An exclusive hold on a file, which is made where it is missing. Only who holds it may delete the file."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.descriptor: int | None = None
        self.shared = False  # with the process that started this one, and took the lock

    @property
    def held(self) -> bool:
        return self.descriptor is not None

    def acquire(self, wait: bool = False) -> bool:
        """Whether this process holds the file from here on; with ``wait`` it does in the end.

        Raises:
            OSError: the file can be neither written nor read.
        """
        if self._inherit():
            return True
        tries = 3
        while True:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            try:
                descriptor = self._open()
            except FileNotFoundError:  # its folder was deleted a moment ago, by who held it
                continue
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
            except BlockingIOError:
                os.close(descriptor)
                if tries := tries - 1:  # who only asks whether it is held is gone in a moment
                    time.sleep(0.02)
                    continue
                return False
            except OSError:
                os.close(descriptor)
                raise
            if self._is_at_path(descriptor):
                self.descriptor = descriptor
                with suppress(OSError):  # that can only be read
                    os.pwrite(descriptor, HOST, 0)
                    os.truncate(descriptor, len(HOST))
                return True
            os.close(descriptor)  # what was held is deleted: another try, at what stands there now

    def release(self) -> None:
        if self.descriptor is not None:
            os.close(self.descriptor)
            self.descriptor = None

    def remove(self) -> None:
        """Let go, and leave no file."""
        if self.held and not self.shared:
            self.path.unlink(missing_ok=True)
        self.release()

    def _open(self) -> int:
        try:
            return os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
        except OSError:
            if self.path.exists():  # on a disk that can only be read
                return os.open(self.path, os.O_RDONLY | os.O_CLOEXEC)
            raise

    def _inherit(self) -> bool:
        descriptor = int(os.environ.get(INHERITED, -1))
        if descriptor < 0 or not self._is_at_path(descriptor):
            return False
        self.descriptor, self.shared = os.dup(descriptor), True
        return True

    def _is_at_path(self, descriptor: int) -> bool:
        with suppress(OSError):
            return os.path.samestat(os.fstat(descriptor), self.path.stat())
        return False


def is_held(path: Path) -> bool:
    """Whether a process holds ``path``; also where that cannot be told, as of one on another machine."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return path.exists()
    try:
        if os.read(descriptor, len(HOST) + 1) != HOST:
            return True
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except OSError:
        return True
    finally:
        os.close(descriptor)
    return False
