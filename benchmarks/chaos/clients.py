"""What each kind of client does in a round. Each kind is a process of its own."""

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
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

from benchmarks.chaos.wire import (
    HOLD_SECONDS,
    MIB,
    PATIENCE,
    Ledger,
    NotTakenError,
    Wire,
    World,
    ask,
    judge,
    merge,
    post,
    refused_or_answered,
    take,
)

if TYPE_CHECKING:
    from multiprocessing.queues import Queue
    from multiprocessing.synchronize import Event

# How long clients that hold on to nothing rest between two rounds.
PAUSE_SECONDS = 0.2
PROBE_SECONDS = 0.02
LARGEST_BODY = 8 * MIB
GOOD_AT_ONCE = 4


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
    if kind == "probe":
        with contextlib.suppress(PermissionError):
            os.nice(-5)
    else:  # so that what is measured is the service, and not how a scheduler shares cores that clients have not in life
        os.sched_setscheduler(0, os.SCHED_IDLE, os.sched_param(0))
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
    import vinocast  # noqa: PLC0415 - imports OpenVINO

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
        found.append((body, model.forecast(window, targets).predictions.tolist(), float(abs(window).max())))
    return found
