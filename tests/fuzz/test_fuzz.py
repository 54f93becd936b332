"""A few thousand fuzzed inputs of every kind; ``python -m fuzz`` runs as many as it is told."""

from __future__ import annotations

import random
import time

import pytest
from fuzz import conformance, http_requests, stdio_lines
from fuzz.decoders import DECODERS
from fuzz.requests_of import tear
from fuzz.seeds import seeds
from hypothesis import given, settings
from hypothesis import strategies as st
from vinocast.transports.http.messages import Chunks, MalformedError
from vinocast.transports.lines import LineSplitter

# Of a whole run on a machine that is busy with other things; a cost that grows with the square takes far longer.
BOUND_SECONDS = 20


@pytest.mark.parametrize("name", DECODERS)
def test_a_decoder_raises_only_what_it_is_meant_to(name: str) -> None:
    right, decode = seeds(name), DECODERS[name]

    @settings(max_examples=200, deadline=None, derandomize=True)
    @given(st.integers(0, 2**64), st.sampled_from(right), st.booleans())
    def decode_torn(number: int, seed: bytes, noise: bool) -> None:
        rng = random.Random(number)
        decode(rng.randbytes(rng.randrange(200)) if noise else tear(rng, seed))

    for seed in right:
        decode(seed)
    decode_torn()


def test_the_cost_of_cutting_lines_and_chunks_is_in_proportion_to_their_bytes() -> None:
    start = time.process_time()
    splitter = LineSplitter(1 << 23)
    for _ in range(1 << 18):
        splitter.feed(b"x" * 64)
    assert splitter.feed(b"\n" * (1 << 20)) == []
    reader = Chunks()
    for _ in range(1 << 12):
        reader.take(b"1\r\n[\r\n" * 16)
    with pytest.raises(MalformedError):
        reader.take(b"0" * (1 << 15))
    assert time.process_time() - start < BOUND_SECONDS


@pytest.mark.slow
def test_thousands_of_fuzzed_lines_are_answered_once_each_and_right_ones_right() -> None:
    report = stdio_lines.run(3000, seed=11)
    assert not report.failed, report
    assert report.good > 200


@pytest.mark.slow
def test_thousands_of_fuzzed_requests_are_answered_once_each_and_right_ones_right() -> None:
    report = http_requests.run(3000, seed=12)
    assert not report.failed, report
    assert report.good > 200


@pytest.mark.slow
@pytest.mark.parametrize("run", [conformance.over_lines, conformance.over_http])
def test_a_text_is_taken_for_json_exactly_where_it_is_some(run: object) -> None:
    assert callable(run)
    report = run(1, 2000)
    assert not report.failed, report
    assert report.sent > 5000
