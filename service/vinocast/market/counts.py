"""What was counted: of a service's feed, of one request, of a stream."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

# In the order in which they are told.
OF_FEED = ("seen", "ignored", "errors", "refused", "missed_messages")
OF_STREAM = ("used", "duplicates", "late", "missed_trades", "re_sent_closed_bucket")
NAMES = (*OF_FEED, *OF_STREAM)
NONE = (0,) * len(NAMES)
# Up to which every reader of JSON takes an integer exactly: ids and numbers may leap by more, again and again.
MOST = 2**53 - 1


class Counts:
    """Counts of messages, trades and candles.

    Each message counts in ``seen``; what was of no use in ``ignored``, what the exchange calls an error in ``errors``,
    what was refused in ``refused``. Each trade counts once: in ``used``, in ``duplicates``, or, where its bar had
    closed before, in ``late``; each candle in ``used``, in ``duplicates`` where it tells nothing new, in
    ``re_sent_closed_bucket`` where it corrects a bar that had closed, or in ``late`` where that is not kept any more.
    ``missed_trades`` are the ids that have not come; it falls again when one comes after all. ``missed_messages`` are
    the numbers of a connection that have not. Both end at MOST.
    """

    __slots__ = NAMES

    def __init__(self) -> None:
        self.seen = self.ignored = self.errors = self.refused = self.missed_messages = 0
        self.used = self.duplicates = self.late = self.missed_trades = self.re_sent_closed_bucket = 0

    def values(self) -> tuple[int, ...]:
        """Return all of them, in the order of their names."""
        return (
            self.seen, self.ignored, self.errors, self.refused, self.missed_messages,
            self.used, self.duplicates, self.late, self.missed_trades, self.re_sent_closed_bucket,
        )  # fmt: skip

    def told(self, before: tuple[int, ...] = NONE) -> dict[str, int]:
        """Return those that are not 0 by name; only what has come since ``before``, if that is given."""
        # Not strict, which costs a message in a hundred.
        pairs = zip(NAMES, self.values(), before)  # noqa: B905
        return {name: now - then for name, now, then in pairs if now != then}

    def add(self, name: str, count: int) -> None:
        """Count so many by the name of a count."""
        setattr(self, name, min(getattr(self, name) + count, MOST))

    @classmethod
    def load(cls, values: Sequence[int]) -> Counts:
        """Return counts of :meth:`values`; raises ValueError for values of another number."""
        counts = cls()
        for name, value in zip(NAMES, values, strict=True):
            setattr(counts, name, int(value))
        return counts
