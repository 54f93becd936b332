"""Cutting a byte stream into lines of bounded length."""

from __future__ import annotations

from codecs import BOM_UTF8

from vinocast.errors import LineTooLongError


class LineSplitter:
    """Cuts what is fed to it at newlines; a line over the limit becomes one error and is skipped to its end.

    Keeps at most ``max_bytes`` of an unfinished line between two feeds, however long that line gets.
    """

    def __init__(self, max_bytes: int) -> None:
        self._max_bytes = max_bytes
        self._rest = bytearray()
        self._skipping = False

    def feed(self, data: bytes) -> list[bytes | LineTooLongError]:
        """Return the lines that ``data`` completes, without their ends, blank ones left out."""
        lines: list[bytes | LineTooLongError] = []
        start = 0
        # Not split(), which looks at every byte: find() of one byte is a memchr.
        while (end := data.find(b"\n", start)) >= 0:
            if not self._rest and not self._skipping and end - start <= self._max_bytes:
                _add(data[start:end], lines)
            else:
                self._append(data[start:end], lines)
                if self._skipping:
                    self._skipping = False
                else:
                    self._end(lines)
            start = end + 1
        self._append(data[start:], lines)
        return lines

    def finish(self) -> list[bytes | LineTooLongError]:
        """Return the last line, which the end of input ends."""
        lines: list[bytes | LineTooLongError] = []
        if not self._skipping:
            self._end(lines)
        return lines

    def _append(self, part: bytes, lines: list[bytes | LineTooLongError]) -> None:
        if self._skipping:
            return
        self._rest += part
        # A carriage return that ends the line is no part of it, so it may stand one byte beyond the limit.
        if len(self._rest) > self._max_bytes + self._rest.endswith(b"\r"):
            self._rest.clear()
            self._skipping = True
            lines.append(LineTooLongError(f"expected a line of at most {self._max_bytes} bytes"))

    def _end(self, lines: list[bytes | LineTooLongError]) -> None:
        _add(bytes(self._rest), lines)
        self._rest.clear()


def _add(line: bytes, lines: list[bytes | LineTooLongError]) -> None:
    """Add a line without its carriage return, unless it is a blank one."""
    line = line.removesuffix(b"\r")
    if line.startswith(b"{") or line.removeprefix(BOM_UTF8).strip():
        lines.append(line)
