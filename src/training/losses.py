"""Adversarial losses: what the discriminator and the generator minimise, from logits."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor


class BinaryCrossEntropy:
    """The original game with the non-saturating generator (Goodfellow et al., 2014), also called logistic loss.

    Logits are (B,); losses are means over the batch in float32. The discriminator's is the sum of its real and its
    fake half, so a discriminator that guesses has 2 ln 2 ≈ 1.386.

    Args:
        label_smoothing: taken from the discriminator's target of real images, 1; generated ones keep theirs, 0
            (one-sided, Salimans et al., "Improved Techniques for Training GANs", NeurIPS 2016, section 3.4).
    """

    gives_probabilities, needs_real = True, False
    boundary = 0.0  # logit of the probability ½

    def __init__(self, label_smoothing: float = 0.0) -> None:
        self.label_smoothing = label_smoothing

    def discriminator(self, real: Tensor, fake: Tensor) -> Tensor:
        real, fake = real.float(), fake.float()
        target = torch.full_like(real, 1 - self.label_smoothing)
        return F.binary_cross_entropy_with_logits(real, target) + F.binary_cross_entropy_with_logits(
            fake, torch.zeros_like(fake)
        )

    def generator(self, fake: Tensor, real: Tensor | None = None) -> Tensor:
        fake = fake.float()
        return F.binary_cross_entropy_with_logits(fake, torch.ones_like(fake))

    def output(self, logits: Tensor) -> Tensor:
        """D(x): the probability of being real."""
        return logits.float().sigmoid()


class Wasserstein:
    """The critic's estimate of the Wasserstein-1 distance (Arjovsky et al., "Wasserstein GAN", ICML 2017).

    D minimises E[D(fake)] − E[D(real)], G minimises −E[D(fake)]; logits (B,), losses in float32. It needs a critic
    that is nearly 1-Lipschitz: pair it with ``penalties.GradientPenalty``. Spectral norm alone, as it is here, does not
    make it so: every layer has a constant of its own (:func:`src.networks.equalized.normalise_spectrally`).

    Args:
        drift: weight of E[D(real)²] in D's loss, which keeps its output from drifting away from 0 (Karras et al.,
            "Progressive Growing of GANs", ICLR 2018, appendix A.1).
    """

    gives_probabilities, needs_real = False, False

    def __init__(self, drift: float = 0.0) -> None:
        self.drift = drift

    def discriminator(self, real: Tensor, fake: Tensor) -> Tensor:
        return fake.float().mean() - real.float().mean() + self.drift * real.float().square().mean()

    def generator(self, fake: Tensor, real: Tensor | None = None) -> Tensor:
        return -fake.float().mean()

    def output(self, logits: Tensor) -> Tensor:
        """D(x): a score without bounds."""
        return logits.float()


class Hinge:
    """The hinge version of the adversarial loss (Zhang et al., "Self-Attention GAN", ICML 2019, equation 4).

    D minimises E[max(0, 1 − D(real))] + E[max(0, 1 + D(fake))], G minimises −E[D(fake)]; logits (B,), losses in
    float32. A discriminator that guesses (all logits 0) has 2.
    """

    gives_probabilities, needs_real = False, False
    boundary = 0.0  # half way between the margins

    def discriminator(self, real: Tensor, fake: Tensor) -> Tensor:
        return F.relu(1 - real.float()).mean() + F.relu(1 + fake.float()).mean()

    def generator(self, fake: Tensor, real: Tensor | None = None) -> Tensor:
        return -fake.float().mean()

    def output(self, logits: Tensor) -> Tensor:
        """D(x): a score without bounds."""
        return logits.float()


class Relativistic:
    """The relativistic pairing loss (Jolicoeur-Martineau, "The relativistic discriminator", ICLR 2019, as in Huang et
    al., "The GAN is dead; long live the GAN!", NeurIPS 2024, equation 2).

    D minimises E[softplus(D(fake) − D(real))], G minimises E[softplus(D(real) − D(fake))], pair by pair in the batch;
    logits (B,), losses in float32. A discriminator that guesses has ln 2. Pair it with ``penalties.R1`` and ``R2``.
    """

    gives_probabilities, needs_real = False, True

    def discriminator(self, real: Tensor, fake: Tensor) -> Tensor:
        return F.softplus(fake.float() - real.float()).mean()

    def generator(self, fake: Tensor, real: Tensor | None = None) -> Tensor:
        if real is None:
            raise ValueError("the relativistic loss of the generator needs the logits of real images")
        return F.softplus(real.float() - fake.float()).mean()

    def output(self, logits: Tensor) -> Tensor:
        """D(x): a score without bounds."""
        return logits.float()
