"""JSON lines by the thousand: floods, what does not fit the queue, and a client that does not read."""

from __future__ import annotations

import os
import select
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import pytest
from support import (
    Gate,
    StdioService,
    Window,
    by_id,
    error_of,
    near,
    packed,
    random_windows,
    raw_inference,
    rows,
)

MakeGate = Callable[..., Gate]
PING = {"op": "ping", "request_id": "ping"}


@pytest.fixture
def service() -> Any:
    with StdioService() as started:
        yield started


@pytest.mark.slow
def test_a_thousand_requests_written_before_any_reply_is_read_get_a_reply_each(service: StdioService) -> None:
    windows = random_windows(10)
    expected = raw_inference(windows)
    # Numbers as text: 35 kB and more per request.
    lines = [orjson.dumps(rows(window))[:-1] for window in windows]
    service.send(
        *(line + b',"request_id":%d}\n' % number for number, line in ((i, lines[i % 10]) for i in range(1000)))
    )
    service.end_input()
    replies = by_id(service.rest())
    assert sorted(replies) == list(range(1000))
    for number, reply in replies.items():
        if reply["success"]:
            assert near(reply["predictions"], expected[number % 10], windows[number % 10])
        else:
            assert error_of(reply)[0] == "overloaded"
    assert sum(reply["success"] for reply in replies.values()) > 100
    assert service.wait() == 0


def test_what_does_not_fit_the_queue_is_overloaded_and_the_rest_is_answered(
    make_gate: MakeGate, tmp_path: Path, window: Window
) -> None:
    gate = make_gate()
    with StdioService("--models", tmp_path / "models", "--queue-rows", "20") as service:
        service.send(*(packed(window, request_id=number) for number in range(5)))
        service.send(*(packed(window, request_id=number, targets=[0]) for number in range(5, 15)))
        # Two windows of seven series and six single ones.
        refused = by_id([service.receive() for _ in range(7)])
        assert set(refused) == {2, 3, 4, 11, 12, 13, 14}
        assert {error_of(reply)[0] for reply in refused.values()} == {"overloaded"}
        gate.open()
        answered = by_id([service.receive() for _ in range(8)])
        assert all(reply["success"] for reply in answered.values())
        assert service.ask(packed(window))["success"]
        assert service.finish() == ([], 0)


@pytest.mark.slow
def test_reading_pauses_while_replies_are_not_read_and_nothing_is_lost() -> None:
    line = orjson.dumps(packed(np.zeros((512, 7), np.float32)))[:-1]
    total = 1200
    with StdioService("--max-unread-reply-bytes", "65536", "--queue-rows", "70") as service:
        assert service.ask(PING)["ready"]
        data = b"".join(line + b',"request_id":%d}\n' % number for number in range(total))
        assert service.process.stdin is not None
        pipe = service.process.stdin.fileno()
        os.set_blocking(pipe, False)
        written = 0
        # Until nothing has gone in for a while: with the pause that comes soon, without it only after all 23 MB.
        while written < len(data) and select.select([], [pipe], [], 1.5)[1]:
            written += os.write(pipe, data[written : written + 65536])
        requests_taken = written / len(line)
        # The limit holds some 8 replies, a pipe holds 64 KiB, and up to 10 requests more may have waited in the queue;
        # a refusal is a short reply, of which the same bytes hold more.
        assert requests_taken < 600
        assert service.process.poll() is None

        def write_the_rest() -> None:
            os.set_blocking(pipe, True)
            service.send(data[written:])
            service.end_input()

        writer = threading.Thread(target=write_the_rest)
        writer.start()
        replies = by_id(service.rest())
        writer.join()
        assert set(replies) == set(range(total))
        assert {error_of(reply)[0] for reply in replies.values() if not reply["success"]} <= {"overloaded"}
        assert service.wait() == 0


@pytest.mark.slow
def test_garbage_between_requests_gets_its_own_replies(service: StdioService, window: Window) -> None:
    good = [packed(window, request_id=number) for number in range(50)]
    service.send(*(part for request in good for part in (request, b"{garbage\n")))
    replies, code = service.finish()
    assert code == 0
    assert len(replies) == 100
    assert [reply["error"]["code"] for reply in replies if not reply["success"]] == ["invalid_json"] * 50
    assert set(by_id([reply for reply in replies if reply["success"]])) == set(range(50))
