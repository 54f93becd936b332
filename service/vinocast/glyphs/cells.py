"""A raster as 16x16 cells of 8x8 pixels; a cell of a binary raster is one number of 64 bits."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

RASTER_SIDE = 128
CELL_SIDE = 8
GRID_SIDE = RASTER_SIDE // CELL_SIDE
CELLS = GRID_SIDE * GRID_SIDE
PIXELS = CELL_SIDE * CELL_SIDE
# Ids that Phase 1 may give a cell; 0 is the empty one.
PRIMITIVES = 1024


def split_cells(rasters: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Return the cells uint8 [n, 256, 64] of rasters uint8 [n, 128, 128], row by row, each cell row by row."""
    count = len(rasters)
    blocks = rasters.reshape(count, GRID_SIDE, CELL_SIDE, GRID_SIDE, CELL_SIDE)
    return np.ascontiguousarray(blocks.transpose(0, 1, 3, 2, 4)).reshape(count, CELLS, PIXELS)


def pack_cells(cells: NDArray[np.uint8]) -> NDArray[np.uint64]:
    """Return each binary cell [..., 64] as one number [...]; 0 is the empty cell. A pixel is set where it is not 0."""
    return np.packbits(cells, axis=-1).view(np.uint64)[..., 0]


def pack_rasters(rasters: NDArray[np.uint8]) -> NDArray[np.uint64]:
    """Return the packed cells [n, 256] of binary rasters uint8 [n, 128, 128]: ``pack_cells(split_cells(rasters))``.

    Packs before it sorts the pixels into cells, which moves an eighth of the bytes.
    """
    lines = np.packbits(rasters, axis=-1).reshape(len(rasters), GRID_SIDE, CELL_SIDE, GRID_SIDE)
    return np.ascontiguousarray(lines.transpose(0, 1, 3, 2)).view(np.uint64).reshape(len(rasters), CELLS)


def unpack_cells(packed: NDArray[np.uint64]) -> NDArray[np.uint8]:
    """Return the pixels [..., 64], 0 or 1, of packed cells [...]."""
    return np.unpackbits(packed[..., None].view(np.uint8), axis=-1)


def check_rasters(rasters: NDArray[Any]) -> None:
    """Raise ValueError unless these are rasters [n, 128, 128] of uint8 or bool."""
    if rasters.shape[1:] != (RASTER_SIDE, RASTER_SIDE) or rasters.dtype not in (np.uint8, np.bool_):
        raise ValueError(
            f"expected rasters [n, {RASTER_SIDE}, {RASTER_SIDE}] of uint8 or bool, got {list(rasters.shape)} of "
            f"{rasters.dtype}; one alone is rasters[None]"
        )


def check_grids(grids: NDArray[Any], primitives: int = PRIMITIVES) -> None:
    """Raise ValueError unless these are grids [n, 16, 16] of whole numbers from 0 to ``primitives - 1``."""
    if grids.shape[1:] != (GRID_SIDE, GRID_SIDE) or grids.dtype.kind not in "iu":
        raise ValueError(
            f"expected grids [n, {GRID_SIDE}, {GRID_SIDE}] of whole numbers, got {list(grids.shape)} of "
            f"{grids.dtype}; one alone is grids[None]"
        )
    if grids.size and not 0 <= grids.min() <= grids.max() < primitives:
        raise ValueError(f"expected ids from 0 to {primitives - 1}, got {grids.min()} to {grids.max()}")
