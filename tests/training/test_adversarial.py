from __future__ import annotations

import math
from functools import partial
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from pytorch_lightning import Trainer

from src.core.clock import Stream, derive_seed, random_generator
from src.core.errors import UserError
from src.core.pixels import to_unit_range
from src.data.store import Split, Store
from src.data.stream import BatchStream
from src.networks.dcgan import Discriminator, Generator
from src.networks.latent import Latent
from src.networks.progressive import Discriminator as ProgressiveDiscriminator
from src.networks.progressive import Generator as ProgressiveGenerator
from src.training import adversarial
from src.training.adversarial import AdversarialModule, accuracies, discriminate, frozen
from src.training.ema import ExponentialMovingAverage
from src.training.losses import BinaryCrossEntropy, Relativistic
from src.training.meter import Meter
from src.training.optim import adam
from src.training.schedule import FixedSchedule, ProgressiveSchedule


def make_module(**options: Any) -> AdversarialModule:
    torch.manual_seed(0)
    return AdversarialModule(
        name="dcgan",
        generator=Generator(8, 1, 16, width=0.125),
        discriminator=Discriminator(1, 16, width=0.125),
        latent=Latent(8, "uniform"),
        loss=BinaryCrossEntropy(),
        optimizer=lambda parameters: adam(parameters, 1e-2, 0.5, 0.999, 1e-8),
        seed=5,
        schedule=FixedSchedule(16, 4, 1e-2, 100),
        **options,
    )


def make_stream(module: AdversarialModule, total: int) -> BatchStream:
    images = np.random.default_rng(0).integers(0, 256, (16, 1, 16, 16), dtype=np.uint8)
    split = Split(Store(images, np.zeros(16, int), None, {}), np.arange(16))
    return BatchStream(split, module.schedule, total, 5, module.clock)


def fit(module: AdversarialModule, total: int, precision: str = "32-true", stream: BatchStream | None = None) -> None:
    trainer = Trainer(
        accelerator="cpu",
        precision=precision,  # type: ignore[arg-type]
        max_epochs=1,
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )
    trainer.fit(module, stream or make_stream(module, total))


def plain_loop(
    module: AdversarialModule,
    steps: int,
    precision: str,
    fresh_latents: bool = False,
    lr_ratio: float = 1.0,
    instance_noise: float = 0.0,
) -> None:
    """The algorithm as its paper states it, with nothing reused and nothing cached."""
    generator, loss = module.generator, module.loss
    optimizer_d, optimizer_g = module.configure_optimizers()
    optimizer_d.param_groups[0]["lr"] *= lr_ratio

    def discriminator(images: torch.Tensor) -> torch.Tensor:
        if instance_noise:
            images = images + instance_noise * (1 - step / 25) * torch.randn(images.shape)
        return module.discriminator(images)

    for step, batch in zip(range(steps), make_stream(module, 4 * steps), strict=True):
        torch.manual_seed(derive_seed(5, Stream.NETWORK, 4 * step, 0))
        with torch.autocast("cpu", torch.bfloat16, enabled=precision == "bf16-mixed", cache_enabled=False):
            latents = random_generator(5, Stream.LATENT, 4 * step)
            fake = generator(module.latent.sample(4, latents))
            real_logits, fake_logits = discriminator(to_unit_range(batch["image"])), discriminator(fake.detach())
            loss_d = loss.discriminator(real_logits, fake_logits)
        optimizer_d.zero_grad()
        loss_d.backward()
        optimizer_d.step()
        with torch.autocast("cpu", torch.bfloat16, enabled=precision == "bf16-mixed", cache_enabled=False):
            if fresh_latents:
                fake = generator(module.latent.sample(4, latents))
            loss_g = loss.generator(discriminator(fake))
        optimizer_g.zero_grad()
        loss_g.backward()
        optimizer_g.step()


@pytest.mark.parametrize("precision", ["32-true", "bf16-mixed"])
@pytest.mark.parametrize("options", [{}, {"fresh_latents": True}, {"lr_ratio": 4.0}, {"instance_noise": 0.5}])
def test_the_step_equals_the_plain_algorithm(precision, options):
    """In bf16 this also shows that no stale low-precision copy of a weight survives its update."""
    trained, reference = make_module(**options), make_module()
    fit(trained, 12, precision)
    plain_loop(reference, 3, precision, **options)
    for (name, a), b in zip(trained.named_parameters(), reference.parameters(), strict=True):
        assert torch.allclose(a, b, atol=1e-6), name


