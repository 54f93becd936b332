"""What every protocol does with a request: read it, ask the data plane for what it says, and answer it once."""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, ClassVar, Generic, NamedTuple, Protocol, TypeAlias, TypeVar

from vinocast.errors import InternalError, RequestError
from vinocast.monitoring.ended import Ended, Origin
from vinocast.requests import Computed

if TYPE_CHECKING:
    from vinocast.dataplane import Claim, DataPlane, Op, Ticket
    from vinocast.requests import Result

# Called once per request: the reply, and the error if it is one.
Answer: TypeAlias = "Callable[[bytes, RequestError | None], None]"
Outcome: TypeAlias = "Result | Mapping[str, Any] | RequestError"


class Read(Protocol):
    """A request as a protocol has read it."""

    @property
    def text(self) -> bytes:
        """Its bytes."""

    @property
    def echoed(self) -> Mapping[str, Any]:
        """What of it each reply repeats, a refusal too."""


Message = TypeVar("Message", bound=Read)
LINES = Origin("lines")


class Framed(bytes):
    """A reply that is not JSON alone.

    Attributes:
        headers: what HTTP says of it.
    """

    headers: tuple[tuple[bytes, bytes], ...]

    @classmethod
    def of(cls, data: bytes, headers: tuple[tuple[bytes, bytes], ...]) -> Framed:
        """Return a reply of these bytes."""
        reply = cls(data)
        reply.headers = headers
        return reply


class Asked(NamedTuple):
    """What a request asks for.

    Attributes:
        op: the op.
        request: what is asked of it, typed.
        reply: makes the reply of what comes of it, and holds nothing of the request that the reply does not repeat.
        kept: the bytes of memory that it holds.
    """

    op: Op
    request: Any
    reply: Callable[[Outcome], bytes]
    kept: int


class ByteProtocol(ABC, Generic[Message]):
    """Requests and replies in bytes, between a transport and the data plane.

    Args:
        plane: what answers.

    Attributes:
        needs_media_type: whether a request over HTTP has to say what it is.
        media_types: what it may say to be, besides JSON.
        nothing: what a reply repeats of a request that could not be read.
        name: by which those who watch know it.
    """

    needs_media_type: ClassVar[bool] = True
    media_types: ClassVar[frozenset[str]] = frozenset()
    nothing: Mapping[str, Any]
    name: str

    def __init__(self, plane: DataPlane) -> None:
        self._plane = plane

    @abstractmethod
    def read(self, text: bytes) -> Message:
        """Return a request; raises RequestError where it cannot be read."""

    @abstractmethod
    def named(self, message: Message) -> Op:
        """Return the op that a request is about where its route does not say it; raises RequestError."""

    @abstractmethod
    def ask(self, message: Message, received: float, op: Op, path: Mapping[str, Any] | None, /) -> Asked:
        """Return what is asked for; raises RequestError. The arguments are those of :meth:`start`."""

    @abstractmethod
    def failure(self, echoed: Mapping[str, Any], error: RequestError) -> bytes:
        """Return the reply to a request that is refused before it is asked."""

    def start(
        self,
        message: Message,
        received: float,
        answer: Answer,
        *,
        op: Op | None = None,
        path: Mapping[str, Any] | None = None,
        patient: bool = True,
        claim: Claim | None = None,
        origin: Origin = LINES,
    ) -> Ticket | None:
        """Start on a request, which is answered now or when the lane comes to it. Whatever is wrong ends it alone.

        Args:
            message: the request.
            received: ``time.monotonic`` of its receipt.
            answer: called once with the reply.
            op: what is asked for where a route says it; else the request does.
            path: the fields that the route holds.
            patient: let the request wait while its model loads, instead of refusing it.
            claim: what the request takes of the budget already.
            origin: by which way it came.

        Returns its ticket, with which it can be let go; none where it was refused at once.
        """
        name = op.name if op else ""
        try:
            op = op or self.named(message)
            name = op.name
            op, request, reply, kept = self.ask(message, received, op, path)
        except RequestError as error:
            self.refuse(message.echoed, error, answer, received, origin, name)
        except Exception as error:  # noqa: BLE001 - one request must not end the service
            self.refuse(message.echoed, InternalError.logged(error), answer, received, origin, name)
        else:
            request_id = message.echoed.get("request_id")

            def done(outcome: Outcome) -> None:
                error = outcome if isinstance(outcome, RequestError) else None
                answer(reply(outcome), error)
                ended = Ended(origin, name, request_id, error, time.monotonic() - received)
                if isinstance(outcome, Computed):
                    ended.model = outcome.model
                    ended.inference_seconds, ended.queue_seconds = outcome.inference_seconds, outcome.queue_seconds
                self._plane.tell(ended)

            return self._plane.submit(op, request, done, patient=patient, claim=claim, kept=kept)
        return None

    def refuse(
        self,
        echoed: Mapping[str, Any],
        error: RequestError,
        answer: Answer,
        received: float,
        origin: Origin = LINES,
        op: str = "",
    ) -> None:
        """Answer a request with an error that the data plane has not seen, and count it."""
        self._plane.count_refusal(error)
        answer(self.failure(echoed, error), error.without_frames())
        self._plane.tell(Ended(origin, op, echoed.get("request_id"), error, time.monotonic() - received))
