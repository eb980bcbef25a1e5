from __future__ import annotations

import math
from pathlib import Path

import pytest
import torch
import yaml
from PIL import Image

from src.core.clock import Stream, random_generator
from src.core.errors import UserError
from src.training import restore
from src.training.restore import load_data, load_generator, load_run, trusted_packages
from tests.conftest import SMALL

RUN = Path("outputs/a")


@pytest.fixture
def tiny(run_tiny):
    """A finished run of a GAN in ``RUN``; ``tiny(...)`` takes further overrides."""

    def train(*overrides):
        outcome = run_tiny("name=a", "images=64", *overrides)
        assert outcome.status == 0, outcome.err
        return RUN

    return train


def edit(change) -> None:
    settings = yaml.safe_load((RUN / "config.yaml").read_text())
    change(settings)
    (RUN / "config.yaml").write_text(yaml.safe_dump(settings))


def test_a_restored_generator_makes_the_images_that_its_checkpoint_made(tiny):
    run = load_generator(
        tiny("+model.ema._target_=src.training.ema.ExponentialMovingAverage", "+model.ema._partial_=true")
    )
    stored = torch.load(RUN / "checkpoints/last.ckpt", weights_only=True)["state_dict"]
    for key, value in run.module.state_dict().items():
        assert torch.equal(value, stored[key]), key
    assert any(key.startswith("ema.") for key in stored)
    assert run.module.clock.images == 64 and not run.module.training
    latents = run.module.latent.sample(2, random_generator(0, Stream.SAMPLES))
    again = load_run(run.checkpoint)
    assert again.folder.name == "a" and torch.equal(run.module.sample(latents), again.module.sample(latents))


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_weights_that_are_not_finite_are_refused_with_the_name_of_their_checkpoint(tiny, value):
    file = tiny() / "checkpoints/last.ckpt"
    stored = torch.load(file, weights_only=True)
    name = next(key for key in stored["state_dict"] if key.startswith("generator.") and key.endswith("weight"))
    stored["state_dict"][name][0] = value
    torch.save(stored, file)
    with pytest.raises(UserError, match=f"outputs/a/checkpoints/last.ckpt: {name} is not finite, .* an earlier one"):
        load_generator(RUN)


def test_images_that_are_not_finite_are_not_clamped_to_white_but_refused(tiny):
    module = load_generator(tiny()).module
    latents = module.latent.sample(2, random_generator(0, Stream.SAMPLES))
    module.generator.register_forward_hook(lambda network, inputs, images: images / 0)
    with pytest.raises(UserError, match=r"outputs/a/checkpoints/last\.ckpt makes images that are not finite"):
        module.sample(latents)


def test_a_run_without_settings_or_checkpoint_is_one_line(tiny):
    with pytest.raises(UserError, match="nowhere is neither a run folder nor a checkpoint"):
        load_run(Path("nowhere"))
    tiny()
    edit(lambda settings: settings["model"]["generator"].update(width=0.5))
    with pytest.raises(UserError, match=r"another architecture: generator\.\S+ is"):
        load_run(RUN)
    (RUN / "config.yaml").unlink()
    with pytest.raises(UserError, match=r"outputs/a has no config\.yaml"):
        load_run(RUN)
    (RUN / "checkpoints/last.ckpt").unlink()
    with pytest.raises(UserError, match="outputs/a has no checkpoint"):
        load_run(RUN)


def test_a_network_that_classifies_is_restored_but_makes_no_images(run_train):
    outcome = run_train(*SMALL, "model=classifier", "name=a", "images=64", "width=8")
    assert outcome.status == 0, outcome.err
    run = load_run(RUN)
    stored = torch.load(run.checkpoint, weights_only=True)["state_dict"]
    assert all(torch.equal(value, stored[f"network.{key}"]) for key, value in run.module.network.state_dict().items())
    with pytest.raises(UserError, match="outputs/a is a classifier, which makes no images"):
        load_generator(RUN)


