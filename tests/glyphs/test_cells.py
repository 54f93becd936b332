"""Cells of a raster: their order, and that packing loses nothing of a binary one."""

import numpy as np
from vinocast.glyphs.cells import pack_cells, split_cells, unpack_cells


def test_cells_are_row_major_and_their_pixels_too() -> None:
    rasters = np.zeros((2, 128, 128), np.uint8)
    rasters[1, 8 * 3 + 2, 8 * 5 + 7] = 255

    cells = split_cells(rasters)

    assert cells.shape == (2, 256, 64)
    assert [tuple(index) for index in np.argwhere(cells)] == [(1, 3 * 16 + 5, 2 * 8 + 7)]


def test_packing_keeps_every_pixel_and_tells_all_cells_apart() -> None:
    cells = np.random.default_rng(0).integers(0, 2, (3, 256, 64), np.uint8)
    cells[0, 0] = 0

    packed = pack_cells(cells * np.uint8(255))

    assert packed.shape == (3, 256)
    assert packed[0, 0] == 0
    assert len(np.unique(packed)) == 3 * 256
    assert np.array_equal(unpack_cells(packed), cells)
