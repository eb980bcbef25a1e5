from __future__ import annotations

from copy import deepcopy

import pytest
import torch
from torch import Tensor, nn

from src.core.errors import UserError
from src.training.penalties import R1, R2, GradientPenalty, Penalty

BATCH = 5
PENALTIES = [GradientPenalty(), GradientPenalty(target=750.0), R1(weight=10.0), R2(weight=10.0)]


def make_critic() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(2, 8, 3, stride=2, padding=1), nn.LeakyReLU(0.2),
        nn.Conv2d(8, 16, 3, stride=2, padding=1), nn.LeakyReLU(0.2),
        nn.Flatten(), nn.Linear(64, 1), nn.Flatten(0),
    )  # fmt: skip


def make_inputs() -> tuple[Tensor, Tensor, Tensor]:
    """Real images, fake images, mix."""
    generator = torch.Generator().manual_seed(1)
    real, fake = torch.randn(2, BATCH, 2, 8, 8, generator=generator).unbind()
    return real, fake, torch.rand(BATCH, generator=generator)


def pay(penalty: Penalty, critic: nn.Module) -> tuple[Tensor, list[Tensor]]:
    """The penalty, and its gradient for each parameter."""
    real, fake, mix = make_inputs()
    value = penalty(critic, real, fake, mix)
    return value, gradients(value, critic)


def gradients(value: Tensor, critic: nn.Module) -> list[Tensor]:
    found = torch.autograd.grad(value, list(critic.parameters()), allow_unused=True, materialize_grads=True)
    return list(found)


def reference(penalty: Penalty, critic: nn.Module) -> tuple[Tensor, list[Tensor]]:
    """Image by image in float64, as the papers write it."""
    critic = deepcopy(critic).double()
    terms = []
    for real, fake, mix in zip(*make_inputs(), strict=True):
        real, fake, mix = real.double(), fake.double(), mix.double()
        x = real if isinstance(penalty, R1) else fake if isinstance(penalty, R2) else mix * fake + (1 - mix) * real
        x = x[None].requires_grad_()
        (slope,) = torch.autograd.grad(critic(x), x, torch.ones(1, dtype=torch.float64), create_graph=True)
        if isinstance(penalty, GradientPenalty):
            terms.append((slope.pow(2).sum().sqrt() - penalty.target) ** 2 / penalty.target**2)
        else:
            terms.append(slope.pow(2).sum() / 2)
    value = penalty.weight * sum(terms, torch.zeros(1, dtype=torch.float64)).sum() / BATCH
    return value, gradients(value, critic)


def distance(found: list[Tensor], expected: list[Tensor]) -> float:
    """Relative to the length of ``expected``, over all parameters together."""
    a, b = (torch.cat([g.double().flatten() for g in side]) for side in (found, expected))
    return ((a - b).norm() / b.norm()).item()


@pytest.mark.parametrize("penalty", PENALTIES)
def test_the_penalty_and_its_gradient_equal_a_float64_reference(penalty):
    critic = make_critic()
    (value, found), (expected, slopes) = pay(penalty, critic), reference(penalty, critic)
    assert value.item() == pytest.approx(expected.item(), rel=1e-5)
    assert distance(found, slopes) < 1e-5


@pytest.mark.parametrize("penalty", PENALTIES)
def test_under_bfloat16_autocast_the_penalty_is_float32_and_close_to_the_reference(penalty):
    critic = make_critic()
    with torch.autocast("cpu", torch.bfloat16):
        value, found = pay(penalty, critic)
    expected, slopes = reference(penalty, critic)
    assert value.dtype == torch.float32
    assert value.item() == pytest.approx(expected.item(), rel=0.02)
    assert distance(found, slopes) < 0.05


def test_of_a_linear_critic_the_gradient_penalty_is_known_in_closed_form():
    weight = torch.full((1, 2, 8, 8), 0.5, requires_grad=True)
    norm, target = weight.detach().norm().item(), 2.0
    real, fake, mix = make_inputs()
    penalty = GradientPenalty(10.0, target)(lambda x: (x * weight).sum((1, 2, 3)), real, fake, mix)
    penalty.backward()
    assert penalty.item() == pytest.approx(10 * (norm - target) ** 2 / target**2, rel=1e-6)
    assert weight.grad is not None
    assert torch.allclose(weight.grad, 20 * (norm - target) / target**2 * weight.detach() / norm, rtol=1e-5)


@pytest.mark.parametrize(("mix", "end"), [(0.0, 0), (1.0, 1)])
def test_every_image_is_mixed_by_its_own_draw_from_real_at_0_to_fake_at_1(mix, end):
    real, fake, _ = make_inputs()
    seen = []

    def critic(images: Tensor) -> Tensor:
        seen.append(images.detach())
        return images.square().sum((1, 2, 3))

    draws = torch.full((BATCH,), 0.5)
    draws[2] = mix
    GradientPenalty()(critic, real, fake, draws)
    assert torch.allclose(seen[0][2], (real, fake)[end][2])
    assert torch.allclose(seen[0][3], (real[3] + fake[3]) / 2)


@pytest.mark.parametrize("penalty", PENALTIES)
def test_no_gradient_reaches_the_generator(penalty):
    real, fake, mix = make_inputs()
    critic = make_critic()
    fake.requires_grad_()
    penalty(critic, real, fake, mix).backward()
    assert fake.grad is None and real.grad is None and not real.requires_grad


def test_a_critic_without_any_slope_has_a_finite_gradient():
    """A last layer of zeros: the norm's derivative at 0 must not be NaN."""
    critic = make_critic()
    nn.init.zeros_(critic.get_submodule("5").weight)
    value, found = pay(GradientPenalty(), critic)
    assert value.item() == pytest.approx(10.0) and all(g.isfinite().all() for g in found)


def test_a_lazy_penalty_pays_every_kth_step_k_fold():
    critic = make_critic()
    lazy, eager = R1(2.0, every=4), R1(2.0)
    assert [step for step in range(9) if lazy.due(step)] == [0, 4, 8]
    assert pay(lazy, critic)[0].item() == pytest.approx(4 * pay(eager, critic)[0].item())


def test_channels_last_images_stay_channels_last():
    """Otherwise the critic would run its slow path, for the penalty alone."""
    real, fake, mix = make_inputs()
    seen = []

    def critic(images: Tensor) -> Tensor:
        seen.append(images.is_contiguous(memory_format=torch.channels_last))
        return images.sum((1, 2, 3))

    last = torch.channels_last
    GradientPenalty()(critic, real.to(memory_format=last), fake.to(memory_format=last), mix)
    assert seen == [True]


@pytest.mark.parametrize("penalty", [GradientPenalty(), R1(1.0)])
def test_a_critic_that_mixes_images_by_batch_norm_is_refused(penalty):
    critic = nn.Sequential(nn.Conv2d(2, 8, 3), nn.BatchNorm2d(8))
    with pytest.raises(UserError, match=rf"{type(penalty).__name__} .* set model\.discriminator\.norm=instance"):
        penalty.check(critic, "32-true")


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: GradientPenalty(weight=-1), "weight=-1 of GradientPenalty"),
        (lambda: GradientPenalty(target=0), "target=0 of GradientPenalty must be positive"),
        (lambda: R1(1.0, every=0), "every=0 of R1 must be at least 1"),
    ],
)
def test_a_value_outside_its_range_is_one_clear_line(build, message):
    with pytest.raises(UserError, match=message):
        build()
