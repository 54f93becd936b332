"""The numbers of the messages of one connection of Advanced Trade: one counter across all channels, without gaps."""

from __future__ import annotations


class Connection:
    """What the numbers tell.

    Attributes:
        last: the number of the last message; None before the first of a connection.
        gaps: how often something may have been lost: by a gap in the numbers, or between two connections.
        closed: how many bars have closed with what came, as far as they were kept.
    """

    __slots__ = ("closed", "gaps", "last")

    def __init__(self) -> None:
        self.last: int | None = None
        self.gaps = self.closed = 0

    def begin(self) -> None:
        """A new connection has begun: its numbers start anew."""
        self.last = None
        self.gaps += 1

    def number(self, number: int) -> int:
        """Take the number of a message; return how many were missed before it.

        A 0, or a number below the last, is of a new connection.
        """
        last, self.last = self.last, number
        if last is None or number == last or number == last + 1:
            return 0
        self.gaps += 1
        return max(number - last - 1, 0)
