"""``vinocast tune``."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import click

from vinocast.cli.options import Command, settings_options
from vinocast.errors import SetupError
from vinocast.settings import Settings


@click.command(cls=Command)
@settings_options(Settings, "models")
@click.option(
    "--data",
    type=click.Path(path_type=Path),
    metavar="FILE.csv",
    help="Values like those to be served, oldest first: a header, a time column, one column per channel. The first "
    "70 % calibrate int8, the rest is held back to check accuracy.  [default: the bundled examples/host.csv]",
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
    nothing changes numbers before it is asked for. Takes about a minute per model, in which the machine should do
    nothing else. int8 needs the extra 'convert'.
    """
    from vinocast.measure.tune.report import to_text
    from vinocast.measure.tune.tuning import tune

    results = tune(models, data, isa_cap, rounds)
    click.echo(to_text(results))
    if isinstance(results.path, SetupError):
        raise results.path
