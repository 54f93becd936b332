"""Any picture of a glyph, or a character of a font, as a raster in the geometry that the model was trained on.

Larger side 128 pixels, 64 for a diacritic; at the top left; ink 255 on 0, cut at one half after scaling with LANCZOS.
"""

from __future__ import annotations

import unicodedata
from typing import TYPE_CHECKING, Literal

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from vinocast.errors import RasterError, RasterSizeError
from vinocast.glyphs.cells import RASTER_SIDE
from vinocast.glyphs.rasters import DAMAGE, DIACRITIC_SIDE, INK, open_png, read_header, suspicions, to_gray

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Ink = Literal["auto", "dark", "bright"]

# The longest side of a PNG on the wire: one of 1024x1024 takes 13 ms of a core in gray and 30 to 45 in colours, in
# which nothing else is answered.
MOST_WIRE_SIDE = 1024
# The longest side of any other picture.
MOST_SIDE = 4096
# A character is drawn at four times its size, and its size is found by drawing it so large.
OVERSAMPLING = 4
TRIAL_SIZE, MOST_SIZE = 512, 16384
# A code point that no font has a glyph of.
NOBODY = "\U0010ffff"


def fit(coverage: NDArray[np.uint8], side: int = RASTER_SIDE) -> NDArray[np.bool_]:
    """Return coverage [h, w], 0 to 255, as bool [128, 128]: scaled to a larger side of ``side``, at the top left.

    It is scaled with LANCZOS and cut at one half; strokes that are much thinner than a pixel then are lost.
    """
    height, width = coverage.shape
    extent = max(height, width)
    square = np.zeros((extent, extent), np.uint8)
    square[:height, :width] = coverage
    raster = np.zeros((RASTER_SIDE, RASTER_SIDE), np.bool_)
    raster[:side, :side] = np.asarray(Image.fromarray(square).resize((side, side), Image.Resampling.LANCZOS)) > 127
    return raster


def raster_of_image(
    image: Image.Image, ink: Ink = "auto", *, diacritic: bool = False, most_side: int = MOST_SIDE
) -> NDArray[np.uint8]:
    """Return a picture of one glyph, of any mode and size, as a raster uint8 [128, 128] of 0 and 255.

    What most of the picture's border is, is background: transparency, or a colour; what differs from it by more than
    half of the largest difference is ink. A crop that leaves no margin has its ink on its border: say its ``ink``,
    "dark" or "bright", then. A picture of 128x128 pixels that already is in the geometry is left as it is.

    Raises:
        RasterSizeError: a side of more than ``most_side`` pixels, which is seen before a pixel is decoded.
        RasterError: a damaged picture, one without ink, or with strokes too thin to be seen at this size.
    """
    check_size(*image.size, most_side)
    try:
        image.load()
    except DAMAGE as error:
        raise RasterError(f"the picture is damaged: {error}") from error
    if image.mode[0] in "IF":
        image = _eight_bits(image)
    given = image.size == (RASTER_SIDE, RASTER_SIDE) and ink == "auto" and not diacritic
    if given and _is_right(raster := to_gray(image)):
        return _binary(raster >= INK)
    coverage = _coverage(image, ink)
    if given and _is_right(coverage):
        return _binary(coverage >= INK)
    return _binary(_checked(fit(_crop(coverage), DIACRITIC_SIDE if diacritic else RASTER_SIDE)))


def raster_of_png(png: bytes) -> NDArray[np.uint8]:
    """Return what :func:`raster_of_image` does, of a PNG of at most 1024x1024 pixels and 16 bits per channel."""
    width, height, _ = read_header(png)
    check_size(width, height, MOST_WIRE_SIDE)
    with open_png(png) as image:
        return raster_of_image(image)


