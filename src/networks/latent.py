"""The distribution a generator draws from."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from src.core.errors import UserError


@dataclass(frozen=True)
class Latent:
    """``uniform`` in [-1, 1] or standard ``normal``, in ``dim`` dimensions."""

    dim: int
    distribution: str

    def __post_init__(self) -> None:
        if self.distribution not in ("uniform", "normal"):
            raise UserError(f"model.latent.distribution={self.distribution} is unknown: choose uniform or normal")
        if self.dim < 1:
            raise UserError(f"model.latent.dim={self.dim} must be at least 1")

    def sample(self, count: int, generator: torch.Generator) -> Tensor:
        """Latents (count, dim), float32, on the generator's device."""
        shape = (count, self.dim)
        if self.distribution == "normal":
            return torch.randn(shape, generator=generator, device=generator.device)
        return torch.rand(shape, generator=generator, device=generator.device) * 2 - 1
