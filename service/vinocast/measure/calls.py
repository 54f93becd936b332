"""Calls to a module of ours in a process of its own: an array ``[method, …]`` of JSON per line in, its result out.

Both ends: :class:`MeasuringProcess` calls, :func:`answer_calls` answers.
"""

from __future__ import annotations

import json
import os
import select
import sys
from typing import Any

import orjson

from vinocast.errors import SetupError
from vinocast.measure.children import PATIENCE, Process


class MeasuringProcess(Process):
    """A module of ours in a process of its own, given its options as JSON, whose main ends in :func:`answer_calls`."""

    def __init__(self, module: str, **options: Any) -> None:
        # Unlike orjson, this takes a path that is no UTF-8.
        super().__init__("-m", module, json.dumps(options))
        self._received = bytearray()

    def describe(self) -> dict[str, Any]:
        """Return what it says of itself, once it can; raises SetupError with its reason where it cannot."""
        description: dict[str, Any] = self._read()
        return description

    def call(self, method: str, *arguments: Any) -> Any:
        """Call a method of what answers there and return its result; raises SetupError where there is none."""
        os.write(self.write_fd, json.dumps([method, *arguments]).encode() + b"\n")
        return self._read()

    def _read(self) -> Any:
        while not self._received.endswith(b"\n"):
            if not select.select([self.read_fd], [], [], PATIENCE)[0]:
                raise SetupError(f"no answer of the model for {PATIENCE:.0f} s")
            data = os.read(self.read_fd, 1 << 16)
            if not data:
                raise SetupError(f"the model cannot be measured: {self.log.strip()}")
            self._received += data
        answer = orjson.loads(self._received)
        self._received.clear()
        return answer


def answer_calls(target: object, description: object) -> None:
    """Write the description, then answer calls of methods of ``target`` until the input ends."""
    _write(description)
    for line in sys.stdin.buffer:
        method, *arguments = json.loads(line)
        _write(getattr(target, method)(*arguments))


def _write(value: object) -> None:
    sys.stdout.buffer.write(orjson.dumps(value) + b"\n")
    sys.stdout.buffer.flush()
