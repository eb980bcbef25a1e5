"""What --help and a typo do not wait for."""

from __future__ import annotations

import subprocess
import sys

import pytest

from tests.conftest import ROOT

HEAVY = ("torch", "torchvision", "torchmetrics", "pytorch_lightning", "kornia", "segmentation_models_pytorch", "wandb",
         "matplotlib", "scipy")  # fmt: skip
SCRIPT = """
import runpy, sys
sys.argv[1:] = ASKED
try:
    runpy.run_module("MODULE", run_name="__main__")
except SystemExit:
    print("loaded:", *(name for name in HEAVY if name in sys.modules))
"""


@pytest.mark.parametrize(
    ("entry", "typo", "said"),
    [
        *(
            (entry, "sead=1", "sead is not a setting; did you mean seed?")
            for entry in ("train", "generate", "evaluate")
        ),
        ("study", "unet.imagse=1", "unet.imagse is not a setting; did you mean unet.images?"),
        ("compare", "--oot", "the following arguments are required: FOLDER"),
    ],
)
def test_a_typo_loads_no_package_that_computes(entry, typo, said):
    script = SCRIPT.replace("MODULE", f"src.{entry}").replace("ASKED", f"[{typo!r}]").replace("HEAVY", repr(HEAVY))
    done = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True)
    assert said in done.stderr
    assert done.stdout.splitlines()[-1].strip() == "loaded:"
