"""The repository extension of the Open Inference Protocol over HTTP: which models there are, and in which state."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import orjson
from pydantic import Field, StrictBool

from vinocast.errors import RequestError
from vinocast.protocols.base import Asked, ByteProtocol
from vinocast.protocols.json import parse_json
from vinocast.protocols.standards import StandardMessage, StandardPart

if TYPE_CHECKING:
    from collections.abc import Mapping

    from vinocast.dataplane import Op
    from vinocast.protocols.base import Outcome


class IndexRequest(StandardPart):
    """Which models are asked for."""

    ready: StrictBool = Field(default=False, description="true or false: whether those alone that answer are wanted")


class RepositoryProtocol(ByteProtocol[StandardMessage]):
    """``POST /v2/repository/index``."""

    name = "open_inference"
    needs_media_type = False
    media_types = frozenset({"application/octet-stream"})
    nothing: Mapping[str, Any] = {}

    def read(self, text: bytes) -> StandardMessage:
        """Return a request; raises as :func:`parse_json` does."""
        return StandardMessage(text, parse_json(text))

    def named(self, message: StandardMessage) -> Op:  # noqa: ARG002 - a route says it
        """Raise TypeError."""
        raise TypeError("no op: a route says which")

    def ask(self, message: StandardMessage, received: float, op: Op, *_: object) -> Asked:  # noqa: ARG002 - not needed
        """Return what is asked for; raises RequestError."""
        ready = IndexRequest.of(message.fields).ready

        def reply(outcome: Outcome) -> bytes:
            if isinstance(outcome, RequestError):
                return self.failure({}, outcome)
            if not isinstance(outcome, dict):
                raise TypeError(f"no index: {type(outcome).__name__}")
            return orjson.dumps(outcome["models"])

        return Asked(op, ready, reply, 0)

    def failure(self, echoed: Mapping[str, Any], error: RequestError) -> bytes:  # noqa: ARG002 - nothing is echoed
        """Return the reply to a request that is refused."""
        return orjson.dumps({"error": error.message})
