"""Cutting bytes into lines gives the same lines however the bytes arrive."""

from __future__ import annotations

import itertools

from hypothesis import example, given
from hypothesis import strategies as st
from vinocast.errors import LineTooLongError
from vinocast.transports.lines import LineSplitter

LIMIT = 8


def cut(chunks: list[bytes]) -> list[bytes | None]:
    """Lines; None for one that was too long."""
    splitter = LineSplitter(LIMIT)
    found = [line for chunk in chunks for line in splitter.feed(chunk)] + splitter.finish()
    return [None if isinstance(line, LineTooLongError) else line for line in found]


def test_lines_end_with_a_newline_or_with_carriage_return_and_newline_or_with_the_input() -> None:
    assert cut([b"a\nbc\r\nd"]) == [b"a", b"bc", b"d"]


def test_blank_lines_are_left_out() -> None:
    assert cut([b"\n\r\n  \n\t\r\na\n\n"]) == [b"a"]
    assert cut([b""]) == []


def test_a_byte_order_mark_alone_makes_no_line() -> None:
    assert cut([b"\xef\xbb", b"\xbf\r\na\n"]) == [b"a"]
    assert cut([b"\xef\xbb\xbf"]) == []


def test_a_line_of_the_limit_is_taken_and_one_byte_more_is_not() -> None:
    assert cut([b"12345678\n123456789\n12345678\r\n123456789\r\nx"]) == [b"12345678", None, b"12345678", None, b"x"]


def test_an_endless_line_is_one_error_and_is_skipped_to_its_end() -> None:
    splitter = LineSplitter(LIMIT)
    found = [line for _ in range(1000) for line in splitter.feed(b"x" * 100)]
    assert len(found) == 1
    assert splitter.feed(b"tail\nnext\n") == [b"next"]


text = st.lists(st.sampled_from([b"a", b"1234567", b"12345678", b"\r", b"\n", b" ", b"\r\n"]), max_size=30).map(
    b"".join
)


@given(text, st.lists(st.integers(0, 60), max_size=6))
@example(b"12345678\r\n", [9])
@example(b"12345678\ra\n", [9])
def test_the_cuts_of_the_input_do_not_matter(data: bytes, cuts: list[int]) -> None:
    edges = sorted({0, len(data), *(cut for cut in cuts if cut < len(data))})
    chunks = [data[start:end] for start, end in itertools.pairwise(edges)]
    assert cut(chunks) == cut([data])
    expected = [line.removesuffix(b"\r") for line in data.split(b"\n")]
    assert cut([data]) == [
        line if len(line) <= LIMIT else None for line in expected if line.strip() or len(line) > LIMIT
    ]
