"""Classes that several names stand for: sub-folders that are called differently in each split, codes in a table."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

from src.core.errors import UserError


def match_classes(names: Iterable[str], patterns: Mapping[str, str], where: str) -> dict[str, str]:
    """By name: the class whose pattern (a regular expression) it matches at its beginning.

    ``where`` is what holds the names, for errors. Raises UserError where a name matches no pattern, or several.
    """
    found = {}
    for name in names:
        classes = [label for label, pattern in patterns.items() if re.match(pattern, name)]
        if len(classes) != 1:
            how = f"those of {' and '.join(classes)}" if classes else "none"
            raise UserError(
                f"data.class_patterns: {name!r} in {where} must match one pattern and matches {how}: adapt them"
            )
        found[name] = classes[0]
    return found
