"""A run over rasters or grids, in batches: the fast way, or plainly, one stage after another."""

from __future__ import annotations

import stat
from collections import deque
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from vinocast.errors import RasterError, shown
from vinocast.glyphs.cells import GRID_SIDE, RASTER_SIDE
from vinocast.glyphs.chain import EMPTY, GlyphChain, Ranking, plain_cells
from vinocast.glyphs.rasters import decode_raster, suspicions

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from vinocast.recognition.inputs import Glyph
    from vinocast.recognition.nets import Nets
    from vinocast.recognition.results import Stages
    from vinocast.recognition.said import Counted

# Rasters read, and grids ranked, in one go of the fast way; how many such reads are under way beside the inference.
CHUNK = 64
AHEAD = 2
# A raster has some hundred bytes.
MOST_BYTES = 16 << 20


@dataclass(frozen=True)
class Batch:
    """Some glyphs, their grids uint16 [n, 16, 16] and their best labels."""

    glyphs: list[Glyph]
    grids: NDArray[np.uint16]
    ranking: Ranking


@dataclass(frozen=True)
class Read:
    """Some rasters [n, 128, 128], the glyphs they are of, what looks wrong with each, and what was with the others."""

    glyphs: list[Glyph]
    rasters: NDArray[np.uint8]
    suspicions: list[str | None]
    faults: list[str]


class Pipeline:
    """What a run computes with; ``plain`` runs take ``batch_size`` glyphs at a time.

    What is left out is counted in ``skipped``, what is recognised but looks wrong in ``doubted``.
    """

    def __init__(
        self,
        nets: Nets,
        ranks: int,
        batch_size: int,
        skipped: Counted,
        doubted: Counted,
        stages: Stages,
        *,
        plain: bool,
    ) -> None:
        self._primitives = nets.primitives
        self._phase1 = self._timed(nets.phase1, "phase1", "cells")
        self._chain = GlyphChain(self._phase1, self._timed(nets.phase2, "phase2", "top-k"), primitives=nets.primitives)
        self._ranks = ranks
        self._size = batch_size if plain else CHUNK
        self._plain = plain
        self._skipped = skipped
        self._doubted = doubted
        self._stages = stages

    def rasters(self, folder: Path, glyphs: Sequence[Glyph]) -> Iterator[Batch]:
        """Rank rasters of a folder; those that cannot be read are skipped."""
        for read in (self._read_in_turn if self._plain else self._read_ahead)(folder, glyphs):
            for fault in read.faults:
                self._skipped.add("that cannot be read", fault)
            for glyph, suspicion in zip(read.glyphs, read.suspicions, strict=True):
                if suspicion:
                    self._doubted.add(suspicion.partition(":")[0], f"{shown(glyph.file)} looks {suspicion}")
            with self._stages.measure("cells"):
                grids = (self._plain_grids if self._plain else self._chain.grids)(read.rasters)
            yield self._rank(read.glyphs, grids)

    def grids(self, grids: NDArray[np.uint16], glyphs: Sequence[Glyph]) -> Iterator[Batch]:
        """Rank rows of the grids [n, 16, 16]."""
        for chunk in _chunks(glyphs, self._size):
            with self._stages.measure("read"):
                taken = grids[[glyph.row for glyph in chunk]]
            for index in np.flatnonzero(taken.max(axis=(1, 2)) == EMPTY).tolist():
                self._doubted.add("blank", f"{shown(chunk[index].file)} looks blank: every cell is the empty one")
            yield self._rank(chunk, taken)

    def _read_ahead(self, folder: Path, glyphs: Sequence[Glyph]) -> Iterator[Read]:
        """Read the next rasters while these are computed."""
        coming: deque[Future[Read]] = deque()
        chunks = _chunks(glyphs, self._size)
        with ThreadPoolExecutor(1, "reader") as pool:
            while True:
                while len(coming) < AHEAD and (chunk := next(chunks, None)):
                    coming.append(pool.submit(self._read, folder, chunk))
                if not coming:
                    return
                with self._stages.measure("wait"):
                    read = coming.popleft().result()
                yield read

    def _read_in_turn(self, folder: Path, glyphs: Sequence[Glyph]) -> Iterator[Read]:
        return (self._read(folder, chunk) for chunk in _chunks(glyphs, self._size))

    def _read(self, folder: Path, chunk: Sequence[Glyph]) -> Read:
        with self._stages.measure("read"):
            return read_rasters(folder, chunk)

    def _plain_grids(self, rasters: NDArray[np.uint8]) -> NDArray[np.uint16]:
        """Every cell goes through Phase 1; nothing is remembered."""
        if not len(rasters):
            return self._chain.grids(rasters)
        cells, empty = plain_cells(rasters)
        ids: NDArray[np.uint16] = self._phase1(cells).argmax(axis=1).astype(np.uint16)
        ids[empty] = EMPTY
        return ids.reshape(-1, GRID_SIDE, GRID_SIDE)

    def _rank(self, glyphs: Sequence[Glyph], grids: NDArray[np.uint16]) -> Batch:
        """Rank grids [n, 16, 16]; those with an id that Phase 2 has not are skipped."""
        known = grids.max(axis=(1, 2), initial=EMPTY) < self._primitives
        for index in np.flatnonzero(~known).tolist():
            reason = f"{shown(glyphs[index].file)}: a primitive id beyond {self._primitives - 1}"
            self._skipped.add("with an unknown primitive id", reason)
        good = [glyphs[index] for index in np.flatnonzero(known).tolist()]
        with self._stages.measure("top-k"):
            return Batch(good, grids[known], self._chain.rank(grids[known], self._ranks))

    def _timed(
        self, net: Callable[[NDArray[Any]], NDArray[np.float32]], stage: str, within: str
    ) -> Callable[[NDArray[Any]], NDArray[np.float32]]:
        def infer(rows: NDArray[Any]) -> NDArray[np.float32]:
            with self._stages.measure(stage, within):
                return net(rows)

        return infer


def read_rasters(folder: Path, glyphs: Sequence[Glyph]) -> Read:
    """Read and decode the rasters of a folder; nothing is raised for one that cannot be."""
    rasters = np.empty((len(glyphs), RASTER_SIDE, RASTER_SIDE), np.uint8)
    good: list[Glyph] = []
    faults: list[str] = []
    for glyph in glyphs:
        try:
            rasters[len(good)] = decode_raster(_read_file(folder / glyph.file))
            good.append(glyph)
        except (RasterError, OSError) as error:
            faults.append(f"{shown(glyph.file)}: {error}")
    read = rasters[: len(good)]
    return Read(good, read, suspicions(read), faults)


def _read_file(path: Path) -> bytes:
    """Return what is in a file; raises RasterError for what could have no end."""
    status = path.stat()
    if not stat.S_ISREG(status.st_mode):
        raise RasterError("expected a file, got something else of this name")
    if status.st_size > MOST_BYTES:
        raise RasterError(f"expected a PNG of {MOST_BYTES} bytes at most, got {status.st_size}")
    return path.read_bytes()


def _chunks(glyphs: Sequence[Glyph], size: int) -> Iterator[Sequence[Glyph]]:
    return (glyphs[start : start + size] for start in range(0, len(glyphs), size))
