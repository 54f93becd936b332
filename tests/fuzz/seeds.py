"""Right inputs for each decoder, from which wrong ones are made."""

from __future__ import annotations

import base64
import random

import numpy as np
import orjson
from fuzz.requests_of import good, text_of
from support import MODELS, ROOT

WINDOW = b"[[1.5,-2],[3e2,4],[0,-0.0]]"
WINDOW_BASE64 = base64.b64encode(np.arange(6, dtype="<f4").tobytes())


def seeds(name: str) -> list[bytes]:
    """Return right inputs of a decoder."""
    rng = random.Random(4)
    rasters = [path.read_bytes() for path in sorted((ROOT / "examples" / "rasters").glob("*.png"))[:6]]
    manifests = sorted(MODELS.glob("*/manifest.json"))
    request = (
        b"POST /forecast HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n{}"
    )
    found: dict[str, list[bytes]] = {
        "lines": [b"a\nbc\r\n\xef\xbb\xbf\n" + b"x" * 63 + b"\r\n" + b"y" * 70 + b"\n"],
        "message": [text_of(rng, good(rng, number).fields) for number in range(30)],
        "window": [WINDOW, b"[[1,2],[3,4],[5,null]]", b"[[true,2],[3,4],[5,1e39]]"],
        "grid": [b"[[0,1],[1023,5]]", b"[[0,1.0],[true,5]]"],
        "window_base64": [WINDOW_BASE64, WINDOW_BASE64 + b"===="],
        "raster_base64": [base64.b64encode(each) for each in rasters[:2]],
        "png": rasters,
        "manifest": [path.read_bytes() for path in manifests] + [orjson.dumps({"kind": "glyphs"})],
        "head": [
            request,
            request.replace(b"Content-Length: 2", b"Transfer-Encoding: chunked"),
            b"GET / HTTP/1.0\r\n\r\n",
        ],
        "chunks": [b"5\r\nhello\r\n0\r\n\r\n", b"1;a=b\r\nx\r\nA\r\n0123456789\r\n0\r\nX: y\r\n\r\n"],
    }
    return found[name]
