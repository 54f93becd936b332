"""The heads and the chunked bodies of HTTP/1.1 requests: httptools reads them, and what it lets pass is checked here.

Each has a parser of its own, which is given no byte that lies behind it: a parser of httptools goes on with the next
request, keeps what it has seen in mind, and believes that a request which offers an upgrade has no body.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache

import httptools

MOST_HEAD_BYTES = 16 * 1024
MOST_REMEMBERED = 64
MOST_DIGITS = 18
# A millisecond takes some thousand of them to read.
MOST_HEADERS = 128
# In a body in chunks, how much is read at once of what cannot hold the end.
WINDOW = 1 << 14
BLANKS = b" \t"
REQUEST_LINE = re.compile(rb"([-!#$%&'*+.^_`|~0-9A-Za-z]+) ([\x21-\x7E]+) HTTP/(1\.[01])\r\n")
EMPTY_LINE = b"\r\n\r\n"
EMPTY_LINES = re.compile(rb"(?:\r\n)*")
# Many would see the end of a head here too; such a head is refused at once, or its client would wait for an answer.
BARE_EMPTY_LINE = re.compile(rb"\n\r?\n")
# A parser of httptools gets the lines below one of these; what the client's first line may be is said above.
ANY_REQUEST = b"POST / HTTP/1.1\r\n"
# Behind its end this one takes nothing more.
CHUNKED_REQUEST = ANY_REQUEST + b"Connection: close\r\nTransfer-Encoding: chunked\r\n\r\n"
# Fields of which a request has one at most: where it goes, and where its body ends.
LONE_FIELDS = {b"host", b"content-length", b"transfer-encoding"}


class MalformedError(Exception):
    """What a client has sent is no HTTP/1.1, or more of it than is taken; ``status`` is that of the answer."""

    def __init__(self, message: str, status: int = 400) -> None:
        super().__init__(message)
        self.status = status


@dataclass(frozen=True, slots=True)
class Head:
    """The head of a request.

    Attributes:
        method: as it was sent.
        target: the same: a path and what is behind it, an address, an authority, or an asterisk.
        version: ``1.0`` or ``1.1``.
        headers: names in lower case.
        length: bytes of the body, 0 when it is chunked.
        chunked: whether the body comes in chunks.
        keep_alive: whether another request may follow on the connection.
        expects_continue: whether the client waits for 100 (Continue) before it sends the body.
    """

    method: str
    target: bytes
    version: str
    headers: tuple[tuple[bytes, bytes], ...]
    length: int
    chunked: bool
    keep_alive: bool
    expects_continue: bool


def past_empty_lines(received: bytes) -> bytes:
    """Return what lies behind empty lines, which say nothing before a request: old clients send one behind a body."""
    match = EMPTY_LINES.match(received)
    return received[match.end() :] if match else received


def end_of_head(received: bytes, searched: int = 0) -> int | None:
    """Return where the body begins, or None while the head is not complete; raises MalformedError when it cannot be.

    Of the bytes, the first ``searched`` have been seen before, and were no complete head: one that comes in single
    bytes costs no more than those.
    """
    begin = max(0, searched - len(EMPTY_LINE) + 1)
    end = received.find(EMPTY_LINE, begin, MOST_HEAD_BYTES)
    if end >= 0:
        return end + len(EMPTY_LINE)
    if received[0] <= 0x20 and received != b"\r":  # TLS, for one; that may become an empty line
        raise MalformedError("expected HTTP/1.1: illegal request line")
    if BARE_EMPTY_LINE.search(received, begin, MOST_HEAD_BYTES):
        raise MalformedError("expected HTTP/1.1: a line ends without a carriage return")
    if len(received) >= MOST_HEAD_BYTES:
        raise MalformedError(f"expected a head of at most {MOST_HEAD_BYTES} bytes", 431)
    return None


@lru_cache(MOST_REMEMBERED)
def parse_head(head: bytes) -> Head:
    """Return what a head says, with the empty line at its end; raises MalformedError.

    A client that keeps its connection sends the same head again and again, so some are remembered.
    """
    line = REQUEST_LINE.match(head)
    if line is None:
        raise MalformedError("expected HTTP/1.1: illegal request line")
    method, target, version = line.groups()
    if head.count(b"\n") > MOST_HEADERS + 2:
        raise MalformedError(f"expected at most {MOST_HEADERS} headers", 431)
    fields = _Fields()
    fault = ""
    try:
        lines = head[line.end() :]
        if b"\t" in lines:  # httptools stumbles over one behind a value, where white space is no part of it
            lines = b"\r\n".join(each.rstrip(BLANKS) or each for each in lines.split(b"\r\n"))
        httptools.HttpRequestParser(fields).feed_data(ANY_REQUEST + lines)
    except httptools.HttpParserUpgrade:  # an offer, which is not taken
        pass
    except httptools.HttpParserError as error:
        fault = str(error)
    headers = fields.headers
    lone = [field for field in headers if field[0] in LONE_FIELDS]
    given = dict(lone)
    if version == b"1.0" and b"transfer-encoding" in given:  # who passed it on may have seen another end of the body
        raise MalformedError("Transfer-Encoding: expected none in HTTP/1.0")
    if given.get(b"transfer-encoding", b"chunked").lower() != b"chunked":
        raise MalformedError("Transfer-Encoding: expected chunked or none", 501)
    if fault:
        raise MalformedError(f"expected HTTP/1.1: {fault}")
    if len(given) < len(lone):
        raise MalformedError("expected Host, Content-Length and Transfer-Encoding once at most")
    if b"host" not in given and version != b"1.0":
        raise MalformedError("expected a Host header")
    if b"content-length" in given and b"transfer-encoding" in given:
        raise MalformedError("expected either Content-Length or Transfer-Encoding, not both")
    length = given.get(b"content-length", b"0")
    if not length.isdigit() or len(length) > MOST_DIGITS:
        raise MalformedError("Content-Length: expected a number")
    return Head(
        method=method.decode(),
        target=target,
        version=version.decode(),
        headers=tuple(headers),
        length=int(length),
        chunked=b"transfer-encoding" in given,
        keep_alive=version != b"1.0" and not _lists(headers, b"connection", b"close"),
        expects_continue=version != b"1.0" and _lists(headers, b"expect", b"100-continue"),
    )


def _lists(headers: list[tuple[bytes, bytes]], name: bytes, token: bytes) -> bool:
    """Return whether a token is among those of a header, which may stand several times."""
    return any(each.strip() == token for key, value in headers if key == name for each in value.lower().split(b","))


class _Fields:
    """What a parser of httptools calls with the header of a request."""

    def __init__(self) -> None:
        self.headers: list[tuple[bytes, bytes]] = []

    def on_header(self, name: bytes, value: bytes) -> None:
        self.headers.append((name.lower(), value.rstrip(BLANKS)))


class Chunks:
    """A body in chunks, read as it comes.

    Its parser is not asked for chunk extensions nor for trailers, so it keeps neither. A second one, which keeps
    nothing at all, goes ahead: where it comes upon the end, the other follows from empty line to empty line.
    """

    def __init__(self) -> None:
        self._pieces = _Pieces()
        self._parser = httptools.HttpRequestParser(self._pieces)
        self._parser.feed_data(CHUNKED_REQUEST)
        self._end = _End()
        self._ahead = httptools.HttpRequestParser(self._end)
        self._ahead.feed_data(CHUNKED_REQUEST)
        # The last that the parser was given, which may be the beginning of an empty line.
        self._tail = b""
        self._silent = 0

    @property
    def complete(self) -> bool:
        """Whether the end has come."""
        return self._pieces.complete

    def take(self, received: bytes) -> tuple[bytes, bytes]:
        """Return what of the body is in the bytes, and what lies behind its end.

        Raises MalformedError, also when more comes without a byte of the body than a head may have.
        """
        data = self._tail + received
        view = memoryview(data)
        fed = len(self._tail)
        pieces, feed = self._pieces, self._parser.feed_data
        try:
            while fed < len(data) and not pieces.complete:
                window = view[fed : fed + WINDOW]
                last = fed + len(window)
                # A body ends with an empty line, though not every empty line ends it.
                at = data.find(EMPTY_LINE, max(0, fed - len(EMPTY_LINE) + 1), last) if self._ends_in(window) else -1
                stop = at + len(EMPTY_LINE) if at >= 0 else last
                feed(view[fed:stop])
                fed = stop
        except httptools.HttpParserError as error:
            raise MalformedError(f"expected HTTP/1.1: {error}") from None
        self._tail = data[max(0, fed - len(EMPTY_LINE) + 1) : fed]
        body = b"".join(pieces.body)
        pieces.body.clear()
        # Of what came, without what lies behind the end, which is another request.
        self._silent = 0 if body else self._silent + len(received) - (len(data) - fed)
        if self._silent > MOST_HEAD_BYTES:
            raise MalformedError(f"expected at most {MOST_HEAD_BYTES} bytes of chunk extensions or trailers", 431)
        return body, data[fed:]

    def _ends_in(self, window: memoryview) -> bool:
        """Return whether the end, or a fault, is in what comes next."""
        if not self._end.complete:
            try:
                self._ahead.feed_data(window)
            except httptools.HttpParserError:
                self._end.complete = True
        return self._end.complete


class _End:
    """What a parser of httptools calls at the end of a request."""

    complete = False

    def on_message_complete(self) -> None:
        self.complete = True


class _Pieces(_End):
    """What it calls with the body too.

    It calls a method of a list with each chunk, nothing written in Python: one byte in each would cost its time a
    million times for a few megabytes.
    """

    def __init__(self) -> None:
        self.body: list[bytes] = []
        self.on_body = self.body.append
