"""What JSON takes in memory once it is parsed, told from its text alone."""

from __future__ import annotations

from vinocast.errors import PayloadTooLargeError

# Bytes of memory that go with each character of these in a text, measured with orjson on CPython 3.11: an empty array
# takes 80, an object of one field 200, a number 40 and a string 72 with its place in an array. So a text may take 40
# times its length, and a window of numbers takes twice.
MEMORY_OF = ((b"[", 80), (b"{", 200), (b",", 40), (b'"', 40))
# One character beyond Latin makes all of a string four bytes wide.
WIDEST_CHARACTER = 4
# What a long text may hold of small things, whatever it is: it is parsed in one piece, and each of these takes so many
# times 25 ns, objects of many names most. The largest batch that a queue of 4,096 rows takes counts 2,100,000, a window
# of 862 channels 450,000.
CHECKED_TEXT = 1 << 18
MOST_SMALL_THINGS = 4_000_000
COUNT_OF = ((b"[", 14), (b"{", 36), (b'"', 3), (b",", 1))


def parsed_bytes(text: bytes) -> int:
    """Return how many bytes of memory a parsed text takes at most."""
    wide = not text.isascii() or b"\\u" in text
    return len(text) * (WIDEST_CHARACTER if wide else 1) + sum(
        text.count(character) * nbytes for character, nbytes in MEMORY_OF
    )


def check_counts(text: bytes) -> None:
    """Raise PayloadTooLargeError for a long text of many small things, before it is parsed."""
    if len(text) <= CHECKED_TEXT:
        return
    count = sum(text.count(character) * each for character, each in COUNT_OF)
    if count > MOST_SMALL_THINGS:
        raise PayloadTooLargeError(
            f"expected at most {MOST_SMALL_THINGS} small things, of which an array counts 14, an object 36, a quote 3 "
            f"and a comma 1, got {count}"
        )
