"""What is said of requests and of settings that are wrong in a way that is easily overlooked."""

from __future__ import annotations

import contextlib
import os
import re
import socket
from http.client import HTTPConnection
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
from support import PATIENCE, VINOCAST, HttpService, RunVinocast, Service, StdioService, error_of, wait_until

ROWS = np.ones((512, 7)).tolist()


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"past_values": ROWS, "targets": [True]}, "targets[0]: expected a channel's name or index, got true"),
        ({"past_values": ROWS, "targets": [0, None]}, "targets[1]: expected a channel's name or index, got null"),
        ({"past_values_b64": "", "shape": [512, "7"]}, "shape[1]: expected an integer, got '7'"),
        (
            {"past_values": [ROWS]},
            "past_values: expected 512 rows, got 1 that holds an array of 512: leave out the outermost brackets",
        ),
        (
            {"op": "observe", "stream": "s", "values": [ROWS]},
            "values[0]: expected a row of 7 numbers, got an array of arrays",
        ),
        ({"past_values": ROWS, "shape": [512, 7]}, "shape: expected beside past_values_b64 alone"),
        ({"stream": "s", "shape": [512, 7]}, "shape: expected beside past_values_b64 alone"),
    ],
)
def test_a_fault_is_named_where_it_stands(stdio: StdioService, fields: dict[str, Any], said: str) -> None:
    reply = stdio.ask(fields)
    _, field = error_of(reply)
    assert (reply["error"]["message"], field) == (said, said.partition(":")[0])


@pytest.mark.parametrize("mark", [b"", b"\xef\xbb\xbf"])
def test_a_byte_that_is_no_utf_8_is_named_by_its_place(stdio: StdioService, mark: bytes) -> None:
    line = mark + b'{"op": "ping", "request_id": "caf\xe9"}'
    reply = stdio.ask(line + b"\n")
    place = line.index(b"\xe9")
    assert error_of(reply) == ("invalid_json", None)
    assert reply["error"]["message"] == f"expected a JSON object in UTF-8: byte {place} (0xe9) is none"


@pytest.mark.slow
def test_blank_grids_are_named_as_blank_rasters_are(stdio: StdioService) -> None:
    blank, other = [[0] * 16] * 16, [[1] * 16] * 16
    reply = stdio.ask({"op": "glyphs", "grids": [other, blank], "topk": 1})
    assert reply["warnings"] == ["grids[1]: blank: every cell is the empty one"]
    reply = stdio.ask({"op": "glyphs", "grids": [blank] * 18, "topk": 1})
    assert len(reply["warnings"]) == 17
    assert reply["warnings"][-1] == "grids: 2 more look wrong"
    assert "warnings" not in stdio.ask({"op": "glyphs", "grids": [other], "topk": 1})


def test_a_body_of_no_chunks_is_no_body(http: HttpService) -> None:
    def delete(body: bytes) -> int:
        with contextlib.closing(HTTPConnection("127.0.0.1", http.port, timeout=PATIENCE)) as connection:
            connection.putrequest("DELETE", "/streams/nobody")
            connection.putheader("Transfer-Encoding", "chunked")
            connection.endheaders()
            connection.send(body)
            return connection.getresponse().status

    assert delete(b"0\r\n\r\n") == 404  # as without a body: there is no such stream
    assert delete(b"2\r\n{}\r\n0\r\n\r\n") == 415


@pytest.mark.slow
@pytest.mark.parametrize("options", [[], ["--workers", "2"]], ids=["one process", "workers"])
def test_at_the_level_of_warnings_a_good_start_says_nothing(options: list[str]) -> None:
    if options and len(os.sched_getaffinity(0)) < 2:
        pytest.skip("needs two cores")
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    with Service(VINOCAST, "serve", "--port", str(port), "--log-level", "warning", *options) as service:

        def ready() -> bool:
            with contextlib.suppress(httpx.TransportError):
                return httpx.get(f"http://127.0.0.1:{port}/readyz").status_code == 200
            return False

        wait_until(ready, "ready")
        assert service.log == ""


@pytest.mark.slow
@pytest.mark.parametrize("host", ["a" * 300, "caf\udce9", "a..b"])
def test_a_host_that_can_have_no_address_ends_it_with_a_sentence(run_vinocast: RunVinocast, host: str) -> None:
    done = run_vinocast("serve", "--host", host, "--port", "0")
    assert done.returncode == 1
    assert re.fullmatch(r"vinocast: cannot listen on .*: choose another --port or --host\n", done.stderr)


def test_a_pipe_in_place_of_the_tuned_profile_is_told(run_vinocast: RunVinocast, tmp_path: Path) -> None:
    (tmp_path / "vinocast").mkdir()
    os.mkfifo(tmp_path / "vinocast" / "tuned.json")
    done = run_vinocast("stdio", "--profile", "tuned", env=os.environ | {"XDG_STATE_HOME": str(tmp_path)}, input="")
    assert done.returncode == 1
    assert "not a regular file" in done.stderr.splitlines()[-1]
