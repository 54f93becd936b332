"""``GET /events``: forecasts that are pushed to all who listen, as server-sent events."""

from __future__ import annotations

import json
import signal
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import httpx
import pytest
from market_wire import NOON, STREAM, candles, match
from support import PATIENCE, HttpService, error_of, wait_until

BARS = 560
ROWS = candles(BARS)
NEXT = NOON + BARS * 300
Event = dict[str, Any]


def filled(*options: str) -> HttpService:
    service = HttpService(*options)
    reply = httpx.post(f"{service.url}/streams/{STREAM}/history", json={"candles": ROWS})
    assert reply.status_code == 200, reply.text
    return service


@pytest.fixture(scope="module")
def service() -> Iterator[HttpService]:
    with filled() as running:
        yield running


class Listener:
    """Who reads events off a socket, as far as it is told to."""

    def __init__(self, service: HttpService, last: str | None = None, room: int | None = None) -> None:
        self.socket = socket.socket()
        if room is not None:
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, room)
        self.socket.settimeout(PATIENCE)
        self.socket.connect(("127.0.0.1", service.port))
        header = f"Last-Event-ID: {last}\r\n" if last else ""
        self.socket.sendall(f"GET /events HTTP/1.1\r\nHost: localhost\r\n{header}\r\n".encode())
        self.file = self.socket.makefile("rb")
        self.status = int(self.file.readline().split()[1])
        self.headers = dict(iter(lambda: self.file.readline().decode().rstrip().lower().partition(": ")[::2], ("", "")))
        self.left = b""
        self.comments: list[str] = []

    def close(self) -> None:
        self.file.close()
        self.socket.close()

    def read(self) -> Event | None:
        """The next event; None at the end of the response. Comments are kept apart."""
        while True:
            while b"\n\n" not in self.left:
                size = int(self.file.readline(), 16)
                piece = self.file.read(size + 2)[:-2]
                if not piece:
                    return None
                self.left += piece
            block, _, self.left = self.left.partition(b"\n\n")
            lines = block.decode().split("\n")
            self.comments += [line for line in lines if line.startswith(":")]
            fields = dict(line.split(": ", 1) for line in lines if not line.startswith(":"))
            if "data" in fields:
                return {**fields, "data": json.loads(fields["data"])}


@contextmanager
def listening(service: HttpService, last: str | None = None, room: int | None = None) -> Iterator[Listener]:
    listener = Listener(service, last, room)
    try:
        yield listener
    finally:
        listener.close()


def close_bars(service: HttpService, first: int, count: int, **terms: Any) -> None:
    """Close bars, one with each of so many requests."""
    with httpx.Client(base_url=service.url) as client:
        for number in range(first, first + count):
            sent = {"message": match(number + 1, NEXT + 300 * number + 1, 65_000 + number), "on_bar": True, **terms}
            assert len(client.post("/feed", json=sent).json()["closed"]) == 1


def test_all_who_listen_get_each_event_and_who_comes_again_what_was_missed(service: HttpService) -> None:
    with listening(service) as one, listening(service) as other:
        assert one.status == 200
        assert one.headers["content-type"] == "text/event-stream; charset=utf-8"
        close_bars(service, 0, 3, targets=["close"])
        events = [one.read() for _ in range(3)]
        assert events == [other.read() for _ in range(3)]
        assert one.comments == [": listening"]
    data = [event["data"] for event in events if event]
    assert [each["newest_timestamp_ms"] for each in data] == [1000 * (NEXT + 300 * number) for number in (-1, 0, 1)]
    assert all(each["op"] == "forecast" and each["stream"] == STREAM and each["success"] for each in data)
    newest = httpx.post(f"{service.url}/forecast", json={"stream": STREAM, "targets": ["close"]}).json()
    assert data[-1]["predictions"] == newest["predictions"]
    assert events[0]
    assert [event["event"] for event in events if event] == ["forecast"] * 3
    with listening(service, events[0]["id"]) as again:
        assert [again.read(), again.read()] == events[1:]
    with listening(service, "of-another-process") as stranger:
        assert stranger.read() == events[0]


