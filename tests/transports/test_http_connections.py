"""One HTTP connection, whatever comes on it: bodies behind offers, requests behind requests, and what has no end."""

from __future__ import annotations

import contextlib
import os
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import IO

import orjson
import pytest
from support import PATIENCE, HttpService, Window, packed

Answer = tuple[int, dict[bytes, bytes], bytes]
POST = b"POST /forecast HTTP/1.1\r\nHost: localhost\r\n"
JSON = b"Content-Type: application/json\r\n"
IN_CHUNKS = b"Transfer-Encoding: chunked\r\n\r\n"
CHUNKED = POST + JSON + IN_CHUNKS
TEXT = b"Content-Type: text/plain\r\nContent-Length: 10\r\n\r\n"
LIVE = b"GET /livez HTTP/1.1\r\nHost: localhost\r\n\r\n"


class Client:
    """A connection on which bytes are sent as they are."""

    def __init__(self, connection: socket.socket, answers: IO[bytes]) -> None:
        self.connection = connection
        self._answers = answers

    def send(self, data: bytes, size: int = 1 << 20) -> None:
        """Send bytes in pieces of a size."""
        for start in range(0, len(data), size):
            self.connection.sendall(data[start : start + size])

    def answer(self, *, head: bool = False) -> Answer | None:
        """Return status, headers and body of the next answer; None when the service has closed the connection."""
        line = self._answers.readline()
        if not line:
            return None
        headers = dict(line.rstrip().lower().split(b": ", 1) for line in iter(self._answers.readline, b"\r\n"))
        length = 0 if head else int(headers.get(b"content-length", b"0"))
        return int(line.split()[1]), headers, self._answers.read(length)

    def status(self) -> int | None:
        answer = self.answer()
        return answer and answer[0]


@pytest.fixture
def client(http: HttpService) -> Iterator[Client]:
    with (
        socket.create_connection(("127.0.0.1", http.port), PATIENCE) as connection,
        connection.makefile("rb") as answers,
    ):
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        yield Client(connection, answers)


def in_chunks(body: bytes, size: int) -> bytes:
    pieces = [body[start : start + size] for start in range(0, len(body), size)]
    return b"".join(b"%x;a=b\r\n%b\r\n" % (len(piece), piece) for piece in pieces) + b"0\r\nTrailer: t\r\n\r\n"


@pytest.mark.parametrize("chunked", [False, True], ids=["known length", "chunks"])
@pytest.mark.parametrize("offer", [b"h2c", b"websocket"])
def test_a_body_behind_an_offered_upgrade_arrives(client: Client, window: Window, offer: bytes, chunked: bool) -> None:
    body = orjson.dumps(packed(window))
    head = POST + JSON + b"Connection: Upgrade, HTTP2-Settings\r\nUpgrade: %b\r\nHTTP2-Settings: AAMAAABkAA\r\n" % offer
    for _ in range(2):
        if chunked:
            client.send(head + b"Transfer-Encoding: chunked\r\n\r\n" + in_chunks(body, 5000))
        else:
            client.send(head + b"Content-Length: %d\r\n\r\n" % len(body) + body)
        assert client.status() == 200


@pytest.mark.parametrize("size", [1 << 20, 1])
def test_empty_lines_in_front_of_a_request_are_passed_over(client: Client, size: int) -> None:
    post = POST + JSON + b"Content-Length: 2\r\n\r\n{}"
    for _ in range(2):
        client.send(post + b"\r\n" + LIVE + b"\r\n\r\n" + post + b"\r\n", size)
        assert [client.status() for _ in range(3)] == [422, 200, 422]
    client.connection.shutdown(socket.SHUT_WR)
    assert client.answer() is None


def test_empty_lines_without_end_are_read_in_no_time(client: Client) -> None:
    client.send(b"\r\n" * 4_000_000 + LIVE)
    assert client.status() == 200


@pytest.mark.parametrize("size", [1 << 20, 1000, 7, 1])
def test_requests_behind_one_another_are_answered_in_turn(client: Client, size: int) -> None:
    bodies = [b'{"request_id": %d, "a": "\r\n\r\n0\r\n\r\n"}' % number for number in range(6)]
    sent = b""
    for body in bodies:
        sent += POST + JSON + b"Content-Length: %d\r\n\r\n" % len(body) + body
        sent += CHUNKED + in_chunks(b'{"request_id":9}', 3)
        sent += LIVE
    client.send(sent, size)
    for body in bodies:
        answers = [client.answer() for _ in range(3)]
        assert [answer and answer[0] for answer in answers] == [400, 422, 200], body
        assert answers[1]
        assert orjson.loads(answers[1][2])["request_id"] == 9


def test_a_trailer_is_no_header(client: Client) -> None:
    client.send(POST + b"Transfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\nContent-Type: application/json\r\n\r\n")
    assert client.status() == 415


