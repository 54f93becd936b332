"""Vinocast: time-series forecasts and glyph recognition on server CPUs with OpenVINO.

    import vinocast
    model = vinocast.load("patchtst-etth1")          # in this process
    with vinocast.spawn() as service: ...            # in a process of its own, over lines
    service = vinocast.connect("http://127.0.0.1:8000")
    forecast = model.forecast(window)                # [512, 7] -> [96, 7]; all three have the same face

What stands in ``__all__`` is the public interface; everything else may change from one version to the next.
"""

from __future__ import annotations

import importlib
import sys
from typing import TYPE_CHECKING, Any

from vinocast.errors import (
    DeadlineExceededError,
    ForbiddenError,
    InternalError,
    InvalidJsonError,
    InvalidRequestError,
    InvalidShapeError,
    InvalidValueError,
    LineTooLongError,
    MethodNotAllowedError,
    MisdirectedError,
    ModelRefusedError,
    NotEnoughHistoryError,
    NotFoundError,
    NotReadyError,
    OverloadedError,
    PayloadTooLargeError,
    RequestError,
    ServiceUnreachableError,
    SetupError,
    ShuttingDownError,
    StaleTimestampError,
    TimestampAheadError,
    UnauthorizedError,
    UnknownModelError,
    UnknownOpError,
    UnknownStreamError,
    UnknownTargetError,
    UnsupportedMediaError,
    VinocastError,
)

if TYPE_CHECKING:
    from vinocast.client.market import Event, OnBarTerms
    from vinocast.client.over_http import AsyncClient, Client, connect, connect_async
    from vinocast.client.over_lines import Child, spawn
    from vinocast.data.given import ServiceTerms, Terms
    from vinocast.evaluation.backtests import Backtest
    from vinocast.evaluation.comparison import Comparison
    from vinocast.library import Forecaster, load
    from vinocast.markets import Bar, ClosedBar, Fed, HeldBars
    from vinocast.requests import Candidate, Forgotten, Observed, Recognized
    from vinocast.results import Forecast

__all__ = [
    "AsyncClient",
    "Backtest",
    "Bar",
    "Candidate",
    "Child",
    "Client",
    "ClosedBar",
    "Comparison",
    "DeadlineExceededError",
    "Event",
    "Fed",
    "ForbiddenError",
    "Forecast",
    "Forecaster",
    "Forgotten",
    "HeldBars",
    "InternalError",
    "InvalidJsonError",
    "InvalidRequestError",
    "InvalidShapeError",
    "InvalidValueError",
    "LineTooLongError",
    "MethodNotAllowedError",
    "MisdirectedError",
    "ModelRefusedError",
    "NotEnoughHistoryError",
    "NotFoundError",
    "NotReadyError",
    "Observed",
    "OnBarTerms",
    "OverloadedError",
    "PayloadTooLargeError",
    "Recognized",
    "RequestError",
    "ServiceTerms",
    "ServiceUnreachableError",
    "SetupError",
    "ShuttingDownError",
    "StaleTimestampError",
    "Terms",
    "TimestampAheadError",
    "UnauthorizedError",
    "UnknownModelError",
    "UnknownOpError",
    "UnknownStreamError",
    "UnknownTargetError",
    "UnsupportedMediaError",
    "VinocastError",
    "__version__",
    "connect",
    "connect_async",
    "load",
    "spawn",
]
__version__ = "0.1.0"

# OpenVINO reports each import and each conversion to its maker, unless its telemetry package cannot be imported. The
# reporting also starts a thread, writes to the home folder and costs the start-up 40 ms.
sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type]  # None is how Python marks it as absent


# What is imported when it is asked for: a command that does not need OpenVINO, httpx or numpy starts without them.
_LATER = {
    "Event": "client.market",
    "OnBarTerms": "client.market",
    "AsyncClient": "client.over_http",
    "Client": "client.over_http",
    "connect": "client.over_http",
    "connect_async": "client.over_http",
    "Child": "client.over_lines",
    "spawn": "client.over_lines",
    "ServiceTerms": "data.given",
    "Terms": "data.given",
    "Backtest": "evaluation.backtests",
    "Comparison": "evaluation.comparison",
    "Forecaster": "library",
    "load": "library",
    "Bar": "markets",
    "ClosedBar": "markets",
    "Fed": "markets",
    "HeldBars": "markets",
    "Candidate": "requests",
    "Forgotten": "requests",
    "Observed": "requests",
    "Recognized": "requests",
    "Forecast": "results",
}


def __getattr__(name: str) -> Any:
    """Import what stands in ``_LATER``."""
    if name in _LATER:
        return getattr(importlib.import_module(f"vinocast.{_LATER[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
