"""Vinocast: time-series forecasts and glyph recognition on server CPUs with OpenVINO.

    import vinocast
    model = vinocast.load("patchtst-etth1")
    forecast = model.forecast(window)       # [512, 7] -> [96, 7]

What stands in ``__all__`` is the public interface; everything else may change from one version to the next.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

from vinocast.errors import (
    InvalidRequestError,
    InvalidShapeError,
    InvalidValueError,
    ModelRefusedError,
    RequestError,
    SetupError,
    UnknownTargetError,
    VinocastError,
)

if TYPE_CHECKING:
    from vinocast.library import Forecaster, load

__all__ = [
    "Forecaster",
    "InvalidRequestError",
    "InvalidShapeError",
    "InvalidValueError",
    "ModelRefusedError",
    "RequestError",
    "SetupError",
    "UnknownTargetError",
    "VinocastError",
    "__version__",
    "load",
]
__version__ = "0.1.0"

# OpenVINO reports each import and each conversion to its maker, unless its telemetry package cannot be imported. The
# reporting also starts a thread, writes to the home folder and costs the start-up 40 ms.
sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type]  # None is how Python marks it as absent


def __getattr__(name: str) -> Any:
    """Import what needs OpenVINO when it is asked for: a command that does not starts without it."""
    if name in ("Forecaster", "load"):
        from vinocast import library  # noqa: PLC0415 - imports OpenVINO

        return getattr(library, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
