"""Every setting is checked where it is written: no value gets past its comment in conf/, and none has no comment."""

from __future__ import annotations

import itertools
import math
from functools import cache
from pathlib import Path
from typing import Any

import hydra
import pytest
from hydra.core.global_hydra import GlobalHydra
from omegaconf import DictConfig

from src import evaluate, generate, study
from src.command_line import resolvers  # noqa: F401  the configurations compute
from src.command_line.overrides import check
from src.command_line.schema import CONF, Schema, check_setting, check_settings, compose_schema
from src.command_line.value_types import read_type
from src.core.errors import UserError
from tests.conftest import SMALL

HOSTILE: list[Any] = [None, float("nan"), float("inf"), -1, 0, 1e9, 0.5, 3, "", [], {}, "text", [1.0, 1.0], True]
FOLDER = ["data.root=x"]


MAINS = {"generate": generate.main, "evaluate": evaluate.main, "study": study.main}
ROOT = "data.root=x"
CONFIGS: list[tuple[str, list[str]]] = [  # between them, they take every file of conf/
    ("train", ["model=dcgan", "data=cvc_clinicdb", "loss=logistic_r1", "optim=adamw", "logger=tensorboard"]),
    ("train", ["model=dcgan_transposed", "data=sunnybrook", "loss=hinge", "scores=generator", "budget=smoke"]),
    ("train", ["model=pggan", "data=folder", ROOT, "budget=laptop"]),
    ("train", ["model=enhanced", "data=chest_xray", "loss=bce", "logger=csv", "scores=none"]),
    ("train", ["model=classifier", "data=cifar10", "hydra/launcher=gpus"]),
    ("train", ["model=unet", "data=phantom", "callbacks=none", "loss=none"]),
    ("train", ["model=pggan", "loss=relativistic"]),
    ("train", ["model=dcgan_medical", "data=retinopathy", "loss=bce_smoothed"]),
    ("train", ["data=chest_ct"]),
    ("train", ["data=pannuke"]),
    ("train", ["model=detector", "data.generated=x"]),
    *(
        ("train", [f"experiment={path.stem}", *([ROOT] if path.stem in ("pggan_256", "enhanced_256") else [])])
        for path in sorted((CONF / "experiment").glob("*.yaml"))
    ),
    ("evaluate", ["run=x"]),
    ("evaluate", ["run=x", "data=phantom"]),
    *(("generate", ["run=x", "n=1", f"format={path.stem}"]) for path in sorted((CONF / "format").glob("*.yaml"))),
    ("identify", []),
    ("audit", ["run=x"]),
    ("inspect", [ROOT]),
    ("detect_mark", ["images=x"]),
    ("study", []),
    ("dashboard", []),
    *(("train", [f"hydra/launcher={path.stem}"]) for path in sorted((CONF / "hydra/launcher").glob("*.yaml"))),
]


@cache
def composed(config: str, *asked: str) -> tuple[DictConfig, Schema]:
    with hydra.initialize_config_dir(str(CONF), version_base="1.3"):
        cfg = hydra.compose(config, list(asked), return_hydra_config=True)
        schema = compose_schema(config, [o for o in asked if (CONF / o.partition("=")[0]).is_dir()])
    GlobalHydra.instance().clear()
    return cfg, schema


def leaves(cfg: DictConfig, schema: Schema, prefix: str = "") -> list[str]:
    """Keys of all settings that are no section; values by name count as one."""
    found = []
    for name in cfg:
        key = f"{prefix}{name!s}"
        node: Any = cfg._get_node(name)
        is_section = isinstance(node, DictConfig) and not (node._is_none() or node._is_interpolation())
        if key != "hydra" and is_section and (key not in schema.entries or key in schema.sections):
            found += leaves(node, schema, f"{key}.")
        elif key != "hydra":
            found.append(key)
    return found


def test_every_setting_of_every_file_has_an_entry_that_takes_its_default():
    taken = set()
    for config, asked in CONFIGS:
        cfg, schema = composed(config, *asked)
        assert not [key for key in leaves(cfg, schema) if key not in schema.entries], asked
        check_settings(cfg, schema)
        taken |= {
            config,
            *(o.replace("=", "/") for o in asked),
            *(f"{k}/{v}" for k, v in cfg.hydra.runtime.choices.items()),
        }
    files = {path.relative_to(CONF).with_suffix("").as_posix() for path in CONF.rglob("*.yaml")}
    assert files - {"trusted"} <= taken  # which is read where runs are loaded, and composed with nothing


def test_no_hostile_value_of_any_setting_gets_past_its_entry_and_the_error_names_it():
    tried, refused, seen = 0, 0, set()
    for config, asked in CONFIGS:
        cfg, schema = composed(config, *asked)
        for key, value in itertools.product(leaves(cfg, schema), HOSTILE):
            if (key, str(entry := schema.entries[key])) in seen:
                continue
            tried += 1
            try:
                check_setting(key, value, schema)
            except UserError as problem:
                refused += 1
                assert str(problem).startswith((f"{key}=", f"{key} is missing")), (key, value, problem)
                assert "\n" not in str(problem)
            else:
                assert entry.accepts(value) and value == value and value not in (math.inf, "", -1), (key, value)
        seen |= {(key, str(schema.entries[key])) for key in leaves(cfg, schema)}
    assert tried > 3_000 and refused > 0.7 * tried


