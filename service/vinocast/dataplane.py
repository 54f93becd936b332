"""The one door to inference, for every protocol: typed requests in, typed results or errors out."""

from __future__ import annotations

import logging
import time
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

from vinocast.data.bundled import bundled_models
from vinocast.engine.budget import BYTES_A_REQUEST, Budget, Claim
from vinocast.engine.changes import Reload, Unload
from vinocast.engine.cpu import cpu_budget
from vinocast.engine.in_order import InOrder
from vinocast.engine.lane import Lane
from vinocast.engine.lifecycle import SERVICE_STEPS, Lifecycle, ModelState, ServiceState
from vinocast.engine.loader import Loader
from vinocast.engine.repository import Repository
from vinocast.engine.statistics import Statistics
from vinocast.engine.ticket import PushTicket, Ticket
from vinocast.engine.tuned import find_profile
from vinocast.errors import InternalError, RequestError, ShuttingDownError
from vinocast.extras import install_line
from vinocast.forecast.bands import Tally
from vinocast.forecast.kind import FORECASTER
from vinocast.forecast.manifest import ForecasterManifest
from vinocast.forecast.streams import NoStreams, Streams
from vinocast.kinds import KINDS
from vinocast.market.feed import Market
from vinocast.markets import Pushed
from vinocast.monitoring.request_log import RequestLog
from vinocast.settings import REQUEST_BYTES, WAITING_BYTES
from vinocast.state import State

if TYPE_CHECKING:
    from vinocast.engine.kinds import AnyServedModel
    from vinocast.engine.ticket import Done
    from vinocast.forecast.followed import Followed
    from vinocast.forecast.kind import ServedForecaster
    from vinocast.monitoring.ended import Ended, Watch
    from vinocast.monitoring.spans import Spans
    from vinocast.requests import Result
    from vinocast.settings import Settings
    from vinocast.state import Keeper

__all__ = ["Claim", "DataPlane", "Op", "Reload", "Route", "Ticket"]
# A tuple: to look into a set takes the hash of an enum, which is Python's own code.
ACCEPTING = (ServiceState.STARTING, ServiceState.READY)
# How long the last spans may take to be exported when the service ends.
SPANS_SECONDS = 1.0
# Forecasts of bars, of all streams, that wait for one of a bar before: more are pushed as they come.
MOST_HELD = 4096
log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Route:
    """Where an op is found over HTTP.

    Attributes:
        method: of HTTP.
        path: what stands in braces is a field of the request.
        summary: a few words for the reference.
        may_lack_body: whether a request without a body is one without fields.
        query: the fields that stand behind the path, integers all.
        named: an example of the fields in the path.
    """

    method: str
    path: str
    summary: str
    may_lack_body: bool = False
    query: tuple[str, ...] = ()
    named: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Op:
    """Something that can be asked of the service.

    Attributes:
        name: as requests have it.
        request: what a request in JSON holds, a schema whose ``ask`` makes the typed request.
        reply: what a reply with success holds in JSON.
        handler: answers a typed request by its ticket: before it returns, or from the lane.
        waits: whether the answer may come from the lane; such an op is refused when the service ends.
        computes: whether a model computes the answer, so that its times are kept.
        kind: of the models that it is about, if it is about models.
        keeps: whether it is about streams, which several workers cannot share.
        route: where it is found over HTTP, if it is.
        example: returns the fields of a request that a service answers with success whose default model has this
            context and these channels.
    """

    name: str
    request: type[Any]
    reply: type[Any]
    handler: Callable[[DataPlane, Any, Ticket], None]
    waits: bool = False
    computes: bool = False
    kind: str | None = None
    keeps: bool = False
    route: Route | None = None
    example: Callable[[int, Sequence[str]], dict[str, Any]] | None = None


