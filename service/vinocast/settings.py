"""Settings of a running service. Each field is an option and a ``VINOCAST_…`` variable; the cli derives both."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import click

from vinocast.engine.profiles import DEFAULT_PROFILE, PROFILE_NAMES, PROFILES
from vinocast.market.fields import NAME as PRODUCT
from vinocast.market.lengths import BarLength

MIB = 1024 * 1024
# Unless a served model has a window that takes more. A thousand series of 512 numbers fit, of 15 characters each.
REQUEST_BYTES = 8 * MIB
# The longest reply, beside what it repeats of its request: what could be longer is refused before it is computed.
REPLY_BYTES = 16 * MIB
# The longest metadata, as the reply writes it: it is parsed twice where it holds integers beyond 64 bits.
METADATA_BYTES = MIB
# With the bundled models, which take 360 MiB, this keeps the service within 1 GiB.
WAITING_BYTES = 256 * MIB
# Unless the limit on open files leaves fewer; each takes some 30 kB.
CONNECTIONS = 1000
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


class HostName(click.ParamType[str]):
    """What can be listened on: not nothing, which the system takes for every address."""

    name = "text"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Return the name; ends the program with a message for none."""
        if not value.strip():
            self.fail("expected an address or a name, such as 127.0.0.1; 0.0.0.0 is every one of IPv4", param, ctx)
        return value


class Listed(click.ParamType[tuple[str, ...]]):
    """Texts between commas, each of one form, as a tuple of them, in lower case unless ``as_written``."""

    name = "list"

    def __init__(self, form: str | re.Pattern[str], expected: str, *, as_written: bool = False) -> None:
        self._form = re.compile(form)
        self._expected = expected
        self._as_written = as_written

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Return the tuple; ends the program with a message for a text of another form."""
        if not isinstance(value, str):
            return value
        texts = tuple(each.strip() if self._as_written else each.strip().lower() for each in value.split(","))
        for text in texts:
            if not self._form.fullmatch(text):
                self.fail(f"{text!r}: expected {self._expected}", param, ctx)
        return texts


def _setting(default: Any, description: str, **extra: Any) -> Any:
    return field(default=default, metadata={"help": description, **extra})


# What holds the token itself. Not an option, whose value all on the machine can read.
TOKEN_VARIABLE = "VINOCAST_TOKEN"  # noqa: S105 - where it is, not what it is
# A name or an address as it stands in the address of a page.
HOST = r"(?:[a-z0-9_.-]+|\[[0-9a-f:.]+\])"


class BarLengths(click.ParamType[tuple[BarLength, ...]]):
    """Lengths of bars between commas."""

    name = "list"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Return a tuple of them; ends the program with a message for what is none."""
        if not isinstance(value, str):
            return value
        try:
            return tuple(dict.fromkeys(BarLength.read(each.strip()) for each in value.split(",")))
        except ValueError as error:
            self.fail(str(error), param, ctx)


