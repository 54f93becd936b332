"""``vinocast forecast``."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from vinocast.cli.options import Command, check_writable, settings_options
from vinocast.settings import Settings


class Levels(click.ParamType[tuple[float, ...]]):
    """Numbers of 0 to 1 between commas, as a tuple that ascends."""

    name = "list"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Return the tuple; ends the program with a message for anything else."""
        if not isinstance(value, str):
            return value
        try:
            # A zero of its own sign is no level of its own.
            levels = sorted({float(each) + 0.0 for each in value.split(",")})
        except ValueError:
            levels = [-1.0]
        if not all(0 <= level <= 1 for level in levels) or len(levels) > 99:
            self.fail(
                f"expected 1 to 99 numbers of 0 to 1 between commas, such as 0.1,0.5,0.9; got {value!r}", param, ctx
            )
        return tuple(levels)


class Names(click.ParamType[tuple[str, ...]]):
    """Names between commas."""

    name = "list"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Return the tuple; ends the program with a message for a name that is none, or is there twice."""
        if not isinstance(value, str):
            return value
        names = tuple(name.strip() for name in value.split(","))
        if not all(names) or len(set(names)) < len(names):
            self.fail(f"expected names between commas, each once; got {value!r}", param, ctx)
        return names


@click.command(cls=Command)
@click.argument("file", type=click.Path(path_type=Path, allow_dash=True))
@click.option("--columns", type=Names(), metavar="A,B,…", help="Columns to forecast.  [default: all that hold numbers]")
@click.option("--target", metavar="A", help="The column to forecast, where it is one; a long table's values.")
@click.option("--time", metavar="A", help="The column of the times.  [default: it is found]")
@click.option("--id", metavar="A", help="The column that names the series of a long table.  [default: it is found]")
@click.option(
    "--prediction-length",
    type=click.IntRange(1, 100_000),
    metavar="N",
    help="Steps to forecast.  [default: the model's]",
)
@click.option("--rollout", is_flag=True, help="Allow more steps than the model's, by feeding forecasts back.")
@click.option("--quantiles", type=Levels(), metavar="0.1,0.9", help="Quantiles to write beside each forecast.")
@click.option(
    "--missing",
    type=click.Choice(["refuse", "interpolate"]),
    default="refuse",
    help="What becomes of empty cells and missing rows among the steps that the model reads.",
)
@click.option(
    "--short",
    type=click.Choice(["refuse", "pad"]),
    default="refuse",
    help="What becomes of series shorter than the model reads; pad puts their mean before them.",
)
@click.option("--dates", type=click.Choice(["dmy", "mdy"]), help="Order of 01/02/2026, where no row tells.")
@click.option("--decimal", type=click.Choice([".", ","]), help="What begins the fraction of 1,234, where no row tells.")
@click.option(
    "--duplicates",
    type=click.Choice(["refuse", "first", "last"]),
    default="refuse",
    help="Which of several rows of one time is taken, where they differ.",
)
@click.option(
    "--output",
    type=click.Path(path_type=Path, dir_okay=False, allow_dash=True),
    metavar="FILE|-",
    help="Where the forecast goes: .csv, .json or .parquet.  [default: CSV on standard output]",
)
@click.option("--format", type=click.Choice(["csv", "json", "parquet"]), help="Its form, whatever it is called.")
@click.option(
    "--plot",
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="FILE",
    help="Draw history, forecast and bands into a .html or a .png; needs the extra 'plot'.",
)
@click.option(
    "--backtest",
    type=click.IntRange(1, 100_000),
    metavar="N",
    help="In place of a forecast, forecast the last N lengths of the file and print how far off that was.",
)
@click.option(
    "--season",
    type=click.IntRange(2, 100_000),
    metavar="N",
    help="Steps of a season, for --backtest.  [default: found]",
)
@click.option("--json", is_flag=True, help="Print the backtest as one JSON object.")
@settings_options(Settings, "models", "default_model", "profile", "strict_profile", "max_missing_share")
def forecast(file: Path, **options: Any) -> None:
    """Forecast the columns of FILE, a table of times and numbers; no service is needed.

    FILE is CSV or Parquet, or - for standard input. A wide table has a row for each time and a column for each series;
    a long one names the series in a column (item_id,timestamp,target). The columns of times, their step and its gaps,
    separators and decimal commas are found; what was found and mended is said on standard error, and what could be read
    in two ways is refused with its line and column. docs/forecast-files.md has examples.

    \b
      vinocast forecast sales.csv                                  the forecast as CSV
      vinocast forecast sales.csv --quantiles 0.1,0.9 --plot sales.html
      vinocast forecast sales.csv --backtest 5                     is it better than the last value?
    """
    from vinocast.files.command import Asked, run

    if options["columns"] and options["target"]:
        raise click.UsageError("--columns and --target say the same: give one of them")
    for name in ("season", "json"):
        if options[name] and not options["backtest"]:
            raise click.UsageError(
                f"--{name} is of --backtest" + ("; --format json writes a forecast so" if name == "json" else "")
            )
    for name in ("output", "plot"):
        path = options[name]
        if options["backtest"] and path is not None:
            raise click.UsageError(f"--{name} is of a forecast, and --backtest prints scores in place of one")
        check_writable(f"--{name}", path if path and str(path) != "-" else None)
    run(Asked(file=file, item=options.pop("id"), form=options.pop("format"), **options))
