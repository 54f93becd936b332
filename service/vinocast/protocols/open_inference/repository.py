"""The repository extension of the Open Inference Protocol over HTTP: which models there are, to load and to unload."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import orjson
from pydantic import Field, InstanceOf, StrictBool

from vinocast.errors import RequestError
from vinocast.protocols.base import Asked, ByteProtocol
from vinocast.protocols.json import parse_json
from vinocast.protocols.standards import StandardMessage, StandardPart

if TYPE_CHECKING:
    from collections.abc import Mapping

    from vinocast.dataplane import DataPlane, Op
    from vinocast.protocols.base import Outcome


class IndexRequest(StandardPart):
    """Which models are asked for."""

    ready: StrictBool = Field(default=False, description="true or false: whether those alone that answer are wanted")


class LoadParameters(StandardPart):
    """Nothing: what a model is, its folder says."""


class UnloadParameters(StandardPart):
    """What clients say beside the name of a model to unload."""

    unload_dependents: StrictBool = Field(default=False, description="true or false; has no effect: no model has any")


class ModelRequest(StandardPart):
    """A model to be loaded or unloaded, which the path names."""

    parameters: InstanceOf[dict] | None = Field(default=None, description="an object")  # type: ignore[type-arg]


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


class ModelProtocol(RepositoryProtocol):
    """``POST /v2/repository/models/{model}/load``, and ``…/unload``.

    Args:
        plane: what answers.
        parameters: what may be said beside the name.
    """

    def __init__(self, plane: DataPlane, parameters: type[StandardPart]) -> None:
        super().__init__(plane)
        self._parameters = parameters

    def ask(
        self,
        message: StandardMessage,
        received: float,  # noqa: ARG002 - not needed
        op: Op,
        path: Mapping[str, str] | None,
        /,
    ) -> Asked:
        """Return what is asked for; raises RequestError."""
        self._parameters.of(ModelRequest.of(message.fields).parameters or {}, "parameters")

        def reply(outcome: Outcome) -> bytes:
            return self.failure({}, outcome) if isinstance(outcome, RequestError) else b"{}"

        return Asked(op, (path or {}).get("model", ""), reply, 0)
