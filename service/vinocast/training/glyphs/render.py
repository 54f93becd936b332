"""A character of a font as a raster: 128x128, binary, its largest side scaled to the raster's, at the top left.

Outlines are filled by FreeType at four times the size, scaled down with LANCZOS and cut at one half. Without the
oversampling FreeType's exact coverage is cut at one half: 20 times as fast, and other in 10 pixels of some 3,000.
"""

from __future__ import annotations

import ctypes
import io
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import freetype
import numpy as np
import uharfbuzz as hb
from freetype import raw

from vinocast.glyphs.cells import RASTER_SIDE
from vinocast.glyphs.normalize import OVERSAMPLING, fit
from vinocast.glyphs.rasters import DIACRITIC_SIDE

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from vinocast.training.glyphs.charset import Character

# Units an em while an outline is distorted: fine enough that rounding is not seen in 512 pixels.
EM = 1 << 16
_NO_SCALE = freetype.FT_LOAD_NO_SCALE | freetype.FT_LOAD_NO_BITMAP


@dataclass(frozen=True)
class Distortion:
    """What is done to an outline.

    Attributes:
        aspect: widths are multiplied by it.
        slant: what is added to x for each unit of y.
        turn: in radians, against the clock.
        weight: how many ems bolder strokes get; lighter where negative.
    """

    aspect: float = 1.0
    slant: float = 0.0
    turn: float = 0.0
    weight: float = 0.0

    @property
    def matrix(self) -> NDArray[np.float64]:
        """The 2x2 matrix that maps a point of the plain outline."""
        cos, sin = math.cos(self.turn), math.sin(self.turn)
        shape = np.array([[self.aspect, self.slant], [0.0, 1.0]])
        return np.asarray(np.array([[cos, -sin], [sin, cos]]) @ shape)


PLAIN = Distortion()


class Outline(NamedTuple):
    """Points float64 [n, 2] in ems, y upwards, with FreeType's tags [n] and contour ends."""

    points: NDArray[np.float64]
    tags: NDArray[np.uint8]
    contours: NDArray[np.int16]


class FontRenderer:
    """Renders characters of one font, given as the bytes of a TrueType or OpenType file."""

    def __init__(self, data: bytes) -> None:
        self._face = freetype.Face(io.BytesIO(data))
        shaper = hb.Face(data)
        self._font = hb.Font(shaper)
        self._units = shaper.upem

    def outline(self, character: Character) -> Outline | None:
        """Return a character's outline, or None where the font does not have it.

        The glyph of its codepoint is preferred; a form that has none is shaped from its letters, as a text would be.
        """
        glyph = self._font.get_nominal_glyph(character.codepoint)
        placed = [(glyph, 0.0, 0.0)] if glyph else self._shape(character)
        outline = self._merge(placed) if placed else None
        return outline if outline is not None and len(outline.points) else None

    def _shape(self, character: Character) -> list[tuple[int, float, float]] | None:
        if character.shaped is None:
            return None
        placed = self._place(character.shaped)
        glyphs = [glyph for glyph, _, _ in placed]
        if not glyphs or 0 in glyphs:
            return None
        # A font that does not join its letters gives the isolated ones whatever is asked.
        isolated = [glyph for letter in character.base[::-1] for glyph, _, _ in self._place(letter)]
        joined = len(character.base) > 1 or character.char_class != "isol"
        return None if joined and glyphs == isolated else placed

    def _place(self, text: str) -> list[tuple[int, float, float]]:
        """Return the glyphs of a text and where their origins come, in font units, from left to right."""
        buffer = hb.Buffer()
        buffer.add_str(text)
        buffer.direction, buffer.script, buffer.language = "rtl", "Arab", "ar"
        buffer.flags = hb.BufferFlags.REMOVE_DEFAULT_IGNORABLES | hb.BufferFlags.DO_NOT_INSERT_DOTTED_CIRCLE
        hb.shape(self._font, buffer)
        placed, x, y = [], 0.0, 0.0
        for info, position in zip(buffer.glyph_infos, buffer.glyph_positions, strict=True):
            placed.append((info.codepoint, x + position.x_offset, y + position.y_offset))
            x, y = x + position.x_advance, y + position.y_advance
        return placed

    def _merge(self, placed: list[tuple[int, float, float]]) -> Outline:
        points, tags, contours, count = [], [], [], 0
        for glyph, x, y in placed:
            self._face.load_glyph(glyph, _NO_SCALE)
            outline = self._face._FT_Face.contents.glyph.contents.outline
            size, ends = outline.n_points, outline.n_contours
            if not size:
                continue
            # FreeType's own view of these units: a bitmap-only glyph has no points and never comes here.
            vectors = ctypes.cast(outline.points, ctypes.POINTER(ctypes.c_long * (2 * size))).contents
            points.append(np.array(vectors, np.float64).reshape(size, 2) + np.array([x, y]))
            tags.append(np.frombuffer(ctypes.string_at(outline.tags, size), np.uint8))
            raw_ends = ctypes.string_at(outline.contours, 2 * ends)
            contours.append(np.frombuffer(raw_ends, np.int16) + np.int16(count))
            count += size
        if not points:
            return Outline(np.zeros((0, 2)), np.zeros(0, np.uint8), np.zeros(0, np.int16))
        return Outline(np.concatenate(points) / self._units, np.concatenate(tags), np.concatenate(contours))


