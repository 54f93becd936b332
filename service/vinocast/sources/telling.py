"""What is printed: a line for each bar that closes, for people or for programs, and a line that lives on a terminal."""

from __future__ import annotations

import functools
import logging
import sys
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import click
import orjson

from vinocast.errors import NotEnoughHistoryError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from vinocast.markets import Bar
    from vinocast.results import Forecast
    from vinocast.sources.pairing import Told

# Of a forecast that did not come.
LOST, NOT_COME = "lost", "it has not come"
# Of the line that lives, a second.
REFRESHES = 2

log = logging.getLogger("vinocast.feed")


def moment(seconds: float) -> str:
    """Return a time in UTC as people read it."""
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d %H:%M:%S")


class Lines:
    """Prints bars and their forecasts.

    Attributes:
        forecasts: how many there were.
        refused: by code, the bars that had none.
        reasons: of each of these codes the newest, in words.
        last: the bar that closed last, in words.
        echo: what prints a line.
    """

    def __init__(self, seconds: int, *, as_json: bool) -> None:
        """Take the length of a bar, and whether programs read the lines."""
        self._seconds, self._as_json = seconds, as_json
        self._code: dict[str, str] = {}
        self._warned: set[str] = set()
        self.forecasts = 0
        self.refused: dict[str, int] = {}
        self.reasons: dict[str, str] = {}
        self.last = "no bar has closed yet"
        self.echo: Callable[[str], None] = click.echo

    def tell(self, told: Told) -> None:
        """Print a line; for people, why there is no forecast is said once for all bars that follow each other."""
        if told.forecast is not None:
            self.forecasts += 1
            code = ""
            for warning in {*told.forecast.warnings} - self._warned:
                self._warned.add(warning)
                log.warning("%s", warning)
        else:
            code = told.error.code if told.error else LOST
            self.refused[code] = self.refused.get(code, 0) + 1
            self.reasons[code] = str(told.error or NOT_COME)
        if self._as_json:
            self.echo(to_json(told))
        elif not code or code != self._code.get(told.stream):
            self.echo(self._text(told))
        self._code[told.stream] = code
        self.last = f"{told.stream} {moment(told.bar.start)} {_bar(told.bar)}"

    def fault(self) -> str | None:
        """Say what is wrong where bars have closed and none was forecast, and not for a lack of bars before.

        What was lost while there were too few bars would have been an error of that kind.
        """
        young = {NotEnoughHistoryError.code}
        found = sorted(set(self.refused) - young, key=lambda code: -self.refused[code])
        if found == [LOST] and young & set(self.refused):
            return None
        if self.forecasts or not found:
            return None
        return (
            f"no bar was forecast: {found[0]}, {self.refused[found[0]]} times, the last time {self.reasons[found[0]]}"
        )

    def _text(self, told: Told) -> str:
        text = f"{moment(told.bar.start)} {told.stream} {_bar(told.bar)}"
        if told.forecast is not None:
            return f"{text} | {self._forecast(told.forecast)}"
        return f"{text} | no forecast: {told.error or NOT_COME}"

    def _forecast(self, forecast: Forecast) -> str:
        """Say the first step and the last of one target: the close, where it is among them."""
        channels = forecast.channels
        place = channels.index("close") if "close" in channels else 0
        levels = list(forecast.quantiles)
        parts = []
        for step in sorted({0, len(forecast.predictions) - 1}):
            text = (
                f"in {span((step + 1) * self._seconds)} {channels[place]} {_number(forecast.predictions[step, place])}"
            )
            if len(levels) > 1:
                low, high = (forecast.quantiles[level][step, place] for level in (levels[0], levels[-1]))
                text += f" ({_number(low)} to {_number(high)})"
            parts.append(text)
        return ", ".join(parts)


def span(seconds: int) -> str:
    """Return a length of time as people say it."""
    for unit, name in ((86400, "d"), (3600, "h"), (60, "min")):
        if seconds % unit == 0:
            return f"{seconds // unit} {name}"
    return f"{seconds} s"


def to_json(told: Told) -> str:
    """Return the line of a program: the bar, and the fields of a forecast or of an error as a service has them."""
    line: dict[str, Any] = {"stream": told.stream, "bar": list(told.bar), "success": told.forecast is not None}
    forecast = told.forecast
    if forecast is not None:
        line |= {"model": forecast.model, "channels": forecast.channels, "predictions": forecast.predictions}
        if forecast.quantiles:
            line["quantiles"] = {f"{level:g}": values for level, values in forecast.quantiles.items()}
        if forecast.newest_timestamp_ms is not None:
            line["newest_timestamp_ms"] = forecast.newest_timestamp_ms
        if forecast.warnings:
            line["warnings"] = forecast.warnings
    elif told.error is not None:
        error = told.error
        line["error"] = {
            "code": error.code,
            "message": error.message,
            "field": error.field,
            "retryable": error.retryable,
        }
    return orjson.dumps(line, option=orjson.OPT_SERIALIZE_NUMPY).decode()


@contextmanager
def live_line(text: Callable[[], str]) -> Iterator[Callable[[str], None]]:
    """Show a line on the terminal of standard error that is kept new, else nothing; yield what prints above it.

    What is printed goes to standard output, and what is logged to standard error.
    """
    if not sys.stderr.isatty():
        with logged():
            yield click.echo
        return
    from rich.console import Console  # noqa: PLC0415 - of an extra
    from rich.live import Live  # noqa: PLC0415 - as above
    from rich.text import Text  # noqa: PLC0415 - as above

    console = Console(stderr=True)

    def line() -> Text:
        return Text(text(), no_wrap=True, overflow="ellipsis")

    def above(printed: str) -> None:
        console.print(Text(printed), soft_wrap=True)

    live = Live(
        get_renderable=line,
        console=console,
        refresh_per_second=REFRESHES,
        transient=True,
        redirect_stdout=False,
        redirect_stderr=False,
    )
    with live, logged(above):
        # What goes into a file or a pipe must not come to the terminal.
        yield above if sys.stdout.isatty() else click.echo


@contextmanager
def logged(echo: Callable[[str], None] | None = None) -> Iterator[None]:
    """Have what is logged be printed, on standard error unless it is said how."""
    handler = _Echo(echo or functools.partial(click.echo, err=True))
    handler.setFormatter(logging.Formatter("vinocast: %(message)s"))
    logger = logging.getLogger("vinocast.feed")
    level = logger.level
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    try:
        yield
    finally:
        logger.removeHandler(handler)
        logger.setLevel(level)


class _Echo(logging.Handler):
    def __init__(self, echo: Callable[[str], None]) -> None:
        super().__init__()
        self._echo = echo

    def emit(self, record: logging.LogRecord) -> None:
        """Print a line."""
        self._echo(self.format(record))


def _bar(bar: Bar) -> str:
    return bar.state if bar.close is None else f"{bar.state} {_number(bar.close)}"


def _number(value: float) -> str:
    return f"{value:.8g}"
