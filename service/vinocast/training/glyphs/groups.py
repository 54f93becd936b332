"""Labels of one and the same shape, found in the fonts that are trained on and in no other.

A raster has lost its size and its place on the line: o and O, comma and apostrophe, a dot above and a dot below are one
picture. In one font two characters are of one shape when no pixel of either is farther than TOLERANCE from a pixel of
the other (their Hausdorff distance, in the maximum norm). Two labels are joined when that holds in more than half of
the fonts that have both, and groups are what joined labels connect.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from vinocast.glyphs.cells import CELL_SIDE, CELLS, GRID_SIDE, RASTER_SIDE, unpack_cells
from vinocast.glyphs.rasters import DIACRITIC_SIDE

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from numpy.typing import NDArray

    from vinocast.training.glyphs.charset import Character
    from vinocast.training.glyphs.corpus import FaceRasters

TOLERANCE = RASTER_SIDE // 32
DIACRITIC_TOLERANCE = DIACRITIC_SIDE // 32
LEAST_FONTS = 3
# Compared at a time, 2 kB each.
PAIRS = 4096


def find_groups(labels: Sequence[Character], faces: Iterable[FaceRasters]) -> NDArray[np.int64]:
    """Return a group for each label: the index of the group's first label, int64 [labels]."""
    index = {label.codepoint: position for position, label in enumerate(labels)}
    marks = np.array([label.char_class == "diacritic" for label in labels])
    both = np.zeros((len(labels), len(labels)), np.int32)
    alike = np.zeros_like(both)
    for rasters in faces:
        rows = np.flatnonzero((rasters.copies == 0) & np.isin(rasters.codepoints, list(index)))
        own = np.array([index[codepoint] for codepoint in rasters.codepoints[rows].tolist()], np.int64)
        both[np.ix_(own, own)] += 1
        pictures = to_pixels(rasters.cells[rows])
        for kind, tolerance in ((False, TOLERANCE), (True, DIACRITIC_TOLERANCE)):
            of_kind = np.flatnonzero(marks[own] == kind)
            first, second = _alike(pictures[of_kind], tolerance)
            np.add.at(alike, (own[of_kind[first]], own[of_kind[second]]), 1)
    joined = (2 * (alike + alike.T) > both) & (both >= LEAST_FONTS)
    return _connected(joined)


def to_pixels(cells: NDArray[np.uint64]) -> NDArray[np.bool_]:
    """Return the rasters bool [n, 128, 128] of packed cells [n, 256]."""
    blocks = unpack_cells(cells).reshape(-1, GRID_SIDE, GRID_SIDE, CELL_SIDE, CELL_SIDE)
    return blocks.transpose(0, 1, 3, 2, 4).reshape(-1, RASTER_SIDE, RASTER_SIDE).astype(np.bool_)


def _alike(pictures: NDArray[np.bool_], tolerance: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return the pairs of pictures of one shape, the lower index first."""
    bits = _pack(pictures)
    near = _pack(_dilate(pictures, tolerance))
    # Blocks of 8x8 pixels tell most pairs apart for little; what passes is compared pixel by pixel.
    cells = pictures.reshape(-1, GRID_SIDE, CELL_SIDE, GRID_SIDE, CELL_SIDE)
    blocks = np.asarray(cells.any((2, 4)))
    coarse, reach = (grid.reshape(-1, CELLS).astype(np.float32) for grid in (blocks, ~_dilate(blocks, 1)))
    outside = coarse @ reach.T
    first, second = np.nonzero(np.triu((outside == 0) & (outside.T == 0), 1))
    same = np.ones(len(first), np.bool_)
    for a, b in ((first, second), (second, first)):
        kept = np.flatnonzero(same)
        for part in np.array_split(kept, len(kept) // PAIRS + 1):
            same[part] = ~(bits[a[part]] & ~near[b[part]]).any(1)
    return first[same], second[same]


def _pack(pictures: NDArray[np.bool_]) -> NDArray[np.uint64]:
    return np.packbits(pictures.reshape(len(pictures), RASTER_SIDE * RASTER_SIDE), axis=1).view(np.uint64)


def _dilate(pictures: NDArray[np.bool_], by: int) -> NDArray[np.bool_]:
    """Return the pixels no farther than ``by``, in the maximum norm, from a pixel of a picture [n, h, w]."""
    for axis in (1, 2):
        grown = pictures.copy()
        for shift in range(1, by + 1):
            there, here = [slice(None)] * 3, [slice(None)] * 3
            there[axis], here[axis] = slice(shift, None), slice(None, -shift)
            grown[tuple(there)] |= pictures[tuple(here)]
            grown[tuple(here)] |= pictures[tuple(there)]
        pictures = grown
    return pictures


def _connected(joined: NDArray[np.bool_]) -> NDArray[np.int64]:
    groups = np.arange(len(joined))
    for first, second in zip(*np.nonzero(joined), strict=True):
        low, high = sorted((groups[first], groups[second]))
        groups[groups == high] = low
    return groups
