"""From rasters to ranked labels. What computes the two nets is given: OpenVINO or torch, the rest is the same."""

from __future__ import annotations

import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from vinocast.glyphs.cells import (
    CELL_SIDE,
    GRID_SIDE,
    PRIMITIVES,
    check_grids,
    check_rasters,
    pack_rasters,
    split_cells,
    unpack_cells,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    # Cells float32 [n, 1, 8, 8] in [0, 1] to logits [n, primitives]; grids int64 [n, 16, 16] to logits [n, labels].
    Phase1 = Callable[[NDArray[np.float32]], NDArray[np.float32]]
    Phase2 = Callable[[NDArray[np.int64]], NDArray[np.float32]]

# The batch shapes to compile both nets for. Measured with f32 on two cores (Zen 4), milliseconds per grid of the light
# Phase 2 by grids in an inference: 1 0.85, 4 0.65, 8 0.59, 16 0.56, 32 0.56, 64 0.53; one dynamic shape takes up to a
# quarter more. Microseconds per cell of Phase 1: 16 5.5, 64 3.8, 256 3.0, 1024 4.0.
PHASE1_BATCHES = (16, 64, 256)
PHASE2_BATCHES = (1, 4, 16)

EMPTY = 0
# Ten bytes each; fonts of some thousand glyphs have some ten thousand distinct cells.
MEMO_CELLS = 1 << 18


@dataclass(frozen=True)
class Ranking:
    """The best labels of some glyphs, best first; among equals the lower index comes first.

    Attributes:
        indices: of the labels, int64 [n, k].
        probabilities: float32 [n, k], of a softmax over all labels.
    """

    indices: NDArray[np.int64]
    probabilities: NDArray[np.float32]


class GlyphChain:
    """Rasters to grids of primitive ids, grids to ranked labels. For any thread, if both nets are.

    Phase 1 sees each distinct cell that is not empty once. A binary cell is 64 bits; its id is remembered across calls,
    up to ``memo_cells`` of them. A cell with gray pixels is computed in every call.
    """

    def __init__(
        self, phase1: Phase1, phase2: Phase2, memo_cells: int = MEMO_CELLS, primitives: int = PRIMITIVES
    ) -> None:
        self._phase1 = phase1
        self._phase2 = phase2
        self._memo_cells = memo_cells
        self._primitives = primitives
        self._known = np.zeros(1, np.uint64)  # sorted; the empty cell is known from the start
        self._ids = np.full(1, EMPTY, np.uint16)
        self._memo = threading.Lock()  # of both

    def grids(self, rasters: NDArray[np.uint8 | np.bool_]) -> NDArray[np.uint16]:
        """Return the grids [n, 16, 16] of primitive ids of rasters [n, 128, 128].

        A raster whose maximum is 1 is a mask, whose ink is 1. Raises ValueError for an array of another shape or type.
        """
        check_rasters(rasters)
        pixels = rasters.view(np.uint8)
        packed = pack_rasters(pixels)
        if (pixels + np.uint8(1) > 1).any():  # 255 becomes 0, so only gray is left above 1
            return self._grids_with_gray(pixels, packed)
        return self.packed_grids(packed)

    def packed_grids(self, packed: NDArray[np.uint64]) -> NDArray[np.uint16]:
        """Return the grids [n, 16, 16] of binary rasters, of which the packed cells [n, 256] are given."""
        filled = packed != EMPTY
        cells = packed[filled]
        grids = np.full(packed.shape, EMPTY, np.uint16)
        with self._memo:
            places = np.searchsorted(self._known, cells)
            strange = self._known[np.minimum(places, len(self._known) - 1)] != cells
            if strange.any():
                self._learn(np.unique(cells[strange]), np.unique(cells))
                places = np.searchsorted(self._known, cells)
            grids[filled] = self._ids[places]
        return grids.reshape(-1, GRID_SIDE, GRID_SIDE)

    def rank(self, grids: NDArray[np.integer], k: int) -> Ranking:
        """Return the ``k`` best labels (all, if there are fewer) of grids [n, 16, 16].

        Raises ValueError for an array of another shape or type, and for an id that Phase 2 does not know.
        """
        check_grids(grids, self._primitives)
        return rank(self._phase2(grids.astype(np.int64, copy=False)), k)

    def _learn(self, strange: NDArray[np.uint64], wanted: NDArray[np.uint64]) -> None:
        """Compute the ids of distinct cells; what does not fit the memo beside ``wanted`` is forgotten."""
        ids = self._cell_ids(unpack_cells(strange).astype(np.float32))
        known, known_ids = self._known, self._ids
        if len(known) + len(strange) > self._memo_cells:
            keep = np.isin(known, wanted, assume_unique=True)
            keep[0] = True  # the empty cell, so that there is one at least
            known, known_ids = known[keep], known_ids[keep]
        places = np.searchsorted(known, strange)
        self._known, self._ids = np.insert(known, places, strange), np.insert(known_ids, places, ids)

    def _grids_with_gray(self, rasters: NDArray[np.uint8], packed: NDArray[np.uint64]) -> NDArray[np.uint16]:
        cells = split_cells(rasters)
        masks = cells.max(axis=(1, 2)) <= 1
        gray = (cells + np.uint8(1) > 1).any(axis=-1) & ~masks[:, None]
        grids = self.packed_grids(np.where(gray, np.uint64(0), packed))
        distinct, inverse = np.unique(cells[gray], axis=0, return_inverse=True)
        grids.reshape(-1, packed.shape[1])[gray] = self._cell_ids(np.divide(distinct, 255, dtype=np.float32))[
            inverse.ravel()
        ]
        return grids

    def _cell_ids(self, cells: NDArray[np.float32]) -> NDArray[np.uint16]:
        """Return the ids [n] of cells [n, 64] in [0, 1], none of them empty."""
        logits = self._phase1(cells.reshape(-1, 1, CELL_SIDE, CELL_SIDE))
        ids: NDArray[np.uint16] = logits.argmax(axis=1).astype(np.uint16)
        return ids


def plain_cells(rasters: NDArray[np.uint8]) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    """Return every cell of some rasters, float32 [n * 256, 1, 8, 8] in [0, 1], and which are empty, [n * 256]."""
    cells = split_cells(rasters)
    masks = cells.max(axis=(1, 2)) <= 1
    shades = np.divide(cells, np.where(masks, 1, 255)[:, None, None], dtype=np.float32)
    return shades.reshape(-1, 1, CELL_SIDE, CELL_SIDE), np.equal(cells.max(axis=2), 0).ravel()


def rank(logits: NDArray[np.float32], k: int) -> Ranking:
    """Return the ``k`` best of logits [n, labels], whose softmax is taken over all labels."""
    count, labels = logits.shape
    k = min(k, labels)
    if k < labels:
        best = np.sort(np.argpartition(logits, labels - k, axis=1)[:, labels - k :], axis=1)
        # Which of several equals argpartition lets in is chance; rows that have equals at the edge are sorted whole.
        edge = np.take_along_axis(logits, best, axis=1).min(axis=1, keepdims=True)
        tied = (logits >= edge).sum(axis=1) > k
        best[tied] = np.argsort(-logits[tied], axis=1, kind="stable")[:, :k]
    else:
        best = np.tile(np.arange(labels), (count, 1))
    values = np.take_along_axis(logits, best, axis=1)
    order = np.argsort(-values, axis=1, kind="stable")
    best, values = np.take_along_axis(best, order, axis=1), np.take_along_axis(values, order, axis=1)
    top = values[:, :1]
    return Ranking(best, np.exp(values - top) / np.exp(logits - top).sum(axis=1, keepdims=True))
