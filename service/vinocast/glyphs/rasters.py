"""A raster from the bytes of a PNG: white ink on black, 128x128 pixels, one byte each; and what looks wrong."""

from __future__ import annotations

import io
import struct
import zlib
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from vinocast.errors import RasterError, RasterSizeError
from vinocast.glyphs.cells import RASTER_SIDE

# Every PNG begins with its signature and the chunk IHDR: length, name, width, height, bits, colour type.
HEADER = struct.Struct(">8s4x4sIIBB")
SIGNATURE = b"\x89PNG\r\n\x1a\n"
CHUNK, CRC_BYTES = struct.Struct(">I4s"), 4
# What writes a PNG makes chunks of some kB; of as many as fit into a raster's bytes each would take microseconds.
MOST_CHUNKS = 100
PIXEL_CHUNKS = {b"PLTE", b"tRNS", b"IDAT", b"IEND"}
# Bright enough to be ink.
INK = 128
DIACRITIC_SIDE = RASTER_SIDE // 2
# Of 21,000 plain renderings of 19 faces all but one begin within 4 pixels of the top left and end within 4 of their
# full side: a tip may be too thin to be seen. (The outline of one dot says that it is larger than it is.)
SLACK = 4
# No rendering that is brighter than this is so in three of its corners too, but those that a quarter turn leaves alike:
# squares, filled or hollow. Of the others' negatives 85 % are.
MOSTLY_INK = 0.625
TURNED = 0.03
# What Pillow raises for a damaged or hostile file, besides OSError.
DAMAGE = (
    AssertionError,
    EOFError,
    OSError,
    SyntaxError,
    ValueError,
    struct.error,
    zlib.error,
    Image.DecompressionBombError,
)


def decode_raster(png: bytes) -> NDArray[np.uint8]:
    """Return the pixels uint8 [128, 128] of a PNG.

    Gray of 8 bits or fewer is taken as it is, but a mask of 0 and 1 is one of 0 and 255; colours become their luma.
    What is transparent lies on black; where nothing is bright then, what is opaque is the ink, whatever its colour.
    Raises RasterError for anything else, another size included, which is seen in the header before a pixel is decoded.
    """
    width, height, bits = read_header(png)
    if (width, height) != (RASTER_SIDE, RASTER_SIDE):
        raise RasterSizeError(f"expected {RASTER_SIDE}x{RASTER_SIDE} pixels, got {width}x{height}")
    if bits > 8:
        raise RasterError(f"expected a PNG of 8 bits a channel, got {bits}")
    with open_png(png) as image:
        return to_gray(image)


def read_header(png: bytes) -> tuple[int, int, int]:
    """Return width, height and bits per channel, of which no pixel is decoded; raises RasterError for no PNG."""
    if len(png) < HEADER.size:
        raise RasterError(f"expected a PNG, got {len(png)} bytes")
    signature, chunk, width, height, bits, _ = HEADER.unpack_from(png)
    if signature != SIGNATURE or chunk != b"IHDR":
        raise RasterError("expected a PNG, got other bytes")
    return width, height, bits


@contextmanager
def open_png(png: bytes) -> Iterator[Image.Image]:
    """Open a PNG of which the header was found good; what is wrong with it, there or in the block, is a RasterError."""
    try:
        with Image.open(io.BytesIO(_pixels_alone(png)), formats=("PNG",)) as image:
            yield image
    except DAMAGE as error:
        raise RasterError(f"the PNG is damaged: {error}") from error


def to_gray(image: Image.Image) -> NDArray[np.uint8]:
    """Return a picture of 8 bits per channel as :func:`decode_raster` does a PNG, uint8 [h, w]."""
    pixels = _gray(image)
    return pixels * np.uint8(255) if pixels.max() == 1 else pixels


def suspicions(rasters: NDArray[np.uint8]) -> list[str | None]:
    """Return what looks wrong with each raster [n, 128, 128], or None where nothing does.

    A raster is recognized all the same; these are guesses, made so that no plain rendering of a font is suspected, but
    for a filled square: it looks as a white page does.
    """
    if not len(rasters):
        return []
    brightest, ink = rasters.max(axis=(1, 2)), rasters >= INK
    first, last = _ends(ink, 2)
    left, right = _ends(ink, 1)
    start, side = np.maximum(first, left), np.maximum(last, right)
    corners = ink[:, :: RASTER_SIDE - 1, :: RASTER_SIDE - 1].sum(axis=(1, 2))
    share = ink.mean(axis=(1, 2))
    white, bright = share == 1, (share > MOSTLY_INK) & (corners >= 3)
    bright[bright] = (ink[bright] != np.rot90(ink[bright], axes=(1, 2))).mean(axis=(1, 2)) > TURNED
    whole = (side >= RASTER_SIDE - SLACK) | (np.abs(side - DIACRITIC_SIDE) <= SLACK)
    found: list[str | None] = [None] * len(rasters)
    for index in np.flatnonzero(bright | white | (start > SLACK) | ~whole | (brightest < INK)).tolist():
        if brightest[index] < INK:
            faint = f"faint: its brightest pixel is {brightest[index]} of 255"
            found[index] = faint if brightest[index] else "blank: every pixel is black"
        elif white[index]:
            found[index] = "blank: every pixel is bright, as of a page without ink, or of a filled square"
        elif bright[index]:
            found[index] = "inverted: it is mostly bright, where ink is bright and all else black"
        else:
            found[index] = (
                f"misplaced: its ink lies in rows {first[index]} to {last[index] - 1} and columns {left[index]} to "
                f"{right[index] - 1}, where it begins at the top left and its larger side is {RASTER_SIDE} pixels, "
                f"or {DIACRITIC_SIDE} of a diacritic"
            )
    return found


def _ends(ink: NDArray[np.bool_], axis: int) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Return the first line along an axis that has ink, and the one behind the last, of rasters [n, 128, 128]."""
    lines = np.logical_or.reduce(ink, axis=axis)
    return lines.argmax(axis=1), RASTER_SIDE - lines[:, ::-1].argmax(axis=1)


def _pixels_alone(png: bytes) -> bytes:
    """Return a PNG without the chunks that say nothing of its pixels, which may be made to cost seconds to read.

    Of a second header, which could be of another size, nothing is left either. Raises RasterError for too many chunks.
    """
    kept, position, chunks = [png[: len(SIGNATURE)]], len(SIGNATURE), 0
    while position + CHUNK.size <= len(png):
        chunks += 1
        if chunks > MOST_CHUNKS:
            raise RasterError(f"expected a PNG of at most {MOST_CHUNKS} chunks: write it anew")
        length, kind = CHUNK.unpack_from(png, position)
        end = position + CHUNK.size + length + CRC_BYTES
        if kind in PIXEL_CHUNKS or position == len(SIGNATURE):
            kept.append(png[position:end])
        position = end
        if kind == b"IEND":
            break
    return b"".join(kept)


def _gray(image: Image.Image) -> NDArray[np.uint8]:
    if not image.has_transparency_data:
        return np.asarray(image.convert("L"))
    colours = image.convert("RGBA")
    gray = np.asarray(Image.alpha_composite(Image.new("RGBA", colours.size, "black"), colours).convert("L"))
    opaque = np.asarray(colours.getchannel("A"))
    if opaque.min() == opaque.max():  # which tells nothing of where the ink is
        return np.asarray(colours.convert("RGB").convert("L")) if opaque.max() else gray
    return gray if gray.max() >= INK else opaque
