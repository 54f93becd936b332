"""Which connections are kept: how many there may be, how long each may wait for its client, and which clients left."""

from __future__ import annotations

import logging
import resource
import select
from itertools import islice
from typing import TYPE_CHECKING, Protocol

from vinocast.errors import SetupError
from vinocast.settings import CONNECTIONS
from vinocast.transports.http.accepting import ACCEPTED_A_ROUND
from vinocast.transports.http.bodies import DISCARD_SECONDS
from vinocast.transports.http.drain import is_readable

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable

# Beyond the limit so many are asked what they want: health is answered, all else refused.
EXTRA_CONNECTIONS = 8
EXTRA_SECONDS = 5
# The service itself has some 25 open; models, the log and what is accepted before another is closed need some more.
SPARE_DESCRIPTORS = 40
# From the first byte of a head to its end.
HEAD_SECONDS = 10
# How long a client may take to read anything at all of what waits for it.
UNREAD_SECONDS = 30
# Between two questions to a client whether it is there.
ASK_SECONDS = 1
# How many of those that wait for a request are asked whether it has come, before a new connection is refused instead.
# So many come in a round of the loop, before any of them is read.
LOOKED_AT = ACCEPTED_A_ROUND
# Between two lines of the log.
QUIET_SECONDS = 10
log = logging.getLogger(__name__)


def most_connections(asked: int | None) -> int:
    """Return how many connections a process may have; raises SetupError where the limit on open files is too low."""
    files = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    if files == resource.RLIM_INFINITY:
        return asked or CONNECTIONS
    room, wanted = files - SPARE_DESCRIPTORS - EXTRA_CONNECTIONS, asked or 1
    if room < wanted:
        raise SetupError(
            f"the limit of {files} open files leaves room for {max(0, room)} connections, and {wanted} are wanted: "
            f"raise it to {files + wanted - room} (ulimit -n, LimitNOFILE= of a unit), or lower --max-connections"
        )
    return asked or min(room, CONNECTIONS)


class Guest(Protocol):
    """A connection, as far as it matters here.

    Attributes:
        loop: its event loop.
        transport: what it is sent by.
        unread_bytes: how much of what was sent its client had not read when it was last looked at.
        watched: the descriptor under which it is watched for its client's leaving.
    """

    loop: asyncio.AbstractEventLoop
    transport: asyncio.Transport
    unread_bytes: int
    watched: int | None

    def end(self) -> None:
        """Close the connection once its client has read what waits for it, or does not read it."""

    def departed(self, *, reset: bool) -> None:
        """Be told that a client has reset the connection, or may have left."""

    def connection_lost(self, exc: Exception | None) -> None:
        """Let everything go: there is no connection any more."""


class Waiting:
    """Connections that wait for their clients, the one that has waited longest first.

    Args:
        seconds: how long each may.
        give_up: is called with one that has waited longer.
    """

    def __init__(self, seconds: float, give_up: Callable[[Guest], None]) -> None:
        self._seconds = seconds
        self._give_up = give_up
        self._since: dict[Guest, float] = {}
        self._timed = False

    def __len__(self) -> int:
        return len(self._since)

    def __contains__(self, connection: Guest) -> bool:
        return connection in self._since

    def add(self, connection: Guest) -> None:
        """Let a connection wait, from now on."""
        loop = connection.loop
        self._since.pop(connection, None)
        self._since[connection] = loop.time()
        if not self._timed:  # one timer for all: to set one for each request would take a microsecond
            self._timed = True
            loop.call_later(self._seconds, self._look)

    def discard(self, connection: Guest) -> None:
        """Let a connection wait no longer, if it does."""
        self._since.pop(connection, None)

    def longest(self) -> Guest | None:
        """Return the one that has waited longest."""
        return next(iter(self._since), None)

    def longest_silent(self) -> Guest | None:
        """Return the one that has waited longest, but for those of which something has come that was not read yet."""
        for connection in islice(self._since, LOOKED_AT):
            if not is_readable(connection.transport.get_extra_info("socket").fileno()):
                return connection
        return None

    def _look(self) -> None:
        self._timed = False
        while (connection := self.longest()) is not None:
            left = self._since[connection] + self._seconds - connection.loop.time()
            if left > 0:
                if not self._timed:
                    self._timed = True
                    connection.loop.call_later(left, self._look)
                return
            self.discard(connection)
            self._give_up(connection)


