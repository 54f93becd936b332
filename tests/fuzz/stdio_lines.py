"""A million lines for ``vinocast stdio``, most of them wrong: one reply to each, right ones answered right."""

from __future__ import annotations

import json
import random
from typing import Any

from fuzz.oracle import Answers, Expected, expect
from fuzz.report import Report
from fuzz.requests_of import MOST_BYTES, OPTIONS, any_text, keep_stream
from support import StdioService
from vinocast.progress import progress

# Lines that are sent before their replies are read.
TOGETHER = 64


def expected_of(data: bytes, limit: int, *, good: bool = False) -> list[Expected]:
    """Return what each line of some bytes, the last without its end, must be answered with."""
    lines = [line.removesuffix(b"\r") for line in data.split(b"\n")]
    wanted = [line for line in lines if line.removeprefix(b"\xef\xbb\xbf").strip()]
    return [expect(line, limit, good=good) for line in wanted]


def run(count: int, seed: int) -> Report:
    """Send so many texts, each as a line, and return what came of them."""
    report = Report("lines")
    rng, answers = random.Random(seed), Answers()
    with (
        StdioService(*OPTIONS) as service,
        progress(count, "lines") as bar,
    ):
        assert service.ask({"op": "ping"})["ready"]
        assert service.ask(keep_stream().line())["success"]
        number = 0
        while number < count and not report.lost:
            expected: list[Expected] = []
            sent = bytearray()
            for _ in range(min(TOGETHER, count - number)):
                number += 1
                _, text, right = any_text(rng, number)
                expected += expected_of(text, MOST_BYTES, good=right)
                sent += text + b"\n"
            report.sent += len(expected)
            try:
                service.send(bytes(sent))
                replies = [_reply(service) for _ in expected]
            except (AssertionError, OSError) as error:
                report.lose(f"{type(error).__name__}: {error!s:.300}", bytes(sent))
                break
            _match(report, answers, expected, replies)
            bar.update(len(expected))
        if not report.lost:
            rest, code = service.finish()
            report.doubled += sum(not is_push(reply) for reply in rest)
            if code:
                report.wrong(f"ended with code {code}", b"")
        report.read_log(service.log)
    return report


def is_push(reply: dict[str, Any]) -> bool:
    """Whether a line is one that no request is to be found for: a bar has closed."""
    return "request_id" not in reply and reply.get("op") == "forecast" and "stream" in reply


def _reply(service: StdioService) -> bytes:
    """Return the next line that answers a request."""
    while is_push(json.loads(line := service.receive_line())):
        pass
    return line


def _match(report: Report, answers: Answers, lines: list[Expected], data: list[bytes]) -> None:
    """Give each reply to a line that it is right for, one to one by augmenting paths; what is left over is a fault."""
    replies = [json.loads(text) for text in data]
    numbers: dict[str, list[int]] = {}
    for place, each in enumerate(lines):
        numbers.setdefault(json.dumps(each.request_id), []).append(place)
        if each.deep and each.request_id is not None:  # to the service it may be no JSON, and then has no number
            numbers.setdefault("null", []).append(place)
    in_parts = [place for place, each in enumerate(lines) if each.in_parts]
    candidates = [[*numbers.get(json.dumps(reply.get("request_id")), []), *in_parts] for reply in replies]
    faults = [
        {line: answers.fault(lines[line], reply) for line in candidates[place]} for place, reply in enumerate(replies)
    ]
    taken: dict[int, int] = {}

    def give(reply: int, seen: set[int]) -> bool:
        for line, fault in faults[reply].items():
            if fault is None and line not in seen:
                seen.add(line)
                if line not in taken or give(taken[line], seen):
                    taken[line] = reply
                    return True
        return False

    alone = [reply for reply in range(len(replies)) if not give(reply, set())]
    for reply in replies:
        report.codes[reply["error"]["code"] if "error" in reply else "success"] += 1
    report.good += sum(lines[line].good for line in taken)
    left = set(range(len(lines))) - taken.keys()
    for reply in alone:
        near = next((line for line in candidates[reply] if line in left), None)
        if near is None:
            report.doubled += 1
            report.wrong("a reply to nothing", data[reply])
        else:
            left.remove(near)
            text = lines[near].text
            sample = text[:120] + b" ... " + text[-120:] + b"  ->  " + data[reply][:300]
            report.wrong(faults[reply][near] or "?", sample)
    for place in left:
        report.lose("no reply", lines[place].text)
