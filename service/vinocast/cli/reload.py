"""``vinocast reload``."""

from __future__ import annotations

import json
import os
import signal
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import click

from vinocast.cli.options import Command, read_token, settings_options
from vinocast.errors import SetupError, printable
from vinocast.plain_http import RefusedError, ask
from vinocast.settings import HttpSettings

if TYPE_CHECKING:
    from pathlib import Path

# A model may take so long to compile on a busy machine.
PATIENCE = 300.0


@click.command(cls=Command)
@click.argument("models", nargs=-1, metavar="[MODEL]...")
@click.option("--url", default="http://127.0.0.1:8000", help="Where the service listens.")
@settings_options(HttpSettings, "token_file")
@click.option(
    "--pid",
    type=click.IntRange(1),
    help="Send SIGHUP to this process instead, as a service of several workers needs it; its log says how it went.",
)
def reload(models: tuple[str, ...], url: str, token_file: Path | None, pid: int | None) -> None:
    """Have a running service serve each MODEL, or all that it has, as its folder has it now.

    The new one is loaded and tested beside the old, and takes its place between two requests. Where it is refused the
    old one stays, the next model has its turn, and the exit code is 1. A model that the service has not had before must
    be named, and so must one that was unloaded.
    """
    if pid is not None:
        try:
            os.kill(pid, signal.SIGHUP)
        except OSError as error:
            raise SetupError(f"--pid {pid}: {error.strerror}") from None
        return
    token = read_token(token_file)
    refused = []
    try:
        index = () if models else _ask(url, "/v2/repository/index", token)
    except RefusedError as error:
        index = ()
        refused.append(_said(error))
    # What somebody has unloaded stays so until it is named.
    for name in models or dict.fromkeys(each["name"] for each in index if each["reason"] != "unloaded"):
        try:
            _ask(url, f"/v2/repository/models/{quote(name, safe='')}/load", token)
        except RefusedError as error:
            refused.append(_said(error))
        else:
            click.echo(f"{name}: served as its folder has it now")
    if refused:
        raise SetupError(f"{printable(url)}: {'; '.join(refused)}")


def _ask(url: str, path: str, token: bytes | None) -> Any:
    """Return what a service answers to a POST without fields; raises SetupError as :func:`ask` does."""
    try:
        return json.loads(ask(url, path, token, PATIENCE, b"{}"))
    except ValueError:
        raise SetupError(f"{printable(url)}: what answers is no Vinocast; name one with --url") from None


def _said(refusal: RefusedError) -> str:
    """Return why a service has refused; raises the refusal where what answers is no Vinocast."""
    try:
        return printable(str(json.loads(refusal.body)["error"]))
    except (ValueError, LookupError, TypeError):
        raise refusal from None
