"""``vinocast train glyphs``."""

from __future__ import annotations

import logging
import sys
from pathlib import Path
from typing import Any

import click

from vinocast.cli.options import Command, settings_options, threads_option
from vinocast.extras import missing_extra
from vinocast.training.glyphs.recipe import TEST, VALIDATION, Recipe


@click.command(cls=Command, group="train_")
@click.option("--fonts", type=click.Path(path_type=Path), required=True, metavar="DIR", help="Folder of fonts.")
@click.option("--output", type=click.Path(path_type=Path), required=True, metavar="DIR", help="Folder to write.")
@click.option(
    "--work", type=click.Path(path_type=Path), required=True, metavar="DIR", help="Folder of what lies between; 3 GB."
)
@click.option(
    "--test-family",
    multiple=True,
    default=TEST,
    show_default=False,
    metavar="NAME",
    help="Hold the families that begin so out, to measure on; may be repeated. Default: " + ", ".join(TEST) + ".",
)
@click.option(
    "--validation-family",
    multiple=True,
    default=VALIDATION,
    show_default=False,
    metavar="NAME",
    help="Hold them out to choose by; may be repeated. Default: " + ", ".join(VALIDATION) + ".",
)
@click.option("--unused-family", multiple=True, metavar="NAME", help="Pass the families over; may be repeated.")
@threads_option("Threads to compute with, and processes to render with; another number of threads rounds differently.")
@settings_options(Recipe)
def glyphs(
    fonts: Path,
    output: Path,
    work: Path,
    test_family: tuple[str, ...],
    validation_family: tuple[str, ...],
    unused_family: tuple[str, ...],
    threads: int,
    **recipe: Any,
) -> None:
    """Train the glyph chain on rasters of fonts: TrueType, OpenType and WOFF2 files, searched for in a whole folder.

    Writes a model folder: the IR of both phases, in int8 too, the weights, label_map.json, chars.csv and metrics.json,
    which says what was held out and how well unseen fonts are read. After an interruption the same command goes on
    where it was.
    """
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s", stream=sys.stderr)
    logging.getLogger("fontTools").setLevel(logging.ERROR)
    try:
        from vinocast.training.glyphs.split import HeldOut
        from vinocast.training.glyphs.train import train_chain
    except ModuleNotFoundError as error:
        raise missing_extra("train", error) from error

    held_out = HeldOut(test_family, validation_family, unused_family)
    metrics = train_chain(fonts, output, work, held_out, Recipe(**recipe), threads, workers=threads)
    test = metrics["test"]
    click.echo(
        f"{output}: {metrics['protocol']['labels']} labels, unseen fonts: top-1 {test['top1_grouped']:.4f} with labels "
        f"of one shape as one, {test['top1']:.4f} plain, top-5 {test['top5']:.4f}, over {test['rasters']} rasters"
    )
