"""Every error a user can meet, in one tree.

VinocastError
├── SetupError                  the program cannot start or a command cannot do its work (exit code 1)
│   └── ModelRefusedError       a model folder that is damaged, incomplete or fails its self-test
├── RasterError                 one raster cannot be read; who asked for it knows its name and goes on without it
│   └── RasterSizeError         a PNG of another size
├── ServiceUnreachableError     a client has no answer: the service was not reached, is gone, or took too long
└── RequestError                one request is refused; both transports read code, status and retryable here
    ├── InvalidJsonError        invalid_json          400
    ├── InvalidRequestError     invalid_request       422
    ├── InvalidShapeError       invalid_shape         422
    ├── InvalidValueError       invalid_value         422
    ├── UnknownOpError          unknown_op            422
    ├── UnknownTargetError      unknown_target        422
    ├── UnknownModelError       unknown_model         404
    ├── UnknownStreamError      unknown_stream        404
    ├── NotFoundError           not_found             404
    ├── UnauthorizedError       unauthorized          401
    ├── ForbiddenError          forbidden             403
    ├── MisdirectedError        misdirected           421
    ├── MethodNotAllowedError   method_not_allowed    405
    ├── NotEnoughHistoryError   not_enough_history    409
    ├── StaleTimestampError     stale_timestamp       409
    ├── TimestampAheadError     timestamp_ahead       409
    ├── PayloadTooLargeError    payload_too_large     413
    ├── LineTooLongError        line_too_long         413
    ├── UnsupportedMediaError   unsupported_media_type 415
    ├── OverloadedError         overloaded            429  retryable
    ├── NotReadyError           not_ready             503  retryable
    ├── ShuttingDownError       shutting_down         503  retryable
    ├── DeadlineExceededError   deadline_exceeded     504
    └── InternalError           internal              500
"""

from __future__ import annotations

import logging
import os
import uuid
from typing import TYPE_CHECKING, Any, ClassVar, Self

if TYPE_CHECKING:
    from collections.abc import Mapping

# Of an error's message and of the path in it: more would be what a client sent, or a file holds.
MOST_MESSAGE, MOST_FIELD = 2000, 200

log = logging.getLogger(__name__)

# Of a model that is refused for what nobody has foreseen: what the cause says may name anything of this machine.
UNTOLD = "it cannot be loaded; the log of the service says why"


class VinocastError(Exception):
    """Base of every error this package raises on purpose."""


class SetupError(VinocastError):
    """The program or a command cannot do what was asked; the message names the mend.

    It is text that can be stored and sent, whatever the bytes of a path in it are.
    """

    def __str__(self) -> str:
        return as_text(super().__str__())


class ModelRefusedError(SetupError):
    """A model folder that must not be served: a wrong hash, a missing file, golden vectors that do not come out.

    The message is one line, whatever a manifest or the name of a file holds: no line of a log can be forged by it.

    Attributes:
        reason: the same for whoever asks over a network: without the paths of this machine, and without hashes.
    """

    def __init__(self, message: str, reason: str = UNTOLD) -> None:
        super().__init__(shown(message))
        self.reason = shown(reason)


class RasterError(VinocastError):
    """Bytes that are no PNG of 128x128 pixels; the message does not name the raster."""


class RasterSizeError(RasterError):
    """A PNG of another size than 128x128 pixels."""


class ServiceUnreachableError(VinocastError):
    """A client has no answer: the service was not reached, is gone, took too long, or does not speak this protocol.

    Attributes:
        unsent: whether it is certain that the service has not taken the request.
    """

    def __init__(self, message: str, *, unsent: bool = False) -> None:
        super().__init__(printable(message[:MOST_MESSAGE]))
        self.unsent = unsent


class RequestError(VinocastError):
    """One request is refused. Its message is one printable line of bounded length, whatever a client sent.

    Attributes:
        message: what was expected and what was got.
        field: the path of the fault, such as ``past_values[3][0]``.
        retry_after: seconds until the same request may succeed, where it is retryable.
    """

    code: ClassVar[str]
    status: ClassVar[int]
    retryable: ClassVar[bool] = False
    retry_after: int = 1

    def __init__(self, message: str, field: str | None = None) -> None:
        self.message = printable(message[:MOST_MESSAGE])
        self.field = None if field is None else printable(field[:MOST_FIELD])
        super().__init__(self.message)

    def without_frames(self) -> Self:
        """Return the error without the frames that it has come through: they hold the request, and it waits for both.

        Nothing else would free them but a search for garbage, which a service that allocates little seldom makes.
        """
        self.__traceback__ = self.__context__ = self.__cause__ = None
        return self

    def body(self) -> dict[str, str | bool | None]:
        """Return the ``error`` object that both transports send."""
        return {"code": self.code, "message": self.message, "field": self.field, "retryable": self.retryable}


class InvalidJsonError(RequestError):
    """Not JSON by RFC 8259, or nested beyond the parser's limit, or not UTF-8."""

    code, status = "invalid_json", 400


class InvalidRequestError(RequestError):
    """JSON, but not the object that was expected."""

    code, status = "invalid_request", 422


class InvalidShapeError(RequestError):
    """Rows or channels are not as the model has them."""

    code, status = "invalid_shape", 422


class InvalidValueError(RequestError):
    """An element that is no finite float32 number, or bytes that do not decode."""

    code, status = "invalid_value", 422


