"""``vinocast replay``."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from vinocast.cli.market import bar_option, market_options, number_option, product_option, read_terms, read_where
from vinocast.cli.options import Command, check_writable


@click.command(cls=Command)
@click.argument("file", type=click.Path(path_type=Path))
@product_option("Whose candles these are.  [default: as the file begins, or its only one]")
@bar_option("Length of a bar.  [default: 5m, or that of the candles]")
@number_option("--speed", 0, 1_000_000, 0.0, "FACTOR", "How many times as fast as it happened; 0: as fast as it goes.")
@click.option(
    "--history", type=click.Path(path_type=Path), metavar="FILE", help="Candles of the time before, CSV or Parquet."
)
@click.option(
    "--plot",
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="FILE",
    help="Draw forecasts of the next bar and what came into a .html or a .png; needs the extra 'plot'.",
)
@market_options
def replay(file: Path, **options: Any) -> None:
    """Replay FILE through a service: raw messages of Coinbase, or candles.

    FILE is a capture, one message a line, packed by gzip or not; or a table of candles, CSV or Parquet, as vendors have
    them. A line is printed for each bar that closes, with a forecast from there; at the end what was lost, late,
    doubled or broken, and how far off the forecasts of the next bar were. docs/live.md has more.

    \b
      vinocast replay capture.jsonl --bar 1m
      vinocast replay BTCUSD_1h.csv --plot hours.html
      vinocast replay capture.jsonl.gz --history before.csv --speed 60 --json
    """
    from vinocast.sources import replay as replaying
    from vinocast.sources.service import open_service

    check_writable("--plot", options["plot"])
    terms, where = read_terms(options), read_where(options)
    source = replaying.read_source(replaying.Asked(file=file, **options))
    with open_service(where, source.bar.text) as service:
        replaying.run(source, service, terms, reconnects=where.url is not None)
