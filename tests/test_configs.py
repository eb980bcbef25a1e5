"""The configuration itself: everything composes, states its sources' numbers and explains its keys."""

from __future__ import annotations

import re

import pytest
import torch
from hydra.utils import instantiate
from omegaconf import OmegaConf

from src.command_line.overrides import check
from src.command_line.resolvers import run_name
from src.command_line.schema import CONF
from src.networks.upsampling import UpsampleConv2d
from src.training.losses import BinaryCrossEntropy, Wasserstein
from src.training.penalties import R1


def options(group: str) -> list[str]:
    return sorted(path.stem for path in (CONF / group).glob("*.yaml"))


def test_every_setting_is_explained_in_its_line():
    unexplained = []
    for path in sorted(CONF.rglob("*.yaml")):
        if path.parent.name == "experiment":
            continue  # states only what differs; its header says why
        hydra_section = False
        for number, line in enumerate(path.read_text().splitlines(), 1):
            if re.match(r"\S", line):
                hydra_section = line.startswith("hydra:")
            setting = re.match(r"\s*[\w.]+: *(?!\$\{[\w.]+\}$)[^\s#]", line)
            plain = re.match(r"\s*(_target_|_partial_|name|- )", line)
            if setting and not plain and "#" not in line and not hydra_section:
                inherited = re.search(r"^defaults:", path.read_text(), re.M) and path.name != "train.yaml"
                if not inherited:
                    unexplained.append(f"{path.relative_to(CONF)}:{number}: {line}")
    assert not unexplained, "\n".join(unexplained)


@pytest.mark.parametrize("budget", options("budget"))
@pytest.mark.parametrize("data", ["phantom", "cifar10", "cifar10_dog"])
@pytest.mark.parametrize("model", ["dcgan", "dcgan_transposed", "dcgan_medical", "pggan", "enhanced"])
def test_every_generator_composes_with_every_data_set_and_budget(compose, model, data, budget):
    cfg = compose(f"model={model}", f"data={data}", f"budget={budget}")
    OmegaConf.to_container(cfg, resolve=True)
    module = instantiate(cfg.model, optimizer=instantiate(cfg.optim), seed=0)
    images = module.sample(module.latent.sample(2, torch.Generator().manual_seed(0)))
    assert images.shape == (2, cfg.data.channels, cfg.data.resolution, cfg.data.resolution)


@pytest.mark.parametrize("budget", options("budget"))
@pytest.mark.parametrize(
    ("model", "data", "outputs"), [("classifier", "cifar10", 10), ("classifier", "phantom", 4), ("unet", "phantom", 2)]
)
def test_every_supervised_model_composes_with_data_that_have_what_it_learns(compose, model, data, outputs, budget):
    cfg = compose(f"model={model}", f"data={data}", f"budget={budget}")
    OmegaConf.to_container(cfg, resolve=True)
    module = instantiate(cfg.model, optimizer=instantiate(cfg.optim), seed=0)
    image = torch.zeros(2, cfg.data.channels, cfg.data.resolution, cfg.data.resolution)
    assert module.network.eval()(image).shape[1] == outputs


@pytest.mark.parametrize("budget", options("budget"))
def test_a_budget_overrides_sizes_images_shown_and_how_growing_networks_learn_and_nothing_else(budget):
    settings = OmegaConf.load(CONF / "budget" / f"{budget}.yaml")
    assert set(settings) == {"images", "resolution", "phantoms", "width", "growing"}


@pytest.mark.parametrize(
    ("asked", "rates"),
    [
        (("budget=paper",), [1e-3] * 5),
        (("budget=laptop",), [4e-3] * 4 + [2e-3]),
        (("experiment=enhanced_laptop",), [4e-3] * 4 + [2e-3]),
        (("budget=laptop", "optim.lr=1e-3", "growing.lr_beyond_32=1"), [1e-3] * 5),
    ],
)
def test_growing_networks_learn_fast_in_short_runs_and_half_as_fast_from_64_px(compose, asked, rates):
    phases = instantiate(compose("model=pggan", *asked, "resolution=64").model.schedule).phases()
    assert [phase.lr for phase in phases if not phase.fading] == rates


