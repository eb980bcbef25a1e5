"""Every command that the documentation prints passes the check that the real command line makes."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import pytest

from src import audit, dashboard, detect_mark, evaluate, generate, identify, inspect, train
from src.command_line import override_parsing, overrides
from src.core.errors import UserError
from src.downstream.asked import divide, settings_of
from tests.conftest import ROOT

PAGES = (ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md")), ROOT / "Makefile")
OTHERS = {
    module.__name__.rpartition(".")[2]: module
    for module in (audit, dashboard, detect_mark, evaluate, generate, identify, inspect)
}
BLOCK = re.compile(r"^```bash\n(.*?)^```", re.M | re.S)
INLINE = re.compile(r"`([^`]*)`")
COMMAND = re.compile(r"python -m src\.(.+)")


def commands() -> list[str]:
    """What follows ``python -m src.``, once each."""
    found = [line for page in PAGES for code in snippets(page) for line in COMMAND.findall(code)]
    return list(dict.fromkeys(found))


def snippets(page: Path) -> Iterator[str]:
    """Code in which a command is one line; placeholders as in ``<run>`` become names."""
    text = page.read_text().replace("$(RUN)", "python")
    text = re.sub(r"<[a-z ]+>", "placeholder", re.sub(r"\\\n\s*", "", text))
    yield from BLOCK.findall(text)
    yield from (" ".join(code.split()) for code in INLINE.findall(BLOCK.sub("", text)))
    if page.suffix != ".md":
        yield text


def check(command: str) -> None:
    """Raises UserError as the command itself would."""
    entry, *asked = shlex.split(command, comments=True)
    flags = [argument for argument in asked if argument.startswith("-")]
    asked = [argument for argument in asked if argument not in flags and "$" not in argument]  # a shell's variable
    if entry == "train":
        overrides.check(entry, override_parsing.quote_paths(asked, train.PATHS, sweeps=True), multirun="-m" in flags)
    elif entry in OTHERS:
        overrides.check(entry, override_parsing.quote_paths(asked, OTHERS[entry].PATHS), multirun=False)
    elif entry == "study":
        divided = divide(asked)
        settings_of(overrides.check(entry, divided.study, multirun=False), divided)
    else:
        assert entry == "compare" and not any("=" in argument for argument in asked)


@pytest.mark.parametrize("command", commands(), ids=lambda command: re.sub(r"\W+", "-", command)[:60])
def test_a_printed_command_is_one_that_can_be_given(command):
    check(command)


@pytest.mark.parametrize(
    "wrong",
    [
        "train optim.learning=1",
        "train optim.lr=1e-4,2e-4",
        "generate run=a number=3",
        "study unet.picture=3",
        "study x=1",
    ],
)
def test_a_wrong_command_is_found(wrong):
    with pytest.raises(UserError):
        check(wrong)


def test_the_pages_print_commands_of_every_entry_point():
    entries = {"train", "study", "compare", *OTHERS}
    assert {command.split()[0] for command in commands()} == entries
