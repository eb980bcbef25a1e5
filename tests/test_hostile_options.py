"""Hostile values of every setting, through the entry points: one line that names the key, or a run that can begin.

The suite draws a few; ``python -m tests.test_hostile_options`` tries all of them, in half an hour.
"""

from __future__ import annotations

import contextlib
import io
import itertools
import logging
import os
import random
import signal
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from unittest import mock

import hydra
import pytest
from hydra.core.global_hydra import GlobalHydra

from src import audit, compare, evaluate, generate, identify, inspect, study
from src.command_line import launch as cli
from src.command_line.schema import CONF, compose_schema
from src.train import PATHS
from src.training.job import train
from tests.test_options import leaves

HOSTILE = ("null", "nan", "inf", "-1", "0", "1e9", "", "''", "[]", "{}", "text", "${oops}")
SECONDS = 60  # that one command may take
SMALL = (
    "budget=smoke", "logger=csv", "phantoms=64", "data.sizes.val=16", "data.sizes.test=16", "resolution=16",
    "samples=4", "images=64", "batch_size=8", "trainer.threads=1", "trainer.accelerator=cpu", "progress=false",
)  # fmt: skip
BASES: dict[str, list[tuple[str, ...]]] = {  # between them, they have nearly every setting
    "train": [
        (*SMALL, "model=dcgan", "model.generator.width=0.25", "model.discriminator.width=0.25", "loss=wgan_gp",
         "model.discriminator.norm=instance", "scores=generator"),
        (*SMALL, "model=enhanced", "width=8", "optim=adamw"),
        (*SMALL, "model=unet", "model.network.width=2", "model.network.depth=3", "optim=sgd"),
        (*SMALL, "model=classifier", "width=4"),
    ],
    "generate": [("run=RUN", "n=4", "threads=1")],
    "evaluate": [("run=RUN", "n=16", "threads=1"), ("run=RUN", "n=16", "threads=1", "data=phantom", "resolution=16")],
    "study": [
        ("budget=smoke", "logger=csv", "phantoms=48", "data.sizes.val=8", "data.sizes.test=12", "trainer.threads=1",
         "generators=[pggan]", "generator.width=8", "unet.model.network.width=2", "unet.model.network.depth=3",
         "classifier.width=4", "resolution=16", "fractions=[1.0]", "seeds=1"),
    ],
    "identify": [("threads=1",)],
    "audit": [("run=RUN", "n=20", "threads=1")],
    "inspect": [("data.root=.",)],
    "compare": [("--out=page", "RUN")],
}  # fmt: skip
DRAWN = {  # in the suite
    "train": 10, "generate": 5, "evaluate": 5, "study": 2, "identify": 3, "audit": 2, "inspect": 3, "compare": 2,
}  # fmt: skip
BEGINS = {  # what each entry point comes to where it has accepted its settings
    "train": "pytorch_lightning.Trainer.fit",
    "generate": "src.release.export.Export.write",
    "evaluate": "src.scoring.rows.score_beside",
    "study": "src.downstream.pipeline._carry_out",
    "identify": "src.identification.sets.open_sets",
    "audit": "src.release.audit.Audit.of",
    "inspect": "src.inspection.look.look",
    "compare": "src.comparison.overview.write_comparison",
}


class Accepted(BaseException):
    """The settings were, and the work would begin."""


class TooSlow(BaseException):
    """Nobody waits that long for an answer."""


def keys_of(entry: str, base: tuple[str, ...]) -> list[str]:
    """Of all settings of an entry point; of a study also those of its trainings."""
    if entry == "compare":
        return ["--out", "FOLDER"]
    with hydra.initialize_config_dir(str(CONF), version_base="1.3"):
        own = [o for o in base if entry != "study"]
        cfg = hydra.compose(entry, own, return_hydra_config=True)
        schema = compose_schema(entry, [o for o in own if (CONF / o.partition("=")[0]).is_dir()])
    GlobalHydra.instance().clear()
    groups = (
        [path.name for path in CONF.iterdir() if path.is_dir() and path.name != "hydra"] if entry == "train" else []
    )
    return [*leaves(cfg, schema), *schema.sections, *groups]


def combinations(entries: tuple[str, ...] = tuple(BASES)) -> Iterator[tuple[str, tuple[str, ...], str, str]]:
    """Entry point, what is asked beside, key and value; each key once."""
    for entry in entries:
        seen: set[str] = set()
        for base in BASES[entry]:
            keys = [key for key in keys_of(entry, base) if key not in seen]
            seen |= set(keys)
            yield from ((entry, base, key, value) for key, value in itertools.product(keys, HOSTILE))


