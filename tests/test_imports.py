"""What --help and a typo do not wait for."""

from __future__ import annotations

import subprocess
import sys

import hydra
import pytest

from tests.conftest import ROOT

HEAVY = ("torch", "torchvision", "torchmetrics", "pytorch_lightning", "kornia", "segmentation_models_pytorch", "wandb",
         "matplotlib", "scipy", "numpy", "PIL", "jinja2", "rich", "joblib", "optuna")  # fmt: skip
SCRIPT = """
import contextlib, runpy, sys
for asked in (["--help"], TYPO):
    sys.argv[1:] = asked
    with contextlib.suppress(SystemExit):
        runpy.run_module("MODULE", run_name="__main__")
print("loaded:", *(name for name in HEAVY if name in sys.modules))
"""


@pytest.mark.parametrize(
    ("entry", "typo", "said"),
    [
        *(
            (entry, "sead=1", "sead is not a setting; did you mean seed?")
            for entry in ("train", "generate", "evaluate", "identify", "audit")
        ),
        ("inspect", "loook=3", "loook is not a setting; did you mean look?"),
        ("study", "unet.imagse=1", "unet.imagse is not a setting; did you mean unet.images?"),
        ("detect_mark", "image=a", "image is not a setting; did you mean images?"),
        ("compare", "--oot", "the following arguments are required: FOLDER"),
    ],
)
def test_help_and_a_typo_load_no_package_that_computes(entry, typo, said):
    script = SCRIPT.replace("MODULE", f"src.{entry}").replace("TYPO", f"[{typo!r}]").replace("HEAVY", repr(HEAVY))
    done = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True)
    assert said in done.stderr and f"python -m src.{entry}" in done.stdout
    assert done.stdout.splitlines()[-1].strip() == "loaded:"


def test_a_comparison_of_runs_loads_no_package_that_trains():
    script = "import sys, src.comparison.overview; print(*(name for name in HEAVY if name in sys.modules))"
    script = script.replace("HEAVY", repr((*HEAVY[:7], "scipy.stats")))
    done = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True)
    assert done.stdout.strip() == "" and not done.returncode, done.stderr


def test_help_shows_what_is_chosen_and_lists_each_group_without_composing_for_it(run_train, monkeypatch):
    composed = []
    compose = hydra.compose
    monkeypatch.setattr(
        hydra, "compose", lambda *given, **options: composed.append(given) or compose(*given, **options)
    )
    outcome = run_train("model=pggan,dcgan", "optim.lr=3", "-m", "--help")
    assert outcome.status == 0 and len(composed) == 1
    assert "\nloss: bce, bce_smoothed, hinge, logistic_r1, none, relativistic, wgan_gp\n" in outcome.out
    assert "\n  name: pggan\n" in outcome.out
    assert "\n  lr: 3\n" in outcome.out and "\nhydra:" not in outcome.out
    assert run_train("modle=pggan", "--help").error == "error: modle is not a setting; did you mean model?"


def test_help_ends_quietly_where_its_reader_has_gone():
    command = f"{sys.executable} -m src.evaluate --help | true"
    done = subprocess.run(["bash", "-o", "pipefail", "-c", command], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0 and not done.stderr
