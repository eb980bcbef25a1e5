"""Errors that speak to the user."""

from __future__ import annotations

import errno
from collections.abc import Iterator

from hydra.errors import HydraException
from omegaconf.errors import OmegaConfBaseException


class UserError(Exception):
    """One line for the user: what is wrong, where (file or key), and what to do about it."""


class Interrupted(KeyboardInterrupt):
    """The user stopped the run, which has said so."""


class Stopped(BaseException):
    """A signal, its argument, ends the job where it is. Not a KeyboardInterrupt, of which Lightning makes an exit."""


WAYS_OUT = {  # of what the system refuses
    errno.ENOSPC: "the disk is full: make room, and repeat the command",
    errno.EDQUOT: "your quota of the disk is used up: make room, and repeat the command",
    errno.EFBIG: "the file would be larger than allowed: raise the limit (ulimit -f), or make it smaller",
    errno.EROFS: "the disk can only be read: choose another place",
    errno.EACCES: "you may not write or read there: choose another place, or change its permissions",
    errno.EPERM: "you may not write or read there: choose another place, or change its permissions",
    errno.ENOENT: "it is not there (any more): check the path, and that its disk is mounted",
    errno.ENOTDIR: "a part of the path is a file: check the path",
    errno.EISDIR: "it is a folder where a file is wanted: check the path",
    errno.EEXIST: "a file is in the place of a folder: check the path",
    errno.ENAMETOOLONG: "the name is too long: choose a shorter one",
    errno.EIO: "the disk cannot be read or written: check it",
    errno.ESTALE: "its disk has gone: mount it again",
    errno.ENODEV: "its disk has gone: mount it again",
    errno.EMFILE: "too many files are open: raise the limit (ulimit -n)",
    errno.ENFILE: "too many files are open on this machine: close some programs",
    errno.ENOMEM: "the memory is used up: close some programs, or ask for less at once",
    errno.ENOLCK: "its file system cannot lock files: choose another place",
}


def of_the_system(problem: BaseException) -> str | None:
    """What the system refused, where and what to do, in one line; None where it is another kind of problem."""
    cause: BaseException | None = problem
    while cause is not None and not isinstance(cause, OSError):
        cause = cause.__cause__
    if cause is None:
        return None
    if cause.errno is None and "requested and" in str(cause):  # of NumPy, which swallows the reason
        return WAYS_OUT[errno.ENOSPC]
    if cause.errno not in WAYS_OUT:
        return None
    return f"{cause.filename}: {WAYS_OUT[cause.errno]}" if cause.filename else WAYS_OUT[cause.errno]


def one_line(problem: BaseException) -> str:
    """The message of the user error behind ``problem``, or the problem itself with its type, in one line."""
    for cause in _causes(problem):
        if isinstance(cause, UserError):
            return " ".join(str(cause).split())
    if isinstance(problem, HydraException | OmegaConfBaseException):
        return next(" ".join(str(cause).split()) for cause in [*_causes(problem), repr(problem)] if str(cause))
    if refused := of_the_system(problem):
        return refused
    return f"{type(problem).__name__}: {' '.join(str(problem).split())} (a bug? the traceback is in run.log)"


def _causes(problem: BaseException | None) -> Iterator[BaseException]:
    while problem is not None:
        yield problem
        problem = problem.__cause__ or problem.__context__
