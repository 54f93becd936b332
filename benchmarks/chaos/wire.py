"""What clients ask by, and the ledger of what came of it."""

from __future__ import annotations

import contextlib
import json
import socket
import struct
import time
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from multiprocessing.synchronize import Event

# Beyond any grace of the service: a request that was sent whole and has no answer by then is lost. Of ten minutes the
# service has half a core for a hundred seconds, in which a batch of thousands of glyphs may not come to its end.
PATIENCE = 180.0
# How long a client that holds on to something does so.
HOLD_SECONDS = 5.0
MIB = 1 << 20
MOST_REPLY_BYTES = 64 * MIB
TOLERANCE = 1e-5


class LostError(Exception):
    """A connection that has ended, or is silent, before the whole reply was there."""


class NotTakenError(Exception):
    """A connection that was not taken, so that nothing was asked."""


@dataclass
class Ledger:
    """What came of one kind of client.

    Attributes:
        kind: which.
        asked: requests sent whole.
        answered: with success, and right.
        refused: with a code.
        left: given up by the client itself.
        not_taken: connections that the service did not take.
        lost: requests without a reply: when they were sent, when they were given up, what was seen.
        doubled: replies too many.
        wrong: how often each wrong reply came.
        codes: the statuses of the refused.
        milliseconds: of probes, when each began, ended, and how long it took.
    """

    kind: str
    asked: int = 0
    answered: int = 0
    refused: int = 0
    left: int = 0
    not_taken: int = 0
    lost: list[tuple[float, float, str]] = field(default_factory=list)
    doubled: int = 0
    wrong: Counter[str] = field(default_factory=Counter)
    codes: Counter[int] = field(default_factory=Counter)
    milliseconds: list[tuple[float, float, float]] = field(default_factory=list)


@dataclass
class World:
    """What the clients know.

    Attributes:
        port: of the service.
        going: set while the clients may go on.
        ended: set when they must end.
        good: right requests without their id, and the forecasts that they must be answered with.
    """

    port: int
    going: Event
    ended: Event
    good: list[tuple[bytes, list[list[float]], float]]

    def hold(self, seconds: float = HOLD_SECONDS) -> None:
        """Wait, but no longer than the clients may go on."""
        end = time.monotonic() + seconds
        while time.monotonic() < end and self.going.is_set() and not self.ended.is_set():
            time.sleep(0.05)


class Wire:
    """A connection."""

    def __init__(self, world: World) -> None:
        self.received = b""
        # Whether the service has said that it answers nothing more here.
        self.ending = False
        try:
            self.socket = socket.create_connection(("127.0.0.1", world.port), PATIENCE)
        except OSError as error:
            raise NotTakenError(error.strerror) from None
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def __enter__(self) -> Wire:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Hang up at once."""
        with contextlib.suppress(OSError):
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.socket.close()

    def send(self, data: bytes) -> None:
        """Send, as far as the service takes it: it may have answered before the end."""
        with contextlib.suppress(OSError):
            self.socket.sendall(data)

    def reply(self) -> tuple[int, bytes]:
        """Return status and body; raises LostError."""
        try:
            while b"\r\n\r\n" not in self.received:
                self._read()
            head, _, self.received = self.received.partition(b"\r\n\r\n")
            fields = dict(line.split(b": ", 1) for line in head.lower().split(b"\r\n")[1:] if b": " in line)
            size = int(fields.get(b"content-length", b"0"))
            pieces, got = [self.received], len(self.received)
            while got < size:
                pieces.append(self.socket.recv(1 << 20))
                got += len(pieces[-1])
                if not pieces[-1]:
                    raise LostError(f"the reply ends after {got} of {size} bytes")
            body = b"".join(pieces)
        except OSError as error:
            raise LostError(f"{type(error).__name__}: {error}") from None
        self.received = body[size:]
        self.ending = fields.get(b"connection") == b"close"
        return int(head[9:12]), body[:size]

    def _read(self) -> None:
        data = self.socket.recv(1 << 16)
        if not data:
            raise LostError("the connection ends without a reply")
        self.received += data


def post(world: World, path: str, body: bytes, *, host: str = "", extra: str = "", typed: bool = True) -> bytes:
    """Return a request."""
    kind = "Content-Type: application/json\r\n" if typed else ""
    named = host or f"127.0.0.1:{world.port}"
    return f"POST {path} HTTP/1.1\r\nHost: {named}\r\n{kind}{extra}Content-Length: {len(body)}\r\n\r\n".encode() + body


def ask(ledger: Ledger, wire: Wire, data: bytes) -> tuple[int, bytes] | None:
    """Send a request and return its reply, or None where it is lost; it is counted."""
    wire.send(data)
    return take(ledger, wire, time.monotonic())


def take(ledger: Ledger, wire: Wire, sent: float) -> tuple[int, bytes] | None:
    """Return the reply to a request that was sent, or None where it is lost; it is counted."""
    ledger.asked += 1
    try:
        status, body = wire.reply()
    except LostError as error:
        ledger.lost.append((sent, time.monotonic(), str(error)))
        return None
    if status != 200:
        ledger.refused += 1
        ledger.codes[status] += 1
        if status >= 500 and status not in {501, 503, 504}:
            ledger.wrong[f"status {status}"] += 1
        elif b'"code":' not in body:
            ledger.wrong[f"status {status} without the envelope"] += 1
    return status, body


def judge(ledger: Ledger, reply: tuple[int, bytes] | None, number: int, right: list[list[float]], scale: float) -> None:
    """Count a forecast as right or wrong."""
    if reply is None or reply[0] != 200:
        return
    fields = json.loads(reply[1])
    if fields["request_id"] != number:
        ledger.wrong["a reply to another request"] += 1
        return
    pairs = zip(fields["predictions"], right, strict=True)
    far = max(abs(one - two) for row, other in pairs for one, two in zip(row, other, strict=True))
    if far <= TOLERANCE * scale:
        ledger.answered += 1
    else:
        ledger.wrong["another forecast than the model's own"] += 1


def refused_or_answered(ledger: Ledger, reply: tuple[int, bytes] | None) -> None:
    """Count an answer of any length that is bounded."""
    if reply is not None and reply[0] == 200:
        ledger.answered += 1
        if len(reply[1]) > MOST_REPLY_BYTES:
            ledger.wrong[f"a reply of {len(reply[1]) // MIB} MiB"] += 1


def merge(ledger: Ledger, other: Ledger) -> None:
    """Add what another has counted."""
    for name in ("asked", "answered", "refused", "left", "not_taken", "lost", "doubled", "milliseconds"):
        setattr(ledger, name, getattr(ledger, name) + getattr(other, name))
    ledger.wrong += other.wrong
    ledger.codes += other.codes