class Admission:
    """The connections of a process, up to a limit, each waiting for its client for a bounded time.

    Where there are as many as there may be, a new one takes the place of one that waits for a request; where none does,
    it is one of a few extra ones, which are answered about the health of the service and refused all else.

    Args:
        most: how many there may be besides the extra ones.
        idle_seconds: how long one may be open without a request.
    """

    def __init__(self, most: int, idle_seconds: float) -> None:
        self._most = most
        self._members: set[Guest] = set()
        self.idle = Waiting(idle_seconds, lambda connection: connection.end())
        self.heads = Waiting(min(HEAD_SECONDS, idle_seconds), lambda connection: connection.end())
        self.lingering = Waiting(DISCARD_SECONDS, lambda connection: connection.transport.abort())
        self.unread = Waiting(UNREAD_SECONDS, self._unread_for_long)
        self._extra = Waiting(EXTRA_SECONDS, lambda connection: connection.transport.abort())
        self.departures = Departures()
        self._closed = self._turned_away = 0
        self._quiet_until = 0.0

    def admit(self, connection: Guest) -> bool:
        """Take a new connection in; return whether as one of the extra ones."""
        if len(self._members) >= self._most:
            longest = self.idle.longest_silent() or self.heads.longest_silent() or self.lingering.longest()
            if longest is None:
                self._turned_away += 1
                first = self._extra.longest()
                if first is not None and len(self._extra) >= EXTRA_CONNECTIONS:
                    self._extra.discard(first)
                    first.transport.abort()
                self._extra.add(connection)
            else:
                self._closed += 1
                self.leave(longest)
                # To one that waits with what it has not read, nobody would come.
                transport = longest.transport
                end = transport.abort if transport.get_write_buffer_size() else transport.close
                end()
            self._say(connection.loop.time())
            if longest is None:
                return True
        self._members.add(connection)
        self.idle.add(connection)
        return False

    def leave(self, connection: Guest) -> None:
        """Forget a connection."""
        self._members.discard(connection)
        for queue in (self.idle, self.heads, self.lingering, self.unread, self._extra):
            queue.discard(connection)
        self.departures.unwatch(connection)

    def _say(self, now: float) -> None:
        if now >= self._quiet_until:
            self._quiet_until = now + QUIET_SECONDS
            log.warning(
                "%d connections are open, the most there may be (--max-connections): since the last such line %d that "
                "waited were closed for others, and %d were refused all but health",
                self._most,
                self._closed,
                self._turned_away,
            )
            self._closed = self._turned_away = 0

    def _unread_for_long(self, connection: Guest) -> None:
        """Abort a connection unless its client has read something meanwhile."""
        left = connection.transport.get_write_buffer_size()
        if left >= connection.unread_bytes:
            connection.transport.abort()
        elif left:
            connection.unread_bytes = left
            self.unread.add(connection)


class Departures:
    """Tells connections from which nothing is read that their clients have left, as far as that is to be known.

    A loop sees neither an end nor a reset of a connection that it does not read. And the end of one whose client has
    sent more than there is room for does not come at all: such a client is asked.
    """

    def __init__(self) -> None:
        self._epoll = select.epoll()
        self._watched: dict[int, Guest] = {}
        self._looking = False
        self._silent = Waiting(ASK_SECONDS, self._ask)

    def watch(self, connection: Guest) -> None:
        """Have a connection told by its method ``departed``."""
        if not self._looking:
            self._looking = True
            connection.loop.add_reader(self._epoll.fileno(), self._look)
        descriptor: int = connection.transport.get_extra_info("socket").fileno()
        if descriptor not in self._watched:
            self._watched[descriptor] = connection
            connection.watched = descriptor
            self._silent.add(connection)
            self._epoll.register(descriptor, select.EPOLLRDHUP | select.EPOLLET)

    def unwatch(self, connection: Guest) -> None:
        """Have it told no more."""
        if connection.watched is not None:
            self._epoll.unregister(connection.watched)
            del self._watched[connection.watched]
            connection.watched = None
            self._silent.discard(connection)

    def _ask(self, connection: Guest) -> None:
        connection.departed(reset=False)
        self._silent.add(connection)

    def _look(self) -> None:
        for descriptor, events in self._epoll.poll(0):
            self._watched[descriptor].departed(reset=bool(events & (select.EPOLLHUP | select.EPOLLERR)))
