"""``vinocast stdio``."""

from __future__ import annotations

import os
from typing import Any

import click

from vinocast.cli.options import Command, settings_options
from vinocast.cli.service import check_tracing, start_service
from vinocast.settings import StdioSettings


@click.command(cls=Command, logs=True)
@settings_options(StdioSettings)
def stdio(**options: Any) -> None:
    """Serve forecasts and glyphs as JSON lines on standard input and output, for a parent process.

    \b
    One request per line, one reply per line, matched by request_id:
      {"request_id": "1", "past_values": [[…7 numbers], …512 rows]}
      {"op": "glyphs", "rasters": ["…base64 of a PNG"]}
      {"op": "ping"}
    """
    from vinocast.transports.reply_queue import take_stdout

    parent, settings = os.getppid(), StdioSettings(**options)
    check_tracing(settings)
    start_service(settings.log_level, settings.log_format)
    replies = take_stdout()
    from vinocast.transports.stdio import serve_stdio

    click.get_current_context().exit(serve_stdio(settings, replies, parent))
