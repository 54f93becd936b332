"""``vinocast infer-chain``."""

from __future__ import annotations

import click

from vinocast.cli.options import Command


@click.command(cls=Command, context_settings={"ignore_unknown_options": True, "help_option_names": []})
@click.argument("arguments", nargs=-1, type=click.UNPROCESSED)
def infer_chain(arguments: tuple[str, ...]) -> None:
    """Recognize the glyphs in a folder of rasters, or in a file of grids.

    Its options are those of scripts/infer_chain.py, without variables, so the room of recognition declares them.
    """
    from vinocast.recognition.command import main as run

    click.get_current_context().exit(run(list(arguments), "vinocast infer-chain"))
