"""The load generator against peers whose behaviour is known: real pipes and sockets, a thread at the other end."""

from __future__ import annotations

import itertools
import os
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import orjson
import pytest
from vinocast.errors import SetupError
from vinocast.measure.bench import load
from vinocast.measure.bench.load import ID_KEY, Body, Client, ClosedLoop, OpenLoop, Wire, cut_lines, cut_responses

LINE = Body(ID_KEY, b',"text":"' + b"x" * 100_000 + b'"}\n')
SHORT = Body(ID_KEY, b"}\n")


@contextmanager
def peer(depth: int, answer: Callable[[int], float]) -> Iterator[Client]:
    """A client of a peer that answers lines in turn, each after the seconds that ``answer`` says for its number."""
    from_client, to_peer = os.pipe()
    from_peer, to_client = os.pipe()

    def serve() -> None:
        with os.fdopen(from_client, "rb") as lines, os.fdopen(to_client, "wb", 0) as replies:
            for number, line in enumerate(lines):
                time.sleep(answer(number))
                replies.write(orjson.dumps({"request_id": orjson.loads(line)["request_id"], "number": number}) + b"\n")

    thread = threading.Thread(target=serve)
    thread.start()
    try:
        yield Client([Wire(from_peer, to_peer, cut_lines)], depth)
    finally:
        os.close(to_peer)
        thread.join()
        os.close(from_peer)


def test_a_stall_counts_for_every_arrival_that_fell_into_it() -> None:
    """The peer stands still for 0.5 s once; an open loop at 100 per second must see about 50 requests wait."""
    with peer(1000, lambda number: 0.5 if number == 20 else 0.0) as client:
        part = client.drive(OpenLoop(100, 1.0), itertools.repeat(SHORT))
    assert (len(part.latencies), part.missed) == (100, [])
    waited = sorted((latency for latency in part.latencies if latency > 0.05), reverse=True)
    # Arrivals are 10 ms apart, so those in the stall waited 0.50, 0.49, ... s. A busy machine only adds to that.
    assert len(waited) >= 40
    assert all(latency > 0.48 - 0.01 * i for i, latency in enumerate(waited[:40]))
    assert part.seconds >= 1.0
    assert all(late >= 0 for late in part.late)


def test_waiting_for_a_free_connection_counts_too() -> None:
    """One request at a time, 20 ms each, 100 arrivals per second: the queue is in the client, and it is latency too."""
    with peer(1, lambda _: 0.02) as client:
        part = client.drive(OpenLoop(100, 0.5), itertools.repeat(SHORT))
    assert len(part.latencies) == 50
    assert part.latencies == sorted(part.latencies)
    assert part.latencies[-1] > 49 * 0.02 - 0.49
    assert part.late[-1] > 48 * 0.02 - 0.49


def test_arrivals_that_cannot_be_sent_are_given_up_and_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(load, "LEAST_GRACE", 0.1)
    with peer(1, lambda _: 0.1) as client:
        part = client.drive(OpenLoop(1000, 0.2), itertools.repeat(SHORT))
    assert part.missed
    assert len(part.latencies) + len(part.missed) == 200
    assert min(part.missed) >= 0.199


def test_a_closed_loop_keeps_as_many_in_flight_as_there_are_clients() -> None:
    with peer(16, lambda _: 0.05) as client:
        part = client.drive(ClosedLoop(0.3), itertools.repeat(SHORT), 4)
    assert len(part.latencies) == len(part.replies) >= 4
    # The fourth waits for the three before it; half of that allows for a busy machine.
    assert part.latencies[3] > 0.1
    assert part.seconds >= 0.3


def test_requests_beyond_a_pipe_do_not_lock_the_client_up() -> None:
    with peer(16, lambda _: 0.001) as client:
        replies = client.ask([LINE] * 5)
        part = client.drive(ClosedLoop(most=40), itertools.repeat(LINE), 16)
    assert len(replies) == 5
    assert sorted(orjson.loads(reply)["number"] for reply in part.replies) == list(range(5, 45))