@pytest.mark.parametrize("reset", [True, False])
def test_an_average_begins_anew_at_the_weights_from_which_growth_goes_on_where_that_is_asked_for(reset):
    torch.manual_seed(0)
    module = AdversarialModule(
        name="pggan",
        generator=ProgressiveGenerator(8, 1, 8, fmap_base=64, fmap_max=8),
        discriminator=ProgressiveDiscriminator(1, 8, fmap_base=64, fmap_max=8),
        latent=Latent(8, "normal"),
        loss=BinaryCrossEntropy(),
        optimizer=lambda parameters: adam(parameters, 1e-2, 0.0, 0.99, 1e-8),
        seed=5,
        schedule=ProgressiveSchedule(4, 8, 16, 8, 8, 4, 1e-2, 24),
        ema=partial(ExponentialMovingAverage, half_life=1e12, reset_at_growth=reset),  # else it all but stands still
    )
    start = {name: tensor.clone() for name, tensor in module.generator.state_dict().items()}
    grown: dict[str, torch.Tensor] = {}

    def remember(*_: Any) -> None:
        if not grown:
            grown.update({name: tensor.clone() for name, tensor in module.generator.state_dict().items()})

    module.generator.blocks["8"].register_forward_pre_hook(remember)
    fit(module, 24)
    assert not torch.equal(grown["base.dense.weight"], start["base.dense.weight"])
    for name, tensor in module.ema.module.state_dict().items():
        assert torch.allclose(tensor, (grown if reset else start)[name], atol=1e-6), name


def test_an_average_without_a_half_life_for_a_resolution_is_refused_before_the_run():
    with pytest.raises(UserError, match=r"model\.ema\.half_life has no value for 16 px"):
        make_module(ema=partial(ExponentialMovingAverage, half_life={32: 100}))


def test_the_generators_step_computes_no_gradient_of_the_discriminator():
    discriminator = Discriminator(1, 16, width=0.125)
    image = torch.randn(2, 1, 16, 16, requires_grad=True)
    with frozen(discriminator):
        discriminator(image).sum().backward()
    assert image.grad is not None and all(p.grad is None for p in discriminator.parameters())
    assert all(p.requires_grad for p in discriminator.parameters())


def test_the_clock_counts_real_images_not_optimizer_steps():
    module = make_module()
    fit(module, 12)
    assert module.clock.images == 12


def test_a_batch_for_several_steps_trains_as_theirs_one_by_one() -> None:
    """As a GPU is given them: 20 images are three steps of four, and two more."""
    one_by_one, together = make_module(), make_module()
    fit(one_by_one, 20)
    stream = make_stream(together, 20)
    stream.steps = 3
    fit(together, 20, stream=stream)
    assert together.clock.images == one_by_one.clock.images == 20
    for a, b in zip(together.state_dict().values(), one_by_one.state_dict().values(), strict=True):
        assert torch.equal(a, b)


def test_sampling_changes_no_statistics_and_gives_each_latent_its_own_image():
    module = make_module()
    latents = module.latent.sample(4, torch.Generator().manual_seed(0))
    before = {k: v.clone() for k, v in module.state_dict().items()}
    together = module.sample(latents)
    assert all(torch.equal(before[k], v) for k, v in module.state_dict().items())
    assert torch.allclose(together[1:2], module.sample(latents[1:2]), atol=1e-6)
    assert module.generator.training


def test_more_latents_than_fit_in_memory_are_sampled_some_at_a_time(monkeypatch):
    module = make_module()
    latents = module.latent.sample(5, torch.Generator().manual_seed(0))
    whole = module.sample(latents)
    counts: list[int] = []
    module.generator.register_forward_pre_hook(lambda _, inputs: counts.append(len(inputs[0])))
    monkeypatch.setattr(adversarial, "SAMPLED_AT_ONCE", 2 * 16 * 16)
    assert torch.allclose(module.sample(latents), whole, atol=1e-6)
    assert counts == [2, 2, 1]


class Seen:
    """An augmentation that shows a discriminator the negative, and remembers how often."""

    def __init__(self) -> None:
        self.counts: list[int] = []

    def __call__(self, images: torch.Tensor) -> torch.Tensor:
        self.counts.append(len(images))
        return -images


