"""The ``vinocast`` program: every command, every option, once.

An option is also an environment variable, and the help page of each command shows it: ``VINOCAST_PORT`` for a setting
of the services, wherever it is taken; ``VINOCAST_TUNE_ROUNDS`` for an option that one command alone has. A command has
a module of its own, which is imported when somebody asks for it, and imports what it needs when it runs, so that
``stdio`` starts without a web framework.
"""

from __future__ import annotations

import click

from vinocast import __version__
from vinocast.cli.options import CONTEXT, Program

__all__ = ["main"]

COMMANDS = (
    "bench",
    "calibrate",
    "convert",
    "doctor",
    "evaluate",
    "feed",
    "fetch-data",
    "forecast",
    "infer-chain",
    "raster",
    "reload",
    "replay",
    "serve",
    "stdio",
    "top",
    "train",
    "tune",
)


@click.group(cls=Program, context_settings=CONTEXT, modules="vinocast.cli.", names=COMMANDS)
@click.version_option(__version__, prog_name="vinocast")
def main() -> None:
    """Time-series forecasts and glyph recognition on server CPUs with OpenVINO, over HTTP and over JSON lines."""
