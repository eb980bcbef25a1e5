"""Errors that speak to the user."""

from __future__ import annotations

from collections.abc import Iterator

from hydra.errors import HydraException
from omegaconf.errors import OmegaConfBaseException


class UserError(Exception):
    """One line for the user: what is wrong, where (file or key), and what to do about it."""


def one_line(problem: BaseException) -> str:
    """The message of the user error behind ``problem``, or the problem itself with its type, in one line."""
    for cause in _causes(problem):
        if isinstance(cause, UserError):
            return " ".join(str(cause).split())
    if isinstance(problem, HydraException | OmegaConfBaseException):
        return next(" ".join(str(cause).split()) for cause in [*_causes(problem), repr(problem)] if str(cause))
    return f"{type(problem).__name__}: {' '.join(str(problem).split())} (a bug? the traceback is in run.log)"


def _causes(problem: BaseException | None) -> Iterator[BaseException]:
    while problem is not None:
        yield problem
        problem = problem.__cause__ or problem.__context__
