"""The ``vinocast`` program: every command, every option, once.

An option is also an environment variable, and the help page of each command shows it: ``VINOCAST_PORT`` for a setting
of the services, wherever it is taken; ``VINOCAST_TUNE_ROUNDS`` for an option that one command alone has. A command
imports what it needs when it runs, so that ``stdio`` starts without a web framework.
"""

from __future__ import annotations

import dataclasses
import errno
import io
import itertools
import logging
import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeVar, get_type_hints

import click

from vinocast import __version__
from vinocast.engine.tuned import find_profile
from vinocast.errors import SetupError
from vinocast.extras import missing_extra
from vinocast.settings import HttpSettings, Settings, StdioSettings
from vinocast.variables import find_strangers, own_variables, pass_over_links, variable

if TYPE_CHECKING:
    from vinocast.data.etth1 import Split

F = TypeVar("F", bound=Callable[..., Any])
# Under this name a context holds what is to be said of the environment.
NOTICES = "vinocast.notices"
log = logging.getLogger(__name__)

CONTEXT = {
    "help_option_names": ["-h", "--help"],
    "show_default": True,
    "max_content_width": 100,
}


class Command(click.Command):
    """A command whose options have environment variables, and whose errors end with a sentence and exit code 1.

    Args:
        group: of the commands that it belongs to, for the names of its variables.
        logs: whether it calls :func:`start_service`, which then says what is wrong with the environment.
    """

    def __init__(self, *args: Any, group: str = "", logs: bool = False, **kwargs: Any) -> None:
        kwargs["context_settings"] = CONTEXT | kwargs.get("context_settings", {})
        super().__init__(*args, **kwargs)
        self._logs = logs
        for parameter in self.params:
            if isinstance(parameter, click.Option):
                parameter.show_envvar = True
                parameter.envvar = parameter.envvar or variable(f"{group}{self.name}", str(parameter.name))

    def get_short_help_str(self, limit: int = 45) -> str:  # noqa: ARG002 - click's signature
        """Return the first paragraph of the help, uncut."""
        return " ".join((self.help or "").partition("\n\n")[0].split())

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Look at the environment first, so that nothing of it is ignored in silence."""
        notices = [*pass_over_links(own_variables(self)), *find_strangers(main)]
        ctx.meta[NOTICES] = notices
        for notice in () if self._logs else notices:
            click.echo(f"vinocast: {notice}", err=True)
        return super().parse_args(ctx, args)

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command; a SetupError becomes its message on stderr and exit code 1."""
        try:
            return super().invoke(ctx)
        except SetupError as error:
            click.echo(f"vinocast: {error}", err=True)
            ctx.exit(1)
        except OSError as error:
            # Such as a full disk behind standard output; a reader that has gone is click's own to end by.
            if error.errno == errno.EPIPE:
                raise
            click.echo(f"vinocast: {error}", err=True)
            ctx.exit(1)


def start_service(level: str) -> None:
    """Prepare the process of a long-running service: signals, logs to stderr, no threads that nobody uses."""
    from vinocast.transports.log_stream import take_stderr
    from vinocast.transports.signals import on_end

    # Until the transport takes over, a signal ends the process. The kernel drops one that process 1 has no handler for.
    on_end(lambda *_: sys.exit(0))
    # A parent that ignores it has its children reaped by the kernel, and so would we have our workers.
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    take_stderr()
    # numpy's own pool serves matrix products, of which a service has none; it is read when numpy is first imported.
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    logging.basicConfig(
        level=level.upper(), format="%(asctime)s %(levelname)s %(name)s: %(message)s", stream=sys.stderr
    )
    context = click.get_current_context(silent=True)
    for notice in context.meta.pop(NOTICES, ()) if context else ():
        log.warning("%s", notice)


def check_writable(option: str, path: Path | None) -> None:
    """Refuse a file that could not be written when all is measured; raises SetupError."""
    if path and not os.access(path if path.exists() else path.parent, os.W_OK):
        raise SetupError(f"{option} {path} cannot be written: name a file in a folder that is there and writable")