class DataPlane:
    """Models, lane and statistics of one service. Everything but :meth:`start` is for the transport's one thread.

    Args:
        settings: of the service.
        ops: what can be asked of it.
        keeps_streams: whether rows can be appended to streams, which several workers cannot share.

    Attributes:
        budget: the bytes of all that waits.
        lane: what waits; the transport steps it.
        lifecycle: how far the service has come.
        loader: what loads the models.
        repository: the models.
        state: the folder in which streams outlast the service, if there is one.
        streams: the windows that it keeps.
        market: the market streams that it keeps; None where it keeps none.
        default_named: whether a model was named that is to answer everything.
        followed: the outcomes of forecasts of market streams, by their names.
        tallies: how many outcomes of forecasts of streams lay in their bands, by the names of models.
        stream_residuals: how many of each step and channel are kept.
        push: what takes the forecasts of bars that have closed; the transport's.
        max_request_bytes: the longest request that the transport is to take in.
        queue_rows: the most rows that may wait.
        max_missing_share: of a series' points that may be filled where that is asked for.
        watches: who is told of each request that has ended.
        clients_left: clients over HTTP that have left before their answer was there.
    """

    def __init__(self, settings: Settings, ops: dict[str, Op], *, keeps_streams: bool = True) -> None:
        self.profile = find_profile(settings.profile)
        self.repository = Repository(settings.models or bundled_models(), settings.default_model, KINDS)
        self.loader = Loader(self.repository)
        self.streams = (
            Streams(
                settings.max_streams,
                settings.stream_idle_seconds,
                settings.max_steps_ahead,
                residuals=settings.stream_residuals,
            )
            if keeps_streams
            else NoStreams()
        )
        self.market = (
            Market(settings.bars, settings.products or None, settings.max_streams, settings.max_steps_ahead)
            if keeps_streams
            else None
        )
        # Only looked for: it is imported with the first forecast of a market.
        if self.market is not None and find_spec("talib") is None:
            log.warning(
                "TA-Lib is not installed: market streams have bars, but their forecasts are refused as not_found; "
                "install it and start again: %s",
                install_line(),
            )
        # Not refused: messages of one's own may name products in any way.
        lower = [each for each in settings.products if each.upper() not in settings.products]
        if self.market is not None and lower:
            log.warning(
                "--products %s: Coinbase's own products are in upper case, so that messages of %s will be ignored",
                ",".join(lower),
                ",".join(each.upper() for each in lower),
            )
        self.state: State | None = None
        if settings.state is not None and self.market is not None:
            keepers: dict[str, Keeper] = {"streams": self.streams, "market": self.market}
            self.state = State(settings.state, settings.state_seconds, keepers)
        self.default_named = settings.default_model is not None
        self.followed: dict[str, Followed] = {}
        self.tallies: defaultdict[str, Tally] = defaultdict(Tally)
        self.stream_residuals = settings.stream_residuals
        self.push: Callable[[Pushed], None] = lambda _: None
        self._pushes = InOrder(self._push, MOST_HELD)
        self.lane = Lane(settings.queue_rows)
        self.lifecycle = Lifecycle(ServiceState.STARTING, SERVICE_STEPS)
        self.max_request_bytes = _longest_request(settings.max_request_bytes, self.repository.widest)
        self.budget = Budget(settings.max_waiting_bytes or max(WAITING_BYTES, 8 * self.max_request_bytes))
        self.queue_rows = settings.queue_rows
        self.max_missing_share = settings.max_missing_share
        self.clients_left = 0
        self.watches: list[Watch] = [RequestLog(settings.slow_seconds)]
        self._spans: Spans | None = None
        if settings.otel:
            # It takes 20 MB and a thread, and few ask for it.
            from vinocast.monitoring.spans import Spans  # noqa: PLC0415

            self._spans = Spans()
            self.watches.append(self._spans)
        self.statistics = Statistics(op.name for op in ops.values() if op.computes)
        self._strict_profile = settings.strict_profile

    def start(self, wake: Callable[[], object], *, on_demand: bool = False) -> None:
        """Load the models in the background; ``wake`` is called from that thread whenever one has settled.

        With ``on_demand`` a model of some kinds is loaded for the first request that asks for it.
        """
        self._wake = wake

        def settled(model: AnyServedModel) -> None:
            if model.name == self.repository.default and model.engine is not None:
                self.lifecycle.become(ServiceState.READY)
            wake()

        self.loader.load(self.profile, cpu_budget(), settled, strict=self._strict_profile, on_demand=on_demand)

    def reload(self, name: str | None = None) -> Reload:
        """Have the folder of models looked at again, beside those that serve: what has changed in it is loaded.

        What waits for an old one is computed by it, and what comes after by the new one. Where the new one fails the
        old one stays, degraded, and says why. A version whose folder is gone is let go where another one answers; what
        the folder has no longer otherwise stays as well.

        Args:
            name: of the only model that is looked at; None for all but those that are unloaded.

        Returns what comes of it, which is complete once it is done.
        """
        reload = Reload(self.repository, name)
        self.loader.change(reload, self._wake)
        return reload

    def unload(self, name: str) -> Unload:
        """Have a model be served no longer: what waits for it is computed, and its memory given back."""
        unload = Unload(self.repository, name)
        self.loader.change(unload, self._wake)
        return unload

    def close(self) -> None:
        """Refuse new work and load no more models; what the lane holds is still to be stepped through."""
        self.lifecycle.become(ServiceState.DRAINING)
        self.loader.close()

    def give_up_loading(self) -> None:
        """Have what waits for a model that still loads be refused, as the time to end has come."""
        self.close()
        for model in self.repository.models:
            model.give_up()

    def keep_state(self) -> bool:
        """Have the lane keep the streams for the next service, if it is time to; return whether it is."""
        snapshot = None if self.state is None else self.state.due(time.monotonic())
        if snapshot is not None:
            self.lane.submit_long(snapshot)
        return snapshot is not None

    def stop(self, seconds: float = SPANS_SECONDS) -> None:
        """Say that what was accepted is answered, or given up: nothing is answered any more.

        Waits so long, and no longer than usual, for the last spans to be taken.
        """
        self.close()
        if self._spans is not None:
            self._spans.close(min(seconds, SPANS_SECONDS))
            self._spans = None
        if self.state is not None:
            self.state.close()
        self.lifecycle.become(ServiceState.STOPPED)

    @property
    def default_model(self) -> ServedForecaster:
        """The model that answers when a request names none."""
        return self.repository.find(FORECASTER, None)

    @property
    def general_model(self) -> ServedForecaster:
        """The model that answers when a request names none and brings columns of its own, or series."""
        return self.repository.find(FORECASTER, None, general=True)

    @property
    def forecasters(self) -> list[str]:
        """The names of the forecasters that are served and forecast single series."""
        return [model.name for model in self.repository.answering_of(FORECASTER) if model.manifest.layout == "series"]

    @property
    def window_shape(self) -> tuple[int, Sequence[str]]:
        """The context of the default model, and the names of its channels."""
        manifest = self.default_model.manifest
        return manifest.context, manifest.channels

    @property
    def ready(self) -> bool:
        """Whether the default model has passed its self-test and new work is accepted."""
        return self.lifecycle.state is ServiceState.READY

    @property
    def settled(self) -> bool:
        """Whether the default model has loaded or been refused, and :attr:`ready` knows it.

        The thread that loads says first the one and then the other.
        """
        model = self.default_model
        return model.settled and (model.refused is not None or self.lifecycle.state is not ServiceState.STARTING)

    @property
    def warm(self) -> bool:
        """Whether the service is ready, and neither the general model nor one of another kind is still loading."""
        lead, general = self.default_model.kind, self.repository.general
        others = (model for model in self.repository.answering if model.kind is not lead or model.name == general)
        return self.ready and all(model.settled for model in others)

    def states(self) -> dict[str, str]:
        """Return the states of the models by NAME, or by NAME/VERSION."""
        refused = dict.fromkeys(self.repository.refused, ModelState.REFUSED.value)
        return refused | {model.label: model.lifecycle.state.value for model in self.repository.models}

    @property
    def kept_streams(self) -> int:
        """How many streams are kept, those of rows and those of a market."""
        return len(self.streams) + (0 if self.market is None else len(self.market.streams))

    def coverage(self) -> dict[str, tuple[int, int]]:
        """Return how many outcomes of streams were judged and lay in their bands, by NAME, or by NAME/VERSION."""
        names = (model.label for model in self.repository.models if isinstance(model.manifest, ForecasterManifest))
        return {name: (self.tallies[name].judged, self.tallies[name].within) for name in names}

    def serves(self, op: Op) -> bool:
        """Whether requests of an op can succeed here: there is a model for it, and what it keeps is kept."""
        if op.keeps and self.market is None:
            return False
        return op.kind is None or any(
            model.kind.name == op.kind and model.refused is None for model in self.repository.models
        )

    def submit(
        self, op: Op, request: Any, done: Done, *, patient: bool = True, claim: Claim | None = None, kept: int = 0
    ) -> Ticket:
        """Start on a typed request. ``done`` is called once, now or when the lane has come to it.

        With ``patient`` the request waits while its model loads, instead of being refused. ``claim`` is what it takes
        of the budget already, ``kept`` the bytes that wait for its reply, whatever is asked.
        """
        ticket = Ticket(op.name, done, self.statistics, claim or Claim(self.budget), patient=patient)
        try:
            if op.waits:
                if self.lifecycle.state not in ACCEPTING:
                    raise ShuttingDownError("the service is shutting down")
                ticket.claim.hold(BYTES_A_REQUEST + kept)
            op.handler(self, request, ticket)
        except Exception as error:  # noqa: BLE001 - one request must not end the service
            ticket.fail(error)
        return ticket

    def push_ticket(self, stream: str, newest_ms: int | None, *, in_base64: bool = False) -> Ticket:
        """Return the ticket of a forecast that is to be pushed, of a stream and the start of its newest bar.

        Those of a stream are pushed in the order of their tickets.
        """
        come = self._pushes.begin(stream)

        def done(outcome: Result | Mapping[str, Any] | RequestError) -> None:
            come(Pushed(stream, newest_ms, outcome, in_base64))

        return PushTicket("forecast", done, self.statistics, Claim(self.budget))

    def _push(self, pushed: Pushed) -> None:
        """Push a forecast, or an error of ours where the protocol cannot write it."""
        try:
            self.push(pushed)
        except Exception as error:  # noqa: BLE001 - one push must not end the service
            self.push(pushed._replace(outcome=InternalError.logged(error)))

    def let_go(self, ticket: Ticket) -> None:
        """Do no more for a request, and keep nothing of it: nobody waits for the answer."""
        self.lane.drop(ticket)
        ticket.claim.release()

    def count_refusal(self, error: RequestError) -> None:
        """Count a request that a protocol has refused before it came here."""
        self.statistics.failure(error.code)

    def tell(self, ended: Ended) -> None:
        """Tell of a request that has ended those who watch; what goes wrong there is no fault of the request."""
        for watch in self.watches:
            try:
                watch(ended)
            except Exception:
                log.exception("a request that has ended could not be told of")


def _longest_request(wanted: int | None, widest: AnyServedModel) -> int:
    """Return the limit of a request's bytes: what was asked for, else the default or what the widest model needs."""
    needed = widest.manifest.request_bytes
    if wanted is None and needed > REQUEST_BYTES:
        log.info("requests may have up to %d bytes, which a window of %s may take as JSON", needed, widest.name)
    elif wanted is not None and needed > wanted:
        log.warning(
            "--max-request-bytes %d may be too few: a window of %s takes up to %d as JSON", wanted, widest.name, needed
        )
    return wanted or max(REQUEST_BYTES, needed)
