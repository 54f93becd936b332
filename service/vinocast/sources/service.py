"""The service that a source feeds: a child process of its own, or one that runs elsewhere."""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from vinocast.client.over_lines import spawn
from vinocast.errors import RequestError, ServiceUnreachableError, SetupError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from vinocast.client.faces import Service

# How often a request is made again that a service which others ask, too, was too busy for.
RETRIES = 3


@dataclass(frozen=True)
class Where:
    """What is asked of the service itself.

    Attributes:
        url: of one that runs; None for a child.
        token: that it asks for.
        models: the child's folder of models; None for the bundled ones.
        default_model: that the child answers by.
        profile: of the child.
        state: the child's folder of streams that outlast it; None for none.
    """

    url: str | None
    token: str | None
    models: Path | None
    default_model: str | None
    profile: str
    state: Path | None


@contextmanager
def open_service(where: Where, bar: str) -> Iterator[Service]:
    """Start or reach a service that keeps bars of a length; one that runs keeps the bars that it was told to keep.

    Raises SetupError where it does not start, and for what ends the work with it: it has gone, or refuses what it gets.
    """
    try:
        with _service(where, bar) as service:
            yield service
    except (RequestError, ServiceUnreachableError) as error:
        who = "the service started here" if where.url is None else where.url
        raise SetupError(f"{who} does not go on: {error}") from error


def _service(where: Where, bar: str) -> Service:
    if where.url is not None:
        from vinocast.client.over_http import connect  # noqa: PLC0415 - of an extra

        return connect(where.url, token=where.token, retries=RETRIES)
    kept = [] if where.state is None else ["--state", str(where.state)]
    return spawn(
        where.models,
        default_model=where.default_model,
        profile=where.profile,
        arguments=["--bars", bar, "--log-level", "warning", *kept],
    )
