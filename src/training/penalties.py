"""Penalties on the critic's gradient at some images, added to its adversarial loss.

A training step pays whatever its list of penalties holds and knows none of them by name. Each is differentiated by
itself, so that no two passes through the critic are held at once::

    for penalty in penalties:
        if penalty.due(step):
            penalty(critic, real, fake, mix).backward()
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from src.core.errors import UserError
from src.networks.second_derivative import inputs_only

Critic = Callable[[Tensor], Tensor]  # images (B, C, H, W) → logits (B,)


class Penalty(ABC):
    """``weight`` times a term, paid at every ``every``-th step and then ``every``-fold: its mean stays the same.

    Lazy regularisation as in Karras et al., "Analyzing and Improving the Image Quality of StyleGAN", CVPR 2020,
    appendix B, but within the step of the adversarial loss, so no optimizer setting needs a correction.

    Raises:
        UserError: ``weight`` below 0 or ``every`` below 1.
    """

    def __init__(self, weight: float, every: int = 1) -> None:
        if not weight >= 0:
            raise UserError(f"weight={weight} of {type(self).__name__} must not be negative")
        if every < 1:
            raise UserError(f"every={every} of {type(self).__name__} must be at least 1 (step)")
        self.weight, self.every = weight, every

    def check(self, critic: nn.Module, precision: str) -> None:
        """Raise UserError where the penalty does not fit the critic or the trainer's precision."""
        if any(isinstance(layer, _BatchNorm) for layer in critic.modules()):
            raise UserError(
                f"{type(self).__name__} is of one image at a time, which batch norm mixes with the others "
                "(Gulrajani et al., section 4): set model.discriminator.norm=instance or none"
            )
        if precision.startswith("16"):
            raise UserError(
                f"trainer.precision={precision} has too small a range for the second derivative of "
                f"{type(self).__name__}: take bf16-mixed or 32-true, or a loss without a penalty (loss=hinge)"
            )

    def due(self, step: int) -> bool:
        """Whether step number ``step`` pays; take the number from the image clock (``schedule.at(images).step``)."""
        return step % self.every == 0

    def __call__(self, critic: Critic, real: Tensor, fake: Tensor, mix: Tensor) -> Tensor:
        """The penalty, a float32 scalar with a gradient for the critic's parameters alone.

        Args:
            critic: maps images to logits; may run under autocast to bfloat16, not float16 (its range is too small).
            real, fake: images (B, C, H, W) in [-1, 1], ``real`` in float32.
            mix: (B,) uniform in [0, 1], drawn by the caller (randomness is a function of the image clock).
        """
        return self.weight * self.every * self.term(critic, real, fake, mix)

    @abstractmethod
    def term(self, critic: Critic, real: Tensor, fake: Tensor, mix: Tensor) -> Tensor: ...


class GradientPenalty(Penalty):
    """λ · E[(‖∇D(x̂)‖₂ − γ)² / γ²] with x̂ on the straight line between a real and a fake image.

    Gulrajani et al., "Improved Training of Wasserstein GANs", NeurIPS 2017, equation 3 (γ = 1); the target γ as in
    Karras et al., "Progressive Growing of GANs", ICLR 2018, appendix A.1 (CIFAR-10: γ = 750).

    Args:
        weight: λ.
        target: γ, the norm that gradients are drawn to. Raises UserError unless positive.
        every: steps between two payments.
    """

    def __init__(self, weight: float = 10.0, target: float = 1.0, every: int = 1) -> None:
        super().__init__(weight, every)
        if not target > 0:
            raise UserError(f"target={target} of GradientPenalty must be positive: 1 makes the critic 1-Lipschitz")
        self.target = target

    def term(self, critic: Critic, real: Tensor, fake: Tensor, mix: Tensor) -> Tensor:
        mixed = torch.lerp(real, fake.to(real.dtype), mix.to(real.dtype).view(-1, 1, 1, 1))
        norm = torch.linalg.vector_norm(input_gradient(critic, mixed), dim=(1, 2, 3))
        return (norm / self.target - 1).square().mean()


class R1(Penalty):
    """weight / 2 · E[‖∇D(x)‖₂²] on real images x; with ``BinaryCrossEntropy``, the logistic loss of StyleGAN.

    Mescheder et al., "Which Training Methods for GANs do actually Converge?", ICML 2018, equation 9.
    """

    def term(self, critic: Critic, real: Tensor, fake: Tensor, mix: Tensor) -> Tensor:
        return input_gradient(critic, real).square().sum(dim=(1, 2, 3)).mean() / 2


class R2(Penalty):
    """weight / 2 · E[‖∇D(x)‖₂²] on generated images x (Mescheder et al., ICML 2018, equation 10)."""

    def term(self, critic: Critic, real: Tensor, fake: Tensor, mix: Tensor) -> Tensor:
        return input_gradient(critic, fake.to(real.dtype)).square().sum(dim=(1, 2, 3)).mean() / 2


def input_gradient(critic: Critic, images: Tensor) -> Tensor:
    """Gradient (B, C, H, W) of the summed logits for ``images``, in their dtype and differentiable itself.

    Where a critic looks at images one by one, row i is the gradient of logit i; a layer that looks at the batch (such
    as minibatch standard deviation) adds its share, as in the code of Karras et al.
    """
    images = images.detach().requires_grad_()
    logits = critic(images)
    with inputs_only():
        (gradient,) = torch.autograd.grad(logits.sum(), images, create_graph=True)
    return gradient
