from __future__ import annotations

import math

import pytest
import torch

from src.training.losses import BinaryCrossEntropy, Hinge, Relativistic, Wasserstein

REAL, FAKE = torch.tensor([2.0, 0.5, -1.0]), torch.tensor([-3.0, 0.0, 1.0])


def test_wasserstein_is_the_difference_of_the_means():
    loss = Wasserstein()
    assert loss.discriminator(REAL, FAKE).item() == pytest.approx(-2 / 3 - 1.5 / 3)
    assert loss.generator(FAKE).item() == pytest.approx(2 / 3)


def test_drift_is_the_mean_square_of_the_real_logits():
    added = Wasserstein(drift=0.5).discriminator(REAL, FAKE) - Wasserstein().discriminator(REAL, FAKE)
    assert added.item() == pytest.approx(0.5 * (4 + 0.25 + 1) / 3)


def test_hinge_counts_only_logits_inside_the_margin():
    loss = Hinge()
    assert loss.discriminator(REAL, FAKE).item() == pytest.approx((0 + 0.5 + 2) / 3 + (0 + 1 + 2) / 3)
    assert loss.generator(FAKE).item() == pytest.approx(2 / 3)


def test_a_hinge_discriminator_sure_of_its_images_has_no_gradient():
    real, fake = torch.tensor([1.5], requires_grad=True), torch.tensor([-1.5], requires_grad=True)
    Hinge().discriminator(real, fake).backward()
    assert real.grad is not None and fake.grad is not None and (real.grad, fake.grad) == (0, 0)


@pytest.mark.parametrize("smoothing", [0.0, 0.1, 0.3])
def test_with_smoothed_labels_the_best_probability_of_a_real_image_is_that_much_below_one(smoothing):
    """And that of a generated one stays 0."""
    best = torch.full((4,), math.log((1 - smoothing) / smoothing) if smoothing else 50.0, requires_grad=True)
    fake = torch.full((4,), -50.0, requires_grad=True)
    to_real, to_fake = torch.autograd.grad(BinaryCrossEntropy(smoothing).discriminator(best, fake), (best, fake))
    assert to_real.abs().max() < 1e-6 and to_fake.abs().max() < 1e-6


@pytest.mark.parametrize("loss", [BinaryCrossEntropy(), Wasserstein(), Hinge()])
def test_losses_of_bfloat16_logits_are_accumulated_in_float32(loss):
    """A mean of bfloat16 would lose what lies below its 8 bits."""
    real, fake = torch.linspace(-1, 1, 999).bfloat16(), torch.linspace(0, 3, 999).bfloat16()
    for found, expected in (
        (loss.discriminator(real, fake), loss.discriminator(real.float(), fake.float())),
        (loss.generator(fake), loss.generator(fake.float())),
    ):
        assert found.dtype == torch.float32 and torch.equal(found, expected)


@pytest.mark.parametrize("loss", [BinaryCrossEntropy(), Wasserstein(), Hinge()])
def test_the_discriminator_wants_real_up_and_fake_down_and_the_generator_fake_up(loss):
    real, fake = torch.zeros(2, requires_grad=True), torch.zeros(2, requires_grad=True)
    gradients = torch.autograd.grad(loss.discriminator(real, fake), (real, fake))
    assert (gradients[0] < 0).all() and (gradients[1] > 0).all()
    assert (torch.autograd.grad(loss.generator(fake), fake)[0] < 0).all()


def test_the_relativistic_loss_compares_pairs_alone():
    """It is ln 2 where pairs are alike, and the same wherever both are moved to; and swaps where they do."""
    loss, real = Relativistic(), torch.randn(8)
    assert loss.discriminator(real, real).item() == pytest.approx(math.log(2))
    assert loss.generator(FAKE, FAKE).item() == pytest.approx(math.log(2))
    fake = torch.randn(8)
    assert loss.discriminator(real + 5, fake + 5).item() == pytest.approx(
        loss.discriminator(real, fake).item(), rel=1e-5
    )
    assert loss.generator(fake, real).item() == pytest.approx(loss.discriminator(fake, real).item())
    with pytest.raises(ValueError, match="needs the logits of real images"):
        loss.generator(fake)
