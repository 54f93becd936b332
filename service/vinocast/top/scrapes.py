"""What a service has told at one moment, by its ``/metrics``."""

from __future__ import annotations

import http.client
import time
import urllib.error
import urllib.request
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from prometheus_client.parser import text_string_to_metric_families

from vinocast.errors import SetupError, printable

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["Labels", "Scrape", "scrape"]
Labels = frozenset[tuple[str, str]]
# A service that is well answers in milliseconds.
PATIENCE = 5.0
# A service with a hundred models writes about one.
MOST_BYTES = 16 * 2**20


@dataclass(frozen=True)
class Scrape:
    """The samples of a service at a moment of the monotonic clock, in seconds."""

    moment: float
    samples: Mapping[tuple[str, Labels], float]


def scrape(url: str, token: bytes | None) -> Scrape:
    """Ask a service; raises SetupError where none answers, where it refuses, and where it is no Vinocast."""
    address = f"{url.rstrip('/')}/metrics"
    headers = {"Authorization": f"Bearer {token.decode()}"} if token else {}
    try:
        request = urllib.request.Request(address, headers=headers)  # noqa: S310 - the user names the service
        with _OPENER.open(request, timeout=PATIENCE) as response:
            body = response.read(MOST_BYTES + 1)
    except urllib.error.HTTPError as error:
        with error:
            hint = "name its token with --token-file" if error.code == 401 else "so it is no Vinocast, or none for us"
        raise SetupError(f"{printable(address)} answers {error.code}: {hint}") from None
    except (OSError, ValueError, http.client.HTTPException) as error:
        reason = printable(str(error))
        raise SetupError(f"{printable(url)}: no service answers ({reason}); name it with --url") from None
    moment = time.monotonic()
    try:
        if len(body) > MOST_BYTES:
            raise ValueError
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


class _Stay(urllib.request.HTTPRedirectHandler):
    """Goes nowhere else, as the token would go with it."""

    def redirect_request(self, *_: Any) -> None:
        return None


_OPENER = urllib.request.build_opener(_Stay)