class UnknownOpError(RequestError):
    """A line whose ``op`` this service does not have."""

    code, status = "unknown_op", 422


class UnknownTargetError(RequestError):
    """A target that is neither a channel's name nor its index."""

    code, status = "unknown_target", 422


class UnknownModelError(RequestError):
    """No model of that name is served: there is none, or it was refused at the start."""

    code, status = "unknown_model", 404


class UnknownStreamError(RequestError):
    """No stream of that name has been observed, or it was dropped for idleness."""

    code, status = "unknown_stream", 404


class NotFoundError(RequestError):
    """No such route, or what is asked for is not to be had from this service, as it was started or installed."""

    code, status = "not_found", 404


class UnauthorizedError(RequestError):
    """The request carries another token than the service's, or none."""

    code, status = "unauthorized", 401


class ForbiddenError(RequestError):
    """The request was sent by a web page that is not the service's own, nor of an origin that was given."""

    code, status = "forbidden", 403


class MisdirectedError(RequestError):
    """The request was meant for a host that the service is not."""

    code, status = "misdirected", 421


class MethodNotAllowedError(RequestError):
    """The route exists, not with this method."""

    code, status = "method_not_allowed", 405


class NotEnoughHistoryError(RequestError):
    """A stream with fewer rows than the model's context."""

    code, status = "not_enough_history", 409


class StaleTimestampError(RequestError):
    """A row older than the stream's newest."""

    code, status = "stale_timestamp", 409


class TimestampAheadError(RequestError):
    """A row further ahead of the stream's newest than the bound."""

    code, status = "timestamp_ahead", 409


class PayloadTooLargeError(RequestError):
    """A body, a raster or a number of things over its limit, or a request whose answer would be too long."""

    code, status = "payload_too_large", 413


class LineTooLongError(RequestError):
    """A line over the limit."""

    code, status = "line_too_long", 413


class UnsupportedMediaError(RequestError):
    """A body that is not declared as JSON, or is compressed."""

    code, status = "unsupported_media_type", 415


class OverloadedError(RequestError):
    """The queue is full, in rows or in bytes, or the table of streams, or too many connections are open.

    ``retry_after`` says when there may be room.
    """

    code, status, retryable = "overloaded", 429, True

    def __init__(self, message: str, field: str | None = None, *, retry_after: int = 1) -> None:
        super().__init__(message, field)
        self.retry_after = retry_after


class NotReadyError(RequestError):
    """The model is still loading."""

    code, status, retryable = "not_ready", 503, True


class ShuttingDownError(RequestError):
    """The service has stopped accepting work."""

    code, status, retryable = "shutting_down", 503, True


class DeadlineExceededError(RequestError):
    """The request's ``deadline_ms`` had passed before its turn came, or its body comes too slowly."""

    code, status = "deadline_exceeded", 504


class InternalError(RequestError):
    """A fault of the service; the message carries the id under which the log explains it."""

    code, status = "internal", 500

    @classmethod
    def logged(cls, cause: BaseException) -> InternalError:
        """Log a cause with its traceback under a new id, and return the error that names the id."""
        incident = uuid.uuid4().hex[:12]
        log.error("internal error %s", incident, exc_info=cause)
        return cls(f"an internal error; the log explains it under {incident}")


def from_body(body: Mapping[str, Any], retry_after: int = 0) -> RequestError:
    """Return the error that an ``error`` object of a reply was made of; of an unknown code an InternalError.

    ``retry_after`` is what the service said beside it; 0 for nothing.
    """
    code, message = str(body.get("code")), str(body.get("message"))
    field = body.get("field") if isinstance(body.get("field"), str) else None
    kinds = {kind.code: kind for kind in RequestError.__subclasses__()}
    error = kinds[code](message, field) if code in kinds else InternalError(f"{code}: {message}", field)
    error.retry_after = retry_after
    return error


def shorten(text: str) -> str:
    """Return a text, cut where it is too long for an error message."""
    return text if len(text) <= 80 else f"{text[:79]}…"


def quote(value: object) -> str:
    """Return what a client sent, short enough for an error message."""
    if isinstance(value, list | dict):  # of which repr would write every element
        return describe(value)
    return shorten(repr(value[:80] if isinstance(value, str) else value))


def describe(value: object) -> str:
    """Return a JSON value as its author would name it, short enough for an error message."""
    match value:
        case None:
            return "null"
        case bool():
            return "true" if value else "false"
        case list():
            return f"an array of {len(value)}"
        case dict():
            return "an object"
        case _:
            return quote(value)


def shown(path: str | os.PathLike[str]) -> str:
    """Return a path as printable text in one line, that can be stored and sent, whatever its bytes are."""
    return printable(as_text(os.fspath(path)))


def printable(text: str) -> str:
    """Return a text in one line, in which what is not printable is written as an escape."""
    if text.isprintable():
        return text
    return "".join(each if each.isprintable() else each.encode("unicode_escape").decode() for each in text)


def in_one_line(error: BaseException) -> str:
    """Return what an error says, in one line; its name where it says nothing."""
    return " ".join(str(error).split()) or type(error).__name__


def as_text(text: str) -> str:
    """Return a text as it is, but for bytes of a path in it that are no UTF-8: these are written as numbers."""
    # Not os.fsencode: in a locale of another encoding than UTF-8 it takes no text but that of a path.
    return text.encode(errors="surrogateescape").decode(errors="backslashreplace")