class Program(click.Group):
    """The program. What it prints comes out, whatever the encoding of the stream it goes to."""

    def main(self, *args: Any, **kwargs: Any) -> Any:
        """Run it."""
        for stream in (sys.stdout, sys.stderr):
            if isinstance(stream, io.TextIOWrapper):
                stream.reconfigure(errors="backslashreplace")
        return super().main(*args, **kwargs)


@click.group(cls=Program, context_settings=CONTEXT)
@click.version_option(__version__, prog_name="vinocast")
def main() -> None:
    """Time-series forecasts and glyph recognition on server CPUs with OpenVINO, over HTTP and over JSON lines."""


def settings_options(settings: type[Any], *names: str) -> Callable[[F], F]:
    """Declare an option for each field of a settings class, or for those named."""

    def decorate(function: F) -> F:
        for field in reversed([field for field in dataclasses.fields(settings) if not names or field.name in names]):
            kind = get_type_hints(settings)[field.name]
            function = click.option(
                f"--{field.name.replace('_', '-')}",
                type=field.metadata.get("type") or (click.Path(path_type=Path) if kind == Path | None else None),
                is_flag=kind is bool and "type" not in field.metadata,
                default=field.default,
                show_default=field.metadata.get("show", True),
                help=field.metadata["help"],
            )(function)
        return function

    return decorate


@main.command(cls=Command, logs=True)
@settings_options(HttpSettings)
def serve(**options: Any) -> None:
    """Serve forecasts and glyphs over HTTP until stopped; /docs describes the routes."""
    settings = HttpSettings(**options)
    start_service(settings.log_level)
    if settings.workers == 1:
        from vinocast.transports.http.server import serve_http as serve
    else:
        from vinocast.transports.workers.supervisor import serve_workers as serve

    serve(settings)


@main.command(cls=Command, logs=True)
@settings_options(StdioSettings)
def stdio(**options: Any) -> None:
    """Serve forecasts and glyphs as JSON lines on standard input and output, for a parent process.

    \b
    One request a line, one reply a line, matched by request_id:
      {"request_id": "1", "past_values": [[…7 numbers], …512 rows]}
      {"op": "glyphs", "rasters": ["…base64 of a PNG"]}
      {"op": "ping"}
    """
    from vinocast.transports.reply_queue import take_stdout

    parent, settings = os.getppid(), StdioSettings(**options)
    start_service(settings.log_level)
    replies = take_stdout()
    from vinocast.transports.stdio import serve_stdio

    click.get_current_context().exit(serve_stdio(settings, replies, parent))


@main.command(cls=Command, logs=True)
@settings_options(Settings, "models", "default_model", "profile", "strict_profile", "log_level")
@click.option("--json", is_flag=True, help="Print one JSON object instead of lines.")
def doctor(json: bool, **options: Any) -> None:
    """Report CPU, caps, threads, precision, models and versions, and whether what was asked for is in force.

    A line each: ok, WARN, FAIL or, for what is neither right nor wrong, nothing; its subject; what was found. The exit
    code is 1 where anything failed.
    """
    from vinocast.doctor import Finding, examine, to_json

    settings, context = Settings(**options), click.get_current_context()
    notices = [Finding("WARN", "environment", notice) for notice in context.meta.pop(NOTICES)]
    start_service(settings.log_level)
    findings = []
    for finding in itertools.chain(notices, examine(settings)):
        findings.append(finding)
        if not json:
            click.echo(f"{finding.state:4} {finding.subject:16} {finding.text}")
    if json:
        click.echo(to_json(findings))
    context.exit(int(any(finding.state == "FAIL" for finding in findings)))


