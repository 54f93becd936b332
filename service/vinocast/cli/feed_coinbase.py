"""``vinocast feed coinbase``."""

from __future__ import annotations

from typing import Any

import click

from vinocast.cli.market import bar_option, market_options, number_option, product_option, read_terms, read_where
from vinocast.cli.options import Command, settings_options
from vinocast.extras import missing_extra
from vinocast.market.lengths import BarLength
from vinocast.settings import Settings
from vinocast.sources.coinbase import CANDLES_URL, FEEDS


@click.command(cls=Command, group="feed_")
@product_option("Such as BTC-USD; may be repeated.", several=True)
@bar_option("Length of a bar: a number with s, m or h.", "5m")
@click.option("--feed", type=click.Choice(list(FEEDS)), default="advanced-trade", help="Which of the two feeds.")
@click.option("--websocket-url", metavar="URL", help="Address of the feed.  [default: that of --feed]")
@click.option(
    "--candles-url",
    default=CANDLES_URL,
    metavar="URL",
    help="Address of the endpoint of candles, which has the bars before.",
)
@number_option("--silence", 0.1, 3600, 10.0, "SECONDS", "Connect again where no heartbeat has come for so long.")
@number_option(
    "--longest-pause", 0.1, 3600, 30.0, "SECONDS",
    "Between two attempts to connect: pauses double up to here, with jitter, while connections do not last.",
)  # fmt: skip
@market_options
@settings_options(Settings, "state")
def coinbase(product: tuple[str, ...], bar: BarLength, **options: Any) -> None:
    """Forecast products of Coinbase, each time that a bar closes.

    Connects to a feed, fills the bars before and whatever was missed from the endpoint of candles, and prints a line
    for each bar that closes, with a forecast from there. What is lost, late, doubled or broken is counted, and told
    when Ctrl-C or SIGTERM ends it. docs/live.md has more.

    \b
      vinocast feed coinbase --product BTC-USD --bar 5m
      vinocast feed coinbase --product BTC-USD --product ETH-USD --json
      vinocast feed coinbase --product BTC-USD --url http://127.0.0.1:8000      a service that others ask as well
    """
    for each in product:
        if each != each.upper():
            raise click.UsageError(f"--product {each}: Coinbase's products are in upper case: {each.upper()}")
    try:
        from vinocast.sources import live
    except ModuleNotFoundError as error:
        raise missing_extra("feed", error) from error
    from vinocast.sources.service import open_service

    terms, where = read_terms(options), read_where(options)
    asked = live.Asked(
        products=tuple(dict.fromkeys(product)),
        bar=bar.text,
        seconds=bar.seconds,
        websocket_url=options.pop("websocket_url") or FEEDS[options["feed"]].url,
        **options,
    )
    with open_service(where, bar.text) as service:
        live.run(asked, service, terms, reconnects=where.url is not None)
