"""What comes of a run: a line for each glyph, JSON lines, accuracy, times."""

from __future__ import annotations

import os
import stat
import time
from collections import defaultdict
from contextlib import contextmanager
from typing import IO, TYPE_CHECKING

import numpy as np
import orjson

from vinocast.errors import SetupError, as_text, shown
from vinocast.glyphs.labels import UNKNOWN_BASE
from vinocast.recognition.said import say

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import NDArray

    from vinocast.glyphs.chain import Ranking
    from vinocast.glyphs.labels import Labels
    from vinocast.recognition.inputs import Glyph

# What the accuracy line calls top5, however many labels are asked for.
TOP = 5
# In place of the index of a true label: there is one that the model lacks, and there is none.
NOT_HAD, NOT_SAID = -1, -2


class Stages:
    """Seconds of each stage, each stage measured by one thread."""

    def __init__(self) -> None:
        self.seconds: defaultdict[str, float] = defaultdict(float)

    @contextmanager
    def measure(self, stage: str, within: str | None = None) -> Iterator[None]:
        """Add the time of the block to a stage, and take it from the one that it lies within."""
        start = time.perf_counter()
        try:
            yield
        finally:
            seconds = time.perf_counter() - start
            self.seconds[stage] += seconds
            if within:
                self.seconds[within] -= seconds

    def __str__(self) -> str:
        return " ".join(f"{stage}={seconds:.3f}s" for stage, seconds in self.seconds.items())


class ResultWriter:
    """Takes the answers in batches; writes them, prints them, counts what was right."""

    def __init__(self, labels: Labels, topk: int, output: IO[bytes] | None, *, quiet: bool, show_grid: bool) -> None:
        self._labels = labels
        self._topk = topk
        self._output = output
        self._quiet = quiet
        self._show_grid = show_grid
        if output and stat.S_ISREG(os.fstat(output.fileno()).st_mode):
            output.truncate(0)  # opened to append, so that a run that cannot begin loses nothing
        self._index = {name: position for position, name in enumerate(labels.names)}
        self.recognised = 0
        self.samples = 0
        self.top1 = 0
        self.top5 = 0

    @property
    def ranks(self) -> int:
        """How many labels per glyph it needs."""
        return max(self._topk, TOP)

    def add(self, glyphs: Sequence[Glyph], ranking: Ranking, grids: NDArray[np.uint16]) -> None:
        """Take the answers to some glyphs, of which the grids [n, 16, 16] may be shown."""
        # A label that the model lacks is in no ranking, and so a miss.
        true = [self._index.get(glyph.label, NOT_HAD) if glyph.label else NOT_SAID for glyph in glyphs]
        hits = ranking.indices == np.array(true, np.int64).reshape(-1, 1)
        self.recognised += len(glyphs)
        self.samples += len(glyphs) - true.count(NOT_SAID)
        self.top1 += int(hits[:, 0].sum())
        self.top5 += int(hits[:, :TOP].any(axis=1).sum())
        indices = ranking.indices[:, : self._topk].tolist()
        if self._output:
            probabilities = ranking.probabilities[:, : self._topk].tolist()
            with self._writing():
                self._output.write(b"".join(self._lines(glyphs, indices, probabilities)))
        if not self._quiet:
            self._print(glyphs, true, indices, grids)

    def flush(self) -> None:
        """Write out what is buffered."""
        if self._output:
            with self._writing():
                self._output.flush()

    @contextmanager
    def _writing(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise SetupError(f"--output_json: {error.strerror}") from error

    def _lines(
        self, glyphs: Sequence[Glyph], indices: list[list[int]], probabilities: list[list[float]]
    ) -> Iterator[bytes]:
        names, bases = self._labels.names, self._labels.bases
        for glyph, best, shares in zip(glyphs, indices, probabilities, strict=True):
            topk = [
                {"rank": rank, "label": names[index], "base": bases[index], "prob": round(share, 7)}
                for rank, (index, share) in enumerate(zip(best, shares, strict=True), 1)
            ]
            line: dict[str, object] = {"file": as_text(glyph.file), "topk": topk}
            if glyph.glyph_id is not None:
                line["glyph_id"] = glyph.glyph_id
            yield orjson.dumps(line, option=orjson.OPT_APPEND_NEWLINE)

    def _print(
        self, glyphs: Sequence[Glyph], true: list[int], indices: list[list[int]], grids: NDArray[np.uint16]
    ) -> None:
        bases = self._labels.bases
        lines = []
        for glyph, label, best, grid in zip(glyphs, true, indices, grids, strict=True):
            mark = "" if label == NOT_SAID else " ✅" if best[0] == label else " ❗" if label in best else " ❌"
            base = bases[label] if label >= 0 else UNKNOWN_BASE
            ranked = ", ".join(bases[index] for index in best)
            lines.append(f"{base} -> {bases[best[0]]} [{ranked}] ({shown(glyph.file)}){mark}")
            if self._show_grid:
                lines += [" ".join(f"{primitive:4d}" for primitive in row) for row in grid.tolist()]
        if lines:
            say("\n".join(lines))

    def summary(self) -> str:
        """Return the line of the accuracy, which is that of the glyphs whose label is said."""
        top1, top5 = (hits / self.samples if self.samples else float("nan") for hits in (self.top1, self.top5))
        unlabelled = self.recognised - self.samples
        return (
            f"[SUMMARY] samples={self.samples} top1_acc={top1:.4f} top5_contains_rate={top5:.4f} "
            f"top1_matches={self.top1} top5_contains={self.top5}{f' unlabelled={unlabelled}' if unlabelled else ''}"
        )
