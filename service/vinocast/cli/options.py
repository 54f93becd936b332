"""What the commands share: how a command, its options and their variables behave."""

from __future__ import annotations

import dataclasses
import errno
import importlib
import os
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeVar, get_type_hints

import click

from vinocast.cli.variables import find_strangers, own_variables, pass_over_links, variable
from vinocast.data.regular import open_regular
from vinocast.engine.cpu import cpu_budget
from vinocast.errors import SetupError, shown
from vinocast.process.native import leave_native_threads
from vinocast.process.signals import unblock
from vinocast.process.standard_streams import ending_in_a_sentence, settle_streams
from vinocast.settings import TOKEN_VARIABLE

F = TypeVar("F", bound=Callable[..., Any])
# Under this name a context holds what is to be said of the environment.
NOTICES = "vinocast.notices"
# What a header can carry, and nobody guesses.
MOST_TOKEN_BYTES = 4096
TOKEN = re.compile(rb"[!-~]{16,%d}" % MOST_TOKEN_BYTES)

CONTEXT = {
    "help_option_names": ["-h", "--help"],
    "show_default": True,
    "max_content_width": 100,
}


class Command(click.Command):
    """A command whose options have environment variables, and whose errors end with a sentence and exit code 1.

    Args:
        group: of the commands that it belongs to, for the names of its variables.
        logs: whether it calls ``start_service``, which then says what is wrong with the environment.
    """

    def __init__(self, *args: Any, group: str = "", logs: bool = False, **kwargs: Any) -> None:
        kwargs["context_settings"] = CONTEXT | kwargs.get("context_settings", {})
        super().__init__(*args, **kwargs)
        self._logs = logs
        for parameter in self.params:
            if isinstance(parameter, click.Option):
                parameter.show_envvar = True
                parameter.envvar = parameter.envvar or variable(f"{group}{self.name}", str(parameter.name))

    def get_short_help_str(self, limit: int = 45) -> str:  # noqa: ARG002 - click's signature
        """Return the first paragraph of the help, uncut."""
        return " ".join((self.help or "").partition("\n\n")[0].split())

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Look at the environment first, so that nothing of it is ignored in silence."""
        notices = [*pass_over_links(own_variables(self)), *find_strangers(ctx)]
        ctx.meta[NOTICES] = notices
        for notice in () if self._logs else notices:
            click.echo(f"vinocast: {notice}", err=True)
        return super().parse_args(ctx, args)

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command; a SetupError becomes its message on stderr and exit code 1."""
        try:
            return super().invoke(ctx)
        except SetupError as error:
            click.echo(f"vinocast: {error}", err=True)
            ctx.exit(1)
        except OSError as error:
            # Such as a full disk behind standard output; a reader that has gone is click's own to end by.
            if error.errno == errno.EPIPE:
                raise
            click.echo(f"vinocast: {error}", err=True)
            ctx.exit(1)


class Group(click.Group):
    """Imports a command when it is asked for: a service starts without the others, and without the training room.

    Args:
        modules: what the names of the commands' modules begin with.
        names: of the commands, in order; ``a-b`` is the function ``a_b`` of the module whose name ends so.
    """

    def __init__(self, *args: Any, modules: str, names: Sequence[str], **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._modules = modules
        self._names = names

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 - click's signature
        """Return the names of the commands."""
        return list(self._names)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002 - as above
        """Import a command; None for a name that is not one."""
        if cmd_name not in self._names:
            return None
        name = cmd_name.replace("-", "_")
        command: click.Command = getattr(importlib.import_module(self._modules + name), name)
        return command


class Program(Group):
    """The program, which makes no difference of what its parent has done to its signals and its streams."""

    def main(self, *args: Any, **kwargs: Any) -> Any:
        """Run it."""
        unblock()
        settle_streams()
        try:
            with ending_in_a_sentence("vinocast"):
                return super().main(*args, **kwargs)
        except SystemExit as end:
            leave_native_threads(end.code if isinstance(end.code, int) else int(end.code is not None))
            raise


def settings_options(settings: type[Any], *names: str) -> Callable[[F], F]:
    """Declare an option for each field of a settings class, or for those named."""

    def decorate(function: F) -> F:
        declared = [field for field in dataclasses.fields(settings) if field.metadata]
        for field in reversed([field for field in declared if not names or field.name in names]):
            kind = get_type_hints(settings)[field.name]
            function = click.option(
                f"--{field.name.replace('_', '-')}",
                type=field.metadata.get("type") or (click.Path(path_type=Path) if kind == Path | None else None),
                is_flag=kind is bool and "type" not in field.metadata,
                default=field.default,
                show_default=field.metadata.get("show", True),
                help=field.metadata["help"],
            )(function)
        return function

    return decorate


def threads_option(
    description: str = "Threads to compute with; another number rounds differently.",
) -> Callable[[F], F]:
    """Declare ``--threads`` of a command that computes for long: the cores there are, unless it is told."""
    return click.option(
        "--threads",
        type=click.IntRange(1, 1024),
        default=lambda: cpu_budget().cores,
        show_default="the cores there are",
        help=description,
    )


def read_token(path: Path | None) -> bytes | None:
    """Return the token of a file or, without one, of its variable; None where there is neither.

    Raises SetupError for a file, and click.UsageError for a variable, that holds none.
    """
    variable = os.environ.get(TOKEN_VARIABLE)
    if path is None:
        # Elsewhere an empty variable is one that is not set; here it is a secret that went missing on its way.
        if os.environ.get(f"{TOKEN_VARIABLE}_FILE") == "":
            raise click.UsageError(f"{TOKEN_VARIABLE}_FILE is empty: name the file that holds the token, or unset it")
        if variable is None:
            return None
        name, token = TOKEN_VARIABLE, os.fsencode(variable)
    else:
        if variable is not None:
            raise click.UsageError(f"give the token once: by --token-file or by {TOKEN_VARIABLE}")
        name = f"--token-file {shown(path)}"
        try:
            with open_regular(path) as file:
                token = file.read(2 * MOST_TOKEN_BYTES)
        except OSError as error:
            raise SetupError(f"{name} cannot be read ({error.strerror}): name a file that holds the token") from None
    token = token.strip()
    if not TOKEN.fullmatch(token):
        # Never what it holds.
        message = (
            f"{name} holds no token: expected 16 to {MOST_TOKEN_BYTES} characters of ASCII without spaces, got "
            f"{len(token)} bytes; 'openssl rand -hex 32' makes one"
        )
        raise SetupError(message) if path else click.UsageError(message)
    return token


def check_writable(option: str, path: Path | None) -> None:
    """Refuse a file that could not be written when all is measured; raises SetupError."""
    if path and not os.access(path if path.exists() else path.parent, os.W_OK):
        raise SetupError(f"{option} {path} cannot be written: name a file in a folder that is there and writable")
