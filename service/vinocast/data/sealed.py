"""Files of records that are there whole or not at all, and that show whether they are as they were written.

A file begins with what it is and its version, and ends with the sha256 of all before. A record is JSON in which arrays
of numbers stand by their place among the bytes behind it.
"""

from __future__ import annotations

import hashlib
import os
import struct
from typing import TYPE_CHECKING, Any, BinaryIO

import numpy as np
import orjson

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

DIGEST = hashlib.sha256().digest_size
CHUNK = 1 << 20
# The longest record that is read: a stream of 2**20 numbers has fewer bytes.
MOST_BYTES = 1 << 28
LENGTHS = struct.Struct("<QQ")
ARRAYS = frozenset({"<f4", "<f8", "<i4", "<i8", "|i1", "|u1"})
# What stands for an array: nothing else that is written has this name.
ARRAY = "array of numbers"


def pack(record: Mapping[str, Any]) -> bytes:
    """Return a record as bytes: numbers, texts, None, booleans, and lists, dictionaries and numpy arrays of them."""
    arrays: list[bytes] = []
    offset = 0

    def place(value: object) -> dict[str, Any]:
        nonlocal offset
        if not isinstance(value, np.ndarray) or value.dtype.str not in ARRAYS:
            raise TypeError(f"{type(value).__name__} cannot be written")
        data = value.tobytes()
        arrays.append(data)
        offset += len(data)
        return {ARRAY: [value.dtype.str, value.shape, offset - len(data)]}

    text = orjson.dumps(record, default=place)
    return b"".join((LENGTHS.pack(len(text), offset), text, *arrays))


def unpack(text: bytes, arrays: bytes) -> dict[str, Any]:
    """Return the record of the two parts of its bytes; arrays can be written into."""

    def arrange(value: Any) -> Any:
        if isinstance(value, list):
            return [arrange(each) for each in value]
        if not isinstance(value, dict):
            return value
        if ARRAY not in value:
            return {name: arrange(each) for name, each in value.items()}
        kind, shape, offset = value[ARRAY]
        count = int(np.prod(shape, dtype=np.int64))
        return np.frombuffer(arrays, kind, count, offset).reshape(shape).copy()

    record: dict[str, Any] = arrange(orjson.loads(text))
    return record


def write(path: Path, head: bytes, records: Iterator[bytes]) -> int:
    """Write packed records, as they come, in place of what is there; return how many bytes.

    They are on the disk before they take the place. Raises OSError, and leaves what is there, where that fails.
    Whoever writes a path must be its only writer.
    """
    part = path.with_name(f"{path.name}.part")
    digest, size = hashlib.sha256(head), len(head) + DIGEST
    try:
        with part.open("wb") as file:
            file.write(head)
            for record in records:
                digest.update(record)
                size += len(record)
                file.write(record)
            file.write(digest.digest())
            file.flush()
            os.fsync(file.fileno())
        part.replace(path)
    except BaseException:
        part.unlink(missing_ok=True)
        raise
    return size


def read(path: Path, head: bytes) -> Iterator[dict[str, Any]]:
    """Yield the records of a file; nothing is yielded of one that is not as it was written.

    Raises:
        OSError: it cannot be read.
        ValueError: it is of another kind or version, or changed or cut since; the message says which.
    """
    with path.open("rb") as file:
        end = _check(file, head)
        file.seek(len(head))
        while file.tell() < end:
            text, arrays = LENGTHS.unpack(file.read(LENGTHS.size))
            if max(text, arrays) > MOST_BYTES:
                raise ValueError(f"a record of {max(text, arrays)} bytes, expected at most {MOST_BYTES}")
            yield unpack(file.read(text), file.read(arrays))


def _check(file: BinaryIO, head: bytes) -> int:
    """Return where the records end; raises ValueError."""
    end = file.seek(0, os.SEEK_END) - DIGEST
    file.seek(0)
    found = file.read(len(head))
    if found != head:
        raise ValueError(f"expected it to begin with {head!r}, got {found!r}")
    if end < len(head):
        raise ValueError("it is cut off behind its beginning")
    digest = hashlib.sha256(head)
    while chunk := file.read(min(CHUNK, end - file.tell())):
        digest.update(chunk)
    if file.read() != digest.digest():
        raise ValueError("its sha256 is not the one that was written with it: it has been cut off or changed")
    return end
