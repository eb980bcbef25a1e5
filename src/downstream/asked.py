"""What the command line of a study asks for: of the study, of each kind of training, and of what launches them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast

from omegaconf import DictConfig, OmegaConf

from src.command_line import overrides
from src.command_line.override_parsing import key_of
from src.core.errors import UserError
from src.core.identity import digest, identity
from src.downstream.plan import Recipe, StudySettings, is_run

CONFIG = "study"
GENERATOR, CLASSIFIER, UNET = "generator", "classifier", "unet"  # kinds of training that have settings of their own
SET_BY_STUDY = ("model", "seed", "with_masks", "model.initial", "paths.outputs")
WAY_OUT = {"seed": "generator.seed and seeds are yours to set", "paths.outputs": "say outputs=<folder>"}


@dataclass(frozen=True)
class Asked:
    """Overrides by what they are for; those of a kind of training are without their prefix."""

    study: tuple[str, ...]
    kinds: Mapping[str, tuple[str, ...]]
    every_training: tuple[str, ...]
    launcher: tuple[str, ...]


def divide(arguments: Sequence[str]) -> Asked:
    """Raises UserError where a setting is asked for that a study chooses itself."""
    own = OmegaConf.load(overrides.CONF / f"{CONFIG}.yaml").keys()
    kinds: dict[str, list[str]] = {GENERATOR: [], CLASSIFIER: [], UNET: []}
    study, every_training, launcher = [], [], []
    for argument in arguments:
        kind, _, rest = argument.partition(".")
        if kind in kinds:
            kinds[kind].append(rest)
        elif argument.startswith("hydra.launcher."):
            launcher.append(argument)
        elif key_of(argument).partition(".")[0] in own:
            study.append(argument)
        else:
            every_training.append(argument)
    for kind, given in (("", every_training), *kinds.items()):
        for override in given:
            _check_free(override, kind)
    return Asked(
        tuple(study), {kind: tuple(given) for kind, given in kinds.items()}, tuple(every_training), tuple(launcher)
    )


def _check_free(override: str, kind: str) -> None:
    key = key_of(override)
    if key == "seed" and kind in (GENERATOR, CLASSIFIER):
        return
    if key in SET_BY_STUDY or key.startswith("training."):
        way_out = WAY_OUT.get(key, "see python -m src.study --help")
        raise UserError(f"{f'{kind}.' if kind else ''}{override}: a study sets {key} itself; {way_out}")


def settings_of(cfg: DictConfig, asked: Asked) -> StudySettings:
    """What ``cfg`` (conf/study.yaml) and the overrides say together."""
    generators = _values(cfg.generators)
    models = [name for name in generators if not is_run(name)]
    for model in models:
        if not (overrides.CONF / "model" / f"{model}.yaml").is_file():
            raise UserError(
                f"generators: there is no model {model}; name models of conf/model, or run folders with a /"
            )
    models = models or ["pggan"]  # a typo in generator.… is found either way
    return StudySettings(
        generators=generators,
        per_fraction=cfg.generator_per_fraction,
        regimes=_values(cfg.regimes),
        ratios=_values(cfg.ratios),
        fractions=tuple(sorted(_values(cfg.fractions))),
        seeds=cfg.seeds,
        recipes={
            CLASSIFIER: _recipe(cfg, asked, CLASSIFIER, "model=classifier"),
            UNET: _recipe(cfg, asked, UNET, "model=unet"),
            **{model: _recipe(cfg, asked, GENERATOR, f"model={model}", "with_masks=true") for model in models},
        },
    )


def compose(recipe: Recipe) -> DictConfig:
    """The configuration of a training."""
    return overrides.check("train", recipe.overrides, multirun=False)


def _recipe(cfg: DictConfig, asked: Asked, kind: str, *chosen: str) -> Recipe:
    """The more particular of several values of one setting counts: a kind's, else that of all, else the default's."""
    general = {key_of(override) for override in asked.every_training} | _keys_of_budget(asked.every_training)
    defaults = [f"{key}={value}" for key, value in cfg[kind].items() if key not in general]
    given = (*chosen, *asked.every_training, *defaults, *asked.kinds[kind])
    own = {key_of(override) for override in (*defaults, *asked.kinds[kind])}

    def shown(key: str) -> str:
        return f"{kind}.{key}" if key in own or any(key.startswith(f"{each}.") for each in own) else key

    given = tuple(overrides.fit_values("train", given))
    composed = overrides.check("train", given, multirun=False, can_sweep=False, shown=shown)
    if kind == GENERATOR and "generator" not in composed.model:
        raise UserError(
            f"generators: {composed.model.name} makes no images; name GANs, e.g. generators=[pggan,enhanced]"
        )
    settings = cast(dict[str, Any], OmegaConf.to_container(composed))
    del settings["hydra"]
    return Recipe(given, composed.images, composed.batch_size, digest(identity(settings)))


def _keys_of_budget(every_training: Sequence[str]) -> set[str]:
    """What budget=… says of every training: how many images are shown, among others."""
    said = [override.partition("=")[2] for override in every_training if key_of(override) == "budget"]
    files = (overrides.CONF / "budget" / f"{name}.yaml" for name in said)
    return {str(key) for file in files if file.is_file() for key in cast(DictConfig, OmegaConf.load(file))}


def _values(node: object) -> tuple:
    return tuple(OmegaConf.to_object(node)) if OmegaConf.is_list(node) else (node,)  # type: ignore[arg-type]
