"""Glyph chains as a kind of models."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeAlias

from vinocast.data.bundled import BUNDLED_GLYPHS
from vinocast.engine.kinds import Kind, ServedModel
from vinocast.glyphs.manifest import GlyphsManifest

if TYPE_CHECKING:
    from vinocast.engine.manifest import ModelFolder
    from vinocast.glyphs.recognizer import Recognizer

ServedRecognizer: TypeAlias = "ServedModel[GlyphsManifest, Recognizer]"


def _create(folder: ModelFolder[GlyphsManifest]) -> Recognizer:
    # In the loading thread, as importing openvino takes as long as compiling a model.
    from vinocast.glyphs.recognizer import Recognizer  # noqa: PLC0415

    return Recognizer(folder)


# On demand: a pipeline of forecasts should not pay for the glyph model in memory, nor in its first second.
GLYPHS: Kind[GlyphsManifest, Recognizer] = Kind(
    "glyphs", "glyph model", GlyphsManifest, _create, bundled=BUNDLED_GLYPHS, on_demand=True
)
