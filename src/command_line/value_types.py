"""What a setting may be, in the notation that begins its comment in ``conf/``: ``lr: 2e-4 # [number > 0] …``.

===========================  ===========================================================================
``integer >= 1``             a whole number; bounds are ``>``, ``>=``, ``<``, ``<=``, two of them by a comma
``number >= 0, < 1``         likewise, with decimals; never nan or infinite
``text``                     any text but the empty one
``path``, ``folder``         text; ``folder`` is written to, so it is no file and lies below none
``regex``, ``target``        a regular expression; where a class or function is: ``module.Name``
``list of integer >= 1``     one or more of them; ``list of distinct …``: none twice; ``pair of …``: two,
                             ``range of …``: two of which the second is no less than the first
``map of text``              one or more values by name
``component``                settings with the ``_target_`` that they are for
``pad | crop | null``        one of several: values as YAML writes them, ``[]`` and ``{}`` too, or any of these
``list of (pad | crop)``     parentheses keep alternatives together
``required path``            the same, and the ``null`` that stands here has to be replaced
``computed``                 follows from other settings: not to be set
===========================  ===========================================================================
"""

from __future__ import annotations

import math
import operator
import re
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate
from pathlib import Path
from typing import Any

import yaml

COMPARISONS: dict[str, tuple[Callable[[Any, Any], bool], str]] = {
    ">=": (operator.ge, "of at least"),
    ">": (operator.gt, "above"),
    "<=": (operator.le, "at most"),
    "<": (operator.lt, "below"),
}
TEXTS = {
    "text": "text",
    "path": "a path",
    "folder": "a folder",
    "regex": "a regular expression",
    "target": "module.Name",
}


class Type(ABC):
    """A set of values."""

    @abstractmethod
    def accepts(self, value: Any) -> bool: ...

    @abstractmethod
    def __str__(self) -> str:
        """In words that follow "must be"."""

    def parts(self) -> Sequence[Type]:
        """The alternatives that it is made of."""
        return [self]


@dataclass(frozen=True)
class Number(Type):
    whole: bool
    bounds: tuple[tuple[str, float], ...] = ()

    def accepts(self, value: Any) -> bool:
        if not _is_number(value) or not math.isfinite(value) or (self.whole and isinstance(value, float)):
            return False
        return all(COMPARISONS[sign][0](value, bound) for sign, bound in self.bounds)

    def __str__(self) -> str:
        limits = " and ".join(f"{COMPARISONS[sign][1]} {bound:,.10g}" for sign, bound in self.bounds)
        return " ".join(filter(None, ["a whole number" if self.whole else "a number", limits]))


@dataclass(frozen=True)
class Text(Type):
    kind: str

    def accepts(self, value: Any) -> bool:
        if not isinstance(value, str) or not value or "\0" in value:
            return False
        if self.kind == "regex":
            return _compiles(value)
        if self.kind == "target":
            return re.fullmatch(r"[A-Za-z_]\w*(\.\w+)+", value) is not None
        return self.kind != "folder" or _can_be_folder(Path(value).expanduser())

    def __str__(self) -> str:
        return TEXTS[self.kind]


@dataclass(frozen=True)
class Literal(Type):
    value: Any

    def accepts(self, value: Any) -> bool:
        return type(value) is type(self.value) and value == self.value

    def __str__(self) -> str:
        return as_yaml(self.value)


@dataclass(frozen=True)
class ListOf(Type):
    item: Type
    distinct: bool = False
    length: int | None = None
    rising: bool = False

    def accepts(self, value: Any) -> bool:
        if not isinstance(value, list) or not value or not all(map(self.item.accepts, value)):
            return False
        repeats = self.distinct and any(item in value[:place] for place, item in enumerate(value))
        return not repeats and self.length in (None, len(value)) and not (self.rising and value[1:] < value[:-1])

    def __str__(self) -> str:
        form = "[value, …]" if self.length is None else f"[{', '.join(['value'] * self.length)}]"
        order = ", none of them twice" * self.distinct + ", the least first" * self.rising
        return f"a list, {form}, each {self.item}{order}"


@dataclass(frozen=True)
class MapOf(Type):
    item: Type

    def accepts(self, value: Any) -> bool:
        return isinstance(value, dict) and bool(value) and all(map(self.item.accepts, value.values()))

    def __str__(self) -> str:
        return f"values by name, {{name: …}}, each {self.item}"


@dataclass(frozen=True)
class Component(Type):
    def accepts(self, value: Any) -> bool:
        return isinstance(value, dict) and Text("target").accepts(value.get("_target_"))

    def __str__(self) -> str:
        return "settings of a component, {_target_: module.Name, …}"


