"""PNGs of every kind become the pixels they show, or one clear error."""

from __future__ import annotations

import io
import struct
import zlib

import numpy as np
import pytest
from PIL import Image

from service.errors import RasterError
from service.glyphs.rasters import decode_raster

PIXELS = np.random.default_rng(3).choice(np.array([0, 255], np.uint8), (128, 128))


def png(image: Image.Image, **options: object) -> bytes:
    file = io.BytesIO()
    image.save(file, "PNG", **options)
    return file.getvalue()


@pytest.mark.parametrize("mode", ["L", "1", "P", "RGB", "RGBA", "LA"])
def test_white_on_black_is_the_same_in_every_mode(mode: str) -> None:
    assert np.array_equal(decode_raster(png(Image.fromarray(PIXELS).convert(mode))), PIXELS)


def test_transparent_ink_is_no_ink() -> None:
    layers = np.dstack([np.full((128, 128), 255, np.uint8)] * 3 + [PIXELS])
    assert np.array_equal(decode_raster(png(Image.fromarray(layers))), PIXELS)
    assert not decode_raster(png(Image.fromarray(PIXELS), transparency=255)).any()


def test_gray_stays_gray() -> None:
    gray = np.random.default_rng(4).integers(0, 256, (128, 128), np.uint8)
    assert np.array_equal(decode_raster(png(Image.fromarray(gray))), gray)


GOOD = png(Image.fromarray(PIXELS))


@pytest.mark.parametrize(
    ("data", "fault"),
    [
        (b"", "expected a PNG, got 0 bytes"),
        (b"GIF89a" + bytes(100), "expected a PNG, got other bytes"),
        (GOOD[: len(GOOD) // 2], "damaged"),
        (GOOD[:100] + bytes([GOOD[100] ^ 255]) + GOOD[101:], "damaged"),
        (GOOD[:40], "damaged"),
        (png(Image.new("L", (64, 128))), "expected 128x128 pixels, got 64x128"),
        (png(Image.new("I;16", (128, 128))), "8 bits a channel, got 16"),
    ],
)
def test_other_bytes_are_refused_with_the_reason(data: bytes, fault: str) -> None:
    with pytest.raises(RasterError, match=fault):
        decode_raster(data)


def test_a_bomb_is_refused_by_its_header() -> None:
    header = b"IHDR" + struct.pack(">IIBBBBB", 60000, 60000, 8, 0, 0, 0, 0)
    bomb = GOOD[:8] + struct.pack(">I", 13) + header + struct.pack(">I", zlib.crc32(header)) + GOOD[33:]
    with pytest.raises(RasterError, match="60000x60000"):
        decode_raster(bomb)