def test_a_listener_that_reads_nothing_holds_nobody_up_and_is_told_what_it_has_lost() -> None:
    with filled() as service, listening(service, room=4096) as slow, listening(service) as quick:
        levels = [step / 100 for step in range(1, 100)]
        count = 24  # of 350 kB each: more than the service and the kernel keep
        for number in range(count):
            close_bars(service, number, 1, quantile_levels=levels)
            assert quick.read()
        events: list[Event] = []
        while not events or events[-1]["data"].get("newest_timestamp_ms") != 1000 * (NEXT + 300 * (count - 2)):
            event = slow.read()
            assert event
            events.append(event)
        lost = sum(event["data"]["lost"] for event in events if event["event"] == "lost")
        assert lost > 0
        assert lost + sum(event["event"] == "forecast" for event in events) == count


def test_there_are_so_many_listeners_and_others_are_told() -> None:
    with HttpService("--max-connections", "4", ready=False) as service:
        with listening(service) as one, listening(service) as two:
            assert (one.status, two.status) == (200, 200)
            refused = httpx.get(f"{service.url}/events")
            assert (refused.status_code, error_of(refused.json())[0]) == (429, "overloaded")
            assert httpx.get(f"{service.url}/livez").status_code == 200
        close_bars_of_a_new_product(service)
        wait_until(lambda: _admitted(service), "the listeners that left are gone")
        asked = [httpx.head(f"{service.url}/events") for _ in range(3)]  # more than there may be listeners
        assert [(each.status_code, each.headers["content-type"]) for each in asked] == [
            (200, "text/event-stream; charset=utf-8")
        ] * 3
        queried = httpx.get(f"{service.url}/events?stream=a")
        assert (queried.status_code, error_of(queried.json())) == (422, ("invalid_request", "stream"))


def close_bars_of_a_new_product(service: HttpService) -> None:
    """Have something be sent to those who have left."""
    for number in range(3):
        sent = {"message": match(number + 1, NOON + 300 * number, 5), "on_bar": True}
        assert httpx.post(f"{service.url}/feed", json=sent).status_code == 200


def _admitted(service: HttpService) -> bool:
    with listening(service) as listener:
        return listener.status == 200


def test_what_was_accepted_is_pushed_before_the_end_which_is_the_last_event() -> None:
    with filled() as service, listening(service) as listener:
        messages = [match(number + 1, NEXT + 300 * number + 1, 65_000 + number) for number in range(10)]
        reply = httpx.post(f"{service.url}/feed", json={"messages": messages, "on_bar": True, "targets": [0]})
        service.signal(signal.SIGTERM)
        events = list(iter(listener.read, None))
        assert service.wait() == 0
        assert [event["event"] for event in events if event] == ["forecast"] * 10 + ["end"]
        assert events[-1]
        assert events[-1]["data"] == {"reason": "shutting_down", "waiting": 0}
        assert len(reply.json()["closed"]) == 10


@pytest.mark.slow
def test_there_is_a_comment_between_events_that_are_far_apart(service: HttpService) -> None:
    with listening(service) as listener:
        listener.socket.settimeout(30)
        wait_until(lambda: service.process.poll() is None, "it runs")
        listener.left += listener.file.read(int(listener.file.readline(), 16) + 2)[:-2]
        assert listener.left == b"retry: 1000\n: listening\n\n"
        assert listener.file.read(int(listener.file.readline(), 16) + 2)[:-2] == b": still here\n\n"


@pytest.mark.slow
def test_several_workers_have_no_market_streams_and_no_events() -> None:
    with HttpService("--workers", "2") as service, httpx.Client(base_url=service.url) as client:
        replies = [
            client.get("/events"),
            client.post("/feed", json={"message": match(1, NOON, 5)}),
            client.post(f"/streams/{STREAM}/history", json={"candles": ROWS[:1]}),
            client.get(f"/streams/{STREAM}/bars"),
        ]
        assert [(reply.status_code, error_of(reply.json())[0]) for reply in replies] == [(404, "not_found")] * 4
        named = client.post("/forecast", json={"stream": STREAM})
        assert error_of(named.json()) == ("unknown_stream", "stream")
        paths = client.get("/openapi.json").json()["paths"]
        assert not {"/events", "/feed"} & set(paths)
