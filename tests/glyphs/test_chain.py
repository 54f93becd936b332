"""The chain gives what the two nets give cell by cell and grid by grid, and asks Phase 1 for as little as it can."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray
from vinocast.glyphs.cells import pack_cells, pack_rasters, split_cells
from vinocast.glyphs.chain import GlyphChain, plain_cells, rank

WEIGHTS = np.random.default_rng(5).standard_normal((64, 1024)).astype(np.float32)
# So that darker cells get other ids.
BIAS = np.random.default_rng(6).standard_normal(1024).astype(np.float32) * 5


class CountingPhase1:
    """A linear net over the pixels of a cell, which keeps how many cells it saw."""

    def __init__(self) -> None:
        self.seen: list[int] = []

    def __call__(self, cells: NDArray[np.float32]) -> NDArray[np.float32]:
        assert cells.dtype == np.float32
        assert cells.shape[1:] == (1, 8, 8)
        self.seen.append(len(cells))
        return cells.reshape(-1, 64) @ WEIGHTS + BIAS


def no_phase2(grids: NDArray[np.int64]) -> NDArray[np.float32]:
    raise AssertionError


def binary_rasters(count: int, seed: int = 0) -> NDArray[np.uint8]:
    """Blocks of few sorts of cells, many of them empty, as glyphs have."""
    rng = np.random.default_rng(seed)
    sorts = rng.choice(np.array([0, 255], np.uint8), (40, 8, 8))
    sorts[:20] = 0
    chosen = sorts[rng.integers(0, 40, (count, 16, 16))]
    return np.ascontiguousarray(chosen.transpose(0, 1, 3, 2, 4)).reshape(count, 128, 128)


def plain_grids(rasters: NDArray[np.uint8]) -> NDArray[np.int64]:
    cells, empty = plain_cells(rasters)
    ids: NDArray[np.int64] = CountingPhase1()(cells).argmax(1)
    ids[empty] = 0
    return ids.reshape(-1, 16, 16)


def test_packing_whole_rasters_is_packing_their_cells() -> None:
    rasters = binary_rasters(3)
    np.testing.assert_array_equal(pack_rasters(rasters), pack_cells(split_cells(rasters)))


def test_grids_are_those_of_all_cells_and_each_cell_is_computed_once() -> None:
    phase1 = CountingPhase1()
    chain = GlyphChain(phase1, no_phase2)
    rasters = binary_rasters(6)
    grids = np.concatenate([chain.grids(rasters[:4]), chain.grids(rasters[4:]), chain.grids(rasters)])
    np.testing.assert_array_equal(grids, plain_grids(np.concatenate([rasters, rasters])))
    assert grids.dtype == np.uint16
    assert sum(phase1.seen) == len(np.unique(pack_rasters(rasters))) - 1
    assert chain.grids(np.zeros((0, 128, 128), np.uint8)).shape == (0, 16, 16)


def test_gray_cells_keep_their_shades() -> None:
    rasters = binary_rasters(4)
    rasters[1, :40, :40] //= 3
    rasters[2, 100, 100] = 1  # all but empty, and yet not
    chain = GlyphChain(CountingPhase1(), no_phase2)
    np.testing.assert_array_equal(chain.grids(rasters), plain_grids(rasters))
    np.testing.assert_array_equal(chain.grids(rasters), plain_grids(rasters))


def test_a_mask_of_zeros_and_ones_is_ink_in_both_ways_beside_gray_rasters() -> None:
    rasters = binary_rasters(3)
    rasters[1] //= 3
    masked = rasters.copy()
    masked[2] //= 255
    for some in (slice(0, 3), slice(2, 3)):
        expected = GlyphChain(CountingPhase1(), no_phase2).grids(rasters[some])
        np.testing.assert_array_equal(GlyphChain(CountingPhase1(), no_phase2).grids(masked[some]), expected)
        np.testing.assert_array_equal(plain_grids(masked[some]), expected)


@pytest.mark.parametrize(
    ("grids", "fault"),
    [
        (np.zeros((16, 16), np.int64), r"got \[16, 16\] of int64; one alone is grids\[None\]"),
        (np.zeros((2, 256), np.int64), r"got \[2, 256\]"),
        (np.zeros((1, 16, 16), np.float32), "of float32"),
        (np.full((1, 16, 16), 5000), "ids from 0 to 1023, got 5000 to 5000"),
        (np.full((1, 16, 16), -1), "ids from 0 to 1023, got -1"),
    ],
)
def test_grids_that_phase_2_does_not_know_are_refused(grids: NDArray[np.integer], fault: str) -> None:
    with pytest.raises(ValueError, match=fault):
        GlyphChain(CountingPhase1(), no_phase2).rank(grids, 5)


@pytest.mark.parametrize(
    "rasters", [np.zeros((128, 128), np.uint8), np.zeros((1, 128, 64), np.uint8), np.zeros((1, 128, 128), np.float32)]
)
def test_arrays_that_are_no_rasters_are_refused(rasters: NDArray[np.uint8]) -> None:
    with pytest.raises(ValueError, match=r"expected rasters \[n, 128, 128\] of uint8 or bool"):
        GlyphChain(CountingPhase1(), no_phase2).grids(rasters)


def test_rasters_of_truth_values_are_masks() -> None:
    rasters = binary_rasters(2)
    grids = GlyphChain(CountingPhase1(), no_phase2).grids(rasters > 0)
    np.testing.assert_array_equal(grids, GlyphChain(CountingPhase1(), no_phase2).grids(rasters))


def test_the_memo_is_bounded_and_what_it_forgets_is_computed_again() -> None:
    phase1 = CountingPhase1()
    chain = GlyphChain(phase1, no_phase2, memo_cells=30)
    first, second = binary_rasters(2, seed=1), binary_rasters(2, seed=2)
    for rasters in (first, second, first, second):
        np.testing.assert_array_equal(chain.grids(rasters), plain_grids(rasters))
    assert len(phase1.seen) == 4


def test_ranking_is_a_softmax_sorted() -> None:
    logits = np.random.default_rng(1).standard_normal((7, 50)).astype(np.float32) * 4
    ranking = rank(logits, 5)
    exact = np.exp(logits.astype(np.float64))
    exact /= exact.sum(1, keepdims=True)
    np.testing.assert_array_equal(ranking.indices, np.argsort(-logits, axis=1)[:, :5])
    np.testing.assert_allclose(
        ranking.probabilities, np.take_along_axis(exact, ranking.indices, axis=1), rtol=1e-5, atol=1e-7
    )


@pytest.mark.parametrize("k", [1, 3, 6, 9])
def test_among_equals_the_lower_index_comes_first(k: int) -> None:
    logits = np.array([[1, 2, 1, 2, 1, 1], [0, 0, 0, 0, 0, 0], [5, 1, 1, 1, 1, 9]], np.float32)
    expected = [[1, 3, 0, 2, 4, 5], [0, 1, 2, 3, 4, 5], [5, 0, 1, 2, 3, 4]]
    assert rank(logits, k).indices.tolist() == [row[:k] for row in expected]


def test_huge_logits_do_not_overflow() -> None:
    ranking = rank(np.array([[1e30, -1e30, 1e30]], np.float32), 2)
    assert ranking.probabilities.tolist() == [[0.5, 0.5]]


@pytest.mark.parametrize("k", [1, 3, 5, 9])
def test_the_ranking_of_no_glyphs_is_empty(k: int) -> None:
    ranking = rank(np.zeros((0, 5), np.float32), k)
    assert ranking.indices.shape == ranking.probabilities.shape == (0, min(k, 5))
    assert ranking.indices.dtype == np.int64
