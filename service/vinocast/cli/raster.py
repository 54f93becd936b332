"""``vinocast raster``."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import click

from vinocast.cli.options import Command
from vinocast.errors import shown


@click.command(cls=Command)
@click.argument("images", nargs=-1, metavar="[IMAGE]…", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option(
    "--output",
    type=click.Path(file_okay=False, path_type=Path),
    required=True,
    metavar="DIR",
    help="Folder to write to.",
)
@click.option(
    "--font",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    metavar="FILE",
    help="A TrueType or OpenType font, to draw the characters of --text from.",
)
@click.option(
    "--text",
    metavar="CHARACTERS",
    help="Each of these becomes a raster of its own, named after its code point. The joined form of an Arabic letter "
    "is a character too, such as U+FE91. A combining mark is a diacritic.",
)
@click.option(
    "--ink",
    type=click.Choice(["auto", "dark", "bright"]),
    default="auto",
    help="Of the images: auto takes for background what most of an image's border is; say dark or bright where the "
    "border is not background, as in a tight crop.",
)
@click.option("--diacritic", is_flag=True, help="The images are diacritics: their larger side becomes 64 pixels.")
def raster(
    images: tuple[Path, ...],
    output: Path,
    font: Path | None,
    text: str | None,
    ink: Literal["auto", "dark", "bright"],
    diacritic: bool,
) -> None:
    """Make rasters for glyph recognition of images of single glyphs, or of the characters of a font.

    A raster is a PNG of 128x128 pixels, white ink on black, scaled so that the glyph's larger side is 128 (64 for a
    diacritic) and placed at the top left: the geometry that the bundled model was trained on. Images may be of any size
    up to 4096x4096, of any colours, or ink on transparency.

    \b
      vinocast raster scan.png photo.jpg --output rasters      rasters/scan.png, rasters/photo.png
      vinocast raster --font Amiri.ttf --text 'AB٣' --output rasters    rasters/U+0041.png, …
    """
    if not images and text is None:
        raise click.UsageError("name images, or --font with --text")
    if (font is None) != (text is None):
        raise click.UsageError("--font and --text go together")
    from vinocast.glyphs.raster_files import write_rasters

    for path in write_rasters(output, images, font, text or "", ink, diacritic=diacritic):
        click.echo(shown(path))