@dataclass(frozen=True)
class OneOf(Type):
    types: tuple[Type, ...]

    def accepts(self, value: Any) -> bool:
        return any(each.accepts(value) for each in self.types)

    def __str__(self) -> str:
        *most, last = map(str, self.types)
        return f"{', '.join(most)} or {last}"

    def parts(self) -> Sequence[Type]:
        return self.types


@dataclass(frozen=True)
class Entry:
    """What stands in the brackets, and the text behind them."""

    type: Type | None  # None: computed, not to be set
    required: bool = False
    explanation: str = ""
    follows: str = ""  # the setting that it repeats

    def accepts(self, value: Any) -> bool:
        return self.type is not None and self.type.accepts(value)

    def parts(self) -> Sequence[Type]:
        return self.type.parts() if self.type else ()

    def fit(self, value: Any) -> Any:
        """``value``, or what it says as the kind of value that is wanted: 10000 for 1e4, text for a number."""
        if isinstance(value, list):
            of_text = any(isinstance(part, ListOf) and isinstance(part.item, Text) for part in self.parts())
            return [str(item) for item in value] if of_text and any(map(_is_number, value)) else value
        if isinstance(value, float) and value.is_integer() and self._takes_whole_numbers():
            return int(value)
        wants_text = any(isinstance(part, Text) for part in self.parts())
        return str(value) if wants_text and isinstance(value, int | float) and not self.accepts(value) else value

    def _takes_whole_numbers(self) -> bool:
        """Whether every number here is a whole one."""
        whole = [part.whole for part in self.parts() if isinstance(part, Number)]
        whole += [isinstance(p.value, int) for p in self.parts() if isinstance(p, Literal) and _is_number(p.value)]
        return bool(whole) and all(whole)


def read_entry(comment: str) -> Entry | None:
    """Of a comment ``[type] explanation``; None where it does not begin with a bracket. Raises ValueError."""
    if not comment.startswith("["):
        return None
    depths = list(accumulate({"[": 1, "]": -1}.get(letter, 0) for letter in comment))
    if 0 not in depths:
        raise ValueError(f"{comment}: the bracket does not close")
    end = depths.index(0)
    text, explanation = comment[1:end].strip(), comment[end + 1 :].strip()
    if text == "computed":
        return Entry(None, explanation=explanation)
    required, text = text.startswith("required "), text.removeprefix("required ")
    return Entry(read_type(text), required, explanation)


def read_type(text: str) -> Type:
    """Raises ValueError where ``text`` is not of the notation."""
    parts = _split(text)
    if len(parts) > 1:
        return OneOf(tuple(map(read_type, parts)))
    text = text.strip()
    if text.startswith("(") and text.endswith(")"):
        return read_type(text[1:-1])
    word, _, rest = text.partition(" ")
    if word in ("integer", "number"):
        bounds = re.findall(r"(>=|<=|>|<) *([-\d._e]+)(?:, *|$)", rest)
        if ", ".join(" ".join(bound) for bound in bounds) != rest:
            raise ValueError(f"{text!r}: bounds are as in 'number >= 0, < 1'")
        return Number(word == "integer", tuple((sign, float(bound)) for sign, bound in bounds))
    if text in TEXTS:
        return Text(text)
    if text == "component":
        return Component()
    if match := re.match(r"(list|pair|range|map) of (distinct )?(.+)$", text):
        kind, distinct, item = match.groups()
        if kind == "map":
            return MapOf(read_type(item))
        return ListOf(read_type(item), bool(distinct), None if kind == "list" else 2, kind == "range")
    if not text or (" " in text):
        raise ValueError(f"{text!r} is no type: see src/command_line/value_types.py")
    return Literal(yaml.safe_load(text))


def as_yaml(value: Any) -> str:
    """A value as the command line takes it, in one line."""
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{key}: {as_yaml(item)}" for key, item in value.items()) + "}"
    if isinstance(value, list | tuple):
        return "[" + ", ".join(map(as_yaml, value)) + "]"
    if isinstance(value, bool) or value is None:
        return {True: "true", False: "false", None: "null"}[value]
    return " ".join(str(value).split()) if value != "" else "''"


def _split(text: str) -> list[str]:
    """The parts between the ``|`` that no parenthesis holds."""
    parts, depth = [""], 0
    for letter in text:
        depth += {"(": 1, ")": -1}.get(letter, 0)
        if letter == "|" and not depth:
            parts.append("")
        else:
            parts[-1] += letter
    return parts


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _compiles(pattern: str) -> bool:
    try:
        re.compile(pattern)
    except re.error:
        return False
    return True


def _can_be_folder(path: Path) -> bool:
    try:
        return next(place for place in (path.absolute(), *path.absolute().parents) if place.exists()).is_dir()
    except OSError:  # a name that is too long, a folder that may not be looked into: whoever writes there says so
        return True
