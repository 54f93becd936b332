"""How many bars may close with one request, in which nothing else is answered: so many take 2.5 s."""

from __future__ import annotations

from vinocast.errors import OverloadedError, PayloadTooLargeError

MOST_CLOSING = 1_000_000


def check_closing(bars: int) -> None:
    """Refuse what may close so many bars by itself; raises PayloadTooLargeError."""
    if bars > MOST_CLOSING:
        raise PayloadTooLargeError(f"expected to close at most {MOST_CLOSING} bars at once, got times that span {bars}")


def closed_enough(bars: int) -> OverloadedError:
    """Return the refusal of what comes with a request that has closed so many bars."""
    return OverloadedError(
        f"{bars} bars have closed with the messages before it, and at most {MOST_CLOSING} may with one request: send "
        "it in another"
    )
