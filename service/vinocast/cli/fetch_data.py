"""``vinocast fetch-data``."""

from __future__ import annotations

from pathlib import Path

import click

from vinocast.cli.options import Command


@click.command(cls=Command)
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
