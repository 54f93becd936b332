"""Base64, as windows and rasters come in it."""

from __future__ import annotations

import binascii

from vinocast.errors import InvalidValueError


def decode_base64(text: str, path: str, content: str) -> bytes:
    """Return the bytes that a text holds; raises InvalidValueError for what RFC 4648 does not take.

    Args:
        text: the base64.
        path: where it stands in its request.
        content: what it is to hold, for the message.
    """
    fault: Exception | str
    if len(text) % 4 or text.endswith("==="):  # binascii takes any number of them behind what is whole
        fault = "its length is no multiple of four, or more than two = end it"
    else:
        try:
            return binascii.a2b_base64(text.encode("ascii"), strict_mode=True)
        except (binascii.Error, UnicodeEncodeError) as error:
            fault = error
    raise InvalidValueError(f"{path}: expected base64 of {content}: {fault}", path)
