"""Texts that are JSON, and texts that nearly are; what each is, the oracle says."""

from __future__ import annotations

import itertools
import json
import random
from collections.abc import Iterator
from typing import Any

from fuzz.requests_of import NASTY, tear

BOMS = [b"\xef\xbb\xbf", b"\xef\xbb\xbf" * 2, b"\xff\xfe", b"\xfe\xff", b"\0\0\xfe\xff", b"\xff\xfe\0\0"]
WORDS = [
    "true", "false", "null", "True", "NULL", "nul", "tru e", "nan", "NaN", "-NaN", "Infinity", "-Infinity", "inf",
    "undefined", "None", "TRUE", "nulll", "truefalse", "'a'", "a", "/**/1", "1//", "#1", "0x1F", "1_000", "1,5",
    "1.797693134862315708e308", "1.797693134862315808e308", "1e309", "-1e309", "1e-400", "4.9e-324", "2.4e-324",
    "9" * 308, "9" * 309, "0." + "0" * 5000 + "1", "1" + "0" * 5000, "1e" + "0" * 300 + "1", "1e99999999999999",
    "9223372036854775807", "9223372036854775808", "18446744073709551615", "18446744073709551616",
    "-9223372036854775808", "-9223372036854775809", "123456789012345678901234567890", "0.1e1", "-0", "-0.0", "-0e-0",
    "\u0661", "\uff11", "1\u00a0", "\u00a01", "\u2028 1", "\ufeff1",
]  # fmt: skip
# Bytes that are no UTF-8, or are at an edge of what is.
BYTES = [
    b"\x80", b"\xbf", b"\xc0\x80", b"\xc1\xbf", b"\xc2", b"\xc2\x80", b"\xdf\xbf", b"\xe0\x80\x80", b"\xe0\xa0\x80",
    b"\xed\x9f\xbf", b"\xed\xa0\x80", b"\xed\xbf\xbf", b"\xee\x80\x80", b"\xef\xbf\xbf", b"\xf0\x80\x80\x80",
    b"\xf0\x90\x80\x80", b"\xf4\x8f\xbf\xbf", b"\xf4\x90\x80\x80", b"\xf5\x80\x80\x80", b"\xf8\x88\x80\x80\x80",
    b"\xfe", b"\xff", b"\xe2\x82", b"\xf0\x9f\x98", b"\xed\xa0\xbd\xed\xb8\x80", b"\0", b"\x7f",
]  # fmt: skip
STRUCTURE = [
    "[", "]", "[]", "[ ]", "[1,]", "[,1]", "[1 2]", "[1,,2]", "[1", "[1]]", "[1,2", "{}", "{ }", "{,}", "{1:2}",
    '{"a"}', '{"a":}', '{"a":1,}', '{"a":1,,"b":2}', '{"a" "b"}', '{"a":1 "b":2}', "{a:1}", '{"a":1', '{"a":1}}',
    '{"a":1,"a":2}', '{"a":{"b":1},"a":[]}', '{"":0}', '{"a":1;"b":2}', "[1;2]", "[[1]", "[1}", '{"a":1]',
    "[true,false,null]", '{"\\u0061":1,"a":2}', '["a",\n"b"]', "[\t1\r,\n2 ]", "[1\f]", "[1\v]", "[1\0]", "1 2", "",
    " ", "()", "[-]", "[+1]", "[.5]", "[5.]", "[1.e1]", "[1e]", "[1e+]", "[--1]", "[01]", "[-01]", "[00]", "[1E+2]",
    "[1.0E-2]", "[0e1]", "[-1]", "[1-1]", "[2.]", "[1e1.5]", "[0x]", '["]', '["a]', '[a"]', '["\\"]', '["\\\\"]',
    '["\\/"]', '["/"]', '[""]', '["\x7f"]',
]  # fmt: skip


def values() -> Iterator[bytes]:
    """Yield what may stand in the place of a value."""
    parts = (["", "-", "+"], ["", "0", "7", "01", "10"], ["", ".", ".0", ".50"], ["", "e", "e0", "E+1", "e-02", "e1.0"])
    for number in itertools.product(*parts):
        yield "".join(number).encode()
    yield from (each.encode() for each in WORDS + STRUCTURE)
    for unit in range(0x100):
        yield b'"' + bytes([unit]) + b'"'
        yield b'"\\' + bytes([unit]) + b'"'
    for digits in ("0000", "000", "00e9", "00E9", "00g0", "d7ff", "e000", "ffff", "FFFE", "+123", "0x41", " 041"):
        yield f'"\\u{digits}"'.encode()
    halves = ["\\ud800", "\\udbff", "\\udc00", "\\udfff", "\\uD83D", "\\uDE00", "x", "\\n", "\\\\ud800", ""]
    for pair in itertools.product(halves, repeat=3):
        yield f'"{"".join(pair)}"'.encode()
    for fault in BYTES:
        yield from (b'"' + fault + b'"', b'{"' + fault + b'":1}', fault, b"[" + fault + b"1]", b'"\\' + fault + b'"')
    for depth in (1, 2, 100, 252, 253, 254, 255, 256, 500, 1021, 1022, 1023, 1024, 1025, 3000, 20000):
        yield b"[" * depth + b"]" * depth
        yield b'{"a":' * depth + b"1" + b"}" * depth
        yield b"[" * depth + b"9" * 30 + b"]" * depth
        yield b"[" * depth


def texts(seed: int, torn: int) -> Iterator[bytes]:
    """Yield requests that must be refused or answered whole: ``values`` as metadata, boms, and ``torn`` torn ones."""
    head = b'{"stream":"nobody","request_id":"it","metadata":'
    seen = list(values())
    yield from (head + value + b"}" for value in seen)
    yield from seen
    plain = b'{"stream":"nobody","request_id":7}'
    yield from (bom + plain for bom in BOMS)
    yield from (plain.decode().encode(coding) for coding in ("utf-16", "utf-16-le", "utf-16-be", "utf-32", "utf-7"))
    for space in (b" ", b"\t", b"\r", b"\f", b"\v", b"\0", b"\xc2\xa0", b"\xe2\x80\xa8", b"\x85", b","):
        yield from (space + plain, plain + space, plain.replace(b":", space + b":" + space))
    yield b'{"request_id":1,"stream":"nobody","request_id":"last","metadata":1,"metadata":2}'
    yield b'{"request_id":1,"request_id":{},"stream":"nobody"}'
    rng = random.Random(seed)
    for _ in range(torn):
        fields: dict[str, Any] = {
            "stream": "nobody",
            "request_id": rng.choice(NASTY),
            "metadata": rng.choices(NASTY, k=3),
        }
        yield tear(rng, json.dumps(fields, ensure_ascii=rng.random() < 0.5).encode("utf-8", "surrogatepass"))
