"""Every entry point: Ctrl-C ends it in one line, also while it is still being imported."""

import sys
from types import TracebackType

_before = sys.excepthook


def _end(kind: type[BaseException], problem: BaseException, trace: TracebackType | None) -> None:
    if issubclass(kind, KeyboardInterrupt):
        print("stopped: repeat the command", file=sys.stderr)
    else:
        _before(kind, problem, trace)


sys.excepthook = _end
