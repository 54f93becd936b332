"""``vinocast train``, whose commands are in ``train_forecast.py``, ``train_general.py`` and ``train_glyphs.py``."""

from __future__ import annotations

import click

from vinocast.cli.options import CONTEXT, Group


@click.group(
    cls=Group, context_settings=CONTEXT, modules="vinocast.cli.train_", names=("forecast", "general", "glyphs")
)
def train() -> None:
    """Train one of the bundled models."""