def test_a_discriminator_sees_real_and_generated_images_augmented_alike() -> None:
    """In its own step and in the generator's, whose gradient passes through."""
    module = make_module()
    module.augmentation = seen = Seen()
    before = [parameter.clone() for parameter in module.generator.parameters()]
    fit(module, 4)
    assert seen.counts == [4, 4, 4]
    assert all(not torch.equal(a, b) for a, b in zip(module.generator.parameters(), before, strict=True) if a.ndim > 1)


def test_a_loss_of_pairs_is_given_the_logits_of_real_images_in_the_generators_step() -> None:
    module = make_module()
    given: list[Any] = []
    module.loss = Relativistic()
    generator = module.loss.generator
    module.loss.generator = lambda fake, real=None: given.append(real) or generator(fake, real)  # type: ignore[method-assign, func-returns-value]
    fit(module, 4)
    assert len(given) == 1 and given[0].shape == (4,) and not given[0].requires_grad


@pytest.mark.parametrize(
    ("boundary", "shift", "found"), [(0.0, 0.0, (0.75, 0.5)), (0.0, 10.0, (1.0, 0.0)), (None, 10.0, (0.75, 1.0))]
)
def test_accuracies_are_shares_found_about_the_boundary_or_for_a_critic_between_both_means(boundary, shift, found):
    real, fake = torch.tensor([-1.0, 1, 2, 4]) + shift, torch.tensor([-3.0, -1, 0.3, 0.3]) + shift  # means 1.5, −0.85
    assert tuple(float(share) for share in accuracies(real, fake, boundary)) == found


@pytest.mark.parametrize(("loss", "boundary"), [(BinaryCrossEntropy(), 0.0), (Relativistic(), None)])
def test_every_adversarial_training_measures_what_the_discriminator_gets_right(loss, boundary):
    module = make_module()
    module.loss, module.boundary = loss, boundary
    fit(module, 8)
    means = module.meter.means(module.meter.stack())
    assert {"accuracy_real", "accuracy_fake"} <= set(module.metrics) == set(means)
    assert all(0 <= means[name] <= 1 for name in ("accuracy_real", "accuracy_fake"))


def test_a_guessing_discriminator_loses_two_ln_2_and_the_generator_ln_2():
    zeros = torch.zeros(4)
    assert BinaryCrossEntropy().discriminator(zeros, zeros).item() == pytest.approx(2 * math.log(2))
    assert BinaryCrossEntropy().generator(zeros).item() == pytest.approx(math.log(2))


def test_the_generator_loss_is_minus_log_of_the_sigmoid():
    logits = torch.tensor([-3.0, 0.5, 8.0])
    assert BinaryCrossEntropy().generator(logits).item() == pytest.approx(-F.logsigmoid(logits).mean().item())


@pytest.mark.parametrize(("dtype", "top"), [(torch.uint8, 255), (torch.uint16, 65535)])
def test_stored_pixels_map_onto_minus_one_to_one(dtype, top):
    pixels = torch.tensor([0, top], dtype=torch.int64).to(dtype).view(1, 1, 1, 2)
    assert to_unit_range(pixels).flatten().tolist() == [-1.0, 1.0]


def test_the_meter_means_over_an_interval_also_across_a_checkpoint():
    meter = Meter()
    meter.add({"a": torch.tensor(1.0)})
    meter.steps += 1
    resumed = Meter()
    resumed.load_state_dict(meter.state_dict())
    resumed.add({"a": torch.tensor(3.0)})
    resumed.steps += 1
    assert resumed.means(resumed.stack()) == {"a": 2.0} and resumed.steps == 0


@pytest.mark.parametrize(("count", "passes"), [(8, 1), (6, 2)])
def test_real_and_fake_images_share_a_pass_where_no_group_of_images_spans_both(count, passes):
    torch.manual_seed(0)
    network = ProgressiveDiscriminator(1, 8, fmap_base=64, fmap_max=8).double()
    real, fake = torch.randn(2, count, 1, 8, 8, dtype=torch.float64)
    seen = []

    def discriminator(images: torch.Tensor) -> torch.Tensor:
        seen.append(len(images))
        return network(images, 8)

    found = discriminate(discriminator, real, fake, network.group)
    assert len(seen) == passes and sum(seen) == 2 * count
    for logits, images in zip(found, (real, fake), strict=True):
        assert torch.allclose(logits, network(images, 8), atol=1e-12)


def test_a_discriminator_with_batch_norm_judges_real_and_fake_images_apart():
    assert make_module().group is None
