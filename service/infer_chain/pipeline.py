"""A run over rasters or grids, in batches: the fast way, or plainly, one stage after another."""

from __future__ import annotations

from collections import deque
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from service.errors import RasterError
from service.glyphs.cells import GRID_SIDE, RASTER_SIDE
from service.glyphs.chain import EMPTY, GlyphChain, Ranking, plain_cells, rank
from service.glyphs.rasters import decode_raster

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from service.infer_chain.inputs import Glyph
    from service.infer_chain.nets import Nets
    from service.infer_chain.report import Skipped, Stages

# Rasters read, and grids ranked, in one go of the fast way; how many such reads are under way beside the inference.
CHUNK = 64
AHEAD = 2


@dataclass(frozen=True)
class Batch:
    """Some glyphs, their grids uint16 [n, 16, 16] and their best labels."""

    glyphs: list[Glyph]
    grids: NDArray[np.uint16]
    ranking: Ranking


@dataclass(frozen=True)
class Read:
    """Some rasters [n, 128, 128], the glyphs they are of, and what was wrong with the others."""

    glyphs: list[Glyph]
    rasters: NDArray[np.uint8]
    faults: list[str]


@dataclass(frozen=True)
class Pipeline:
    """What a run computes with; ``plain`` runs take ``batch_size`` glyphs at a time."""

    nets: Nets
    ranks: int
    batch_size: int
    plain: bool
    skipped: Skipped
    stages: Stages

    def rasters(self, folder: Path, glyphs: Sequence[Glyph]) -> Iterator[Batch]:
        """Rank rasters of a folder; those that cannot be read are skipped."""
        return self._plain_rasters(folder, glyphs) if self.plain else self._fast_rasters(folder, glyphs)

    def grids(self, grids: NDArray[np.uint16], glyphs: Sequence[Glyph]) -> Iterator[Batch]:
        """Rank rows of the grids [n, 16, 16]; those with an id that Phase 2 has not are skipped."""
        for chunk in _chunks(glyphs, self.batch_size if self.plain else CHUNK):
            with self.stages.measure("read"):
                taken = grids[[glyph.row for glyph in chunk]]
                known = taken.reshape(len(chunk), -1).max(axis=1) < self.nets.primitives
            for glyph, fits in zip(chunk, known, strict=True):
                if not fits:
                    reason = f"{glyph.file}: a primitive id beyond {self.nets.primitives - 1}"
                    self.skipped.add("with an unknown primitive id", reason)
            if known.any():
                good = [glyph for glyph, fits in zip(chunk, known, strict=True) if fits]
                yield self._rank(good, taken[known])

    def _fast_rasters(self, folder: Path, glyphs: Sequence[Glyph]) -> Iterator[Batch]:
        """The next rasters are read while these are computed, and Phase 1 sees each distinct cell once."""
        chain = GlyphChain(self._timed(self.nets.phase1, "phase1", "cells"), self.nets.phase2)
        coming: deque[Future[Read]] = deque()
        chunks = _chunks(glyphs, CHUNK)
        with ThreadPoolExecutor(1, "reader") as pool:
            while True:
                while len(coming) < AHEAD and (chunk := next(chunks, None)):
                    coming.append(pool.submit(self._read, folder, chunk))
                if not coming:
                    return
                with self.stages.measure("wait"):
                    read = coming.popleft().result()
                self._say(read)
                with self.stages.measure("cells"):
                    grids = chain.grids(read.rasters)
                if read.glyphs:
                    yield self._rank(read.glyphs, grids)

    def _plain_rasters(self, folder: Path, glyphs: Sequence[Glyph]) -> Iterator[Batch]:
        """Every cell goes through Phase 1; nothing is remembered, nothing overlaps."""
        phase1 = self._timed(self.nets.phase1, "phase1", "cells")
        for chunk in _chunks(glyphs, self.batch_size):
            read = self._read(folder, chunk)
            self._say(read)
            if not read.glyphs:
                continue
            with self.stages.measure("cells"):
                cells, empty = plain_cells(read.rasters)
                ids = phase1(cells).argmax(axis=1).astype(np.uint16)
                ids[empty] = EMPTY
            yield self._rank(read.glyphs, ids.reshape(-1, GRID_SIDE, GRID_SIDE))

    def _rank(self, glyphs: list[Glyph], grids: NDArray[np.uint16]) -> Batch:
        logits = self._timed(self.nets.phase2, "phase2")(grids.astype(np.int64))
        with self.stages.measure("top-k"):
            return Batch(glyphs, grids, rank(logits, self.ranks))

    def _read(self, folder: Path, chunk: Sequence[Glyph]) -> Read:
        with self.stages.measure("read"):
            return read_rasters(folder, chunk)

    def _say(self, read: Read) -> None:
        for fault in read.faults:
            self.skipped.add("that cannot be read", fault)

    def _timed(
        self, net: Callable[[NDArray[Any]], NDArray[np.float32]], stage: str, within: str | None = None
    ) -> Callable[[NDArray[Any]], NDArray[np.float32]]:
        def infer(rows: NDArray[Any]) -> NDArray[np.float32]:
            with self.stages.measure(stage, within):
                return net(rows)

        return infer


def read_rasters(folder: Path, glyphs: Sequence[Glyph]) -> Read:
    """Read and decode the rasters of a folder; nothing is raised for one that cannot be."""
    rasters = np.empty((len(glyphs), RASTER_SIDE, RASTER_SIDE), np.uint8)
    good: list[Glyph] = []
    faults: list[str] = []
    for glyph in glyphs:
        try:
            rasters[len(good)] = decode_raster((folder / glyph.file).read_bytes())
            good.append(glyph)
        except (RasterError, OSError) as error:
            faults.append(f"{glyph.file}: {error}")
    return Read(good, rasters[: len(good)], faults)


def _chunks(glyphs: Sequence[Glyph], size: int) -> Iterator[Sequence[Glyph]]:
    return (glyphs[start : start + size] for start in range(0, len(glyphs), size))
