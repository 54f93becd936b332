"""``vinocast feed``, whose command is in ``feed_coinbase.py``."""

from __future__ import annotations

import click

from vinocast.cli.options import CONTEXT, Group


@click.group(cls=Group, context_settings=CONTEXT, modules="vinocast.cli.feed_", names=("coinbase",))
def feed() -> None:
    """Forecast a market as it goes."""
