"""``vinocast top``."""

from __future__ import annotations

import sys
import time
from typing import TYPE_CHECKING

import click

from vinocast.cli.options import Command, read_token, settings_options
from vinocast.errors import SetupError
from vinocast.extras import missing_extra
from vinocast.settings import FiniteRange, HttpSettings

if TYPE_CHECKING:
    from pathlib import Path


@click.command(cls=Command)
@click.option("--url", default="http://127.0.0.1:8000", metavar="URL", help="Where the service listens.")
@settings_options(HttpSettings, "token_file")
@click.option(
    "--interval", type=FiniteRange(0.1, 3600), default=2.0, metavar="SECONDS", help="Seconds between two looks at it."
)
@click.option("--once", is_flag=True, help="Print one page of what went on in one interval, and end.")
def top(url: str, token_file: Path | None, interval: float, once: bool) -> None:
    """Watch a running service in the terminal: requests, times, what waits, streams, connections, models.

    Rates and quantiles are of the time between two looks. q ends it. Where no Vinocast answers at the start, the exit
    code is 1.
    """
    if not once:
        try:
            from vinocast.top.screen import Screen
        except ModuleNotFoundError as error:
            raise missing_extra("top", error) from error
        if not (sys.stdin.isatty() and sys.stdout.isatty()):
            raise SetupError("this is no terminal: --once prints one page to wherever it is wanted")
    from vinocast.top.scrapes import scrape
    from vinocast.top.tables import page, tables

    token = read_token(token_file)
    first = scrape(url, token)
    if once:
        time.sleep(interval)
        click.echo(page(tables(first, scrape(url, token))))
    else:
        Screen(url, token, interval, first).run()
