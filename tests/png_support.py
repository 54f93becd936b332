"""The chunks that a PNG is made of."""

from __future__ import annotations

import struct
import zlib


def chunk(kind: bytes, data: bytes = b"") -> bytes:
    """Return a chunk of a PNG: its length, kind, data and checksum."""
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
