"""Adversarial losses: what the discriminator and the generator minimise, from logits."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor


class BinaryCrossEntropy:
    """The original game with the non-saturating generator (Goodfellow et al., 2014).

    Logits are (B,); losses are means over the batch in float32. The discriminator's is the sum of its real and its
    fake half, so a discriminator that guesses has 2 ln 2 ≈ 1.386.
    """

    def discriminator(self, real: Tensor, fake: Tensor) -> Tensor:
        real, fake = real.float(), fake.float()
        return F.binary_cross_entropy_with_logits(real, torch.ones_like(real)) + F.binary_cross_entropy_with_logits(
            fake, torch.zeros_like(fake)
        )

    def generator(self, fake: Tensor) -> Tensor:
        fake = fake.float()
        return F.binary_cross_entropy_with_logits(fake, torch.ones_like(fake))
