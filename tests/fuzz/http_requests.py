"""Fuzzed HTTP for ``vinocast serve``: bodies as over lines, heads of every fault, chunks, pipelines, hang-ups.

Whether what was sent is a whole request, is none, or waits for more, h11 says, which is not the parser of the service.
"""

from __future__ import annotations

import contextlib
import json
import random
import re
import socket
import struct
from dataclasses import dataclass
from urllib.parse import quote

import h11
from fuzz.oracle import ONLY_HTTP, STATUSES, Answers, Expected, expect
from fuzz.report import Report
from fuzz.requests_of import MOST_BYTES, OPTIONS, bend, drops_the_kept, garbage, good, keep_stream, tear, text_of
from support import HttpService
from vinocast.progress import progress

# A reply that takes longer has been lost; what the service has to do for any one takes a second at most.
SECONDS = 45.0
MOST_PIPELINED = 8
HEAD_END = b"\r\n\r\n"
METHODS = ["GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS", "PATCH", "TRACE", "CONNECT", "post", "P OST", "G\0T", ""]
TARGETS = [
    "/forecast", "/glyphs", "/streams", "/streams/kept2", "/streams/%C3%BC/observations", "/streams//observations",
    "/livez", "/readyz", "/openapi.json", "/docs", "/redoc", "/", "//", "/../etc/passwd", "/%2e%2e/", "/%", "/%zz",
    "/%00", "/%ff", "*", "", "livez", "/livez?", "/forecast?model=x", "/livez#x", "http://x/livez", "http://", "/ü",
    "https://user@x:1/livez", "/" + "a" * 9000, "/" + "a" * 20000, "/livez HTTP/1.1\r\nX: y", "/a b", "\x00", "/\x7f",
]  # fmt: skip
FIELDS = [
    "Host: other", "Host:", "Host : x", "Content-Length: 5", "Content-Length: -1", "Content-Length: 0x5",
    "Content-Length: 99999999999999999999", "Content-Length: 1, 1", "Transfer-Encoding: chunked",
    "Transfer-Encoding: gzip", "Transfer-Encoding: chunked, chunked", "Transfer-Encoding: identity",
    "Content-Encoding: gzip", "Content-Type: text/plain", "Content-Type: application/json; charset=utf-16",
    "Content-Type:", "Connection: close", "Connection: upgrade", "Upgrade: websocket", "Upgrade: h2c",
    "Expect: 100-continue", "Expect: something", "Origin: http://evil.example", "Origin: null", "X: \t y \t",
    "X: \x01", "X: ü", " folded", "\tfolded", "NoColon", ": empty", "X" * 300 + ": y", "X: " + "y" * 17000, "",
    "Content-Length: ٣", "Trailer: X", "TE: trailers", "Range: bytes=0-1", "Accept: image/png", "Cookie: a=b;",
]  # fmt: skip
VERSIONS = ["HTTP/1.1", "HTTP/1.0", "HTTP/2.0", "HTTP/0.9", "HTTP/1.2", "http/1.1", "HTTP/11", "", "XTTP/1.1"]
CHUNKS = [b"0", b"00", b"-1", b"G", b"", b"fffffffff", b"5;a=b", b"5 ", b" 5", b"0x5", b"5;" + b"e" * 200, b"5\n"]


@dataclass
class Sent:
    """Some bytes on a connection of their own, or behind others, and what must come back.

    Attributes:
        data: the bytes.
        expected: what each whole request in them must be answered with; None where any answer of ours is right.
        open: whether they are the beginning of something, after which the client leaves.
        head: whether no body comes with the reply.
    """

    data: bytes
    expected: list[Expected | None]
    open: bool = False
    head: bool = False