def test_a_peer_that_says_nothing_ends_the_run(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(load, "PATIENCE", 0.2)
    with peer(1, lambda _: 1.0) as client, pytest.raises(SetupError, match="not answered"):
        client.ask([SHORT])


def test_a_peer_that_ends_ends_the_run() -> None:
    from_client, to_peer = os.pipe()
    from_peer, to_client = os.pipe()
    os.close(to_client)
    with pytest.raises(SetupError, match="closed the connection"):
        Client([Wire(from_peer, to_peer, cut_lines)], 1).ask([SHORT])
    for fd in (from_client, to_peer, from_peer):
        os.close(fd)


def test_replies_are_cut_from_whatever_pieces_come() -> None:
    responses = b"".join(
        b"HTTP/1.1 200 OK\r\ndate: now\r\ncontent-length: %d\r\ncontent-type: application/json\r\n\r\n%s" % (len(b), b)
        for b in (b'{"request_id":1}', b"", b'{"text":"\\r\\n\\r\\n"}')
    )
    for cut, stream, expected in (
        (cut_lines, b"one\ntwo\nthree\n", [b"one", b"two", b"three"]),
        (cut_responses, responses, [b'{"request_id":1}', b"", b'{"text":"\\r\\n\\r\\n"}']),
    ):
        for size in (1, 7, len(stream)):
            received, replies = bytearray(), []
            for start in range(0, len(stream), size):
                received += stream[start : start + size]
                replies += cut(received)
            assert (replies, bytes(received)) == (expected, b"")


def test_connections_are_shared_out_before_any_holds_two() -> None:
    pairs = [socket.socketpair() for _ in range(3)]
    wires = [Wire(ours.fileno(), ours.fileno(), cut_lines) for ours, _ in pairs]
    threads = [threading.Thread(target=_echo, args=(theirs,)) for _, theirs in pairs]
    for thread in threads:
        thread.start()
    part = Client(wires, 2).drive(ClosedLoop(most=30), itertools.repeat(SHORT), 3)
    assert len(part.replies) == 30
    for ours, _ in pairs:
        ours.close()
    for thread in threads:
        thread.join()


def _echo(end: socket.socket) -> None:
    """Answer each line with itself; fail the test by silence if two came at once."""
    with end:
        while line := end.recv(1 << 16):
            if line.count(b"\n") == 1:
                end.sendall(line)


def test_responses_are_cut_whether_their_length_is_told_or_they_come_in_chunks() -> None:
    told = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nfirst"
    chunked = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n3\r\nsec\r\nA\r\nond\r\n\r\n0\r\n\r\n0\r\n\r\n"
    stream = told + chunked + told
    for step in (1, 7, len(stream)):
        received, bodies = bytearray(), list[bytes]()
        for start in range(0, len(stream), step):
            received += stream[start : start + step]
            bodies += cut_responses(received)
        assert bodies == [b"first", b"second\r\n\r\n0\r\n", b"first"]
        assert not received


def test_replies_without_an_id_are_the_next_of_their_connection() -> None:
    ours, theirs = zip(*(socket.socketpair() for _ in range(3)), strict=True)

    def serve(connection: socket.socket) -> None:
        while data := connection.recv(1 << 16):
            connection.sendall(b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n%b" % (len(data), data))

    threads = [threading.Thread(target=serve, args=(connection,)) for connection in theirs]
    for thread in threads:
        thread.start()
    client = Client([Wire(end.fileno(), end.fileno(), cut_responses) for end in ours], 1, identified=False)
    part = client.drive(ClosedLoop(most=50), itertools.repeat(SHORT), 3)
    for end in ours:
        end.close()
    for thread in threads:
        thread.join()
    for connection in theirs:
        connection.close()
    assert len(set(part.replies)) == len(part.latencies) == 50
