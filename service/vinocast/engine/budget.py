"""One budget for the bytes of everything that waits: bodies on their way, requests in the lane, replies to be taken.

What is taken here is given back here: a request has one :class:`Claim` from its first byte to the end of its reply,
which grows and shrinks with what the request holds, and is released however it ends.
"""

from __future__ import annotations

from vinocast.errors import OverloadedError

# What a request leaves free beside it, as a multiple of its own bytes, up to a share of the whole: however many large
# ones wait, there is room for small ones.
LEFT_FREE = 256
LEFT_FREE_SHARE = 4
# What a request that waits takes beside its data: its ticket, its job, and the objects around them.
BYTES_A_REQUEST = 2048


class Budget:
    """How many bytes may wait, and how many do. For one thread.

    Attributes:
        most: how many may.
        taken: how many do, the sum of all claims.
        to_large: up to how many any request has its room, however large.
    """

    __slots__ = ("most", "taken", "to_large")

    def __init__(self, most: int) -> None:
        self.most = most
        self.taken = 0
        self.to_large = most - most // LEFT_FREE_SHARE


class Claim:
    """What one request takes of a budget.

    Attributes:
        nbytes: how much that is at the moment.
    """

    __slots__ = ("_budget", "nbytes")

    def __init__(self, budget: Budget) -> None:
        self._budget = budget
        self.nbytes = 0

    def hold(self, nbytes: int) -> None:
        """Take so many bytes in all; raises OverloadedError, and takes what it did, where these are too many more.

        Where nothing else waits any number fits, so that no request is refused for ever.
        """
        budget = self._budget
        others = budget.taken - self.nbytes
        taken = others + nbytes
        if (
            taken > budget.to_large
            and nbytes > self.nbytes
            and others
            and taken > max(budget.to_large, budget.most - LEFT_FREE * nbytes)
        ):
            raise OverloadedError(
                f"no room for {nbytes} bytes ({others} of {budget.most} that may wait are taken); try again later"
            )
        budget.taken = taken
        self.nbytes = nbytes

    def must_hold(self, nbytes: int) -> None:
        """Take so many bytes in all, whether or not they fit: of what is there already."""
        self._budget.taken += nbytes - self.nbytes
        self.nbytes = nbytes

    def release(self) -> None:
        """Give everything back; to be called as often as one likes."""
        self._budget.taken -= self.nbytes
        self.nbytes = 0
