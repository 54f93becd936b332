"""What a service has told at one moment, by its ``/metrics``."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from prometheus_client.parser import text_string_to_metric_families

from vinocast.errors import SetupError, printable
from vinocast.plain_http import ask

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["Labels", "Scrape", "scrape"]
Labels = frozenset[tuple[str, str]]
# A service that is well answers in milliseconds.
PATIENCE = 5.0


@dataclass(frozen=True)
class Scrape:
    """The samples of a service at a moment of the monotonic clock, in seconds."""

    moment: float
    samples: Mapping[tuple[str, Labels], float]


def scrape(url: str, token: bytes | None) -> Scrape:
    """Ask a service; raises SetupError where none answers, where it refuses, and where it is no Vinocast."""
    body = ask(url, "/metrics", token, PATIENCE)
    moment = time.monotonic()
    try:
        samples = {
            (sample.name, frozenset(sample.labels.items())): sample.value
            for family in text_string_to_metric_families(body.decode())
            for sample in family.samples
        }
    except (ValueError, LookupError):
        samples = {}
    if not any(name == "vinocast_ready" for name, _ in samples):
        raise SetupError(f"{printable(url)}: what answers is no Vinocast; name one with --url")
    return Scrape(moment, samples)
