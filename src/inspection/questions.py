"""The one answer that a question proposes, to go on looking as if it had been given."""

from __future__ import annotations

import re
import shlex
from collections.abc import Sequence

from src.command_line.override_parsing import is_readable, key_of

ANSWER = re.compile(r"(?:set|such as) (data\..+?)(?= \(whichever| or, if |; data\.mask_folders=\{\}|$)")


def only_answer(question: str, given: Sequence[str]) -> list[str]:
    """The overrides that a question names, where it names one set of them and none is ``given``; else [].

    An alternative that says the opposite ("or, if they are classes, …") leaves it the only proposal.
    """
    found = ANSWER.search(question)
    if found is None:
        return []
    try:
        words = shlex.split(found[1])
    except ValueError:
        return []
    known = {key_of(word) for word in given} - {"data.root"}
    fits = all(word.startswith("data.") and "…" not in word and "<" not in word and is_readable(word) for word in words)
    return words if fits and not known & {key_of(word) for word in words} else []
