"""Paths on the command line: those of run folders hold ``=`` and ``,``, which mean something else to Hydra."""

from __future__ import annotations

import contextlib
from pathlib import Path

import hydra
import pytest

from src.command_line.override_parsing import quote_paths
from src.command_line.overrides import check, fit_values
from src.core.errors import UserError
from src.train import PATHS
from tests.conftest import SMALL

KEY = "training.synthetic"
RUN = "outputs/model=pggan,data=folder,data.group=-p-d"


@pytest.fixture(autouse=True)
def folders(tmp_path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name in (RUN, "outputs/seed=1", "outputs/plain", "outputs/a,b"):
        Path(name).mkdir(parents=True)


@pytest.mark.parametrize(
    ("value", "quoted"),
    [
        (RUN, f"'{RUN}'"),
        ("outputs/optim.lr=1,seed=0", "'outputs/optim.lr=1,seed=0'"),  # not there: whoever reads it says so
        ("/data/Münster (2019)/scans", "'/data/Münster (2019)/scans'"),
        ("outputs/a,b", "'outputs/a,b'"),
        ("outputs/seed=1,outputs/plain", "'outputs/seed=1','outputs/plain'"),
        ("outputs/a,outputs/b", "outputs/a,outputs/b"),
        ("choice(outputs/a,outputs/b)", "choice(outputs/a,outputs/b)"),
        ("outputs/plain", "outputs/plain"),  # so that its run keeps the name it has
        ("null", "null"),
        ("[outputs/plain,'outputs/a,b']", "[outputs/plain,'outputs/a,b']"),
        ("[outputs/plain,outputs/x]", "[outputs/plain,outputs/x]"),
        (f"'{RUN}'", f"'{RUN}'"),
    ],
)
def test_a_path_needs_no_quotes_of_its_own_and_several_stay_a_sweep(value, quoted):
    assert quote_paths([f"{KEY}={value}", "seed=0,1"], PATHS, sweeps=True) == [f"{KEY}={quoted}", "seed=0,1"]


def test_a_list_of_paths_is_one_outside_of_sweeps_too():
    value = "[outputs/plain,outputs/x]"
    assert quote_paths([f"{KEY}={value}"], PATHS) == [f"{KEY}={value}"]
    check("train", [f"{KEY}={value}"], multirun=False)


@pytest.mark.parametrize("key", PATHS)
def test_every_key_of_a_path_is_a_setting_of_some_training(key):
    chosen = {"data.r": ["data=folder", "data.root=x"], "model": ["model=unet"], "scores": ["scores=generator"]}
    if key in ("data.generated", "data.real.root"):
        groups = ["model=detector", "data@data.real=folder", "data.generated=x", "data.real.root=x"]
    else:
        groups = next((groups for start, groups in chosen.items() if key.startswith(start)), [])
    check("train", [*groups, *quote_paths([f"{key}={RUN}"], PATHS, sweeps=True)], multirun=False)


@pytest.mark.parametrize("value", ["~/x y", "'~/x y'", "~"])
def test_the_home_folder_is_spelt_out_in_paths_alone(value, monkeypatch):
    monkeypatch.setenv("HOME", "/home/me")
    quoted, left = quote_paths([f"run={value}", "seed=~"], ["run"])
    assert quoted.replace("'", "") == f"run={value}".replace("~", "/home/me").replace("'", "") and left == "seed=~"


@pytest.mark.parametrize("sweep", [(), ("-m", "seed=0,1")])
def test_a_run_and_a_sweep_below_the_home_folder_make_no_folder_of_that_name_here(run_tiny, monkeypatch, sweep):
    monkeypatch.setenv("HOME", str(Path("home").absolute()))
    assert run_tiny("paths.outputs=~/x", "name=a", "images=64", *sweep).status == 0
    assert Path("home/x/a/run.log").exists() or len(list(Path("home/x/a").glob("*/run.log"))) == 2
    assert not Path("~").exists()


@pytest.mark.parametrize(
    ("given", "written"),
    [
        ("images=1e4", "images=10000"),
        ("+trainer.devices=2.0", "+trainer.devices=2"),
        ("trainer.threads=1e0", "trainer.threads=1"),  # its default is null
        ("batch_size=1e1,16", "batch_size=10,16"),
        ("batch_size=1e1,1.5", "batch_size=10,1.5"),
        ("batch_size=1_000", "batch_size=1_000"),
        ("optim.lr=1e0", "optim.lr=1e0"),
        ("images=interval(1e3,1e4)", "images=interval(1e3,1e4)"),
        ("training.ratio=1.0", "training.ratio=1.0"),
        ("name=2024", "name='2024'"),
        ("name=a,2024", "name=a,'2024'"),
        ("name=null", "name=null"),
        ("data.classes=[1,2]", "data.classes=[1,2]"),  # phantoms have no such classes
        ("model.schedule.warm_up=1", "model.schedule.warm_up=1"),  # of no DCGAN
    ],
)
def test_a_value_is_of_the_kind_that_its_setting_takes(given, written):
    assert fit_values("train", ["-m", given]) == ["-m", written]


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        ("seed=range(200)", None),
        ("every.log=8,16,32", None),  # computed by default
        ("seed=1,2,-1", "seed=-1 must be"),
        ("batch_size=choice(8,16,0)", "batch_size=0 must be"),
        ("optim.lr=1e-3,nan", "optim.lr=nan must be"),
        ("every.log=8,${seed}", "every.log=0 must be"),
        ("data.classes=[normal],[tumour]", r"data.classes=\[tumour\] must be"),
        ("seed=1,${oops}", "seed: Interpolation key 'oops' not found"),
    ],
)
def test_every_choice_of_a_sweep_is_checked_without_composing_for_it(monkeypatch, asked, said):
    composed = []
    compose = hydra.compose
    monkeypatch.setattr(hydra, "compose", lambda *given, **options: composed.append(1) or compose(*given, **options))
    with contextlib.nullcontext() if said is None else pytest.raises(UserError, match=said):
        cfg = check("train", [asked], multirun=True)
        assert cfg.seed == 0 and cfg.every.log == (8 if asked.startswith("every") else 150)  # of the first job
    assert len(composed) == 1


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        ("+sead=1", r"\+sead=1: sead is not a setting; did you mean seed\?"),
        ("++optimm.lr=1", r"\+\+optimm.lr=1: optimm.lr is not a setting; did you mean optim.lr\?"),
        ("+every.logs=3", r"every.logs is not a setting; did you mean every.log\?"),
        ("++seed=1", None),
        ("+optim.amsgrad=true", None),  # of a component, which says itself what it takes
        ("+data.sizes.extra=3", None),  # a further value by name
        ("+logger.mine={_target_: a.b}", None),
        ("+trainer.limit_val_batches=1", None),
    ],
)
def test_nothing_is_added_that_no_one_reads(asked, said):
    with contextlib.nullcontext() if said is None else pytest.raises(UserError, match=said):
        check("train", [asked], multirun=False)