def attempt(entry: str, base: tuple[str, ...], key: str, value: str, run: str) -> str:
    """What is wrong with what the entry point answers; empty where nothing is."""
    beside = [argument.replace("RUN", run) for argument in base if argument.partition("=")[0] != key]
    asked = value if key == "FOLDER" else f"{key}={value}"
    arguments = [*(a for a in beside if key != "FOLDER" or a != run), asked]
    out, err = io.StringIO(), io.StringIO()
    handlers, here = logging.root.handlers[:], os.getcwd()
    accepted, status = False, 0
    with tempfile.TemporaryDirectory() as scratch, contextlib.ExitStack() as stack:
        os.chdir(scratch)
        stack.callback(os.chdir, here)
        stack.enter_context(mock.patch(BEGINS[entry], side_effect=Accepted))
        stack.enter_context(mock.patch.object(sys, "argv", [entry, *arguments]))
        stack.enter_context(contextlib.redirect_stdout(out))
        stack.enter_context(contextlib.redirect_stderr(err))
        try:
            signal.alarm(SECONDS)
            if entry == "train":
                cli.launch(train, "train", paths=PATHS)
            else:
                modules = (audit, generate, evaluate, identify, inspect, study, compare)
                module = {module.__name__.split(".")[-1]: module for module in modules}[entry]
                status = module.main(arguments)
        except Accepted:
            accepted = True
        except TooSlow:
            return f"takes more than {SECONDS} s"
        except SystemExit as end:
            status = int(end.code or 0)
        except BaseException as problem:
            return f"{type(problem).__name__}: {problem}"
        finally:
            signal.alarm(0)
            GlobalHydra.instance().clear()
            logging.root.handlers[:] = handlers
            logging.disable(logging.NOTSET)
        left = [str(path) for path in Path().rglob("*") if path.suffix in (".ckpt", ".html")]
    lines = [line for line in err.getvalue().splitlines() if "error: " in line]
    if "Traceback" in err.getvalue() or "(a bug?" in err.getvalue():
        return lines[-1] if lines else err.getvalue()[-300:]
    if accepted or status == 0:
        return f"wrote {left}" if left else ""
    if status != 2 or len(lines) != 1:
        return f"exit {status}: {err.getvalue()[-300:]}"
    names = (key, key.rpartition(".")[2], asked) if key != "FOLDER" else (asked or ".",)
    return "" if any(name in lines[0] for name in names) else f"does not name {key}: {lines[0]}"


@contextlib.contextmanager
def ready() -> Iterator[None]:
    def too_slow(*_: object) -> None:
        raise TooSlow

    before = signal.signal(signal.SIGALRM, too_slow)
    try:
        yield
    finally:
        signal.signal(signal.SIGALRM, before)


def train_one(outputs: Path) -> str:
    """A small GAN with a checkpoint, for what takes a run."""
    asked = [*BASES["train"][0], "scores=none", "loss=bce", f"paths.outputs={outputs}", "name=gan"]
    asked = [a for a in asked if not a.startswith(("scores.scorer", "loss=wgan", "scores=gen"))]
    with mock.patch.object(sys, "argv", ["train", *asked]), contextlib.suppress(SystemExit):
        cli.launch(train, "train", paths=PATHS)
    GlobalHydra.instance().clear()
    return str(outputs / "gan")


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> str:
    handlers = logging.root.handlers[:]
    folder = train_one(tmp_path_factory.mktemp("trained"))
    logging.root.handlers[:] = handlers
    return folder


@pytest.mark.parametrize(("entry", "count"), DRAWN.items())
def test_a_hostile_value_is_one_line_that_names_its_key_or_the_work_can_begin(run, entry, count):
    drawn = random.Random(0).sample(list(combinations((entry,))), count)
    with ready():
        problems = {f"{key}={value}": attempt(entry, base, key, value, run) for _, base, key, value in drawn}
    assert not {asked: problem for asked, problem in problems.items() if problem}


def main(entries: tuple[str, ...]) -> int:
    with tempfile.TemporaryDirectory() as folder, ready():
        os.environ["XDG_CACHE_HOME"] = folder
        run, tried, bad, began = train_one(Path(folder)), 0, 0, time.monotonic()
        for entry, base, key, value in combinations(entries or tuple(BASES)):
            tried += 1
            if problem := attempt(entry, base, key, value, run):
                bad += 1
                print(f"{entry} {key}={value} | {problem}", flush=True)
            if tried % 200 == 0:
                print(f"... {tried} tried, {time.monotonic() - began:.0f} s", flush=True)
    print(f"{tried} combinations, {bad} answered wrongly")
    return min(bad, 1)


if __name__ == "__main__":
    sys.exit(main(tuple(sys.argv[1:])))
