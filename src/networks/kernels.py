"""Triton, where torch brings it along, and which tensors its kernels take."""

from __future__ import annotations

import torch
from torch import Tensor, nn

try:
    import triton
    import triton.language as tl
except ImportError:  # as for CPUs alone
    triton = tl = None

__all__ = ["available", "tl", "triton"]


def available(tensor: Tensor) -> bool:
    """Whether a kernel can be given ``tensor``: one on a GPU that has memory, as a fake or traced one has not."""
    real = type(tensor) in (Tensor, nn.Parameter)
    known = tensor.dtype in (torch.float32, torch.bfloat16, torch.float16)
    return triton is not None and real and tensor.is_cuda and known
