"""The repository extension of the Open Inference Protocol over HTTP: which models there are, and in which state."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import orjson
from pydantic import Field, InstanceOf, StrictBool

from vinocast.errors import InvalidRequestError, RequestError, shorten
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


class LoadRequest(StandardPart):
    """A model to be served as its folder has it now."""

    parameters: InstanceOf[dict] | None = Field(  # type: ignore[type-arg]  # of which there are none
        default=None, description="an object without fields: what a model is, its folder says"
    )


class RepositoryProtocol(ByteProtocol[StandardMessage]):
    """What the routes of the repository share."""

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

    def failure(self, echoed: Mapping[str, Any], error: RequestError) -> bytes:  # noqa: ARG002 - nothing is echoed
        """Return the reply to a request that is refused."""
        return orjson.dumps({"error": error.message})


class IndexProtocol(RepositoryProtocol):
    """``POST /v2/repository/index``."""

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


class LoadProtocol(RepositoryProtocol):
    """``POST /v2/repository/models/{model}/load``."""

    def ask(
        self,
        message: StandardMessage,
        received: float,  # noqa: ARG002 - not needed
        op: Op,
        path: Mapping[str, str] | None,
        /,
    ) -> Asked:
        """Return what is asked for; raises RequestError."""
        if given := LoadRequest.of(message.fields).parameters:
            name = f"parameters.{shorten(next(iter(given)))}"
            raise InvalidRequestError(f"{name}: expected no field: what a model is, its folder says", name)

        def reply(outcome: Outcome) -> bytes:
            return self.failure({}, outcome) if isinstance(outcome, RequestError) else b"{}"

        return Asked(op, (path or {}).get("model", ""), reply, 0)