class Client:
    """Sends on one connection after the other, and reads whole responses."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._socket: socket.socket | None = None
        self.received = b""

    def send(self, data: bytes) -> None:
        """Send; what a service no longer takes, since it has answered, is not sent."""
        if self._socket is None:
            self._socket = socket.create_connection(("127.0.0.1", self._port), SECONDS)
            self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self.received = b""
        with contextlib.suppress(ConnectionError):
            self._socket.sendall(data)

    def response(self, *, head: bool = False) -> tuple[int, bytes, bool] | None:
        """Return status, body and whether the connection goes on, of the next response; None at the end of all."""
        while True:
            if not self._fill(HEAD_END):
                return None
            start, _, self.received = self.received.partition(HEAD_END)
            status = int(start[9:12])
            if status >= 200:
                break
        fields = start.lower()
        length = re.search(rb"\ncontent-length: (\d+)", fields)
        size = 0 if head or status == 204 or length is None else int(length[1])
        while len(self.received) < size:
            if not self._read():
                return None
        body, self.received = self.received[:size], self.received[size:]
        return status, body, b"connection: close" not in fields

    def leave(self) -> None:
        """Close the connection at once, so that no port of ours stays taken."""
        if self._socket is not None:
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            self._socket.close()
        self._socket = None

    def _fill(self, mark: bytes) -> bool:
        while mark not in self.received:
            if not self._read():
                return False
        return True

    def _read(self) -> bool:
        assert self._socket is not None
        try:
            data = self._socket.recv(1 << 16)
        except ConnectionError:
            data = b""
        self.received += data
        return bool(data)


def run(count: int, seed: int) -> Report:
    """Send so many requests and return what came of them."""
    report = Report("requests")
    rng, answers = random.Random(seed), Answers()
    with (
        HttpService(*OPTIONS) as service,
        progress(count, "requests") as bar,
    ):
        client = Client(service.port)
        kept = keep_stream()
        host = f"127.0.0.1:{service.port}"
        _exchange(client, report, answers, _whole(host, "observe", kept.stream, text_of(rng, kept.fields), good=True))
        number = 0
        while number < count and not report.lost:
            sent = _draw(rng, host, number)
            number += (several := len(sent.expected) or 1)
            try:
                _exchange(client, report, answers, sent)
                bar.update(several)
            except TimeoutError:
                report.lose(f"no reply within {SECONDS:.0f} s", sent.data)
            if service.process.poll() is not None:
                report.lose("the service has ended", sent.data)
        if not report.lost:
            _exchange(client, report, answers, Sent(f"GET /livez HTTP/1.1\r\nHost: {host}\r\n\r\n".encode(), [None]))
            client.leave()
            service.process.terminate()
            if (code := service.wait()) != 0:
                report.wrong(f"ended with code {code}", b"")
        report.read_log(service.log)
    return report


def _draw(rng: random.Random, host: str, number: int) -> Sent:
    """Return what to send next: mostly bodies in whole requests, some of them in a row; else what is hardly HTTP."""
    share = rng.random()
    if share < 0.6:
        return _body(rng, host, number)
    if share < 0.75:
        several = [_body(rng, host, number + place) for place in range(rng.randint(2, MOST_PIPELINED))]
        return Sent(b"".join(each.data for each in several), [one for each in several for one in each.expected])
    return _bent_http(rng, host, number)


def _body(rng: random.Random, host: str, number: int) -> Sent:
    """Return a whole request whose body is right, bent, torn or garbage."""
    request = good(rng, number, wide=rng.random() < 0.05)
    while request.op in {"ping", "stats"}:
        request = good(rng, number)
    right, text = False, b""
    match rng.randrange(6):
        case 0:
            right, text = request.right, text_of(rng, request.fields)
        case 5:
            text = garbage(rng)
        case kind:
            text = text_of(rng, bend(rng, request.fields))
            text = tear(rng, text) if kind == 4 else text
            text = garbage(rng) if drops_the_kept(text) else text
    return _whole(host, request.op, request.stream, text, good=right, chunks=rng if rng.random() < 0.2 else None)


def _whole(
    host: str, op: str, stream: str, text: bytes, *, good: bool = False, chunks: random.Random | None = None
) -> Sent:
    if op == "bars":
        text = text or b"{}"  # which may lack a body
    behind = {"observe": "observations"}.get(op, op)
    path = f"/streams/{quote(stream, safe='')}/{behind}" if stream else f"/{op}"
    head = f"{'GET' if op == 'bars' else 'POST'} {path} HTTP/1.1\r\nHost: {host}\r\nContent-Type: application/json\r\n"
    framing = "Transfer-Encoding: chunked" if chunks else f"Content-Length: {len(text)}"
    body = _chunked(text, chunks) if chunks else text
    limit = MOST_BYTES - (len(body) - len(text))  # which what chunks take on the wire counts towards
    return Sent(f"{head}{framing}{HEAD_END.decode()}".encode() + body, [expect(text, limit, good=good, op=op)])


def _chunked(text: bytes, rng: random.Random) -> bytes:
    size = rng.choice([1, 7, 1000, 1 << 20]) if len(text) < 4000 else 1 << 14
    pieces = [text[start : start + size] for start in range(0, len(text), size)]
    return b"".join(b"%x\r\n%s\r\n" % (len(piece), piece) for piece in pieces) + b"0\r\n\r\n"


def _bent_http(rng: random.Random, host: str, number: int) -> Sent:
    """Return a request of which the head or the framing of the body is bent, and at times cut."""
    text = text_of(rng, good(rng, number).fields) if rng.random() < 0.5 else b"{}"
    fields = [f"Host: {host}", "Content-Type: application/json", f"Content-Length: {len(text)}"]
    method, target, version = "POST", rng.choice(["/forecast", "/glyphs", "/streams/bent/observations"]), "HTTP/1.1"
    body = text
    for _ in range(rng.choice([1, 1, 2, 3])):
        match rng.randrange(9):
            case 0:
                method = rng.choice(METHODS)
            case 1:
                target = rng.choice(TARGETS)
            case 2:
                version = rng.choice(VERSIONS)
            case 3 | 4:
                fields.insert(rng.randint(0, len(fields)), rng.choice(FIELDS))
            case 5:
                fields.pop(rng.randrange(len(fields))) if fields else None
            case 6:
                fields = [each for each in fields if "Length" not in each] + ["Transfer-Encoding: chunked"]
                body = rng.choice(CHUNKS) + b"\r\n" + text[:5] + b"\r\n0\r\n" + rng.choice([b"", b"X: y\r\n"]) + b"\r\n"
            case 7:
                fields.append(rng.choice(fields)) if fields else None
            case _:
                rng.shuffle(fields)
    line_end = rng.choice(["\r\n"] * 9 + ["\n"])
    head = line_end.join([f"{method} {target} {version}", *fields, "", ""]).encode("latin-1", "replace")
    data = head + body
    if rng.random() < 0.2:
        data = tear(rng, data)
    if rng.random() < 0.1:
        data = rng.randbytes(rng.randint(1, 300))
    data = data or b"G"
    whole = is_whole(data)
    heads = data[:5] in (b"HEAD ",)
    return Sent(data, [None] if whole else [], open=whole is None, head=heads)


def is_whole(data: bytes) -> bool | None:
    """Whether bytes are a whole request, or wrong beyond mending; None where more of it may come."""
    connection = h11.Connection(h11.SERVER, max_incomplete_event_size=1 << 20)
    connection.receive_data(data)
    try:
        while True:
            event = connection.next_event()
            if isinstance(event, h11.EndOfMessage):
                return True
            if event is h11.NEED_DATA or event is h11.PAUSED:
                return None
    except h11.RemoteProtocolError:
        # Of what it says of a head, the service need not know before the head is there.
        return True if HEAD_END in data else None


def _exchange(client: Client, report: Report, answers: Answers, sent: Sent) -> None:
    """Send, read the replies, and say what is wrong with them."""
    alone = sent.expected == [None] or not sent.expected
    if alone:
        client.leave()
    client.send(sent.data)
    if sent.open:
        report.codes["left"] += 1
        client.leave()
        return
    report.sent += len(sent.expected)
    for place, expected in enumerate(sent.expected):
        response = client.response(head=sent.head)
        if response is None:
            report.lose("the connection ends without a reply", sent.data)
            return
        status, body, goes_on = response
        fault = _fault(answers, expected, status, body, head=sent.head)
        if fault is not None:
            sample = expected.text[:200] + b" ... " + expected.text[-100:] if expected else sent.data[:400]
            report.wrong(fault, sample + b"  ->  " + body[:200])
        elif expected is not None:
            report.good += expected.good
        report.codes[str(status)] += 1
        if not goes_on and place + 1 < len(sent.expected):
            report.lose("the connection ends between two requests", sent.data)
            return
        if not goes_on:
            client.leave()
    if alone:  # what lies behind it may be anything
        client.leave()
    elif client.received:
        report.doubled += 1
        report.wrong("bytes behind the last reply", client.received)


def _fault(answers: Answers, expected: Expected | None, status: int, body: bytes, *, head: bool) -> str | None:
    if status >= 500 and status not in {501, 503, 504}:
        return f"status {status}"
    if head or (status < 400 and expected is None):
        return None
    try:
        reply = json.loads(body)
    except ValueError:
        return f"status {status} with a body that is no JSON"
    if expected is not None:
        return answers.fault(expected, reply, status)
    code = reply.get("error", {}).get("code") if isinstance(reply, dict) else None
    if code not in STATUSES:
        return f"status {status} without the envelope"
    right = STATUSES[code] == status or (code == "invalid_request" and status in ONLY_HTTP)
    return None if right and code != "internal" else f"{code} with the status {status}"