@pytest.mark.parametrize(("images", "phase"), [(1_024, 85), (256, 32), (192, 32)])
def test_the_phases_of_a_short_run_are_halved_but_where_they_would_be_shorter_than_a_batch(compose, images, phase):
    schedule = instantiate(compose("model=pggan", "budget=smoke", "batch_size=32", f"images={images}").model.schedule)
    assert [one.images for one in schedule.phases()] == [phase] * 4 + [images - 4 * phase]


@pytest.mark.parametrize(
    ("experiment", "model", "lr"),
    [("baseline", "dcgan", 1e-4), ("lr2e-4", "dcgan_transposed", 2e-4), ("lr3e-4", "dcgan_transposed", 3e-4)],
)
def test_the_experiments_are_as_their_source_states_them(compose, experiment, model, lr):
    cfg = compose(f"experiment=cifar10_dog_{experiment}")
    assert cfg.images == 800 * 100 * 32  # 800 epochs, which its figures count as 100 updates of 32 images each
    assert (cfg.batch_size, cfg.data.name, cfg.data.classes) == (32, "cifar10_dog", ["dog"])
    assert (cfg.model.name, cfg.optim.lr, cfg.model.latent.distribution) == (model, lr, "uniform")
    assert (cfg.optim.beta1, cfg.optim.beta2, cfg.model.discriminator.dropout) == (0.5, 0.999, 0.3)


@pytest.mark.parametrize("experiment", ["baseline", "lr2e-4", "lr3e-4"])
def test_the_dogs_are_shown_every_50_epochs_as_in_their_source_and_in_the_same_places_of_a_shorter_run(
    compose, experiment
):
    epoch = 100 * 32
    assert compose(f"experiment=cifar10_dog_{experiment}").every.sample == 50 * epoch
    shorter = compose(f"experiment=cifar10_dog_{experiment}", "images=160_000")
    assert shorter.every.sample == 50 * epoch / 16


@pytest.mark.parametrize("budget", ["smoke", "laptop", "hour"])
@pytest.mark.parametrize("experiment", options("experiment"))
def test_a_budget_on_the_command_line_counts_for_more_than_that_of_an_experiment(compose, experiment, budget):
    cfg = compose(f"experiment={experiment}", "data=phantom", f"budget={budget}")
    for key, value in OmegaConf.load(CONF / "budget" / f"{budget}.yaml").items():
        assert cfg[key] == value
    assert sum(phase.images for phase in instantiate(cfg.model.schedule).phases()) == cfg.images


def test_the_ablation_attends_before_the_last_block_at_every_budget():
    cfg = check("train", ["experiment=enhanced_ablation", "budget=smoke"], multirun=False)
    assert cfg.hydra.sweeper.params["model.generator.attention_at"] == "16,null"


@pytest.mark.parametrize(
    ("experiment", "final", "width", "phase", "batch_sizes"),
    [("256", 256, 512, 600_000, [16] * 11 + [14] * 2), ("cifar10", 32, 128, 400_000, [16] * 7)],
)
def test_the_recipes_of_pggan_are_as_their_source_states_them(compose, experiment, final, width, phase, batch_sizes):
    cfg = compose(f"experiment=pggan_{experiment}")
    phases = instantiate(cfg.model.schedule).phases()
    assert (phases[-1].resolution, cfg.width, [p.batch_size for p in phases]) == (final, width, batch_sizes)
    assert {p.images for p in phases[:-1]} == {phase} and phases[-1].images >= phase


@pytest.mark.parametrize("loss", ["bce", "wgan_gp"])
def test_the_recipes_of_the_medical_dcgan_are_as_their_source_states_them(compose, loss):
    cfg = compose(f"experiment=dcgan_medical_{loss}")
    assert cfg.images == 150 * 5_216 and (cfg.batch_size, cfg.optim.lr, cfg.data.resolution) == (128, 3e-4, 128)
    assert (cfg.data.name, cfg.model.name, cfg.model.discriminator.norm) == ("chest_xray", "dcgan_medical", "none")
    assert list(cfg.model.generator.filters) == [512, 256, 128, 64, 32]
    assert list(cfg.model.discriminator.filters) == [64, 128, 256, 512]
    if loss == "wgan_gp":
        assert (cfg.model.penalties.gradient.weight, cfg.model.penalties.gradient.target) == (10.0, 1.0)
        assert cfg.model.loss.drift == 0 and cfg.model.loss._target_.endswith("Wasserstein")
    else:
        assert not cfg.model.penalties and cfg.model.loss._target_.endswith("BinaryCrossEntropy")


