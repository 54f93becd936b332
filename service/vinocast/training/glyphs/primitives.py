"""Primitives: the clusters of cells, the net that names them (Phase 1), and the ids it gives every cell."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

import numpy as np
import torch
from sklearn.cluster import MiniBatchKMeans
from torch import nn
from tqdm import trange

from vinocast.errors import SetupError
from vinocast.export.glyphs.nets import Phase1Net
from vinocast.glyphs.cells import CELL_SIDE, unpack_cells

if TYPE_CHECKING:
    from collections.abc import Iterable

    from numpy.typing import NDArray

    from vinocast.training.glyphs.recipe import Recipe

BATCH = 1024
LEARNING_RATE = 3e-3
INFERENCE_BATCH = 8192

log = logging.getLogger(__name__)


def distinct_cells(parts: Iterable[NDArray[np.uint64]]) -> tuple[NDArray[np.uint64], NDArray[np.int64]]:
    """Return the distinct non-empty packed cells of all parts, ascending, and how often each occurs."""
    cells, counts = np.zeros(0, np.uint64), np.zeros(0, np.int64)
    pending: list[tuple[NDArray[np.uint64], NDArray[np.int64]]] = []
    size = 0
    for part in parts:
        pending.append(np.unique(part[part != 0], return_counts=True))
        size += len(pending[-1][0])
        if size > 20_000_000:
            cells, counts = _merge([(cells, counts), *pending])
            pending, size = [], 0
    return _merge([(cells, counts), *pending])


def _merge(
    parts: list[tuple[NDArray[np.uint64], NDArray[np.int64]]],
) -> tuple[NDArray[np.uint64], NDArray[np.int64]]:
    cells, inverse = np.unique(np.concatenate([cells for cells, _ in parts]), return_inverse=True)
    counts = np.bincount(inverse, np.concatenate([counts for _, counts in parts]), len(cells))
    return cells, counts.astype(np.int64)


def cluster(cells: NDArray[np.uint64], counts: NDArray[np.int64], recipe: Recipe) -> NDArray[np.float32]:
    """Return the centres float32 [clusters, 64] of the cells, each weighted by how often it occurs.

    Raises SetupError when there are fewer distinct cells than clusters.
    """
    if len(cells) < recipe.clusters:
        raise SetupError(f"{len(cells)} distinct cells make no {recipe.clusters} clusters: more fonts, or --clusters")
    generator = np.random.default_rng([recipe.seed, 1])
    drawn = np.sort(generator.permutation(len(cells))[: recipe.cluster_cells])
    # Drawn centres to begin with: over 30 passes they end where k-means++ ends, and that takes longer than the passes.
    means = MiniBatchKMeans(
        recipe.clusters, init="random", n_init=1, batch_size=8192, max_iter=30, random_state=recipe.seed
    )
    # The square root keeps the few cells that are everywhere, whole strokes, from taking all the centres.
    means.fit(unpack_cells(cells[drawn]).astype(np.float32), sample_weight=np.sqrt(counts[drawn]))
    return np.asarray(means.cluster_centers_, np.float32)


def nearest(cells: NDArray[np.uint64], centres: NDArray[np.float32]) -> NDArray[np.int64]:
    """Return the class of each packed cell: 0 for the empty one, else one more than its nearest centre's index."""
    pixels = torch.from_numpy(unpack_cells(cells).astype(np.float32))
    points = torch.from_numpy(centres)
    # |x - c|^2 less |x|^2, which is the same for every centre.
    classes = (points.square().sum(1) - 2 * pixels @ points.T).argmin(1).numpy() + 1
    classes[cells == 0] = 0
    return classes


def train_phase1(
    cells: NDArray[np.uint64], counts: NDArray[np.int64], centres: NDArray[np.float32], recipe: Recipe
) -> tuple[Phase1Net, float]:
    """Train Phase 1 to name the nearest centre; return it in eval mode, and how often it does on cells as they come."""
    torch.manual_seed(recipe.seed)
    net = Phase1Net().train()
    net.to(memory_format=torch.channels_last)  # type: ignore[call-overload] # torch's own stubs leave it out
    optimizer = torch.optim.AdamW(net.parameters(), LEARNING_RATE, weight_decay=1e-3)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, LEARNING_RATE, total_steps=recipe.phase1_steps)
    generator = np.random.default_rng([recipe.seed, 2])
    chances = [np.cumsum(np.sqrt(counts)), np.cumsum(counts)]
    for _ in trange(recipe.phase1_steps, unit="step", desc="phase 1", disable=None):
        drawn = np.searchsorted(chances[0], generator.random(BATCH) * chances[0][-1], side="right")
        batch = cells[drawn]
        batch[: BATCH // 128] = 0
        loss = nn.functional.cross_entropy(net(_planes(batch)), torch.from_numpy(nearest(batch, centres)))
        optimizer.zero_grad()
        torch.autograd.backward(loss)
        optimizer.step()
        schedule.step()
    net.to(memory_format=torch.contiguous_format).eval()  # type: ignore[call-overload] # as above
    drawn = np.searchsorted(chances[1], generator.random(100_000) * chances[1][-1], side="right")
    return net, float((identify(net, cells[drawn]) == nearest(cells[drawn], centres)).mean())


@torch.inference_mode()
def identify(net: Phase1Net, cells: NDArray[np.uint64]) -> NDArray[np.uint16]:
    """Return the ids that Phase 1 gives packed cells [n]; an empty cell's is 0 whatever the net says."""
    ids = [
        net(_planes(cells[start : start + INFERENCE_BATCH])).argmax(1)
        for start in range(0, len(cells), INFERENCE_BATCH)
    ]
    found = torch.cat(ids).numpy().astype(np.uint16) if ids else np.zeros(0, np.uint16)
    found[cells == 0] = 0
    return found


def to_grids(cells: NDArray[np.uint64], known: NDArray[np.uint64], ids: NDArray[np.uint16]) -> NDArray[np.uint16]:
    """Return the grids of ids, shaped as the packed cells are; every non-empty cell is among ``known``, ascending."""
    positions = np.searchsorted(known, cells)
    positions[cells == 0] = 0
    return np.where(cells == 0, np.uint16(0), ids[positions])


def _planes(cells: NDArray[np.uint64]) -> torch.Tensor:
    planes = torch.from_numpy(unpack_cells(cells).astype(np.float32)).reshape(-1, 1, CELL_SIDE, CELL_SIDE)
    return planes.contiguous(memory_format=torch.channels_last)
