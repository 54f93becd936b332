"""Names that a stranger chooses forge no line of the log, nor of a message."""

from __future__ import annotations

import re
from pathlib import Path

import httpx
import pytest
from support import (
    HttpService,
    Reply,
    StdioService,
    copy_model,
    error_of,
    packed,
    random_windows,
)

FORGERY = "x\n2026-01-01 00:00:00,000 INFO vinocast: forged\r\x1b[2K\x85forged\u2028forged"


def test_no_name_forges_a_line_of_the_log_or_of_a_message(stdio: StdioService) -> None:
    good = {"values": [1.0] * 7}
    requests: list[Reply] = [
        {"op": FORGERY},
        {"model": FORGERY, "stream": "s"},
        {"stream": FORGERY},
        {"op": "observe", "stream": FORGERY, "values": []},
        {"op": "observe", "stream": "s", "model": FORGERY, **good},
        {FORGERY: 1},
        {"targets": [FORGERY], **packed(random_windows(1)[0])},
        {"op": "forget", "stream": FORGERY},
        {"op": "glyphs", "rasters": [FORGERY]},
        {"past_values_b64": FORGERY, "shape": [512, 7]},
        {"request_id": [FORGERY]},
        {"deadline_ms": FORGERY},
    ]
    for request in requests:
        reply = stdio.ask(request)
        error_of(reply)
        assert reply["error"]["message"].isprintable()
        assert (reply["error"]["field"] or "").isprintable()
    assert "forged" not in "".join(stdio.said)
    for line in stdio.log.splitlines():  # of which those of refusals quote what was sent, where it can break nothing
        assert re.match(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d,\d{3} [A-Z]+ vinocast\.", line)


@pytest.mark.slow
def test_a_model_whose_name_holds_a_line_feed_forges_no_line_of_the_log(tmp_path: Path) -> None:
    copy_model(tmp_path / "models")
    copy_model(tmp_path / "models", "x\n2026-01-01 00:00:00,000 INFO vinocast: forged")
    with HttpService("--models", tmp_path / "models", "--default-model", "patchtst-etth1") as service:
        assert httpx.get(f"{service.url}/a%0A2026%0D%1B/b").json()["error"]["message"].isprintable()
        assert "forged" in service.log
        assert not [line for line in service.log.splitlines() if line.startswith("2026-01-01")]