@dataclass(frozen=True)
class Settings:
    """What ``serve`` and ``stdio`` have in common."""

    models: Path | None = _setting(None, "Folder of models, one folder each.", show="the bundled models")
    default_model: str | None = _setting(
        None,
        "Model that answers when a request names none.",
        show="patchtst-etth1, and for files, inputs and windows with channels vinocast-general; or the only forecaster",
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
    stream_residuals: int = _setting(
        0,
        "Outcomes of its own forecasts that a stream keeps for each step and channel, the newest ones, and takes its "
        "quantiles from once there are 100 of a step (or as many as this, if that is less), before that from the "
        "model's table; 0 keeps none. For 7 channels and 96 steps each takes 2.7 kB of a stream that is forecast, and "
        "300 kB more.",
        type=click.IntRange(0, 1000),
    )
    state: Path | None = _setting(
        None,
        "Folder in which streams outlast the service: written every so often and at its end, read at its start.",
        show="streams end with the service",
    )
    state_seconds: int = _setting(60, "How often the streams are written into --state.", type=COUNT)
    bars: tuple[BarLength, ...] = _setting(
        (BarLength.read("5m"),),
        "Lengths of the bars that are made of the messages of an exchange, with commas between them: a number with s, "
        "m or h.",
        type=BarLengths(),
        show="5m",
    )
    products: tuple[str, ...] = _setting(
        (),
        "Products of an exchange of which bars are made, with commas between them, such as BTC-USD.",
        type=Listed(PRODUCT, "a product such as BTC-USD, of up to 40 letters, digits and . _ -", as_written=True),
        show="all that appear",
    )
    max_steps_ahead: int = _setting(
        100_000,
        "Mean steps of a stream, each a second at least, that a row's timestamp_ms may lie ahead of the row before; "
        "366 days for the second row.",
        type=COUNT,
    )
    max_missing_share: float = _setting(
        0.3,
        "Share of a series that may be missing where a request has gaps interpolated; beyond it it is refused.",
        type=FiniteRange(0, 1),
    )
    max_request_bytes: int | None = _setting(
        None,
        "Longest request: a line of stdio, a body of HTTP.",
        type=COUNT,
        show=f"{REQUEST_BYTES // MIB} MiB, or what a window of the widest model may take as JSON",
    )
    max_waiting_bytes: int | None = _setting(
        None,
        "Bytes of memory that all that waits may take: bodies on their way, requests in the queue, replies that are "
        "not taken; what does not fit is answered as overloaded.",
        type=COUNT,
        show=f"{WAITING_BYTES // MIB} MiB, or 8 requests of the longest",
    )
    log_level: str = _setting(
        "info", "Least severe message on stderr.", type=click.Choice(["debug", "info", "warning", "error"])
    )
    log_format: str = _setting(
        "text",
        "How messages are written on stderr: as lines, or each as a JSON object.",
        type=click.Choice(["text", "json"]),
    )
    slow_seconds: float = _setting(
        0.0,
        "A request that takes as long, from its receipt to its reply, gets a line in the log; 0 for none.",
        type=FiniteRange(0, 86400),
    )
    otel: bool = _setting(
        False,
        "Export a span of each request to OpenTelemetry, by OTLP over HTTP; its own variables, "
        "OTEL_EXPORTER_OTLP_ENDPOINT and others, say where and how. Needs the extra 'otel'.",
    )


@dataclass(frozen=True)
class HttpSettings(Settings):
    """Settings of ``serve``."""

    host: str = _setting(
        "127.0.0.1",
        "Address to listen on; 0.0.0.0 for every interface, :: for IPv6 as well. Where others reach it, a token is "
        "needed, or --insecure.",
        type=HostName(),
    )
    port: int = _setting(8000, "Port to listen on; 0 takes a free one.", type=click.IntRange(0, 65535))
    grpc_port: int | None = _setting(
        None,
        "Port on which the Open Inference Protocol is spoken over gRPC, at the same address; 0 takes a free one. Needs "
        "the extra 'grpc'.",
        type=click.IntRange(0, 65535),
        show="no gRPC",
    )
    keep_alive_seconds: int = _setting(
        75,
        "How long a connection may stand idle between two requests; more than what a proxy or a pool in front keeps "
        "its own for, which is mostly 60 s.",
        type=COUNT,
    )
    max_connections: int | None = _setting(
        None,
        "Connections that may be open at once, in each worker; a few more are answered about health alone.",
        type=COUNT,
        show=f"{CONNECTIONS}, or what the limit on open files leaves",
    )
    workers: int = _setting(
        1, "Processes that share the port, each on cores of its own; more than one keep no streams.", type=COUNT
    )
    token_file: Path | None = _setting(
        None,
        "File with the token that requests must carry (Authorization: Bearer TOKEN), all but those for health and the "
        "documentation. The variable VINOCAST_TOKEN may hold the token itself instead.",
        show="no token",
    )
    insecure: bool = _setting(False, "Listen where others can ask without a token: whoever reaches the port may ask.")
    allowed_hosts: tuple[str, ...] = _setting(
        (),
        "Names, with commas between them, by which it may be asked for (Host) besides localhost and the address that "
        "was connected to; *.example.com for all below one.",
        type=Listed(rf"(?:\*\.)?{HOST}", "a name or an address without a port, or *. and a name"),
        show="no more where only this host can ask, else any",
    )
    allowed_origins: tuple[str, ...] = _setting(
        (),
        "Origins, with commas between them, whose web pages may ask, besides its own pages.",
        type=Listed(
            rf"(?!http:.*:80$|https:.*:443$)[a-z][a-z0-9+.-]*://{HOST}(?::\d+)?",
            "an origin as browsers write it, such as https://example.com: without a path, nor the port of the scheme",
        ),
        show="none",
    )
    # Of the file, or of the variable TOKEN_VARIABLE.
    token: bytes | None = field(default=None, repr=False)


@dataclass(frozen=True)
class StdioSettings(Settings):
    """Settings of ``stdio``."""

    max_unread_reply_bytes: int = _setting(
        64 * MIB, "Replies kept for a client that does not read; beyond that, reading pauses.", type=COUNT
    )