def test_a_body_that_nobody_reads_ends_where_it_ends(client: Client) -> None:
    body = LIVE * 5000
    for _ in range(2):
        for head in (b"GET /livez HTTP/1.1\r\nHost: localhost\r\n", b"POST /nothing HTTP/1.1\r\nHost: localhost\r\n"):
            client.send(head + b"Content-Length: %d\r\n\r\n" % len(body) + body)
            client.send(head + b"Transfer-Encoding: chunked\r\n\r\n" + in_chunks(body, 1000))
    assert [client.status() for _ in range(8)] == [200, 200, 404, 404] * 2
    client.send(LIVE)
    assert client.status() == 200


@pytest.mark.parametrize(
    "last", [LIVE.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n"), LIVE.replace(b"/1.1", b"/1.0")]
)
def test_nothing_is_answered_behind_the_last_request(client: Client, last: bytes) -> None:
    client.send(LIVE + last + LIVE)
    first, second = client.answer(), client.answer()
    assert first
    assert second
    assert (first[0], first[1].get(b"connection")) == (200, None)
    assert (second[0], second[1][b"connection"]) == (200, b"close")
    assert client.answer() is None


def test_a_head_is_answered_without_its_body(client: Client) -> None:
    client.send(LIVE.replace(b"GET", b"HEAD") + LIVE)
    first, second = client.answer(head=True), client.answer()
    assert first
    assert second
    assert int(first[1][b"content-length"]) == len(second[2])


def test_a_client_is_told_to_go_on_only_where_it_asks(client: Client) -> None:
    body = b"{}"
    head = POST + JSON + b"Content-Length: 2\r\n"
    client.send(head + b"Expect: 100-continue\r\n\r\n")
    assert client.status() == 100
    client.send(body)
    assert client.status() == 422
    client.send(head.replace(b"/1.1", b"/1.0") + b"Expect: 100-continue\r\n\r\n" + body)
    assert client.status() == 422


@pytest.mark.parametrize(
    ("request_bytes", "status"),
    [
        pytest.param(LIVE[:-2] + b"A: " + b"b" * 20_000 + b"\r\n\r\n", 431, id="a long header"),
        pytest.param(LIVE[:-2] + b"A: b\r\n" * 5000 + b"\r\n", 431, id="very many headers"),
        pytest.param(LIVE[:-2] + b"A:\r\n" * 128 + b"\r\n", 431, id="many headers"),
        pytest.param(b"GET /livez?" + b"a" * 20_000 + b" HTTP/1.1\r\nHost: localhost\r\n\r\n", 431, id="a long target"),
        pytest.param(CHUNKED + b"1;" + b"a" * 1_000_000, 431, id="an extension"),
        pytest.param(CHUNKED + b"0\r\nA: " + b"b" * 1_000_000, 431, id="a trailer"),
        pytest.param(CHUNKED + b"0\r\n" + b"A: b\r\n" * 200_000, 431, id="trailers"),
        pytest.param(
            POST + JSON + b"Content-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400, id="two lengths"
        ),
        pytest.param(LIVE[:-2] + b"A: b\r\n c\r\n\r\n", 400, id="a folded header"),
        pytest.param(b"GET /livez HTTP/1.1\nHost: localhost\n\n", 400, id="line feeds alone"),
        pytest.param(b"GET /livez HTTP/1.1\r\nHost : x\r\n\r\n", 400, id="a space before a colon"),
        pytest.param(b"GET /livez HTTP/2.0\r\nHost: localhost\r\n\r\n", 400, id="another version"),
        pytest.param(b"\x16\x03", 400, id="TLS"),
        pytest.param(b"\n" + LIVE, 400, id="a line feed in front"),
        pytest.param(b"\r" + LIVE, 400, id="a carriage return in front"),
        pytest.param(CHUNKED.replace(b"/1.1", b"/1.0") + b"2\r\n{}\r\n0\r\n\r\n", 400, id="chunks in HTTP/1.0"),
    ],
)
def test_what_is_refused_ends_the_connection_once_it_is_answered(
    http: HttpService, client: Client, request_bytes: bytes, status: int
) -> None:
    before = http.said
    client.send(LIVE + request_bytes)
    assert client.status() == 200
    refused = client.answer()
    assert refused
    assert (refused[0], refused[1][b"connection"]) == (status, b"close")
    assert orjson.loads(refused[2])["error"]["code"] == "invalid_request"
    assert client.answer() is None
    assert http.said == before


def cpu_seconds(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


@pytest.mark.parametrize(
    "chunk",
    [b"1\r\n \r\n", b"1;a=b\r\n \r\n", b"fff8\r\n" + b"\r\n" * 0x7FFC + b"\r\n", b"4\r\n\r\n\r\n\r\n"],
    ids=["one byte", "extensions", "empty lines", "an empty line"],
)
@pytest.mark.slow
def test_a_byte_in_chunks_costs_little_more_than_a_byte(http: HttpService, client: Client, chunk: bytes) -> None:
    def cost(request: bytes) -> float:
        before = cpu_seconds(http.process.pid)
        for _ in range(8):
            client.send(request)
            assert client.status() == 400
        return cpu_seconds(http.process.pid) - before

    size = 6_000_000
    spaces = POST + JSON + b"Content-Length: %d\r\n\r\n" % size + b" " * size
    # A parser written in Python takes two hundred times as long for some of them.
    assert cost(CHUNKED + chunk * (size // len(chunk)) + b"0\r\n\r\n") < 20 * max(cost(spaces), 0.05)


@pytest.mark.parametrize("chunk", [b"1\r\n[\r\n", b"1;%b\r\n[\r\n" % (b"a" * 4000)], ids=["one byte", "extensions"])
def test_what_chunks_take_on_the_wire_counts_towards_the_limit_of_a_body(client: Client, chunk: bytes) -> None:
    client.send(CHUNKED)
    with contextlib.suppress(ConnectionError):  # what is thrown away has a limit too
        client.send(chunk * (9_000_000 // len(chunk)))
    answered = client.answer()
    assert answered
    assert (answered[0], orjson.loads(answered[2])["error"]["code"]) == (413, "payload_too_large")


@pytest.mark.parametrize("blanks", [b"\t" * 16_000, b" \t" * 8_000, b" " * 16_000], ids=["tabs", "both", "spaces"])
def test_blanks_in_a_head_are_read_in_no_time(client: Client, blanks: bytes) -> None:
    for behind in (b"", b"b"):
        client.send(LIVE[:-2] + b"A: " + blanks + behind + b"\r\n\r\n")
        assert client.status() == 200


@pytest.mark.slow
@pytest.mark.parametrize(
    ("sent", "answered", "rest"),
    [
        pytest.param(b"", None, b"", id="nothing at all"),
        pytest.param(b"GET /li", None, b"", id="half a head"),
        pytest.param(LIVE, 200, b"GET /li", id="half a head behind an answer"),
        pytest.param(POST + TEXT, 415, b"0123456789", id="a body too late"),
        pytest.param(LIVE[:-2] + IN_CHUNKS, 200, b"0\r\n\r\n", id="the end of a body too late"),
    ],
)  # fmt: skip
def test_a_connection_on_which_no_request_comes_is_closed(sent: bytes, answered: int | None, rest: bytes) -> None:
    with (
        HttpService("--keep-alive-seconds", "1") as service,
        socket.create_connection(("127.0.0.1", service.port), PATIENCE) as connection,
        connection.makefile("rb") as answers,
    ):
        client = Client(connection, answers)
        client.send(sent)
        if answered is not None:
            assert client.status() == answered
        client.send(rest)
        assert client.answer() is None


def test_a_length_of_thousands_of_digits_is_refused_and_costs_no_line_of_the_log(http: HttpService) -> None:
    before = len(http.said)
    with (
        socket.create_connection(("127.0.0.1", http.port), PATIENCE) as connection,
        connection.makefile("rb") as answers,
    ):
        client = Client(connection, answers)
        client.send(LIVE[:-2] + b"Content-Length: " + b"0" * 5000 + b"\r\n\r\n")
        assert client.status() == 400
    assert len(http.said) == before


def test_a_bad_chunk_behind_an_offer_to_wait_is_refused_once_and_costs_no_line_of_the_log(http: HttpService) -> None:
    before = len(http.said)
    with (
        socket.create_connection(("127.0.0.1", http.port), PATIENCE) as connection,
        connection.makefile("rb") as answers,
    ):
        client = Client(connection, answers)
        client.send(CHUNKED[:-2] + b"Expect: 100-continue\r\n\r\nzz\r\n")
        statuses = [status for status in iter(client.status, None) if status != 100]
    assert statuses == [400]
    assert len(http.said) == before


def test_of_a_header_that_comes_twice_the_first_counts(client: Client, window: Window) -> None:
    body = orjson.dumps(packed(window))
    length = b"Content-Length: %d\r\n\r\n" % len(body)
    plain = b"Content-Type: text/plain\r\n"
    for headers, status in (
        (JSON + plain, 200),
        (plain + JSON, 415),
        (JSON + b"Content-Encoding: gzip\r\nContent-Encoding: identity\r\n", 415),
    ):
        client.send(POST + headers + length + body)
        assert client.status() == status


def test_a_tab_behind_a_value_is_no_part_of_it(client: Client, window: Window) -> None:
    body = orjson.dumps(packed(window))
    client.send(
        POST + b"Content-Type: application/json \t\r\nTransfer-Encoding: chunked\t\r\n\r\n" + in_chunks(body, 5000)
    )
    assert client.status() == 200
