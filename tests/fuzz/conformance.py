"""The corpus over both transports: each text is taken for JSON exactly where it is some, and comes back as it was."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable

from fuzz.corpus import texts
from fuzz.http_requests import Client
from fuzz.oracle import Expected, echo_fault, expect, levels, strict
from fuzz.report import Report
from fuzz.requests_of import MOST_BYTES
from fuzz.stdio_lines import expected_of
from support import HttpService, StdioService


def over_lines(seed: int, torn: int) -> Report:
    """Send the corpus as lines, of which a newline in a text makes two."""
    report = Report("JSON over lines")
    with StdioService("--max-request-bytes", str(MOST_BYTES)) as service:

        def ask(text: bytes) -> bytes:
            service.send(text + b"\n")
            return service.receive_line()

        lines = (each for text in texts(seed, torn) for each in expected_of(text, MOST_BYTES))
        _ask_all(report, lines, ask)
        rest, _ = service.finish()
        report.doubled += len(rest)
        report.read_log(service.log)
    return report


def over_http(seed: int, torn: int) -> Report:
    """Send the corpus as bodies."""
    report = Report("JSON over HTTP")
    with HttpService("--max-request-bytes", str(MOST_BYTES)) as service:
        client = Client(service.port)
        head = f"POST /forecast HTTP/1.1\r\nHost: 127.0.0.1:{service.port}\r\nContent-Type: application/json\r\n"

        def ask(text: bytes) -> bytes:
            client.send(f"{head}Content-Length: {len(text)}\r\n\r\n".encode() + text)
            response = client.response()
            assert response is not None, "no reply"
            return response[1]

        _ask_all(report, (expect(text, MOST_BYTES, op="forecast") for text in texts(seed, torn)), ask)
        client.leave()
        report.read_log(service.log)
    return report


def _ask_all(report: Report, expected: Iterable[Expected], ask: Callable[[bytes], bytes]) -> None:
    for each in expected:
        report.sent += 1
        data = ask(each.text)
        reply = json.loads(data)
        code = reply["error"]["code"]
        report.codes[code] += 1
        fault = echo_fault(each, reply) or _verdict_fault(each, code)
        if fault is not None:
            report.wrong(fault, each.text[:100] + b" ... " + each.text[-100:] + b"  ->  " + data[:300])
        report.good += fault is None


def _verdict_fault(expected: Expected, code: str) -> str | None:
    if expected.deep and levels(expected.text.decode()) <= 1024 and code in {"invalid_json", "invalid_request"}:
        return None
    if expected.code is not None:
        return None if code == expected.code else f"{code} where {expected.code} is right"
    fields = strict(expected.text)
    if fields.get("stream") == "nobody" and fields.keys() <= {"stream", "request_id", "metadata", "timestamp_ms"}:
        number = fields.get("request_id")
        named = isinstance(number, str | int | None) and not isinstance(number, bool)
        right = "unknown_stream" if named else "invalid_request"
        return None if code == right else f"{code} where {right} is right"
    return "JSON that is refused as none" if code == "invalid_json" else None
