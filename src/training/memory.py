"""Memory that a training frees and needs again at the next step."""

from __future__ import annotations

import ctypes
import sys

M_TRIM_THRESHOLD, M_TOP_PAD, M_MMAP_MAX = -1, -2, -4  # of glibc's malloc.h
PAD = 256 << 20  # bytes asked of the system at once


def keep_freed_memory() -> None:
    """Let glibc keep freed blocks for the next step, where it is the allocator; no effect elsewhere.

    By default it returns large blocks to the system at once, and the next step's feature maps fault in again page by
    page, zeroed: up to a quarter of a CPU step's time.
    """
    if not sys.platform.startswith("linux"):
        return
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(M_MMAP_MAX, 0)  # large blocks come from the heap …
        mallopt(M_TRIM_THRESHOLD, -1)  # … which never shrinks
        mallopt(M_TOP_PAD, PAD)
