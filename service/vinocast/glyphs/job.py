"""Glyphs in the lane: what is computed, and how it is answered."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import numpy as np

from vinocast.engine.lane import TOO_LATE
from vinocast.errors import DeadlineExceededError, InvalidShapeError, InvalidValueError, RasterError, RasterSizeError
from vinocast.glyphs.cells import GRID_SIDE, PRIMITIVES, RASTER_SIDE
from vinocast.requests import Recognized

if TYPE_CHECKING:
    from typing import Any

    from numpy.typing import NDArray

    from vinocast.engine.ticket import Ticket
    from vinocast.glyphs.kind import ServedRecognizer
    from vinocast.glyphs.recognizer import Recognizer
    from vinocast.requests import Candidate, GridSource, RasterSource

# A raster takes some 60 us to decode, a grid some 20.
DECODED_TOGETHER = 32
# Warnings in a reply; of more, their number is said.
MOST_WARNINGS = 16


class GlyphsJob:
    """One request for glyphs in the lane, which are decoded in parts, and recognized in parts.

    What is wrong with any glyph is found before the first is recognized.

    Args:
        ticket: what awaits the reply.
        model: what recognizes them.
        topk: labels wanted of each glyph, the likeliest first.
        grids, rasters: the glyphs, of which exactly one is given.
        normalize: whether rasters are fitted to the geometry first.
        ids: whether the labels' places in the model's list are answered too.
        deadline: the moment of ``time.monotonic`` after which the answer is not wanted.
    """

    def __init__(
        self,
        ticket: Ticket,
        model: ServedRecognizer,
        topk: int,
        *,
        grids: GridSource | None = None,
        rasters: RasterSource | None = None,
        normalize: bool = False,
        ids: bool = False,
        deadline: float | None = None,
    ) -> None:
        self.ticket = ticket
        self._model = model
        self._topk = topk
        self._grids = grids
        self._rasters = rasters
        self._normalize = normalize
        self._ids = ids
        self._deadline = deadline
        self._decoded = time.monotonic()
        self._warnings: list[str] = []
        self._suspected = 0
        self._started: float | None = None
        self._arrays: list[NDArray[Any]] = []
        self._results: list[list[Candidate]] = []
        self._inference_seconds = 0.0

    @property
    def model(self) -> ServedRecognizer:
        """What computes it."""
        return self._model

    @property
    def rows(self) -> int:
        """Glyphs to recognize."""
        return len(self._grids or self._rasters or ())

    @property
    def nbytes(self) -> int:
        """Bytes of memory that it takes at most: what came, and what that is decoded to."""
        if self._grids is not None:
            return self._grids.parsed_bytes + len(self._grids) * GRID_SIDE * GRID_SIDE * 2
        return self._rasters.parsed_bytes + len(self._rasters) * RASTER_SIDE * RASTER_SIDE if self._rasters else 0

    def runnable(self) -> bool:
        """Whether the model has loaded or failed to."""
        return self._model.settled

    def run_part(self) -> bool:
        """Decode or recognize some glyphs; answer after the last. Whatever goes wrong ends this request alone."""
        now = time.monotonic()
        if self._deadline is not None and now > self._deadline:
            done = f"deadline_ms: the deadline passed after {len(self._results)} of {self.rows} glyphs"
            self.ticket.refuse(DeadlineExceededError(done if self._results else TOO_LATE, "deadline_ms"))
            return True
        if self._started is None:
            self._started = now
        try:
            recognizer = self._model.loaded()
            if len(self._arrays) < self.rows:
                self._decode(recognizer, len(self._arrays))
                return False
            self._recognize(recognizer, len(self._results))
            if len(self._results) < self.rows:
                return False
        except Exception as error:  # noqa: BLE001 - one request must not end the service
            self.ticket.fail(error)
        else:
            if self._suspected > len(self._warnings):
                field = "rasters" if self._grids is None else "grids"
                self._warnings.append(f"{field}: {self._suspected - len(self._warnings)} more look wrong")
            seconds = self._started - self._decoded
            ids = recognizer.places(self._results) if self._ids else ()
            self.ticket.succeed(
                Recognized(
                    self._model.label,
                    self._inference_seconds,
                    seconds,
                    self._results,
                    self._warnings,
                    ids,
                    version=self._model.folder.version,
                )
            )
        return True

    def _decode(self, recognizer: Recognizer, start: int) -> None:
        # A picture that is to be fitted may take as long as all the others together.
        part = range(start, min(self.rows, start + (1 if self._normalize else DECODED_TOGETHER)))
        if self._grids is not None:
            for index in part:
                grid = self._grids.grid(index, GRID_SIDE, PRIMITIVES)
                self._arrays.append(grid)
                if not grid.any():
                    self._suspect(f"{self._grids.path(index)}: blank: every cell is the empty one")
        elif self._rasters is not None:
            self._decode_rasters(recognizer, self._rasters, part)

    def _decode_rasters(self, recognizer: Recognizer, source: RasterSource, part: range) -> None:
        rasters = []
        for index in part:
            png, path = source.png(index), source.path(index)
            try:
                rasters.append(recognizer.raster(png, normalize=self._normalize))
            except RasterError as error:
                refusal = InvalidShapeError if isinstance(error, RasterSizeError) else InvalidValueError
                raise refusal(f"{path}: {error}", path) from None
        self._arrays += rasters
        mend = (
            "leave a margin of background around it"
            if self._normalize
            else '"normalize": true fits one of any place and colours'
        )
        for index, suspicion in zip(part, recognizer.suspicions(np.stack(rasters)), strict=True):
            if suspicion:
                self._suspect(f"{source.path(index)}: {suspicion}; {mend}")

    def _suspect(self, warning: str) -> None:
        self._suspected += 1
        if len(self._warnings) < MOST_WARNINGS:
            self._warnings.append(warning)

    def _recognize(self, recognizer: Recognizer, start: int) -> None:
        part = np.stack(self._arrays[start : start + recognizer.most_glyphs])
        recognize = recognizer.recognize_rasters if self._grids is None else recognizer.recognize_grids
        results, seconds = recognize(part, self._topk)
        self._results += results
        self._inference_seconds += seconds