def render(
    outline: Outline, char_class: str, distortion: Distortion = PLAIN, oversampling: int = OVERSAMPLING
) -> NDArray[np.bool_] | None:
    """Return an outline as bool [128, 128], or None when nothing of it is seen."""
    side = DIACRITIC_SIDE if char_class == "diacritic" else RASTER_SIDE
    points = np.rint(outline.points @ distortion.matrix.T * EM).astype(np.int64)
    shape = _Shape(points, outline)
    if distortion.weight:
        shape.embolden(round(distortion.weight * EM))
    left, bottom, right, top = shape.box()
    extent = max(right - left, top - bottom)
    if extent <= 0 or extent > 64 * EM:
        return None
    canvas = side * oversampling
    scale = canvas * 64 / extent
    shape.points[:] = np.rint((shape.points - (left, top)) * scale).astype(np.int64) + np.array([0, canvas * 64])
    coverage = shape.fill(canvas)
    raster = fit(coverage, side)
    return raster if raster.any() else None


class _Shape:
    """An outline in FreeType's struct, over arrays of our own."""

    def __init__(self, points: NDArray[np.int64], outline: Outline) -> None:
        self.points = np.ascontiguousarray(points, np.dtype(ctypes.c_long))
        self._tags = np.ascontiguousarray(outline.tags)
        self._contours = np.ascontiguousarray(outline.contours)
        self._struct = raw.FT_Outline()
        fields = dict(self._struct._fields_)
        self._struct.n_points, self._struct.n_contours = len(self.points), len(self._contours)
        self._struct.points = self.points.ctypes.data_as(fields["points"])
        self._struct.tags = self._tags.ctypes.data_as(fields["tags"])
        self._struct.contours = self._contours.ctypes.data_as(fields["contours"])
        self._struct.flags = 0

    def embolden(self, strength: int) -> None:
        _check(raw.FT_Outline_Embolden(ctypes.byref(self._struct), strength))

    def box(self) -> tuple[int, int, int, int]:
        box = raw.FT_BBox()
        _check(raw.FT_Outline_Get_BBox(ctypes.byref(self._struct), ctypes.byref(box)))
        return box.xMin, box.yMin, box.xMax, box.yMax

    def fill(self, side: int) -> NDArray[np.uint8]:
        """Return the coverage, 0 to 255, uint8 [side, side], of an outline in 1/64 pixels."""
        pixels = np.zeros((side, side), np.uint8)
        bitmap = raw.FT_Bitmap()
        fields = dict(bitmap._fields_)
        bitmap.rows = bitmap.width = bitmap.pitch = side
        bitmap.num_grays, bitmap.pixel_mode = 256, freetype.FT_PIXEL_MODE_GRAY
        bitmap.buffer = pixels.ctypes.data_as(fields["buffer"])
        library = freetype.get_handle()
        _check(raw.FT_Outline_Get_Bitmap(library, ctypes.byref(self._struct), ctypes.byref(bitmap)))
        return pixels


def _check(error: int) -> None:
    if error:
        raise freetype.FT_Exception(error)
