"""Pictures of glyphs in any form, and characters of a font, become the rasters that the model was trained on."""

from __future__ import annotations

import io
from functools import cache

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image, ImageFont
from support import ROOT
from vinocast.errors import RasterError, RasterSizeError
from vinocast.glyphs.normalize import fit, raster_of_character, raster_of_image, raster_of_png
from vinocast.training.glyphs.charset import candidates
from vinocast.training.glyphs.render import FontRenderer, render

Colour = tuple[int, ...]
EXAMPLES = sorted((ROOT / "examples" / "rasters").glob("*.png"))


@cache
def example(name: str) -> NDArray[np.uint8]:
    return np.asarray(Image.open(ROOT / "examples" / "rasters" / name))


def drawn(raster: NDArray[np.uint8], size: int, canvas: int, ink: Colour, paper: Colour) -> Image.Image:
    """A raster's glyph with a larger side of ``size`` in the middle of a canvas, in colours."""
    glyph = Image.fromarray(raster)
    glyph = glyph.crop(glyph.getbbox())
    scale = size / max(glyph.size)
    glyph = glyph.resize((max(1, round(glyph.width * scale)), max(1, round(glyph.height * scale))), 1)
    mask = Image.new("L", (canvas, canvas))
    mask.paste(glyph, ((canvas - glyph.width) // 2, (canvas - glyph.height) // 2))
    mode = "RGBA" if len(ink) == 4 else "RGB"
    image = Image.new(mode, mask.size, paper)
    image.paste(Image.new(mode, mask.size, ink), (0, 0), mask)
    return image


def unlike(raster: NDArray[np.uint8], other: NDArray[np.uint8]) -> float:
    """The share of the pixels that two rasters have not in common, of those that are ink in either."""
    return float((raster != other).sum() / ((raster | other) > 0).sum())


WHITE, BLACK, RED, BLUE = (255, 255, 255), (0, 0, 0), (220, 30, 20), (30, 40, 200)


@pytest.mark.parametrize(
    ("ink", "paper"),
    [
        (WHITE, BLACK),
        (BLACK, WHITE),
        (RED, BLUE),
        ((0, 160, 0), (220, 60, 60)),
        ((40, 40, 40), BLACK),
        ((0, 0, 0, 255), (0, 0, 0, 0)),
        ((255, 255, 255, 255), (255, 255, 255, 0)),
        ((0, 0, 0, 255), (255, 255, 255, 255)),
    ],
)
@pytest.mark.parametrize(("size", "canvas"), [(96, 128), (240, 300), (700, 1000)])
def test_a_glyph_in_any_colours_and_place_becomes_its_raster(
    ink: Colour, paper: Colour, size: int, canvas: int
) -> None:
    for name in ("65_latin_866.png", "64424_init_388.png", "36_symbol_283.png"):
        raster = raster_of_image(drawn(example(name), size, canvas, ink, paper))
        assert set(np.unique(raster)) == {0, 255}
        assert unlike(raster, example(name)) < 0.08, name


def test_every_kind_of_picture_is_read() -> None:
    wanted = example("65_latin_866.png")
    plain = drawn(wanted, 240, 300, WHITE, BLACK)
    gray = np.asarray(plain.convert("L"))
    kinds = [plain.convert(mode) for mode in ("1", "L", "LA", "P", "CMYK", "I", "F", "YCbCr", "HSV")]
    kinds += [Image.fromarray((gray > 127).astype(np.uint8)), Image.fromarray(gray.astype(np.uint16) * 13)]
    kinds += [Image.fromarray(np.where(gray > 127, np.float32(np.inf), np.float32(-np.inf)))]
    kinds += [Image.fromarray(np.where(gray > 127, np.float32(7), np.float32(np.nan)))]
    for image in kinds:
        assert unlike(raster_of_image(image), wanted) < 0.08, image.mode


def test_what_is_right_stays_as_it_is() -> None:
    for path in EXAMPLES:
        raster = example(path.name)
        assert np.array_equal(raster_of_png(path.read_bytes()), raster), path.name
        mask = io.BytesIO()
        Image.fromarray(raster // 255).save(mask, "PNG")
        assert np.array_equal(raster_of_png(mask.getvalue()), raster), path.name
    inverted = [
        np.array_equal(raster_of_image(Image.fromarray(255 - example(path.name))), example(path.name))
        for path in EXAMPLES
    ]
    assert sum(inverted) >= 0.9 * len(EXAMPLES)


def test_a_crop_without_a_margin_is_right_where_its_ink_is_said() -> None:
    for path in EXAMPLES:
        glyph = Image.fromarray(example(path.name))
        crop = glyph.crop(glyph.getbbox())
        if max(crop.size) < 128:  # a diacritic, or a tip too thin to be seen
            continue
        assert np.array_equal(raster_of_image(crop, "bright"), example(path.name))
        dark = raster_of_image(crop.point(lambda value: 255 - value), "dark")
        assert np.array_equal(dark, example(path.name)), path.name


def test_a_diacritic_is_half_as_large_where_it_is_said() -> None:
    wanted = example("768_diacritic_877.png")
    assert unlike(raster_of_image(drawn(wanted, 240, 300, BLACK, WHITE), diacritic=True), wanted) < 0.08


@pytest.mark.parametrize(
    "image",
    [
        Image.new("L", (50, 60), 255),
        Image.new("L", (128, 128), 255),
        Image.new("RGBA", (99, 99), (9, 9, 9, 1)),
        Image.new("RGBA", (128, 128)),
        Image.new("I", (9, 9)),
    ],
)
def test_a_picture_of_one_colour_is_refused(image: Image.Image) -> None:
    with pytest.raises(RasterError, match="there is no ink"):
        raster_of_image(image)


def test_a_picture_that_is_as_transparent_all_over_is_read_by_its_colours() -> None:
    wanted = example("65_latin_866.png")
    image = drawn(wanted, 240, 300, BLACK, WHITE).convert("RGBA")
    image.putalpha(1)
    assert unlike(raster_of_image(image), wanted) < 0.08


def test_ink_counts_as_far_as_it_is_opaque() -> None:
    wanted = example("65_latin_866.png")
    image = drawn(wanted, 240, 300, BLACK, WHITE).convert("RGBA")
    image.paste((0, 0, 0, 0), (2, 2, 20, 20))  # black, and not to be seen
    assert unlike(raster_of_image(image), wanted) < 0.08


def test_strokes_too_thin_to_be_seen_are_refused() -> None:
    ring = np.zeros((3000, 3000), np.uint8)
    ring[100, 100:2900] = ring[2900, 100:2900] = ring[100:2900, 100] = ring[100:2900, 2900] = 255
    with pytest.raises(RasterError, match="too thin"):
        raster_of_image(Image.fromarray(ring))


def test_too_many_pixels_are_refused_before_one_is_decoded() -> None:
    with pytest.raises(RasterSizeError, match="expected from 1x1 to 4096x4096 pixels, got 4097x1"):
        raster_of_image(Image.new("L", (4097, 1)))
    file = io.BytesIO()
    Image.new("L", (1025, 8)).save(file, "PNG")
    with pytest.raises(RasterSizeError, match="to 1024x1024 pixels, got 1025x8"):
        raster_of_png(file.getvalue()[:60])


def test_fitting_keeps_proportions_and_fills_the_larger_side() -> None:
    for shape in ((300, 100), (20, 60), (1, 4000)):
        rows, columns = np.nonzero(fit(np.full(shape, 255, np.uint8), 128))
        if shape[0] > 1:
            assert max(rows.max(), columns.max()) == 127
            assert abs((rows.max() + 1) / (columns.max() + 1) / (shape[0] / shape[1]) - 1) < 0.05
    assert np.nonzero(fit(np.full((9, 9), 255, np.uint8), 64))[0].max() == 63


def embedded_font() -> ImageFont.FreeTypeFont:
    font = ImageFont.load_default(20)
    assert isinstance(font, ImageFont.FreeTypeFont)
    return font


@pytest.mark.slow
def test_characters_of_a_font_are_drawn_as_the_trainer_draws_them() -> None:
    font = embedded_font()
    renderer = FontRenderer(font.font_bytes)
    compared = []
    for character in candidates():
        outline = renderer.outline(character)
        rendered = render(outline, character.char_class) if outline is not None else None
        if rendered is not None and renderer.outline(character) is not None and character.shaped is None:
            raster = raster_of_character(font, chr(character.codepoint)) > 0
            compared.append(float((raster != rendered).sum() / (raster | rendered).sum()))
    assert len(compared) > 90
    assert np.median(compared) < 0.02
    assert max(compared) < 0.2


@pytest.mark.parametrize(
    ("character", "fault"), [("\u0628", "no such character"), (" ", "no ink"), ("\udcff", "no such")]
)
def test_characters_that_a_font_cannot_draw_are_refused(character: str, fault: str) -> None:
    with pytest.raises(RasterError, match=fault):
        raster_of_character(embedded_font(), character)
