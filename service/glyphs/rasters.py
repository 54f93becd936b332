"""A raster from the bytes of a PNG: white ink on black, 128x128 pixels, one byte each."""

from __future__ import annotations

import io
import struct
import zlib

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from service.errors import RasterError, RasterSizeError
from service.glyphs.cells import RASTER_SIDE

# Every PNG begins with its signature and the chunk IHDR: length, name, width, height, bits, colour type.
HEADER = struct.Struct(">8s4x4sIIBB")
SIGNATURE = b"\x89PNG\r\n\x1a\n"
CHUNK, CRC_BYTES = struct.Struct(">I4s"), 4
PIXEL_CHUNKS = {b"PLTE", b"tRNS", b"IDAT", b"IEND"}
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

    Gray of 8 bits or fewer is taken as it is; colours become their luma; what is transparent lies on black. Raises
    RasterError for anything else, another size included, which is seen in the header before a pixel is decoded.
    """
    if len(png) < HEADER.size:
        raise RasterError(f"expected a PNG, got {len(png)} bytes")
    signature, chunk, width, height, bits, _ = HEADER.unpack_from(png)
    if signature != SIGNATURE or chunk != b"IHDR":
        raise RasterError("expected a PNG, got other bytes")
    if (width, height) != (RASTER_SIDE, RASTER_SIDE):
        raise RasterSizeError(f"expected {RASTER_SIDE}x{RASTER_SIDE} pixels, got {width}x{height}")
    if bits > 8:
        raise RasterError(f"expected a PNG of 8 bits a channel, got {bits}")
    try:
        with Image.open(io.BytesIO(_pixels_alone(png)), formats=("PNG",)) as image:
            return np.asarray(_gray(image))
    except DAMAGE as error:
        raise RasterError(f"the PNG is damaged: {error}") from error


def _pixels_alone(png: bytes) -> bytes:
    """Return a PNG without the chunks that say nothing of its pixels, which may be made to cost seconds to read.

    Of a second header, which could be of another size, nothing is left either.
    """
    kept, position = [png[: len(SIGNATURE)]], len(SIGNATURE)
    while position + CHUNK.size <= len(png):
        length, kind = CHUNK.unpack_from(png, position)
        end = position + CHUNK.size + length + CRC_BYTES
        if kind in PIXEL_CHUNKS or position == len(SIGNATURE):
            kept.append(png[position:end])
        position = end
        if kind == b"IEND":
            break
    return b"".join(kept)


def _gray(image: Image.Image) -> Image.Image:
    if image.mode == "L" and "transparency" not in image.info:
        return image
    if image.has_transparency_data:
        colours = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", colours.size, "black"), colours)
    return image.convert("L")