DETECTOR = ["model=classifier", "data=real_or_generated", "data@data.real=phantom", "data.generated=x"]


@pytest.mark.parametrize("asked", ["trainer=default", "trainer=1"])
def test_a_group_of_another_command_is_no_setting(asked):
    with pytest.raises(UserError, match="trainer is not a setting"):
        check("evaluate", [asked], multirun=False)


def test_what_is_meant_is_not_a_group_of_another_command():
    with pytest.raises(UserError, match=r"trainer\.threads is not a setting; did you mean threads\?"):
        check("evaluate", ["trainer.threads=1"], multirun=False)


@pytest.mark.parametrize("asked", [DETECTOR, DETECTOR[::-1]])
def test_a_group_in_two_places_can_be_chosen_in_any_order(asked):
    cfg = check("train", asked, multirun=False)
    assert (cfg.data.name, cfg.data.real.name) == ("real_or_generated", "phantom")


def test_a_typo_beside_a_group_in_two_places_is_the_one_that_is_named():
    with pytest.raises(UserError, match=r"data\.real\.rooot is not a setting; did you mean data\.real\.root\?"):
        check("train", ["model=detector", "data@data.real=folder", "data.real.rooot=x"], multirun=False)


def test_the_command_line_takes_a_run_folder_as_it_is_named(run_train):
    outcome = run_train(*SMALL, "model=unet", f"model.initial={RUN}")
    assert outcome.status == 2 and RUN in outcome.error and "checkpoint" in outcome.error


def test_a_sweep_over_run_folders_runs_a_job_for_each(run_train):
    outcome = run_train(*SMALL, "-m", "model=unet", "model.initial=outputs/seed=1,outputs/plain", "name=sweep")
    assert outcome.status == 2 and outcome.err.count("failed: outputs/sweep/") == 2
