"""Heads and chunked bodies: nothing is taken that h11, which is strict, refuses or reads in another way."""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from dataclasses import dataclass

import h11
import pytest
from vinocast.transports.http.messages import (
    MOST_HEAD_BYTES,
    Chunks,
    Head,
    MalformedError,
    end_of_head,
    parse_head,
)

POST = b"POST /forecast HTTP/1.1\r\nHost: localhost\r\n"
CHUNKED = POST + b"Transfer-Encoding: chunked\r\n\r\n"


@dataclass
class Read:
    """A request as one of the two has read it; ``body`` is None while its end has not come."""

    line: tuple[bytes, bytes, bytes]
    headers: tuple[tuple[bytes, bytes], ...]
    body: bytes | None
    behind: bytes


def ours(data: bytes, sizes: list[int] | None = None) -> Read | None:
    """Read one request, its body in pieces; None while its head is not complete. Raises MalformedError."""
    end = end_of_head(data)
    if end is None:
        return None
    head = parse_head(data[:end])
    line = (head.method.encode(), head.target, head.version.encode())
    rest = data[end:]
    if not head.chunked:
        whole = len(rest) >= head.length
        return Read(line, head.headers, rest[: head.length] if whole else None, rest[head.length :])
    chunks, body, behind = Chunks(), b"", b""
    for size in [*(sizes or []), len(rest)]:
        piece, rest = rest[:size], rest[size:]
        if chunks.complete:
            behind += piece
        else:
            part, behind = chunks.take(piece)
            body += part
    return Read(line, head.headers, body if chunks.complete else None, behind)


def theirs(data: bytes) -> Read | None:
    """Do the same with h11; raises its RemoteProtocolError."""
    connection = h11.Connection(h11.SERVER, MOST_HEAD_BYTES)
    connection.receive_data(data)
    read, body = None, b""
    while True:
        match connection.next_event():
            case h11.Request() as head:
                line = (head.method, head.target, head.http_version)
                read = Read(line, tuple(head.headers), None, b"")
            case h11.Data() as part:
                body += part.data
            case h11.EndOfMessage():
                assert read is not None
                read.body, read.behind = body, connection.trailing_data[0]
                return read
            case _:
                return read


def compare(data: bytes, sizes: list[int] | None = None) -> bool:
    """Return whether a request is taken; one that is must be what h11 reads as well."""
    try:
        read = ours(data, sizes)
    except MalformedError:
        return False
    if read is None:
        return False
    assert read == theirs(data), data
    return True


@pytest.mark.parametrize(
    "data",
    [
        b"GET /livez HTTP/1.0\r\n\r\n",
        b"GET /a?b=c HTTP/1.1\r\nHost: localhost\r\n\r\nGET / HTTP/1.1\r\n",
        b"BREW /pot HTTP/1.1\r\nHost: localhost\r\nA:\r\nB: \r\nC: \t c \xfc \t\r\nA: again\r\n\r\n",
        b"OPTIONS * HTTP/1.1\r\nHost:\r\n\r\n",
        b"CONNECT host:443 HTTP/1.1\r\nHost: localhost\r\n\r\ntunnel",
        POST + b"Content-Length: 5\r\n\r\nhellothere",
        POST + b"CONTENT-LENGTH:5 \r\nConnection: Upgrade\r\nUpgrade: h2c\r\n\r\nhello",
        CHUNKED + b"5\r\nhello\r\n0\r\n\r\nGET ",
        CHUNKED + b"05;a=b;c=\"d\"\r\nhe\r\n\r\r\n0;a\r\nA: b\r\nB:\r\n\r\n0\r\n\r\n",
        CHUNKED + b"0B\r\n\r\n\r\n\r\n\r\n0\r\n\r\n1\r\n\r\r\n1\r\n\n\r\n000\r\n\r\n\r\n\r\n",
        CHUNKED.replace(b"\r\n\r\n", b"\r\nConnection: upgrade, close\r\nUpgrade: websocket\r\n\r\n") + b"0\r\n\r\n",
    ],
)  # fmt: skip
def test_what_is_http_is_read_as_h11_reads_it(data: bytes) -> None:
    assert compare(data)
    for size in (1, 2, 3, 7):
        assert compare(data, [size] * len(data))


