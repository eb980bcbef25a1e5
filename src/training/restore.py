"""A trained run, brought back from its folder without running anything that the folder brings along."""

from __future__ import annotations

import inspect
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

from hydra.errors import HydraException
from hydra.utils import instantiate
from omegaconf import OmegaConf

from src.command_line.schema import CONF
from src.core.errors import UserError, one_line
from src.core.run_folder import RunFolder
from src.data.base import ImageData
from src.data.provenance import TrainingRecord
from src.training.adversarial import AdversarialModule
from src.training.checkpoint_io import apply_weights, find_checkpoint, read_checkpoint, weights_digest
from src.training.supervised import SupervisedModule

log = logging.getLogger(__name__)

# What a config.yaml may name: classes of these packages, and functions only where all of them just make something.
# Of others those that conf/trusted.yaml names, which is the user's own: never what a run folder says of itself.
CLASSES = ("src.data.", "src.networks.", "src.tasks.", "src.training.")
FUNCTIONS = ("src.networks.",)


@dataclass(frozen=True)
class TrainedRun:
    folder: Path
    settings: dict[str, Any]  # of config.yaml, resolved
    module: Any  # AdversarialModule or SupervisedModule: on the CPU, in evaluation mode, its clock at the checkpoint's
    checkpoint: Path

    def digest(self) -> str:
        """sha256 of name and values of all weights."""
        return weights_digest(self.module)


def load_run(path: Path) -> TrainedRun:
    """The best, else the last checkpoint of a run folder, or a given file ``<run folder>/checkpoints/<name>.ckpt``.

    Raises:
        UserError: there is no run or no checkpoint; the checkpoint is of another architecture or holds values that are
            not finite; config.yaml names code that is not this repository's, or does not fit its present version.
    """
    checkpoint = find_checkpoint(path)
    folder = path if path.is_dir() else path.absolute().parents[1]
    settings = _read_settings(folder)
    model = _section(settings, folder, "model")
    if "initial" in model:
        model = {**model, "initial": None}  # the checkpoint holds what became of it
    module = _build(model, folder, optimizer=_not_trained_further, seed=settings["seed"])
    if not isinstance(module, AdversarialModule | SupervisedModule):
        raise UserError(f"{folder / 'config.yaml'}: model is a {type(module).__name__}, which src.train cannot train")
    stored = read_checkpoint(checkpoint)
    if not {"state_dict", "images"} <= stored.keys():
        raise UserError(
            f"checkpoint {checkpoint} was not made by src.train: give a run folder or one of its checkpoints"
        )
    apply_weights(module, stored, ("",), checkpoint)
    module.clock.images = stored["images"]
    if isinstance(module, AdversarialModule):
        module.checkpoint = str(checkpoint)
    return TrainedRun(folder, settings, module.eval(), checkpoint)


def load_generator(path: Path) -> TrainedRun:
    """``load_run`` of a GAN. Raises UserError also where the run makes no images."""
    run = load_run(path)
    if not isinstance(run.module, AdversarialModule):
        raise UserError(f"{path} is a {run.module.name}, which makes no images: give the run of a GAN")
    return run


def load_data(run: TrainedRun) -> ImageData:
    """The data that a run was trained on, not yet prepared. Raises UserError where they cannot be described again."""
    section = _section(run.settings, run.folder, "data")
    target = _locate(section.get("_target_"), run.folder)
    # The training job adds what it learns of the data; a constructor takes some of it.
    taken = {"_target_", *inspect.signature(target).parameters}
    section = target.as_before(section) if hasattr(target, "as_before") else section
    return _build({key: value for key, value in section.items() if key in taken}, run.folder)


def learned_from(run: TrainedRun) -> TrainingRecord:
    """The images that a run learned from: its record, or, where it kept none, its training split as it is today."""
    record = TrainingRecord.read(run.folder)
    if record is None:
        log.warning(f"{run.folder} keeps no record of its training images: that they are those of today is unchecked")
        data = load_data(run)
        data.prepare()
        record = TrainingRecord.of(data, data.split("train"))
    return record


def _read_settings(folder: Path) -> dict[str, Any]:
    settings = RunFolder(folder).settings()
    if not isinstance(settings.get("seed"), int):
        raise UserError(f"{folder / 'config.yaml'} does not hold the settings of a run: restore it")
    return settings


def _section(settings: Mapping[str, Any], folder: Path, name: str) -> dict[str, Any]:
    if not isinstance(settings.get(name), dict):
        raise UserError(f"{folder / 'config.yaml'} has no section {name!r}: give a folder that src.train made")
    return settings[name]


def _build(section: Mapping[str, Any], folder: Path, **arguments: Any) -> Any:
    _check(section, folder)
    try:
        return instantiate(section, **arguments)
    except HydraException as problem:
        raise UserError(
            f"{folder / 'config.yaml'} does not fit this version of the code: {one_line(problem)}"
        ) from problem


def _check(node: Any, folder: Path) -> None:
    """Raise UserError where ``node`` would have Hydra call anything but this repository's own parts of a model."""
    if isinstance(node, Mapping):
        if "_target_" in node:
            _locate(node["_target_"], folder)
        for child in node.values():
            _check(child, folder)
    elif isinstance(node, str):
        if "${" in node:  # could be replaced by a section that nobody has looked at
            raise UserError(f"{folder / 'config.yaml'} holds the unresolved {node!r}: write its value in its place")
    elif isinstance(node, Sequence):
        for child in node:
            _check(child, folder)


def _locate(target: Any, folder: Path) -> Any:
    """The class or function named ``target``; it is defined where its name says, so no import leads elsewhere."""
    module, _, name = str(target).rpartition(".")
    trusted = tuple(f"{package}." for package in trusted_packages())
    if f"{module}.".startswith((*CLASSES, *trusted)):
        try:
            found = vars(import_module(module)).get(name)
        except ImportError:
            found = None
        makes = f"{module}.".startswith((*FUNCTIONS, *trusted))
        known = inspect.isclass(found) or (inspect.isfunction(found) and makes)
        defined = getattr(found, "__module__", None)
        if known and (defined == module or f"{defined}.".startswith(trusted)):
            return found
    raise UserError(
        f"{folder / 'config.yaml'} names {target}, which is no data set, network or loss of this repository: "
        "only those are run from a run folder. If you trust its package, name that in conf/trusted.yaml"
    )


def trusted_packages() -> list[str]:
    """Those that the user's ``conf/trusted.yaml`` names. Raises UserError where it holds no list of names."""
    packages = OmegaConf.select(OmegaConf.load(CONF / "trusted.yaml"), "packages")
    if not OmegaConf.is_list(packages) or not all(isinstance(name, str) and name for name in packages):
        raise UserError(f"conf/trusted.yaml: packages={packages} must be a list of names, such as [mypackage]")
    return list(packages)


def _not_trained_further(parameters: Any) -> Any:
    """In the place of a restored run's optimizer, which nothing here needs."""
    raise UserError("a run that was brought back from its folder cannot be trained further: repeat its command")
