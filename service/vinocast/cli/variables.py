"""``VINOCAST_…`` variables: what that of an option is called, and which of those that are set nobody reads."""

from __future__ import annotations

import dataclasses
import difflib
import os
import re
from typing import TYPE_CHECKING

import click

from vinocast.settings import TOKEN_VARIABLE, HttpSettings, StdioSettings

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

PREFIX = "VINOCAST_"
SETTINGS = {field.name for settings in (HttpSettings, StdioSettings) for field in dataclasses.fields(settings)}
# The one that stands for no option, and those of the C++ client and of the tests.
OTHERS = re.compile(rf"{TOKEN_VARIABLE}|VINOCAST_(PROGRAM|EXPECTED|SHARED_DATA|TEST_\w+)")

# Kubernetes sets variables for each service of the namespace, docker for each link: for one called `vinocast`
# VINOCAST_PORT=tcp://10.43.7.62:8000, for `vinocast-bench` VINOCAST_BENCH_PORT and so on.
LINK = re.compile(r"(tcp|udp|sctp)://")
LINK_NAME = re.compile(r"VINOCAST_(\w+_)?(SERVICE_HOST|SERVICE_PORT(_\w+)?|PORT_\d+_(TCP|UDP|SCTP)(_\w+)?|ENV_\w+)")


def variable(command: str, option: str) -> str:
    """Return the variable of an option: of a service's settings VINOCAST_X, else VINOCAST_COMMAND_X."""
    return (PREFIX + option if option in SETTINGS else f"{PREFIX}{command}_{option}").upper().replace("-", "_")


def own_variables(command: click.Command) -> dict[str, str]:
    """Return the variables of a command's options, each with the option."""
    return {
        name: parameter.opts[0]
        for parameter in command.params
        for name in ([parameter.envvar] if isinstance(parameter.envvar, str) else parameter.envvar or [])
        if name.startswith(PREFIX)
    }


def pass_over_links(names: Iterable[str]) -> Iterator[str]:
    """Take what Kubernetes or docker have set in place of one of these out of the environment; yield what to say."""
    for name in names:
        if LINK.match(value := os.environ.get(name, "")):
            del os.environ[name]
            yield f"{name}={value} is passed over: it is an address set by Kubernetes or docker, and no setting"


def find_strangers(context: click.Context) -> Iterator[str]:
    """Yield a sentence for each variable that looks like one of ours, but that no command of the program reads."""
    strange = {name for name, value in os.environ.items() if name.startswith(PREFIX) and not _foreign(name, value)}
    known = set(own_variables(context.command))
    for deep in (False, True):
        # What others read is found by importing them, which a service does not do without a reason.
        if strange - known:
            known = _variables(context.find_root().command, deep=deep)
    for name in sorted(strange - known):
        yield f"nobody reads the variable {name}: {_advice(name, known)}"


def _foreign(name: str, value: str) -> bool:
    """Whether a variable is of a link, or of another program of the project."""
    return bool(
        OTHERS.fullmatch(name)
        or LINK_NAME.fullmatch(name)
        or LINK.match(value)
        or (name.endswith("_NAME") and value.startswith("/"))
    )


def _variables(command: click.Command, *, deep: bool) -> set[str]:
    """Return the variables of a command, or of a group's commands; ``deep``: those of groups within it as well."""
    if not isinstance(command, click.Group):
        return set(own_variables(command))
    context = click.Context(command)
    commands = filter(None, (command.get_command(context, name) for name in command.list_commands(context)))
    return {
        name
        for inner in commands
        if deep or not isinstance(inner, click.Group)
        for name in _variables(inner, deep=deep)
    }


def _advice(name: str, known: set[str]) -> str:
    """Name the nearest: the options of commands that end so, else what is spelt much like it."""
    rest = name.removeprefix(PREFIX)
    near = sorted(other for other in known if other.endswith(f"_{rest}"))
    if not near:
        spellings = {other.removeprefix(PREFIX): other for other in sorted(known)}
        near = [spellings[spelling] for spelling in difflib.get_close_matches(rest, spellings, n=1)]
    return f"did you mean {' or '.join(near)}?" if near else "'vinocast COMMAND --help' lists those there are"