@pytest.mark.parametrize(
    "lines",
    [
        b"Content-Length: 5\r\nContent-Length: 6",
        b"Content-Length: 5\r\nContent-Length: 5",
        b"Content-Length: 5, 6",
        b"Content-Length: 5, 5",
        b"Content-Length: +5",
        b"Content-Length: -5",
        b"Content-Length: 0x5",
        b"Content-Length: 5 5",
        b"Content-Length: 5_0",
        b"Content-Length: \xb2",
        b"Content-Length:",
        b"Content-Length: 99999999999999999999999",
        b"Content-Length: 5\r\nTransfer-Encoding: chunked",
        b"Transfer-Encoding: chunked\r\nContent-Length: 5",
        b"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked",
        b"Transfer-Encoding: chunked\r\nTransfer-Encoding: identity",
        b"Transfer-Encoding: identity",
        b"Transfer-Encoding:",
        b"Transfer-Encoding: chunked, chunked",
        b"Transfer-Encoding: gzip, chunked",
        b"Transfer-Encoding: xchunked",
        b"Transfer-Encoding: \x0bchunked",
        b'Transfer-Encoding: "chunked"',
        b"Transfer-Encoding : chunked",
        b"Transfer-Encoding\t: chunked",
        b"Transfer-Encoding:\r\n chunked",
        b"Transfer-Encoding\r\n: chunked",
        b" Transfer-Encoding: chunked",
        b"A: b\r\n Content-Length: 5",
        b"A: b\r\n\tc",
        b"A: b\nContent-Length: 5",
        b"A: b\rContent-Length: 5",
        b"A: b\r\r\nContent-Length: 5",
        b"A: b\0c",
        b"A\0: b",
        b"A: \x01",
        b"A: \x7f",
        b"A",
        b": b",
        b"A b: c",
        b"A(b): c",
        b"\xc3\x84: b",
        b"Host: y",
        b"host: x",
    ],
)
def test_headers_that_two_servers_may_read_in_two_ways_are_refused(lines: bytes) -> None:
    for data in (POST + lines + b"\r\n\r\n", POST.replace(b"Host", lines + b"\r\nHost") + b"\r\n"):
        with pytest.raises(MalformedError):
            ours(data + b"5\r\nhello\r\n0\r\n\r\n")


@pytest.mark.parametrize("coding", [b"chunked", b"gzip", b""])
def test_the_old_version_has_no_transfer_codings(coding: bytes) -> None:
    with pytest.raises(MalformedError) as refused:
        ours(POST.replace(b"1.1", b"1.0") + b"Transfer-Encoding: %b\r\n\r\n0\r\n\r\n" % coding)
    assert refused.value.status == 400


@pytest.mark.parametrize(
    "line",
    [
        b"GET  / HTTP/1.1",
        b"GET / HTTP/1.1 ",
        b"GET /\tHTTP/1.1",
        b"GET / x HTTP/1.1",
        b"GET /",
        b"GET HTTP/1.1",
        b" GET / HTTP/1.1",
        b"\r\nGET / HTTP/1.1",
        b"G@T / HTTP/1.1",
        b"GET /\x7f HTTP/1.1",
        b"GET /\xc3\xbc HTTP/1.1",
        b"GET / HTTP/1.10",
        b"GET / HTTP/11",
        b"GET / HTTP/0.9",
        b"GET / HTTP/2.0",
        b"GET / http/1.1",
        b"GET / ICE/1.1",
        b"GET / HTTP/1.1\nA: b",
        b"GET / HTTP/1.1\rA: b",
        b"GET / HTTP/1.1\r\n ",
    ],
)
def test_a_request_line_that_is_none_is_refused(line: bytes) -> None:
    with pytest.raises(MalformedError):
        ours(line + b"\r\nHost: localhost\r\n\r\n")


@pytest.mark.parametrize(
    "chunks",
    [
        b"\r\n",
        b"x\r\n",
        b"-1\r\n",
        b"+5\r\nhello\r\n",
        b"0x5\r\nhello\r\n",
        b" 5\r\nhello\r\n",
        b"5 \r\nhello\r\n",
        b"5\nhello\r\n",
        b"5\rhello\r\n",
        b"5\r\nhello\n0\r\n\r\n",
        b"5\r\nhello0\r\n\r\n",
        b"5\r\nhello!\r\n",
        b"4\r\nhello\r\n",
        b"5\r\nhello\r\n\r\n",
        b"5;\nhello\r\n",
        b"5;a\nb\r\nhello\r\n",
        b"11111111111111111\r\nhello",
        b"0\r\n \r\n\r\n",
        b"0\r\nA\r\n\r\n",
        b"0\r\nA : b\r\n\r\n",
        b"0\r\nA: b\n\r\n",
        b"0\n\r\n",
    ],
)
def test_chunks_that_are_none_are_refused(chunks: bytes) -> None:
    for sizes in ([], [1] * len(chunks)):
        with pytest.raises(MalformedError):
            ours(CHUNKED + chunks + b"0\r\n\r\n", sizes)


