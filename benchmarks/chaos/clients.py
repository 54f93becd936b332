"""What each kind of client does in a round, and the ledger of what came of it. Each kind is a process of its own."""

from __future__ import annotations

import base64
import contextlib
import functools
import json
import os
import queue
import random
import socket
import struct
import threading
import time
import zlib
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from multiprocessing.queues import Queue
    from multiprocessing.synchronize import Event

# Beyond any grace of the service: a request that was sent whole and has no answer by then is lost.
PATIENCE = 60.0
# How long a client that holds on to something does so, and how long the others rest between two rounds.
HOLD_SECONDS, PAUSE_SECONDS = 5.0, 0.2
PROBE_SECONDS = 0.02
MIB = 1 << 20
LARGEST_BODY = 8 * MIB
MOST_REPLY_BYTES = 64 * MIB
TOLERANCE = 1e-5
GOOD_AT_ONCE = 4


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


def numbered(good: bytes, number: int) -> bytes:
    """Return a good request's body with its id."""
    return b'{"request_id":%d,' % number + good


def good(world: World, ledger: Ledger) -> None:
    """Right forecasts on kept and on new connections, a few clients at once."""

    def one(place: int) -> None:
        own = Ledger(ledger.kind)
        wire = None
        for step in range(25):
            try:
                wire = wire or Wire(world)
                number = place * 100 + step
                body, right, scale = world.good[number % len(world.good)]
                reply = ask(own, wire, post(world, "/forecast", numbered(body, number)))
                judge(own, reply, number, right, scale)
                if wire.received:
                    own.doubled += 1
                if reply is None or wire.ending or step % 10 == 9:
                    wire.close()
                    wire = None
            except NotTakenError:
                own.not_taken += 1
                time.sleep(0.1)
            time.sleep(0.005)
        if wire:
            wire.close()
        with lock:
            merge(ledger, own)

    lock = threading.Lock()
    threads = [threading.Thread(target=one, args=(place,)) for place in range(GOOD_AT_ONCE)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def merge(ledger: Ledger, other: Ledger) -> None:
    """Add what another has counted."""
    for name in ("asked", "answered", "refused", "left", "not_taken", "lost", "doubled", "milliseconds"):
        setattr(ledger, name, getattr(ledger, name) + getattr(other, name))
    ledger.wrong += other.wrong
    ledger.codes += other.codes


def pipelining(world: World, ledger: Ledger) -> None:
    """Eight right forecasts in one piece: eight right replies in order, or as many as the last says that there are."""
    with Wire(world) as wire:
        chosen = [(number, *world.good[number % len(world.good)]) for number in range(8)]
        wire.send(b"".join(post(world, "/forecast", numbered(body, number)) for number, body, _, _ in chosen))
        sent = time.monotonic()
        for number, _, right, scale in chosen:
            reply = take(ledger, wire, sent)
            judge(ledger, reply, number, right, scale)
            if reply is None or wire.ending:
                break
        ledger.doubled += bool(wire.received)


def half_closing(world: World, ledger: Ledger) -> None:
    """Say that nothing more will come, as netcat does, and read the reply."""
    with Wire(world) as wire:
        body, right, scale = world.good[0]
        wire.send(post(world, "/forecast", numbered(body, 1)))
        wire.socket.shutdown(socket.SHUT_WR)
        judge(ledger, take(ledger, wire, time.monotonic()), 1, right, scale)


def foreign(world: World, ledger: Ledger) -> None:
    """Right forecasts as a web page of another origin sends them: each must be refused."""
    body = numbered(world.good[0][0], 1)
    for status, options in (
        (415, {"typed": False}),
        (415, {"typed": False, "extra": "Content-Type: text/plain\r\n"}),
        (403, {"extra": "Origin: http://evil.example\r\n"}),
        (421, {"host": "evil.example"}),
    ):
        with Wire(world) as wire:
            reply = ask(ledger, wire, post(world, "/forecast", body, **options))
            if reply and reply[0] not in {status, 503}:
                ledger.wrong[f"{reply[0]} where {status} is right"] += 1


@functools.cache
def _body(kind: str) -> bytes:
    """Return a body that takes long to make, once."""
    zeros = json.dumps([[[0] * 16] * 16] * 4096, separators=(",", ":")).encode()
    match kind:
        case "null targets":
            return b'{"past_values":[],"targets":[' + b"null," * ((LARGEST_BODY - 100) // 5) + b"null]}"
        case "empty rows":
            return b'{"past_values":[' + b"[]," * ((LARGEST_BODY - 100) // 3) + b"[]]}"
        case "topk":
            return b'{"topk":100000,"grids":' + zeros + b"}"
        case "batch":
            return b'{"grids":' + json.dumps([[[7] * 16] * 16] * 1000).encode() + b"}"
        case "rasters":
            # Noise, so that each glyph takes all its cells, and its text some kB.
            texts = [
                base64.b64encode(_png(b"", b"".join(b"\0" + random.randbytes(128) for _ in range(16)))).decode()
                for _ in range(5)
            ]
            return json.dumps({"rasters": texts * 100}).encode()
        case "junk":
            return json.dumps({"rasters": ["A" * 2000] * 4000}).encode()
        case _:
            chunk = struct.pack(">I4s", 0, b"IDAT") + struct.pack(">I", zlib.crc32(b"IDAT"))
            text = base64.b64encode(_png(chunk * 480_000)).decode()
            return json.dumps({"rasters": [text, *["AAAA"] * 90]}).encode()


def _png(between: bytes, first: bytes = b"") -> bytes:
    """Return a PNG of a black raster but for its first lines, with something between its header and its pixels."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = chunk(b"IHDR", struct.pack(">IIBBBBB", 128, 128, 8, 0, 0, 0, 0))
    pixels = chunk(b"IDAT", zlib.compress(first + b"\0" * (129 * 128 - len(first))))
    return b"\x89PNG\r\n\x1a\n" + header + between + pixels + chunk(b"IEND", b"")


def _one(path: str, kind: str) -> Callable[[World, Ledger], None]:
    def client(world: World, ledger: Ledger) -> None:
        with Wire(world) as wire:
            refused_or_answered(ledger, ask(ledger, wire, post(world, path, _body(kind))))

    client.__doc__ = f"A body of {kind}, and its reply."
    return client


def one_byte_chunks(world: World, ledger: Ledger) -> None:
    """A MB of chunks of one byte, six bytes of wire for one of body."""
    head = f"POST /forecast HTTP/1.1\r\nHost: 127.0.0.1:{world.port}\r\nContent-Type: application/json\r\n"
    with Wire(world) as wire:
        data = head.encode() + b"Transfer-Encoding: chunked\r\n\r\n" + b"1\r\n[\r\n" * 170_000 + b"0\r\n\r\n"
        refused_or_answered(ledger, ask(ledger, wire, data))


def glyph_leavers(world: World, ledger: Ledger) -> None:
    """Hang up behind 500 rasters before the reply, many at once."""
    with contextlib.ExitStack() as wires:
        for _ in range(20):
            wire = wires.enter_context(Wire(world))
            wire.send(post(world, "/glyphs", _body("rasters")))
            ledger.left += 1
            # At any moment: while it is read, while it waits, and between two of its parts.
            time.sleep(random.choice([0.0, 0.002, 0.02]))
            if random.random() < 0.5:  # a close of the polite kind
                wire.socket.shutdown(socket.SHUT_RDWR)


def batch_leavers(world: World, ledger: Ledger) -> None:
    """Hang up on a batch of a thousand grids behind which the next request stands already."""
    with Wire(world) as wire:
        wire.send(post(world, "/glyphs", _body("batch")) + b"GET /livez HTTP/1.1\r\n")
        ledger.left += 1
        time.sleep(0.05)


def junk_batches(world: World, ledger: Ledger) -> None:
    """A batch that takes long, and twenty of 8 MB behind it that are none."""
    with contextlib.ExitStack() as wires:
        sent = []
        for kind in ["batch"] + ["junk"] * 20:
            wire = wires.enter_context(Wire(world))
            wire.send(post(world, "/glyphs", _body(kind)))
            sent.append((wire, time.monotonic()))
        for wire, when in sent:
            refused_or_answered(ledger, take(ledger, wire, when))


def held_bodies(world: World, ledger: Ledger) -> None:
    """A hundred bodies of 8 MiB of which the last byte does not come."""
    body = b'{"past_values":[' + b" " * (LARGEST_BODY - 17)
    with contextlib.ExitStack() as wires:
        for _ in range(100):
            wire = wires.enter_context(Wire(world))
            wire.socket.settimeout(0.2)
            wire.send(post(world, "/forecast", body + b"?")[:-1])
            ledger.left += 1
        world.hold()


def slowloris(world: World, ledger: Ledger) -> None:
    """Fifty heads that come a byte at a time."""
    head = b"GET /livez HTTP/1.1\r\nHost: 127.0.0.1\r\nX: "
    with contextlib.ExitStack() as wires:
        slow = [wires.enter_context(Wire(world)) for _ in range(50)]
        for byte in head:
            for wire in slow:
                wire.send(bytes([byte]))
            world.hold(HOLD_SECONDS / len(head))
        ledger.left += len(slow)


def silent(world: World, ledger: Ledger) -> None:
    """Two hundred connections on which nothing is said."""
    with contextlib.ExitStack() as wires:
        for _ in range(200):
            wires.enter_context(Wire(world))
        ledger.left += 200
        world.hold()


def unread(world: World, ledger: Ledger) -> None:
    """Replies of a MB in all that nobody reads."""
    with Wire(world) as wire:
        wire.socket.settimeout(0.5)
        wire.send(b"GET /openapi.json HTTP/1.1\r\nHost: 127.0.0.1:%d\r\n\r\n" % world.port * 64)
        ledger.left += 1
        world.hold()


def streams(world: World, ledger: Ledger) -> None:
    """Names of streams without end."""
    with Wire(world) as wire:
        for _ in range(200):
            name = random.randbytes(8).hex()
            data = post(world, f"/streams/{name}/observations", b'{"values":[1,2,3,4,5,6,7]}')
            reply = ask(ledger, wire, data)
            refused_or_answered(ledger, reply)
            if reply is None or wire.ending:
                break


def garbage(world: World, ledger: Ledger) -> None:
    """What is no HTTP."""
    for _ in range(20):
        with Wire(world) as wire:
            wire.send(random.randbytes(random.randrange(1, 3000)))
            ledger.left += 1


ATTACKS: dict[str, Callable[[World, Ledger], None]] = {
    "pipelining": pipelining,
    "half-closing": half_closing,
    "foreign": foreign,
    "null-targets": _one("/forecast", "null targets"),
    "empty-rows": _one("/forecast", "empty rows"),
    "topk": _one("/glyphs", "topk"),
    "chunky-png": _one("/glyphs", "chunky png"),
    "one-byte-chunks": one_byte_chunks,
    "glyph-leavers": glyph_leavers,
    "batch-leavers": batch_leavers,
    "junk-batches": junk_batches,
    "held-bodies": held_bodies,
    "slowloris": slowloris,
    "silent": silent,
    "unread": unread,
    "streams": streams,
    "garbage": garbage,
}
# Of these, what is sent is right, and accepted requests are answered also when the service ends.
RIGHT = {"good", "pipelining", "half-closing"}


def probe(world: World, ledger: Ledger) -> None:
    """Ask for ``/livez`` on a new connection each time, as a health check does."""
    request = b"GET /livez HTTP/1.1\r\nHost: 127.0.0.1:%d\r\n\r\n" % world.port
    for _ in range(10):
        start = time.monotonic()
        with Wire(world) as wire:
            reply = ask(ledger, wire, request)
        end = time.monotonic()
        if reply is not None:
            ledger.milliseconds.append((start, end, (end - start) * 1e3))
            ledger.answered += reply[0] == 200
        time.sleep(PROBE_SECONDS)


def work(kind: str, world: World, resting: Event, reports: Queue[Ledger]) -> None:
    """Be clients of one kind until the end; ``resting`` is set while nothing is open. Runs in a process of its own."""
    with contextlib.suppress(PermissionError):
        os.nice({"probe": -5, "good": 0}.get(kind, 10))
    client = {"probe": probe, "good": good, **ATTACKS}[kind]
    ledger = Ledger(kind)
    while not world.ended.is_set():
        if not world.going.is_set():
            resting.set()
            world.going.wait(0.1)
            continue
        resting.clear()
        try:
            client(world, ledger)
        except NotTakenError:
            ledger.not_taken += 1
            time.sleep(0.1)
        except OSError as error:  # what a hang-up of the other side makes of a call that is no request
            ledger.codes[-(error.errno or 1)] += 1
        if kind not in {"probe", "good"}:
            world.hold(PAUSE_SECONDS)
    resting.set()
    reports.put(ledger)


def collected(reports: Queue[Ledger], count: int) -> Iterator[Ledger]:
    """Yield what each kind has counted."""
    for _ in range(count):
        try:
            yield reports.get(timeout=2 * PATIENCE)
        except queue.Empty:
            return


Good = list[tuple[bytes, list[list[float]], float]]


def good_requests() -> Good:
    """Return right requests and what the model in this process answers; runs in a process of its own."""
    import numpy as np  # noqa: PLC0415 - the others need neither numpy nor OpenVINO
    import vinocast  # noqa: PLC0415

    model = vinocast.load()
    walks = np.random.default_rng(7).standard_normal((8, model.context, len(model.channels))).cumsum(axis=1)
    found: Good = []
    for place, window in enumerate((walks + 50).astype("<f4")):
        fields: dict[str, Any] = {"shape": list(window.shape)}
        targets = [place % 7] if place % 2 else None
        if targets:
            fields["targets"] = targets
        text = base64.b64encode(window.tobytes()).decode()
        body = json.dumps({"past_values_b64": text, **fields})[1:].encode()
        found.append((body, model.forecast(window, targets).tolist(), float(abs(window).max())))
    return found
