"""Base64, as windows and rasters come in it, and forecasts go where that is asked for."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pybase64

from vinocast.errors import InvalidValueError

if TYPE_CHECKING:
    from numpy.typing import NDArray


def decode_base64(text: str, path: str, content: str) -> bytes:
    """Return the bytes that a text holds; raises InvalidValueError for what RFC 4648 does not take.

    Args:
        text: the base64.
        path: where it stands in its request.
        content: what it is to hold, for the message.
    """
    try:
        # binascii's strict mode says the same in 40 times as long.
        return pybase64.b64decode(text, validate=True)
    except ValueError as error:
        raise InvalidValueError(f"{path}: expected base64 of {content}: {error}", path) from None


def encode_floats(values: NDArray[Any]) -> str:
    """Return the base64 of numbers of any shape as little-endian float32, the last axis fastest."""
    return pybase64.b64encode_as_string(values.astype("<f4", order="C", copy=False).data)