def raster_of_character(font: ImageFont.FreeTypeFont, character: str) -> NDArray[np.uint8]:
    """Return one character of a font as a raster uint8 [128, 128] of 0 and 255; a nonspacing mark is a diacritic.

    A joined form of an Arabic letter is a character of its own, such as U+FE91, the initial form of beh.
    Raises RasterError where the font has no such character, or nothing of it is seen.
    """
    # The glyph of this very code point; a shaper would put a mark on a dotted circle.
    font = font.font_variant(size=TRIAL_SIZE, layout_engine=ImageFont.Layout.BASIC)
    side = DIACRITIC_SIDE if unicodedata.category(character) == "Mn" else RASTER_SIDE
    try:
        if _drawn(font, character) == _drawn(font, NOBODY):
            raise RasterError("the font has no such character")
        left, top, right, bottom = font.getbbox(character)
        extent = max(right - left, bottom - top, 1)
        large = font.font_variant(size=min(MOST_SIZE, TRIAL_SIZE * side * OVERSAMPLING / extent))
        left, top, right, bottom = large.getbbox(character)
        image = Image.new("L", (int(right - left), int(bottom - top)))
        ImageDraw.Draw(image).text((-left, -top), character, fill=255, font=large)
    except DAMAGE as error:
        raise RasterError(f"the font does not draw it: {error}") from error
    return _binary(_checked(fit(_crop(np.asarray(image)), side)))


def check_size(width: int, height: int, most: int) -> None:
    """Raise RasterSizeError for a picture without pixels, or with a side of more than ``most``."""
    if not (0 < width <= most and 0 < height <= most):
        raise RasterSizeError(f"expected from 1x1 to {most}x{most} pixels, got {width}x{height}")


def _eight_bits(image: Image.Image) -> Image.Image:
    """Return a picture of 16 bits and more in 256 shades; how far its own go is not known, so they are stretched."""
    values = np.nan_to_num(np.asarray(image, np.float64), posinf=1e30, neginf=-1e30)
    low, high = float(values.min()), float(values.max())
    return Image.fromarray(np.rint((values - low) * (255 / max(high - low, 1e-30))).astype(np.uint8))


def _coverage(image: Image.Image, ink: Ink) -> NDArray[np.uint8]:
    """Return how much each pixel differs from the background, 255 for the largest difference, [h, w]."""
    mode = "RGBA" if image.has_transparency_data else "L" if image.mode in {"1", "L"} else "RGB"
    bands = [np.asarray(band) for band in image.convert(mode).split()]
    opaque = bands.pop() if mode == "RGBA" else None
    if opaque is not None and opaque.min() == opaque.max() > 0:  # which tells nothing of where the ink is
        opaque = None
    if opaque is not None and ink == "auto" and np.median(_border(opaque)) < INK:
        return _stretched(opaque)
    strongest = np.zeros(bands[0].shape, np.uint8)
    for band in bands:
        border = _border(band) if opaque is None else _border(band)[_border(opaque) >= INK]
        background = np.uint8(np.median(border) if ink == "auto" else 255 if ink == "dark" else 0)
        difference = np.maximum(band, background) - np.minimum(band, background)
        np.maximum(strongest, difference, out=strongest)
    if opaque is not None:
        strongest = (strongest.astype(np.uint16) * opaque // 255).astype(np.uint8)
    return _stretched(strongest)


def _border(pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Return the outermost pixels [n] of a picture [h, w]."""
    return np.concatenate([pixels[0], pixels[-1], pixels[1:-1, 0], pixels[1:-1, -1]])


def _stretched(strength: NDArray[np.uint8]) -> NDArray[np.uint8]:
    peak = int(strength.max())
    if not peak:
        raise RasterError("there is no ink: the picture is of one colour all over")
    if peak == 255:
        return strength
    stretched: NDArray[np.uint8] = np.rint(np.arange(256) * (255 / peak)).clip(max=255).astype(np.uint8)[strength]
    return stretched


def _is_right(raster: NDArray[np.uint8]) -> bool:
    return suspicions(raster[None]) == [None]


def _crop(coverage: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Return the part of a picture that holds its ink."""
    ink = coverage > 127
    rows, columns = np.flatnonzero(np.logical_or.reduce(ink, axis=1)), np.flatnonzero(np.logical_or.reduce(ink, axis=0))
    if not len(rows):
        raise RasterError("there is no ink: nothing of it is seen")
    return coverage[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]


def _checked(raster: NDArray[np.bool_]) -> NDArray[np.bool_]:
    if not raster.any():
        raise RasterError(f"its strokes are too thin to be seen at {RASTER_SIDE} pixels: draw them bolder")
    return raster


def _binary(raster: NDArray[np.bool_]) -> NDArray[np.uint8]:
    return raster.astype(np.uint8) * np.uint8(255)


def _drawn(font: ImageFont.FreeTypeFont, character: str) -> tuple[tuple[int, int], bytes]:
    mask = font.getmask(character)
    return mask.size, bytes(mask)