@pytest.mark.parametrize(
    ("asked", "generator", "discriminator"),
    [
        (["resolution=128", "width=512"], [512, 256, 128, 64, 32], [64, 128, 256, 512]),
        (["resolution=256", "width=512"], [512, 512, 256, 128, 64, 32], [64, 128, 256, 512]),
        (["budget=smoke"], [16, 16], [16, 16, 16, 16]),
        (["budget=hour"], [64, 64, 64, 32], [64, 64, 64, 64]),
        (["resolution=8", "width=512"], [32], [64, 128, 256]),
    ],
)
def test_the_filters_of_the_medical_dcgan_follow_the_resolution_and_the_width(compose, asked, generator, discriminator):
    cfg = compose("model=dcgan_medical", *asked)
    assert list(cfg.model.generator.filters) == generator
    assert list(cfg.model.discriminator.filters) == discriminator


def test_the_two_architectures_differ_in_upsampling_and_activation_alone(compose):
    left, right = (OmegaConf.to_container(compose(f"model={m}").model) for m in ("dcgan", "dcgan_transposed"))
    assert isinstance(left, dict) and isinstance(right, dict)
    assert left["generator"].pop("upsampling") != right["generator"].pop("upsampling")
    assert left["generator"].pop("activation") != right["generator"].pop("activation")
    assert left.pop("name") != right.pop("name")
    assert left == right


def test_the_sources_two_changes_can_be_made_one_at_a_time(compose):
    cfg = compose("model=dcgan", "model.generator.activation=leaky_relu")
    generator = instantiate(cfg.model.generator)
    assert any(isinstance(m, UpsampleConv2d) for m in generator.modules())


def test_a_run_is_named_by_what_was_asked_in_any_order():
    asked = ["optim.lr=2e-4", "model=dcgan", "data.root=/a b/c", "force=true", "logger=csv", "logger.wandb.mode=online"]
    assert run_name(None, asked) == run_name(None, asked[::-1]) == "model=dcgan,data.root=-a-b-c,optim.lr=2e-4"
    assert run_name("mine", asked) == "mine" and run_name(None, []) == "default"


def test_a_long_name_stays_within_what_file_systems_allow_and_apart():
    names = {run_name(None, [f"data.root={letter * 300}{i}"]) for i in range(2) for letter in "xж漢"}
    assert len(names) == 6 and all(len(name.encode()) < 200 for name in names)


@pytest.mark.parametrize(("images", "half_life"), [(30_000, 600), (7_800_000, 11_000)])
def test_the_average_forgets_as_in_the_paper_and_faster_in_a_short_run(compose, images, half_life):
    assert compose("model=pggan", f"images={images}").model.ema.half_life == half_life


@pytest.mark.parametrize("model", ["pggan", "enhanced"])
def test_r1_takes_the_place_of_the_two_sided_penalty_with_either_loss(compose, model):
    """As a loss of its own, and with the Wasserstein distance."""
    wasserstein = ("~model.penalties.gradient", "+model.penalties.r1._target_=src.training.penalties.R1")
    for asked, loss in (
        (["loss=logistic_r1"], BinaryCrossEntropy),
        ([*wasserstein, "+model.penalties.r1.weight=1.0"], Wasserstein),
    ):
        cfg = compose(f"model={model}", "budget=smoke", *asked)
        module = instantiate(cfg.model, optimizer=instantiate(cfg.optim), seed=0)
        assert type(module.loss) is loss and [type(penalty) for penalty in module.penalties] == [R1]


@pytest.mark.parametrize("name", ["study", "generate", "identify", "inspect"])
def test_no_setting_of_a_command_bears_the_name_of_a_group_which_would_take_no_value(name):
    groups = {path.name for path in CONF.iterdir() if path.is_dir()}
    settings = OmegaConf.load(CONF / f"{name}.yaml")
    chosen = {next(iter(entry)) for entry in settings.get("defaults", []) if OmegaConf.is_dict(entry)}
    assert not groups & set(settings) - chosen
