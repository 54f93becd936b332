"""Settings of a running service. Each field is an option and a ``VINOCAST_…`` variable; the cli derives both."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import click

from vinocast.engine.profiles import DEFAULT_PROFILE, PROFILE_NAMES, PROFILES

MIB = 1024 * 1024
# Unless a served model has a window that takes more.
REQUEST_BYTES = 8 * MIB
# More than any machine has of anything, and few enough for what a number may be in JSON and in C.
COUNT = click.IntRange(1, 10**12)


class FiniteRange(click.FloatRange):
    """A number of a range, and not NaN, which is on no side of any bound, nor an infinity."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Return the number; ends the program with a message for what is none."""
        number = super().convert(value, param, ctx)
        if not math.isfinite(number):
            self.fail(f"{value} is no finite number", param, ctx)
        return number


def _setting(default: Any, description: str, **extra: Any) -> Any:
    return field(default=default, metadata={"help": description, **extra})


@dataclass(frozen=True)
class Settings:
    """What ``serve`` and ``stdio`` have in common."""

    models: Path | None = _setting(None, "Folder of models, one folder each.", show="the bundled models")
    default_model: str | None = _setting(
        None, "Model that answers when a request names none.", show="patchtst-etth1, or the only forecaster there is"
    )
    profile: str = _setting(
        DEFAULT_PROFILE,
        "How models are compiled. "
        + "; ".join(f"{profile.name}: {profile.summary}" for profile in PROFILES.values())
        + "; tuned: what 'vinocast tune' found to be fastest on this machine.",
        type=click.Choice(PROFILE_NAMES),
    )
    strict_profile: bool = _setting(
        False, "Refuse a model in which something else is in force than the profile asks for, instead of a warning."
    )
    queue_rows: int = _setting(
        4096, "Series that may wait for their turn; what does not fit is answered as overloaded.", type=COUNT
    )
    max_streams: int = _setting(
        1024, "Streams that may be kept; one of 7 channels and 512 rows takes 14 kB.", type=COUNT
    )
    stream_idle_seconds: int = _setting(86400, "Streams that get no row for so long are dropped.", type=COUNT)
    max_steps_ahead: int = _setting(
        100_000,
        "Mean steps of a stream, each a second at least, that a row's timestamp_ms may lie ahead of the row before; "
        "366 days for the second row.",
        type=COUNT,
    )
    max_request_bytes: int | None = _setting(
        None,
        "Longest request: a line of stdio, a body of HTTP.",
        type=COUNT,
        show="8 MiB, or what a window of the widest model may take as JSON",
    )
    log_level: str = _setting(
        "info", "Least severe message on stderr.", type=click.Choice(["debug", "info", "warning", "error"])
    )


@dataclass(frozen=True)
class HttpSettings(Settings):
    """Settings of ``serve``."""

    host: str = _setting("127.0.0.1", "Address to listen on; 0.0.0.0 for every interface, :: for IPv6 as well.")
    port: int = _setting(8000, "Port to listen on; 0 takes a free one.", type=click.IntRange(0, 65535))
    keep_alive_seconds: int = _setting(
        75,
        "How long a connection may stand idle between two requests; more than what a proxy or a pool in front keeps "
        "its own for, which is mostly 60 s.",
        type=COUNT,
    )
    workers: int = _setting(
        1, "Processes that share the port, each on cores of its own; more than one keep no streams.", type=COUNT
    )


@dataclass(frozen=True)
class StdioSettings(Settings):
    """Settings of ``stdio``."""

    max_unread_reply_bytes: int = _setting(
        64 * MIB, "Replies kept for a client that does not read; beyond that, reading pauses.", type=COUNT
    )