@main.command(cls=Command)
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
    help="For int8: values like those to be served, a header, a time column, a column a channel.  [default: "
    "the bundled examples/host.csv]",
)
@click.option("--channels", metavar="A,B,…", help="Names of the channels, in order; default: channel_0, channel_1, …")
def convert(source: str, output: Path, precision: str, calibration: Path | None, channels: str | None) -> None:
    """Convert SOURCE to an OpenVINO model.

    SOURCE is a folder or hub id of a Hugging Face PatchTSTForPrediction; or a folder of a glyph chain: checkpoints
    named phase1 and phase2 (.safetensors, .pt or .pth), label_map.json and chars.csv.
    """
    if calibration is not None and precision != "int8":
        raise click.UsageError("--calibration is for --precision int8 alone")
    try:
        from vinocast.export.convert import convert_patchtst
        from vinocast.export.glyphs.package import convert_glyphs, is_glyph_source
    except ModuleNotFoundError as error:
        raise missing_extra("convert", error) from error

    if is_glyph_source(Path(source)):
        if precision != "f32" or channels:
            raise click.UsageError("a glyph chain is converted in f32, and has no --channels")
        convert_glyphs(Path(source), output)
        click.echo(f"{output}: a glyph model; serve it with --models {output.parent}, a forecaster beside it", err=True)
        return
    names = channels.split(",") if channels else None
    convert_patchtst(source, output, precision=precision, calibration=calibration, channels=names)


@main.command(cls=Command, context_settings={"ignore_unknown_options": True, "help_option_names": []})
@click.argument("arguments", nargs=-1, type=click.UNPROCESSED)
def infer_chain(arguments: tuple[str, ...]) -> None:
    """Recognize the glyphs in a folder of rasters, or in a file of grids.

    Its options, names and defaults are those that users of scripts/infer_chain.py have, so they are parsed there.
    """
    from vinocast.recognition.command import main as run

    click.get_current_context().exit(run(list(arguments), "vinocast infer-chain"))


@main.command(cls=Command)
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
        click.echo(click.format_filename(path))


@main.command(cls=Command)
@click.argument("model")
@click.option("--data", type=click.Path(path_type=Path), required=True, metavar="ETTh1.csv", help="The data set.")
@click.option("--split", type=click.Choice(["test", "validation"]), default="test", help="Windows to forecast.")
@settings_options(Settings, "profile")
@click.option("--json", is_flag=True, help="Print one JSON object instead of a table.")
def evaluate(model: str, data: Path, split: Split, profile: str, json: bool) -> None:
    """Measure the accuracy on ETTh1 of MODEL, a model's folder or the name of a bundled model.

    Any file of ETTh1's columns and rows is taken; one that is not the published file is called by its own name.
    """
    from vinocast.data.etth1 import read_etth1
    from vinocast.evaluation.accuracy import evaluate, find_model

    metric = evaluate(find_model(model), read_etth1(data), split, find_profile(profile))
    if json:
        click.echo(metric.model_dump_json())
    else:
        width = max(8, len(metric.dataset)) + 2
        click.echo(f"{'dataset':{width}}{'split':12}{'windows':>8}{'MSE':>10}{'MAE':>10}")
        click.echo(
            f"{metric.dataset:{width}}{metric.split:12}{metric.windows:>8}{metric.mse:>10.5f}{metric.mae:>10.5f}"
        )


@main.command(cls=Command)
@click.argument("dataset", type=click.Choice(["etth1"]))
@click.option(
    "--output",
    type=click.Path(path_type=Path),
    default=Path("ETTh1.csv"),
    help="File to write; left alone if it is already the data set.",
)
def fetch_data(dataset: str, output: Path) -> None:
    """Download DATASET from where its authors publish it, and check its hash."""
    from vinocast.data.fetch import fetch

    click.echo(f"{dataset}: downloaded to {output}" if fetch(output) else f"{dataset}: already there, {output}")


