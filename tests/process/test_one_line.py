"""A record of the log is one line, whatever it holds, and its traceback stands indented below it."""

from __future__ import annotations

import io
import logging

import pytest
from vinocast.process.log_stream import OneLine

FORGERY = "x\n2026-01-01 INFO forged\r\x1b[2K\x85forged\u2028forged\udce9"


@pytest.fixture
def log() -> logging.Logger:
    """A logger of its own; what it writes is the stream of its handler."""
    logger = logging.Logger("one line")
    handler = logging.StreamHandler(io.StringIO())
    handler.setFormatter(OneLine("%(levelname)s %(message)s"))
    logger.addHandler(handler)
    return logger


def written(log: logging.Logger) -> str:
    (handler,) = log.handlers
    assert isinstance(handler, logging.StreamHandler)
    text = handler.stream.getvalue()
    assert isinstance(text, str)
    return text


def test_a_name_that_holds_line_feeds_and_controls_stays_in_its_line(log: logging.Logger) -> None:
    log.warning("model %s: ü", FORGERY)
    (line,) = written(log).splitlines()
    assert line.startswith("WARNING model x\\n2026-01-01")
    assert line.endswith(": ü")
    assert line.isprintable()


def test_the_message_of_an_exception_forges_no_line(log: logging.Logger) -> None:
    try:
        raise ValueError(FORGERY)
    except ValueError:
        log.exception("a fault")
    first, *rest = written(log).splitlines()
    assert first == "ERROR a fault"
    assert any("ValueError: x" in line for line in rest)
    assert all(line.startswith("  ") and line.isprintable() for line in rest)
