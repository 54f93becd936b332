"""What JSON takes in memory once it is parsed, told from its text alone."""

from __future__ import annotations

from vinocast.errors import PayloadTooLargeError

# Bytes of memory that go with each character of these in a text, measured with orjson on CPython 3.11: an empty array
# takes 80, an object of one field 200, a number 40 and a string 72 with its place in an array. So a text may take 40
# times its length, and a window of numbers takes twice.
MEMORY_OF = ((b"[", 80), (b"{", 200), (b",", 40), (b'"', 40))
# One character beyond Latin makes all of a string four bytes wide.
WIDEST_CHARACTER = 4
# What a long text may hold of each, whatever it is, and one more for so many bytes: they are parsed in one piece, which
# takes a second for 8 MB of brackets. The largest batch that a queue of 4,096 rows takes has 70,000 arrays, and numbers
# a million; the rows of a single channel are short, but there are no more of them than this.
CHECKED_TEXT = 1 << 18
MOST_OF = (
    ("arrays", b"[", 1 << 17, 32),
    ("objects", b"{", 1 << 17, 32),
    ("quotation marks", b'"', 1 << 18, 16),
    ("commas", b",", 1 << 20, 8),
)


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
    for name, character, free, spacing in MOST_OF:
        most = free + len(text) // spacing
        count = text.count(character)
        if count > most:
            raise PayloadTooLargeError(f"expected at most {most} {name} in {len(text)} bytes, got {count}")
