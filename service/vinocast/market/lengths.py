"""How long the bars of a stream are, and the names of streams."""

from __future__ import annotations

import re
from typing import NamedTuple

UNITS = {"s": 1, "m": 60, "h": 3600}
LENGTH = re.compile(r"([1-9]\d{0,4})([smh])", re.ASCII)
# A bar is a day at most.
MOST_SECONDS = 86_400


class BarLength(NamedTuple):
    """The length of a bar.

    Attributes:
        text: as it stands in the name of a stream, such as ``5m``.
        seconds: the same in seconds.
    """

    text: str
    seconds: int

    def __str__(self) -> str:
        return self.text

    @classmethod
    def read(cls, text: str) -> BarLength:
        """Return the length that a text such as ``30s``, ``5m`` or ``1h`` says.

        Raises:
            ValueError: it says none, or one beyond a day; the message says what was expected.
        """
        found = LENGTH.fullmatch(text)
        seconds = int(found[1]) * UNITS[found[2]] if found else 0
        if not found or seconds > MOST_SECONDS:
            raise ValueError(f"expected a number with s, m or h behind it, a day at most, got {text[:40]!r}")
        return cls(text, seconds)

    def stream(self, product: str) -> str:
        """Return the name of a product's stream of such bars."""
        return f"{product}@{self.text}"
