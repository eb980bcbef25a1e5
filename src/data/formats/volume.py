"""Volumes cut into slices as radiologists look at them: the patient's right on the left, front or head on top."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

AXES = {
    "sagittal": 0,
    "coronal": 1,
    "axial": 2,
}  # of an array from left to Right, back to Front (Anterior), feet to head


def slices_of(volume: np.ndarray, affine: np.ndarray, axis: str) -> Iterator[np.ndarray]:
    """(X, Y, Z) or (X, Y, Z, 3) → (H, W) or (H, W, 3), in the order of the axis: from left, from the back, from below.

    ``affine``: (4, 4), from voxels to mm in RAS+. A volume that lies at an angle is turned to the nearest axes, never
    interpolated.
    """
    from nibabel.orientations import apply_orientation, io_orientation

    turned = apply_orientation(volume, io_orientation(affine))[::-1, ::-1, ::-1]
    for plane in np.moveaxis(turned, AXES[axis], 0)[::-1]:
        yield np.ascontiguousarray(plane.swapaxes(0, 1))


def slice_shape(shape: tuple[int, ...], affine: np.ndarray, axis: str) -> tuple[int, tuple[float, float, float]]:
    """The number of slices, and the mm between their rows, their columns and themselves."""
    from nibabel.affines import voxel_sizes
    from nibabel.orientations import io_orientation

    order = np.argsort(io_orientation(affine)[:, 0])
    sizes = [float(voxel_sizes(affine)[place]) for place in order]
    counts = [shape[place] for place in order]
    along = AXES[axis]
    right, down = (place for place in range(3) if place != along)
    return counts[along], (sizes[down], sizes[right], sizes[along])


def place_of(affine: np.ndarray) -> tuple[float, ...]:
    """What tells whether two volumes lie in the same place."""
    return tuple(np.round(affine, 2).ravel().tolist())