CODE = {
    "a foreign function": lambda s: s["model"].update(ema={"_target_": "os.system", "command": "touch hacked"}),
    "one in a list": lambda s: s["model"].update(extra=[{"_target_": "os.system", "command": "touch hacked"}]),
    "one behind an import": lambda s: s["model"].update(
        ema={"_target_": "src.training.loggers.os.system", "command": "touch hacked"}
    ),
    "an imported class": lambda s: s["model"].update(ema={"_target_": "src.training.checkpoint_io.Path"}),
    "a method": lambda s: s["model"].update(
        ema={"_target_": "src.training.checkpoint_io.AtomicCheckpointIO.remove_checkpoint", "self": 0, "path": "keep"}
    ),
    "a function that writes": lambda s: s["model"].update(
        ema={"_target_": "src.core.atomic.write_atomically", "path": "hacked", "content": ""}
    ),
    "one made by a resolver": lambda s: s["model"].update(
        ema="${oc.create:{_target_: os.system, command: touch hacked}}"
    ),
}


@pytest.mark.parametrize("change", CODE.values(), ids=CODE.keys())
def test_a_run_folder_gets_no_code_to_run_but_this_repositorys_parts_of_a_model(tiny, change):
    tiny()
    Path("keep").touch()
    edit(change)
    with pytest.raises(
        UserError, match=r"config\.yaml (names (os|src)\.\S+, which is no data set|holds the unresolved)"
    ):
        load_run(RUN)
    assert not Path("hacked").exists() and Path("keep").exists()


def test_the_data_of_a_run_are_described_as_when_it_was_trained(tiny):
    run = load_generator(tiny("data.classes=[normal,nodule]", "data.seed=3"))
    assert run.settings["data"]["masks"] == ["lung", "lesion"]
    assert load_data(run).description.classes == ("normal", "nodule")


def test_the_data_of_a_run_on_a_folder_are_read_again(tiny):
    Path("data").mkdir()
    for i in range(20):
        Image.new("L", (20, 20), i).save(f"data/{i}.png")
    run = load_generator(tiny("data=folder", "data.root=data", "batch_size=4"))
    assert len(load_data(run).split("train")) == 14


NETWORK = """
import torch
from src.networks.dcgan import Generator
class Mine(Generator):
    pass
"""


def test_a_network_and_an_optimizer_of_the_users_own_come_back_where_their_package_is_trusted(tiny, monkeypatch):
    Path("mine").mkdir()
    Path("mine/networks.py").write_text(NETWORK)
    monkeypatch.syspath_prepend(Path.cwd())
    own = ("optim._target_=torch.optim.RMSprop", "~optim.beta1", "~optim.beta2")
    path = tiny("model.generator._target_=mine.networks.Mine", *own)
    with pytest.raises(UserError, match=r"mine\.networks\.Mine.* name that in conf/trusted\.yaml"):
        load_generator(path)
    monkeypatch.setattr(restore, "trusted_packages", lambda: ["mine"])
    assert type(load_generator(path).module.generator).__name__ == "Mine"


def test_no_package_is_trusted_unless_the_user_says_so():
    assert trusted_packages() == []


@pytest.mark.parametrize(
    "content", ["packages: mypackage", "packages: [1]", "packages:", "other: [a]", "packages: ['']"]
)
def test_a_package_is_named_in_a_list_and_never_taken_for_its_letters(content, tmp_path, monkeypatch):
    (tmp_path / "trusted.yaml").write_text(content)
    monkeypatch.setattr(restore, "CONF", tmp_path)
    with pytest.raises(UserError, match=r"trusted\.yaml: packages=.* must be a list of names"):
        trusted_packages()


def test_a_run_of_an_earlier_version_loads_and_is_known_by_its_command(run_train):
    asked = (*SMALL, "model=unet", "resolution=32", "name=a", "images=64", "batch_size=8", "model.network.depth=3")
    assert run_train(*asked).status == 0
    text = (RUN / "config.yaml").read_text()
    text = text.replace("src.tasks.", "src.downstream.")
    assert "src.downstream.segmentation.Segmentation" in text
    (RUN / "config.yaml").write_text(text)
    edit(lambda settings: settings["trainer"].pop("graph"))  # a flag that has come since
    assert type(load_run(RUN).module.task).__name__ == "Segmentation"
    again = run_train(*asked, "+trainer.detect_anomaly=true")  # which changes nothing of what is trained
    assert again.status == 0 and "finished already" in again.err