def test_whatever_is_taken_of_damaged_requests_is_what_h11_reads() -> None:
    dice = random.Random(0)
    sound = [
        POST + b"Content-Length: 5\r\nConnection: close, upgrade\r\nUpgrade: h2c\r\nA: b\r\n\r\nhello",
        b"GET http://localhost/a?b HTTP/1.0\r\nAccept: */*\r\nExpect: 100-continue\r\n\r\n",
        CHUNKED + b"5;a=b\r\nhello\r\n10\r\n\r\n\r\n0\r\n\r\n78901\r\n0\r\nTrailer: t\r\n\r\nGET /",
    ]
    pieces = [b"\r", b"\n", b"\r\n", b"\r\n\r\n", b" ", b"\t", b":", b",", b";", b"0", b"5", b"\0", b"\xff", b"a", b"="]
    pieces += [b"Content-Length: 5\r\n", b"Transfer-Encoding: chunked\r\n", b"Host: y\r\n", b"chunked", b"0\r\n\r\n"]
    taken = 0
    for _ in range(20_000):
        data = bytearray(dice.choice(sound))
        for _ in range(dice.randint(1, 3)):
            start = dice.randrange(len(data))
            data[start : start + dice.randint(0, 2)] = dice.choice([*pieces, b""])
        taken += compare(bytes(data), [dice.randint(1, 9) for _ in range(dice.randint(0, 9))])
    assert 1_000 < taken < 19_000


def test_a_head_is_awaited_up_to_a_bound() -> None:
    assert end_of_head(POST[:1]) is None
    assert end_of_head(POST + b"A: " + b"b" * 16_000) is None
    for rest in (b"", b"\r\n\r\n"):
        with pytest.raises(MalformedError) as refused:
            end_of_head(POST + b"A: " + b"b" * MOST_HEAD_BYTES + rest)
        assert refused.value.status == 431


@pytest.mark.parametrize("head", [b"a:\r\n" * 4000, b"A: " + b"\r" * 16_000, b"A: " + b"b" * 16_000])
def test_a_head_in_single_bytes_costs_what_its_bytes_cost(head: bytes) -> None:
    def cost(read: Callable[[bytes, int], object]) -> float:
        received, start = b"", time.process_time()
        for byte in POST + head:
            received += bytes([byte])
            assert read(received, len(received) - 1) is None
        return time.process_time() - start

    # To search what has been searched before would take a hundred times as long.
    assert cost(end_of_head) < 20 * cost(lambda _received, _searched: None)


def test_what_is_behind_the_end_is_found_wherever_it_lies() -> None:
    dice = random.Random(3)
    for _ in range(300):
        pieces = [dice.choice([b"\r\n\r\n", b"0\r\n\r\n", b"a" * dice.randint(1, 20_000)]) for _ in range(9)]
        data = b"".join(b"%x\r\n%b\r\n" % (len(piece), piece) for piece in pieces)
        data += (
            dice.choice([b"0\r\n\r\n", b"00;a\r\nA: b\r\nB:\r\n\r\n"])
            + b"0\r\n\r\n" * 3
            + b"b" * dice.randint(0, 40_000)
        )
        assert compare(CHUNKED + data, [dice.choice([1, 9, 20_000, 60_000]) for _ in range(9)])


@pytest.mark.parametrize("chunks", [b"", b"5\r\nhello\r\n"])
def test_what_lies_behind_the_end_counts_neither_as_extensions_nor_as_trailers(chunks: bytes) -> None:
    reader, behind = Chunks(), POST + b"\r\n" + b" " * 2 * MOST_HEAD_BYTES
    body, _ = reader.take(chunks) if chunks else (b"", b"")
    assert (body, reader.take(b"0\r\nA: b\r\n\r\n" + behind)) == (chunks[3:8], (b"", behind))
    assert reader.complete


@pytest.mark.parametrize("line", [b"1;" + b"a" * 1000, b"0\r\nA: " + b"b" * 1000, b"0\r\n" + b"A: b\r\n" * 100])
def test_extensions_and_trailers_without_end_are_refused(line: bytes) -> None:
    chunks, data = Chunks(), line + line[-6:] * 10_000
    with pytest.raises(MalformedError) as refused:
        _ = [chunks.take(data[start : start + 600]) for start in range(0, len(data), 600)]
    assert refused.value.status == 431


@pytest.mark.parametrize(
    ("lines", "keep_alive", "expects_continue"),
    [
        (b"", True, False),
        (b"Connection: Close\r\n", False, False),
        (b"Connection: upgrade,\tclose\r\n", False, False),
        (b"Connection: a\r\nConnection: close\r\n", False, False),
        (b"Connection: closed\r\n", True, False),
        (b"Expect: 100-Continue\r\n", True, True),
    ],
)
def test_what_a_client_wants_of_the_connection(lines: bytes, *, keep_alive: bool, expects_continue: bool) -> None:
    def wants(head: Head) -> tuple[bool, bool]:
        return head.keep_alive, head.expects_continue

    assert wants(parse_head(POST + lines + b"\r\n")) == (keep_alive, expects_continue)
    assert wants(parse_head(POST.replace(b"1.1", b"1.0") + lines + b"\r\n")) == (False, False)
