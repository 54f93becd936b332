"""A glyph model as the data plane sees it: grids or rasters in, ranked labels out."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any

import numpy as np

from vinocast.engine.batches import BatchedModel
from vinocast.engine.compile import compiling
from vinocast.engine.manifest import ModelFolder, golden_vectors
from vinocast.errors import SetupError
from vinocast.glyphs.chain import PHASE1_BATCHES, GlyphChain
from vinocast.glyphs.labels import Labels, parse_labels
from vinocast.glyphs.manifest import (
    CHARS_FILE,
    LABEL_MAP_FILE,
    PHASE1_IR_FILE,
    PHASE1_WEIGHTS_FILE,
    PHASE2_IR_FILE,
    PHASE2_WEIGHTS_FILE,
    GlyphsManifest,
)
from vinocast.glyphs.normalize import raster_of_png
from vinocast.glyphs.rasters import decode_raster, suspicions
from vinocast.requests import Candidate

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from numpy.typing import NDArray

    from vinocast.engine.compile import Compiler
    from vinocast.glyphs.chain import Ranking

# A forecast that comes while glyphs are recognized waits for so many of them at most. Of 8 together each takes a tenth
# less, which is not worth twice the wait.
MOST_GLYPHS = 4
SERVED_BATCHES = (1, MOST_GLYPHS)


class Recognizer:
    """One glyph chain, compiled and warm. For any thread: one computes, others wait.

    Attributes:
        most_glyphs: the most that one call may recognize.
    """

    most_glyphs = MOST_GLYPHS
    # Here and not imported by who asks: a service without glyphs need not load what reads a PNG.
    suspicions = staticmethod(suspicions)

    def __init__(self, folder: ModelFolder[GlyphsManifest]) -> None:
        self._folder = folder
        self._labels: Labels
        self._phase1: BatchedModel
        self._phase2: BatchedModel
        self._chain: GlyphChain
        self._lock = threading.Lock()

    @property
    def compiled_counts(self) -> list[int]:
        """The numbers of glyphs that Phase 2 is compiled for, ascending."""
        return list(SERVED_BATCHES)

    @property
    def precision(self) -> str:
        """Of the weights that are served."""
        return self._folder.manifest.precision

    @property
    def in_force(self) -> dict[str, Any]:
        """The properties read back from the compiled Phase 2."""
        return self._phase2.in_force

    @property
    def warnings(self) -> list[str]:
        """How what is in force in either net differs from what the profile asks for."""
        return list(dict.fromkeys([*self._phase1.warnings, *self._phase2.warnings]))

    def load(self, compiler: Compiler) -> None:
        """Verify the files, compile both nets and pass the self-test; raises ModelRefusedError."""
        files = self._folder.read()
        golden = golden_vectors(self._folder, files, "cells", "ids", "grids", "logits")
        try:
            self._labels = parse_labels(files[LABEL_MAP_FILE], files[CHARS_FILE], LABEL_MAP_FILE, CHARS_FILE)
        except SetupError as error:
            raise self._folder.refusal(str(error)) from error
        with compiling(self._folder.path):
            phase1 = compiler.read_bytes(files[PHASE1_IR_FILE], files[PHASE1_WEIGHTS_FILE])
            self._phase1 = BatchedModel(compiler, phase1, PHASE1_BATCHES)
            phase2 = compiler.read_bytes(files[PHASE2_IR_FILE], files[PHASE2_WEIGHTS_FILE])
            self._phase2 = BatchedModel(compiler, phase2, SERVED_BATCHES)
            self._self_test(*golden)
        self._chain = GlyphChain(self._phase1, self._phase2)

    def load_rest(self, compiler: Compiler, stop: Callable[[], bool]) -> None:
        """Do nothing: :meth:`load` has compiled every shape."""

    def summary(self) -> list[str]:
        """Return what ``doctor`` says of the model: what it is first, then its accuracy."""
        manifest = self._folder.manifest
        return [
            f"{manifest.labels} labels of glyphs; weights {manifest.precision}; hashes and golden vectors right; "
            f"compiled for {self.compiled_counts} glyphs",
            *(f"{metric}: {value:.4f}" for metric, value in manifest.metrics.items()),
        ]

    @staticmethod
    def raster(png: bytes, *, normalize: bool) -> NDArray[np.uint8]:
        """Return the pixels [128, 128] of a PNG, with ``normalize`` fitted to the geometry; raises RasterError."""
        return raster_of_png(png) if normalize else decode_raster(png)

    def recognize_rasters(self, rasters: NDArray[np.uint8], topk: int) -> tuple[list[list[Candidate]], float]:
        """Return what :meth:`recognize_grids` does, for rasters [n, 128, 128]."""
        with self._lock:
            before = self._phase1.seconds
            grids = self._chain.grids(rasters)
            seconds = self._phase1.seconds - before
        results, more = self.recognize_grids(grids, topk)
        return results, seconds + more

    def recognize_grids(self, grids: NDArray[np.uint16], topk: int) -> tuple[list[list[Candidate]], float]:
        """Return the ``topk`` best labels of each grid [n, 16, 16], and the seconds of infer().

        Of fewer labels than ``topk``, all are returned.
        """
        with self._lock:
            before = self._phase2.seconds
            ranking = self._chain.rank(grids, topk)
            seconds = self._phase2.seconds - before
        return self._candidates(ranking), seconds

    def places(self, results: Iterable[Iterable[Candidate]]) -> list[list[int]]:
        """Return the place of each label in the model's list of them."""
        return [[self._labels.places[candidate.label] for candidate in candidates] for candidates in results]

    def _candidates(self, ranking: Ranking) -> list[list[Candidate]]:
        names, bases = self._labels.names, self._labels.bases
        return [
            [
                Candidate(rank, names[label], bases[label], probability)
                for rank, (label, probability) in enumerate(zip(labels, probabilities, strict=True), 1)
            ]
            for labels, probabilities in zip(ranking.indices.tolist(), ranking.probabilities.tolist(), strict=True)
        ]

    def _self_test(
        self, cells: NDArray[np.float32], ids: NDArray[np.int64], grids: NDArray[np.int64], logits: NDArray[np.float32]
    ) -> None:
        """Run the golden vectors through both nets; raises ModelRefusedError when they do not come out."""
        tolerance = self._folder.manifest.golden_tolerance
        if logits.shape[1:] != (len(self._labels),) or not (0 < len(grids) == len(logits) and len(cells) > 0):
            raise self._folder.refusal(f"{len(self._labels)} labels, golden vectors of shape {list(logits.shape)}")
        if not np.array_equal(self._phase1(cells).argmax(axis=1), ids):
            raise self._folder.refusal("the golden cells come out as other primitives")
        worst = float(np.abs(self._phase2(grids) - logits).max())
        if not worst <= tolerance:
            raise self._folder.refusal(f"the golden grids come out {worst:.3g} away, more than {tolerance:.3g}")
