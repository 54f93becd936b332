"""``vinocast convert``."""

from __future__ import annotations

from pathlib import Path

import click

from vinocast.cli.options import Command
from vinocast.extras import missing_extra


@click.command(cls=Command)
@click.argument("source")
@click.option(
    "--output", type=click.Path(path_type=Path), required=True, metavar="DIR/NAME", help="The model's own folder."
)
@click.option(
    "--precision",
    type=click.Choice(["f32", "f16", "int8"]),
    default="f32",
    help="Of the stored weights; f16 halves the file, changes numbers by about 1e-3 and is no faster. int8 changes "
    "them by about 1e-2 of a series' deviation (worst seen: 0.19) and the MSE on ETTh1 by less than 0.1 %; it is 1.7 "
    "times as fast where the CPU has VNNI, and half as fast where it has not.",
)
@click.option(
    "--calibration",
    type=click.Path(path_type=Path),
    metavar="FILE.csv",
    help="For int8: values like those to be served, a header, a time column, one column per channel.  [default: "
    "the bundled examples/host.csv]",
)
@click.option("--channels", metavar="A,B,…", help="Names of the channels, in order; default: channel_0, channel_1, …")
def convert(source: str, output: Path, precision: str, calibration: Path | None, channels: str | None) -> None:
    """Convert SOURCE to an OpenVINO model.

    SOURCE is a folder or hub id of a Hugging Face forecaster; or a folder that 'vinocast train general' has written; or
    one of a glyph chain: checkpoints named phase1 and phase2 (.safetensors, .pt or .pth), label_map.json and chars.csv.
    """
    if calibration is not None and precision != "int8":
        raise click.UsageError("--calibration is for --precision int8 alone")
    try:
        from vinocast.export.convert import convert_forecaster
        from vinocast.export.glyphs.package import convert_glyphs, is_glyph_source
        from vinocast.training.general.package import convert_general, is_general_run
    except ModuleNotFoundError as error:
        raise missing_extra("convert", error) from error

    if is_glyph_source(Path(source)):
        if precision != "f32" or channels:
            raise click.UsageError("a glyph chain is converted in f32, and has no --channels")
        convert_glyphs(Path(source), output)
        click.echo(f"{output}: a glyph model; serve it with --models {output.parent}, a forecaster beside it", err=True)
        return
    names = channels.split(",") if channels else None
    if is_general_run(Path(source)):
        convert_general(Path(source), output, precision=precision, calibration=calibration, channels=names)
        return
    convert_forecaster(source, output, precision=precision, calibration=calibration, channels=names)
