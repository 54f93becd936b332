"""Clients over HTTP: tokens, addresses, and what becomes of a request that nobody answers."""

from __future__ import annotations

import asyncio
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
import vinocast
from support import PATIENCE, HttpService

WINDOW = np.ones((512, 7), np.float32)
TOKEN = "a-token-of-some-length"
Ask = Callable[[str], object]


def ask(url: str) -> object:
    with vinocast.connect(url, timeout=0.5) as client:
        return client.forecast(WINDOW)


def ask_async(url: str) -> object:
    async def go() -> object:
        async with vinocast.connect_async(url, timeout=0.5) as client:
            return await client.forecast(WINDOW)

    return asyncio.run(go())


@contextmanager
def listener(answer: bytes | None) -> Iterator[str]:
    """The address of one who takes a connection and answers with bytes, with its end (b""), or not at all (None)."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(30)
        done = threading.Event()

        def serve() -> None:
            connection, _ = server.accept()
            with connection:
                connection.settimeout(30)
                received = b""
                while b"}" not in received:
                    received += connection.recv(1 << 16)
                if answer is None:
                    done.wait(30)
                else:
                    connection.sendall(answer)

        thread = threading.Thread(target=serve)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.getsockname()[1]}"
        finally:
            done.set()
            thread.join(30)


@pytest.mark.parametrize("way", [ask, ask_async])
def test_an_address_where_nobody_listens_is_said(way: Ask) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        url = f"http://127.0.0.1:{server.getsockname()[1]}"
    with pytest.raises(vinocast.ServiceUnreachableError, match=f"{url}/forecast: no answer: ") as caught:
        way(url)
    assert caught.value.unsent


@pytest.mark.parametrize("way", [ask, ask_async])
@pytest.mark.parametrize(
    ("answer", "says"),
    [
        (None, "no answer: "),
        (b"", "no answer: "),
        (b"garbage\r\n\r\n", "no answer: "),
        (
            b"HTTP/1.1 502 Bad Gateway\r\nContent-Length: 6\r\n\r\n<html>",
            r"\(502\): expected a reply of Vinocast, got '<html>'",
        ),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n[]", "expected a reply of Vinocast"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}", "its reply to forecast is none of Vinocast"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\n{", "no answer: "),
    ],
)
def test_one_who_does_not_answer_or_is_no_service_is_said(way: Ask, answer: bytes | None, says: str) -> None:
    with listener(answer) as url:
        with pytest.raises(vinocast.ServiceUnreachableError, match=says) as caught:
            way(url)
        assert not caught.value.unsent


@pytest.mark.parametrize("field", [b"null", b"5", b'{"in": "another form"}'])
def test_an_error_of_a_code_that_is_not_known_is_said_with_its_code(field: bytes) -> None:
    body = b'{"success": false, "error": {"code": "teapot", "message": "short and stout", "field": %b}}' % field
    head = b"HTTP/1.1 418 Teapot\r\nContent-Length: %d\r\n\r\n" % len(body)
    with listener(head + body) as url, pytest.raises(vinocast.InternalError, match="teapot: short and stout"):
        ask(url)


@pytest.mark.parametrize("url", ["127.0.0.1:8000", "ftp://127.0.0.1", "http://", "", "http://a:b", "/readyz"])
def test_what_is_no_address_is_said_at_once(url: str) -> None:
    for connect in (vinocast.connect, vinocast.connect_async):
        with pytest.raises(vinocast.SetupError, match="url: expected one such as"):
            connect(url)


@pytest.mark.parametrize("stream", [".", "..", "...", "a/../b", "%2e%2e"])
def test_a_stream_of_any_name_is_found_by_it(http: HttpService, stream: str) -> None:
    with vinocast.connect(http.url) as client:
        assert client.observe(stream, WINDOW[:2]) == vinocast.Observed(stream, 2, 510)
        assert client.forget(stream).rows == 2


def test_a_token_is_sent_and_a_foreign_host_refused(tmp_path: Path) -> None:
    (tmp_path / "token").write_text(TOKEN)
    with HttpService("--token-file", tmp_path / "token") as service:
        with vinocast.connect(service.url, token=TOKEN) as client:
            assert client.forecast(WINDOW).shape == (96, 7)
        with pytest.raises(vinocast.UnauthorizedError), vinocast.connect(service.url, token="another") as client:
            client.forecast(WINDOW)
        with pytest.raises(vinocast.UnauthorizedError), vinocast.connect(service.url) as client:
            client.forget("a")
        with pytest.raises(vinocast.NotFoundError), vinocast.connect(f"{service.url}/deeper/", token=TOKEN) as client:
            client.forecast(WINDOW)


def test_a_forked_process_does_not_read_the_answers_of_its_parent(http: HttpService) -> None:
    """On a connection that two processes share, one would get what the other has asked for."""
    program = f"""
import asyncio, os
import numpy as np, vinocast
client, other = vinocast.connect({http.url!r}, retries=3), vinocast.connect_async({http.url!r})
window = np.cumsum(np.random.default_rng(0).standard_normal((512, 7)), axis=0)
expected = client.forecast(window).predictions
pid = os.fork()
if not pid:
    refused = 0
    for ask in (lambda: client.forecast(window + 1000), lambda: asyncio.run(other.forecast(window + 1000))):
        try:
            ask()
        except vinocast.ServiceUnreachableError as error:
            refused += error.unsent and "another process" in str(error)
    client.close()
    os._exit(refused)
assert all(np.array_equal(client.forecast(window), expected) for _ in range(100))
assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 2
assert np.array_equal(client.forecast(window), expected)
"""
    subprocess.run([sys.executable, "-c", program], check=True, timeout=PATIENCE)


def test_thousands_of_tasks_wait_their_turn(http: HttpService) -> None:
    async def go() -> Sequence[object]:
        async with vinocast.connect_async(http.url) as client:
            tasks = [asyncio.create_task(client.forecast(WINDOW, ["OT"], prediction_length=1)) for _ in range(2000)]
            await asyncio.sleep(0.1)
            for task in tasks[1::2]:
                task.cancel()
            answers = await asyncio.gather(*tasks, return_exceptions=True)
            # Those that were cancelled hold no place of others.
            await asyncio.gather(*(client.ping() for _ in range(100)))
            return answers[::2]

    answers = asyncio.run(go())
    assert not [answer for answer in answers if isinstance(answer, BaseException)]


def test_a_client_that_is_closed_says_so(http: HttpService) -> None:
    client = vinocast.connect(http.url)
    assert client.ping()["ready"]
    client.close()
    client.close()
    with pytest.raises(vinocast.ServiceUnreachableError, match="closed") as caught:
        client.ping()
    assert caught.value.unsent
