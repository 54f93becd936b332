"""The bundled chain in one process, asked from several threads."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray
from support import MODELS, in_threads
from vinocast.engine.compile import Compiler
from vinocast.engine.cpu import cpu_budget
from vinocast.engine.manifest import ModelFolder
from vinocast.engine.profiles import PROFILES
from vinocast.glyphs.manifest import GlyphsManifest
from vinocast.glyphs.recognizer import Recognizer
from vinocast.kinds import open_model


def load() -> Recognizer:
    folder = open_model(MODELS / "glyphs")
    assert isinstance(folder.manifest, GlyphsManifest)
    recognizer = Recognizer(ModelFolder(folder.path, folder.manifest))
    recognizer.load(Compiler(PROFILES["native"], cpu_budget()))
    return recognizer


def drawing(rng: np.random.Generator) -> NDArray[np.uint8]:
    """White rectangles on black."""
    raster = np.zeros((128, 128), np.uint8)
    for top, left, height, width in rng.integers((0, 0, 8, 8), (96, 96, 64, 64), (5, 4)):
        raster[top : top + height, left : left + width] ^= 255
    return raster


@pytest.mark.slow
def test_threads_get_the_labels_of_their_own_rasters() -> None:
    rng = np.random.default_rng(7)
    rasters = [np.stack([drawing(rng) for _ in range(3)]) for _ in range(8)]
    alone = load()
    expected = [alone.recognize_rasters(own, 3)[0] for own in rasters]
    shared = load()  # which has seen no cell yet
    answers = in_threads(lambda index: [shared.recognize_rasters(rasters[index], 3) for _ in range(4)])
    for results, own in zip(answers, expected, strict=True):
        for result, seconds in results:
            assert seconds > 0
            assert [[best.label for best in glyph] for glyph in result] == [
                [best.label for best in glyph] for glyph in own
            ]
            for glyph, expected_glyph in zip(result, own, strict=True):
                probabilities = [best.prob for best in glyph]
                assert probabilities == pytest.approx([best.prob for best in expected_glyph], abs=1e-4)
