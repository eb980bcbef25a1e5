"""How would a folder be read? ``python -m src.inspect data.root=/path/to/folder``."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

from src.command_line import override_parsing, overrides, resolvers  # noqa: F401  the configurations of data sets compute
from src.command_line.launch import run_command
from src.core.atomic import make_writable
from src.core.errors import UserError, one_line

CONFIG = "inspect"
PATHS = ("data.root", "out", "paths.cache", "paths.data", "paths.outputs")  # settings whose values are paths


def inspect(asked: Sequence[str]) -> Path:
    """Look at the folder that ``asked`` (conf/inspect.yaml) names; returns the page it wrote.

    Raises UserError where there is no folder, and, once all else is said, for a question that it cannot answer.
    """

    def compose(assumed: Sequence[str]) -> overrides.DictConfig:
        words = override_parsing.quote_paths([*asked, *assumed], PATHS)
        return overrides.check(CONFIG, words, multirun=False, can_sweep=False)

    cfg = compose([])
    # Imported now: --help and a typo need none of them.
    import logging

    from hydra.utils import get_class, instantiate
    from omegaconf import OmegaConf
    from rich.console import Console

    from src.data.folder import FolderData
    from src.inspection.command import file_of, inspect_command, train_command, write_config
    from src.inspection.findings import findings, name_of
    from src.inspection.look import look
    from src.inspection.page import write_page
    from src.inspection.reading import reading

    logging.basicConfig(level=logging.ERROR, format="%(message)s")
    if not issubclass(get_class(cfg.data._target_), FolderData):
        raise UserError("src.inspect looks at folders of images: data.root=/path/to/folder, or a data set that is one")
    if cfg.write:
        file_of(cfg.write)
    found = look(lambda assumed: instantiate(compose(assumed).data), asked, cfg.look)
    out = Path(cfg.out or Path(cfg.paths.outputs) / CONFIG / name_of(found.data.root)).expanduser()
    try:
        make_writable(out)
    except OSError as problem:
        raise UserError(f"{out} cannot be written ({one_line(problem)}): out=<folder> names another place") from problem

    console = Console(soft_wrap=True, highlight=False, markup=False)
    for title, text in reading(found):
        console.print(f"{title + ':':<18} {text}")
    for finding in findings(found):
        console.print(f"{'!' if finding.worst < 2 else '-'} {finding.text}")
    if cfg.write and not found.question:
        settings, defaults = compose(found.assumed).data, overrides.compose(CONFIG, []).data
        as_dicts = [OmegaConf.to_container(part, resolve=True) for part in (settings, defaults)]
        print(f"wrote {write_config(cfg.write, found, *as_dicts)}")  # type: ignore[arg-type]
    if found.question:
        command = inspect_command(asked, found.assumed)
    else:
        few = found.learned < overrides.compose("train", []).batch_size
        command = train_command(asked, found.assumed, cfg.write, found.learned if few else None)
    write_page(out / "inspect.html", found, command)
    print(f"{'answer it beside' if found.question else 'train on it'}: {command}")
    print(f"done: {out / 'inspect.html'}")
    if found.question:
        raise UserError(f"beside the command above, {found.question}" if found.assumed else found.question)
    return out / "inspect.html"


def main(arguments: Sequence[str] | None = None) -> int:
    return run_command(CONFIG, inspect, arguments, goes_on=False)


if __name__ == "__main__":
    sys.exit(main())