@pytest.mark.parametrize(
    ("command", "asked", "said"),
    [
        ("train", "optim=null", "optim=null: choose one of adam, adam_pggan, adamw, sgd"),
        ("train", "data=[phantom,cifar10]", "data=[phantom,cifar10]: choose one of"),
        ("train", "~model", "~model: choose one of"),
        ("train", "~optim.lr", "~optim.lr: optim needs it"),
        ("train", "hydra/launcher=null", "hydra/launcher=null: choose one of basic, gpu_pool, gpus"),
        ("train", "every=null", "every=null must have settings of its own, such as every.log"),
        ("train", "model.generator.channels=3", "model.generator.channels=3: it follows channels; set that"),
        ("train", "channels=3", "channels=3: it is computed, from the data's and with_masks"),
        ("train", "seed=${oops}", "seed: Interpolation key 'oops' not found"),
        ("train", "images=${oops}", "error: images: Interpolation key 'oops' not found"),  # every.log follows from it
        ("train", "training=${oops}", "error: training: Interpolation key 'oops' not found"),
        ("train", "channels=${oops}", "channels=${oops}: it is computed"),
        ("train", "optim=${oops}", "optim=${oops}: choose one of adam, adam_pggan, adamw, sgd"),
        ("train", "model.generator={width:0}", "model.generator.width=0 must be a number of at least 0.03125"),
        ("train", "training.ratio=nan", "training.ratio=nan must be a number of at least 0 or null"),
        ("generate", "n=4,5", "n=4,5 names several values: give one"),
        ("generate", "masks=null", "masks=null must have settings of its own, such as masks.reject"),
        ("generate", "out=/dev/null", "out=/dev/null must be a folder or null"),
        ("evaluate", "out=/dev/null", "out=/dev/null must be a folder or null"),
        ("study", "generators=null", "generators=null must be"),
        ("study", "generators=[unet]", "generators: unet makes no images"),
        ("study", "generators=[pgan]", "generators: there is no model pgan"),
        ("study", "ratios=[abc]", "ratios=[abc] must be"),
        ("study", "ratios=[1.0,1.0]", "none of them twice"),
        ("study", "name=null", "name=null must be text"),
        ("study", "unet.optim.lr=-1", "unet.optim.lr=-1 must be a number above 0"),
        ("study", "unet.images=0", "unet.images=0 must be a whole number of at least 1"),
        ("study", "launcher=slurm", "hydra/launcher=slurm: there is no such hydra/launcher"),
        ("study", "unet.model.network.encoder=resnet", "unet: model.network.encoder=resnet is no encoder"),
        ("study", "unet.model.network.depth=5 resolution=16", "unet: images of 16×16 pixels cannot be halved 5 times"),
    ],
)
def test_what_composes_to_nothing_is_one_line_before_anything_is_written(run_train, capfd, command, asked, said):
    if command == "train":
        outcome = run_train(*SMALL, *asked.split())
        status, err = outcome.status, outcome.err
    else:
        needs = {"generate": ["run=x", "n=1"], "evaluate": ["run=x"], "study": ["logger=csv", "phantoms=200"]}[command]
        own = [need for need in needs if not asked.startswith(need.partition("=")[0] + "=")]
        status = MAINS[command]([*own, *asked.split()])
        err = capfd.readouterr().err
    assert status == 2 and err.startswith("error: ") and said in err and err.count("\n") == 1, err
    assert not Path("outputs").exists()


def test_named_values_replace_those_of_the_default_and_join_none():
    cfg = check("train", ["data=folder", ROOT, "data.splits={train: 0.8, test: 0.2}"], multirun=False)
    assert cfg.data.splits == {"train": 0.8, "test": 0.2}
    cfg = check("train", ["data=sunnybrook", "data.mask_folders={wall: o_labels}"], multirun=False)
    assert cfg.data.mask_folders == {"wall": "o_labels"}


@pytest.mark.parametrize(
    ("notation", "good", "bad"),
    [
        ("integer >= 1", [1, 10**9], [0, 1.0, True, None, "1", math.inf]),
        ("number >= 0, < 1", [0, 0.5], [1, -1e-9, math.nan, False]),
        ("list of distinct (pad | crop) | []", [["pad"], ["crop", "pad"], []], [["pad", "pad"], ["x"], "pad", None]),
        ("pair of number > 0 | null", [[1, 2.5], None], [[1], [1, 2, 3], [0, 1], {}]),
        ("map of number > 0, <= 1", [{"a": 1}], [{}, {"a": 2}, [1], None]),
        ("true | false", [True, False], [1, 0, None, "true"]),
        ("1 | 3 | null", [1, 3, None], [2, 1.0, True, "1"]),
        ("regex", ["^(.*)$"], ["(", "", 5]),
        ("path", ["a b/c"], ["", "\0", None]),
    ],
)
def test_the_notation_means_what_its_table_says(notation, good, bad):
    kind = read_type(notation)
    assert all(map(kind.accepts, good)) and not any(map(kind.accepts, bad))


@pytest.mark.parametrize("wrong", ["integer of 3", "number >= 0 < 1", "lists of text", "", "an integer"])
def test_a_slip_in_the_notation_is_an_error(wrong):
    with pytest.raises(ValueError):
        read_type(wrong)
