"""PNGs of every kind become the pixels they show, or one clear error."""

from __future__ import annotations

import io
import struct
import zlib

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image, ImageFont
from png_support import chunk
from support import ROOT
from vinocast.errors import RasterError
from vinocast.glyphs.rasters import MOST_CHUNKS, decode_raster, suspicions
from vinocast.training.glyphs.charset import candidates
from vinocast.training.glyphs.render import FontRenderer, render

EXAMPLES = sorted((ROOT / "examples" / "rasters").glob("*.png"))
PIXELS = np.random.default_rng(3).choice(np.array([0, 255], np.uint8), (128, 128))


def png(image: Image.Image, **options: object) -> bytes:
    file = io.BytesIO()
    image.save(file, "PNG", **options)
    return file.getvalue()


@pytest.mark.parametrize("mode", ["L", "1", "P", "RGB", "RGBA", "LA"])
def test_white_on_black_is_the_same_in_every_mode(mode: str) -> None:
    assert np.array_equal(decode_raster(png(Image.fromarray(PIXELS).convert(mode))), PIXELS)


def test_transparency_is_black_and_dark_ink_on_it_is_ink() -> None:
    layers = np.dstack([np.full((128, 128), 255, np.uint8)] * 3 + [PIXELS])
    assert np.array_equal(decode_raster(png(Image.fromarray(layers))), PIXELS)
    layers[..., :3] = (20, 0, 60)
    assert np.array_equal(decode_raster(png(Image.fromarray(layers))), PIXELS)
    assert np.array_equal(decode_raster(png(Image.fromarray(PIXELS), transparency=255)), 255 - PIXELS)
    layers[..., 3] = 0
    assert not decode_raster(png(Image.fromarray(layers))).any()


@pytest.mark.parametrize("mode", ["L", "LA", "RGB", "RGBA"])
def test_a_mask_of_zeros_and_ones_is_ink(mode: str) -> None:
    assert np.array_equal(decode_raster(png(Image.fromarray(PIXELS // 255).convert(mode))), PIXELS)


@pytest.mark.parametrize("alpha", [1, 127, 254])
def test_a_picture_that_is_as_transparent_all_over_is_read_by_its_colours(alpha: int) -> None:
    image = Image.fromarray(PIXELS).convert("RGBA")
    image.putalpha(alpha)
    assert np.array_equal(decode_raster(png(image)), PIXELS)
    image.putalpha(0)
    assert not decode_raster(png(image)).any()


def test_a_dark_picture_without_transparency_stays_dark() -> None:
    dark = Image.fromarray(np.dstack([PIXELS // 255 * 40] * 3 + [np.full_like(PIXELS, 255)]))
    assert np.array_equal(decode_raster(png(dark)), PIXELS // 255 * 40)


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


@pytest.mark.parametrize("kind", [b"teSt", b"IDAT", b"PLTE", b"tRNS", b"zTXt", b"IHDR"])
def test_a_png_of_too_many_chunks_is_refused(kind: bytes) -> None:
    good = png(Image.fromarray(PIXELS))
    place = good.index(b"IDAT") - 4
    for count in (MOST_CHUNKS, 500_000):
        with pytest.raises(RasterError, match=f"at most {MOST_CHUNKS} chunks"):
            decode_raster(good[:place] + chunk(kind) * count + good[place:])
    before = good.count(b"IDAT") + 2  # with the first and the last
    fits = good[:place] + chunk(b"teSt") * (MOST_CHUNKS - before) + good[place:]
    assert np.array_equal(decode_raster(fits), PIXELS)


def examples() -> NDArray[np.uint8]:
    return np.stack([decode_raster(path.read_bytes()) for path in EXAMPLES])


def test_no_example_and_no_plain_rendering_is_suspected() -> None:
    font = ImageFont.load_default(32)
    assert isinstance(font, ImageFont.FreeTypeFont)
    renderer = FontRenderer(font.font_bytes)
    drawn = [(outline, c.char_class) for c in candidates() if (outline := renderer.outline(c)) is not None]
    rendered = [raster for outline, kind in drawn if (raster := render(outline, kind)) is not None]
    rasters = [*examples(), *(raster.astype(np.uint8) * np.uint8(255) for raster in rendered)]
    assert len(rasters) > 150
    assert {reason for reason in suspicions(np.stack(rasters)) if reason} == set()


def test_what_looks_wrong_is_named() -> None:
    raster = decode_raster((ROOT / "examples" / "rasters" / "65_latin_866.png").read_bytes())
    small = np.zeros_like(raster)
    small[16:112, 16:112] = np.asarray(Image.fromarray(raster).resize((96, 96)))
    corner = np.zeros_like(raster)
    corner[:96, :96] = small[16:112, 16:112]
    moved = np.pad(raster, ((9, 0), (0, 0)))[:128]
    white = np.full_like(raster, 255)
    wrong = np.stack([raster, 255 - raster, 255 - small, small, corner, moved, raster // 255 * 100, 0 * raster, white])
    found = [reason and reason.partition(":")[0] for reason in suspicions(wrong)]
    assert found == [None, "inverted", "inverted", "misplaced", "misplaced", "misplaced", "faint", "blank", "blank"]
    assert "columns 16 to" in str(suspicions(wrong)[3])
    assert suspicions(wrong[:0]) == []


def test_most_examples_are_suspected_where_they_are_inverted_or_small() -> None:
    rasters = examples()
    small = np.zeros_like(rasters)
    for raster, place in zip(rasters, small, strict=True):
        place[16:112, 16:112] = np.asarray(Image.fromarray(raster).resize((96, 96)))
    for wrong, share in ((small, 0.99), (255 - small, 0.9), (255 - rasters, 0.8)):
        assert sum(reason is not None for reason in suspicions(wrong)) >= share * len(rasters)
