"""What may be installed: two releases of Lightning that held malware never, under neither of its names."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterable

import pytest
from packaging.requirements import Requirement

from tests.conftest import ROOT

MALWARE = [(name, version) for name in ("lightning", "pytorch-lightning") for version in ("2.6.2", "2.6.3")]


def of_pyproject() -> list[str]:
    """What pip and uv read of it."""
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text())
    return [*settings["project"]["dependencies"], *settings["tool"]["uv"]["constraint-dependencies"]]


def of_constraints() -> list[str]:
    lines = (line.partition("#")[0].strip() for line in (ROOT / "constraints.txt").read_text().splitlines())
    return [line for line in lines if line]


def excludes(requirements: Iterable[str], name: str, version: str) -> bool:
    found = [asked for asked in map(Requirement, requirements) if asked.name == name]
    return bool(found) and not any(asked.specifier.contains(version) for asked in found)


@pytest.mark.parametrize(("name", "version"), MALWARE)
def test_releases_that_held_malware_are_excluded_by_name_for_pip_and_for_uv(name, version):
    assert excludes(of_pyproject(), name, version)
    assert excludes(of_constraints(), name, version)


def test_whatever_says_how_to_install_the_project_installs_it_from_the_constraints():
    told = [ROOT / "Makefile", ROOT / "README.md", *(ROOT / "docs").glob("*.md"), *(ROOT / "src").rglob("*.py")]
    lines = [line for path in told for line in re.findall(r"(?:install |\"-).*'\.\[.*", path.read_text())]
    assert len(lines) > 10
    for line in lines:
        assert re.search(r"(-c|--constraint) constraints\.txt (-e|--editable) '", line), line
