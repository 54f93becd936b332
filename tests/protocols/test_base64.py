"""Base64 of a request: what RFC 4648 takes comes through, and all else is refused."""

from __future__ import annotations

import base64
import re

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from vinocast.errors import InvalidValueError, PayloadTooLargeError
from vinocast.protocols.base64 import decode_base64
from vinocast.protocols.glyphs import png_from_base64
from vinocast.protocols.windows import window_from_base64

WHOLE = re.compile(r"(?:[A-Za-z0-9+/]{4})*(?:[A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=)?")
# What a text is damaged by: a digit, none, none of ASCII, and what other decoders pass over.
INTO = ["", "A", "=", "==", "-", "_", " ", "\n", "\r\n", "\t", "\0", ".", "[", "ü", "\u2028", "\ud83d", "😀"]
PADDED = ["AAAA=", "AAAA==", "AAAA===", "AAAA====", "AAAA=" + "=" * 1000, "AA===", "AA======", "AAA=====", "=" * 1000]


@given(st.text(st.sampled_from("Az09+/=-_ \n\0ü\ud83d"), max_size=12))
@example("AAAA====")
@example("AA==AA==")
@example("")
def test_a_text_is_taken_exactly_where_it_is_base64(text: str) -> None:
    if WHOLE.fullmatch(text):
        assert decode_base64(text, "here", "anything") == base64.b64decode(text)
    else:
        with pytest.raises(InvalidValueError) as caught:
            decode_base64(text, "here", "anything")
        assert caught.value.field == "here"


@given(
    st.binary(max_size=300),
    st.lists(st.tuples(st.integers(0, 400), st.integers(0, 1), st.sampled_from(INTO)), max_size=2),
    st.integers(0, 3),
)
def test_one_wrong_character_is_found_wherever_it_stands(
    data: bytes, edits: list[tuple[int, int, str]], torn: int
) -> None:
    """A long text is read many characters at once, a short one and an end one by one."""
    text = base64.b64encode(data).decode()
    for place, replaced, into in edits:
        text = text[:place] + into + text[place + replaced :]
    text = text[: len(text) - torn]
    if WHOLE.fullmatch(text):
        assert decode_base64(text, "here", "anything") == base64.b64decode(text)
    else:
        with pytest.raises(InvalidValueError, match=r"^here: expected base64 of anything: ") as caught:
            decode_base64(text, "here", "anything")
        assert caught.value.field == "here"


def test_bits_of_the_last_character_that_belong_to_no_byte_are_passed_over() -> None:
    assert decode_base64("AB==", "here", "anything") == b"\0"
    assert decode_base64("AAB=", "here", "anything") == b"\0\0"


@given(st.binary(max_size=50))
def test_any_bytes_come_through(data: bytes) -> None:
    assert decode_base64(base64.b64encode(data).decode(), "here", "anything") == data


@pytest.mark.parametrize("text", PADDED)
def test_more_padding_than_base64_has_is_refused_in_windows_and_rasters(text: str) -> None:
    with pytest.raises(InvalidValueError, match=r"^past_values_b64: expected base64 of float32 values: "):
        window_from_base64(text, (1, 1), 1, 1)
    with pytest.raises(InvalidValueError, match=r"^rasters\[0\]: expected base64 of a PNG: "):
        png_from_base64(text, "rasters[0]")


def test_a_raster_is_measured_before_it_is_read() -> None:
    with pytest.raises(PayloadTooLargeError):
        png_from_base64("=" * 200_001, "rasters[0]")