@main.command(cls=Command)
@settings_options(Settings, "models")
@click.option(
    "--data",
    type=click.Path(path_type=Path),
    metavar="FILE.csv",
    help="Values like those to be served, oldest first: a header, a time column, a column a channel. The first 70 % "
    "calibrate int8, the rest is held back to check accuracy.  [default: the bundled examples/host.csv]",
)
@click.option(
    "--isa-cap",
    type=click.Choice(["AVX2"], case_sensitive=False),
    envvar=["VINOCAST_TUNE_ISA_CAP", "OV_CPU_MAX_ISA", "ONEDNN_MAX_CPU_ISA"],
    help="Highest instruction set to try, for a profile that is to hold on lesser CPUs too; without it, both with the "
    "cap and without.",
)
@click.option("--rounds", type=click.IntRange(1, 1000), default=30, help="Turns of 20 inferences for each variant.")
def tune(models: Path | None, data: Path | None, isa_cap: Literal["AVX2"] | None, rounds: int) -> None:
    """Measure f32, bf16 and int8, threads, pinning and caps on this machine, and write the fastest as a profile.

    Each forecaster is compiled in every way, measured in turns, and checked: the MSE over values held back must be
    within 0.5 % of that in f32. --profile tuned then uses what was found, on this CPU and for these models alone;
    nothing changes numbers before it is asked for. Takes about a minute a model, in which the machine should do
    nothing else. int8 needs the extra 'convert'.
    """
    from vinocast.measure.tune.report import to_text
    from vinocast.measure.tune.run import tune

    report = tune(models, data, isa_cap, rounds)
    click.echo(to_text(report))
    if isinstance(report.path, SetupError):
        raise report.path


class TrainingGroup(click.Group):
    """Finds its commands when they are asked for: a running service must not import the training room."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 - click's signature
        """Return what there is to train."""
        return ["forecast", "glyphs"]

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import a command."""
        if cmd_name not in self.list_commands(ctx):
            return None
        if cmd_name == "forecast":
            from vinocast.training.command import forecast

            return forecast
        from vinocast.training.glyphs.command import glyphs

        return glyphs


@main.group(cls=TrainingGroup, context_settings=CONTEXT)
def train() -> None:
    """Train one of the bundled models."""


@main.command(cls=Command)
@settings_options(Settings)
@click.option(
    "--stock",
    type=click.Path(exists=True, path_type=Path),
    metavar="IR",
    help="An IR to measure beside the model's own, or a folder with one: the stock graph that "
    "vinocast.export.families.patchtst.optimum.export_stock writes.",
)
@click.option(
    "--seconds",
    type=click.FloatRange(0, 60, min_open=True),
    default=2.0,
    help="Time for each of about 65 loads; p99.9 wants more than the default.",
)
@click.option(
    "--rate",
    type=click.FloatRange(0, 10000, min_open=True),
    multiple=True,
    default=(100.0, 300.0),
    help="Arrivals a second of an open loop; may be given more than once.",
)
@click.option("--quick", is_flag=True, help="A run of some 20 s, whatever --seconds says: a look, no measurement.")
@click.option(
    "--json",
    type=click.Path(allow_dash=True, dir_okay=False),
    metavar="FILE|-",
    help="Write the report as JSON; with - to standard output, in place of the table.",
)
@click.option(
    "--plot",
    type=click.Path(dir_okay=False, path_type=Path),
    metavar="FILE",
    help="Write a page with charts; needs the extra 'bench'.",
)
def bench(
    stock: Path | None,
    seconds: float,
    rate: tuple[float, ...],
    quick: bool,
    json: str | None,
    plot: Path | None,
    **options: Any,
) -> None:
    """Measure the service as its clients see it, beside the model alone and the floor of its arithmetic.

    Starts the service over both transports with the same options, and takes two to three minutes in which the machine
    should do nothing else. docs/performance.md says what each figure means.
    """
    from vinocast.measure.bench.report import to_json, to_text
    from vinocast.measure.bench.run import QUICK, Plan, run

    if plot is not None:
        try:
            from vinocast.measure.bench import (
                plot as charts,  # before the measurement, which would be lost without the extra
            )
        except ModuleNotFoundError as error:
            raise missing_extra("bench", error) from error
    check_writable("--json", Path(json) if json and json != "-" else None)
    check_writable("--plot", plot)
    plan = dataclasses.replace(QUICK, rates=rate) if quick else Plan(seconds=seconds, rates=rate)
    report = run(Settings(**options), stock, plan)
    if json != "-":
        click.echo(to_text(report))
    if json is not None:
        with click.open_file(json, "wb") as file:
            file.write(to_json(report))
    if plot is not None:
        plot.write_text(charts.to_html(report))


if __name__ == "__main__":
    sys.exit(main())
