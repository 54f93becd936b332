"""Rasters as files, of images and of the characters of a font: ``vinocast raster``."""

from __future__ import annotations

import io
import unicodedata
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from PIL import Image, ImageFont, ImageOps, UnidentifiedImageError

from vinocast.data.regular import open_input, read_input
from vinocast.errors import RasterError, SetupError
from vinocast.glyphs.normalize import MOST_SIDE, check_size, raster_of_character, raster_of_image
from vinocast.glyphs.rasters import DAMAGE

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    import numpy as np
    from numpy.typing import NDArray

    from vinocast.glyphs.normalize import Ink

    Maker = Callable[[], NDArray[np.uint8]]

FORMATS = ("PNG", "JPEG", "BMP", "GIF", "TIFF", "WEBP", "PPM")
FONT_SIZE = 64


def write_rasters(
    output: Path, images: Sequence[Path], font: Path | None, text: str, ink: Ink, *, diacritic: bool
) -> Iterator[Path]:
    """Write a raster for each image, named after it, and for each character of a font; yield their files.

    One that cannot be made does not keep the others from being made. Raises SetupError before anything is written where
    two rasters would have one name or one would replace its image, and at the end where some could not be made.
    """
    makers: dict[Path, tuple[Maker, str]] = {}
    for image in images:
        path = output / f"{image.stem}.png"
        if path in makers:
            raise SetupError(f"{image} and {makers[path][1]} would both become {path}: rename one")
        makers[path] = (partial(_read, image, ink, diacritic), str(image))
    inputs = {image.resolve() for image in images}
    replaced = next((path for path in makers if path.resolve() in inputs), None)
    if replaced:
        raise SetupError(f"{replaced} would replace an image: name another folder with --output")
    if font:
        opened = _open_font(font)
        for character in dict.fromkeys(text):
            path = output / f"U+{ord(character):04X}.png"
            makers[path] = (partial(raster_of_character, opened, character), f"{font}: {_name(character)}")
    yield from _write(output, makers)


def _write(output: Path, makers: dict[Path, tuple[Maker, str]]) -> Iterator[Path]:
    faults: list[str] = []
    try:
        output.mkdir(parents=True, exist_ok=True)
        for path, (make, source) in makers.items():
            try:
                raster = make()
            except RasterError as error:
                faults.append(f"{source}: {error}")
                continue
            Image.fromarray(raster).save(path)
            yield path
    except OSError as error:
        raise SetupError(f"{error.filename or output}: {error.strerror or error}") from error
    if faults:
        said = "\n  ".join(faults)
        raise SetupError(f"{len(faults)} of {len(makers)} rasters could not be made:\n  {said}")


def _read(path: Path, ink: Ink, diacritic: bool) -> NDArray[np.uint8]:
    try:
        with open_input(path) as file, Image.open(file, formats=FORMATS) as image:
            check_size(*image.size, MOST_SIDE)
            return raster_of_image(ImageOps.exif_transpose(image), ink, diacritic=diacritic)
    except UnidentifiedImageError:
        raise RasterError(f"expected an image ({', '.join(FORMATS)}), got other bytes") from None
    except DAMAGE as error:
        raise RasterError(f"the image cannot be read: {error}") from error


def _open_font(path: Path) -> ImageFont.FreeTypeFont:
    try:
        return ImageFont.truetype(io.BytesIO(read_input(path)), FONT_SIZE, layout_engine=ImageFont.Layout.BASIC)
    except (OSError, ValueError) as error:
        raise SetupError(f"{path}: expected a TrueType or OpenType font: {error}") from error


def _name(character: str) -> str:
    return f"U+{ord(character):04X} {unicodedata.name(character, '')}".rstrip()
