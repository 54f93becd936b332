"""A service asked with what Python brings: whatever is answered, or not, is a sentence."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from vinocast.errors import SetupError
from vinocast.plain_http import RefusedError, ask


class Answering(BaseHTTPRequestHandler):
    """Answers as its path says: with a status, and a body of which a part may never come."""

    def do_GET(self) -> None:
        status, sent, length = map(int, self.path.strip("/").split("-"))
        self.send_response(status)
        self.send_header("Location", "/200-4-4")
        self.send_header("Content-Length", str(length))
        self.end_headers()
        self.wfile.write(b"x" * sent)
        self.wfile.flush()
        if sent < length:
            self.server.ended.wait()  # type: ignore[attr-defined]  # set below

    def do_POST(self) -> None:
        self.do_GET()

    def log_message(self, *_: object) -> None:
        pass


@contextmanager
def answering() -> Iterator[str]:
    with ThreadingHTTPServer(("127.0.0.1", 0), Answering) as server:
        server.ended = threading.Event()  # type: ignore[attr-defined]  # see above
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.ended.set()  # type: ignore[attr-defined]  # see above
        server.shutdown()


def test_an_answer_is_its_body() -> None:
    with answering() as url:
        assert ask(url, "/200-4-4", None, 5) == b"xxxx"
        assert ask(f"{url}/", "/200-0-0", b"token", 5, b"{}") == b""


@pytest.mark.parametrize("status", [301, 401, 404, 503])
def test_an_error_is_raised_with_its_body_and_no_redirection_followed(status: int) -> None:
    with answering() as url, pytest.raises(RefusedError, match=f"answers {status}: ") as caught:
        ask(url, f"/{status}-3-3", None, 5)
    assert (caught.value.status, caught.value.body) == (status, b"xxx")


@pytest.mark.parametrize("status", [200, 500])
def test_a_body_that_does_not_come_is_no_answer(status: int) -> None:
    with answering() as url, pytest.raises(SetupError, match=r"no service answers \(timed out\)"):
        ask(url, f"/{status}-3-9", None, 0.2)
